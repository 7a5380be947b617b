//! The copy of a peer's pin log (SPEC 6.7).

use core::net::IpAddr;
use core::ops::Bound;
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use nlb_protocol::PinVersion;
use nlb_protocol::frame::{PinDelta, PinEntry, PinSnapshot, PinWant, State};

use super::Engine;
use super::addresses::AddressSet;
use super::image::image;
use super::peers::Peer;
use crate::time::Time;

/// Answered packets that are remembered of one peer.
pub(super) const ANSWERED: usize = 4096;

/// A set some of whose pins found no room is asked for again at most once in so long: it may have
/// a million clients.
const RENEWAL: Duration = Duration::from_secs(60);

/// A peer's log as far as this node holds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Replica {
    /// The changes were followed up to here.
    version: u64,
    /// While the set is taken up part by part: the first address that was not shown.
    missing: Option<IpAddr>,
    /// The latest version that a part showed: until it is reached the copy is of no one instant.
    shown: u64,
    pub(super) clients: AddressSet,
    pub(super) answered: Answered,
    /// Of these, pinned since the copy was last complete, and kept by this node too: looked at when
    /// it is complete again.
    pub(super) twice: AddressSet,
    /// Pins that found no room since the set was last begun, and when it was last taken anew for
    /// such.
    lacking: usize,
    renewed: Option<Time>,
    /// When a part of the set was last taken up: it says nothing of packets answered before.
    pub(super) snapshot: Time,
    /// Since when the peer names more than is held, and nothing came of it.
    pub(super) behind: Option<Time>,
    /// When something was last asked for; when something came, unless something was lost since.
    asked: Option<Time>,
    moved: Option<Time>,
    /// What the peer was told last that this node holds, and when.
    acknowledged: Option<(PinVersion, Time)>,
}

/// What a message changed in a replica.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) pinned: Vec<IpAddr>,
    pub(super) unpinned: Vec<IpAddr>,
    /// Clients that a part of the set does not name: why they went is not known.
    pub(super) lost: Vec<IpAddr>,
    /// Pins that found no room.
    pub(super) unusable: u64,
    /// Whether it was of use; if not, it came out of sequence, or for others.
    pub(super) taken: bool,
    /// Whether something before it is missing.
    pub(super) gap: bool,
}

impl Replica {
    /// How far the changes were followed.
    pub(super) fn version(&self) -> PinVersion {
        PinVersion(self.version)
    }

    /// Whether the copy is complete, and reaches so far.
    pub(super) fn holds(&self, version: PinVersion) -> bool {
        self.missing.is_none() && self.version >= version.0.max(self.shown)
    }

    /// Takes up a delta as far as it continues what is held. `room`: how many clients may be added.
    pub(super) fn apply(&mut self, delta: &PinDelta, mut room: usize) -> Changes {
        let mut changes = Changes::default();
        let before = self.version;
        let mut version = delta.first.0;
        changes.gap = version > before.saturating_add(1);
        for entry in &delta.entries {
            if version == self.version.saturating_add(1) {
                self.version = version;
                match *entry {
                    PinEntry::Pin(client) => self.insert(client, &mut room, &mut changes),
                    PinEntry::Unpin(client) => {
                        if self.remove(client) {
                            changes.unpinned.push(client);
                            room = room.saturating_add(1);
                        }
                    }
                    PinEntry::Answered(fingerprint) => self.answered.insert(fingerprint),
                }
            }
            version = version.saturating_add(1);
        }
        changes.taken = self.version > before;
        changes
    }

    fn insert(&mut self, client: IpAddr, room: &mut usize, changes: &mut Changes) {
        if self.clients.contains(client) {
            return;
        }
        if *room == 0 {
            changes.unusable += 1;
            self.lacking = self.lacking.saturating_add(1);
            return;
        }
        *room -= 1;
        self.clients.insert(client, ());
        changes.pinned.push(client);
    }

    /// This node keeps the client too, if it is still pinned.
    pub(super) fn note_twice(&mut self, client: IpAddr) {
        if self.clients.contains(client) {
            self.twice.insert(client, ());
        }
    }

    fn remove(&mut self, client: IpAddr) -> bool {
        self.twice.remove(client);
        self.clients.remove(client).is_some()
    }

    /// Whether pins found no room: not everybody is known whom the peer keeps.
    pub(super) fn lacks_some(&self) -> bool {
        self.lacking > 0
    }

    /// Whether the set is worth being asked for once more, now that there is `room` of `all`.
    fn is_to_be_renewed(&self, room: usize, all: usize, now: Time) -> bool {
        let lately = self.renewed.is_some_and(|at| now.since(at) < RENEWAL);
        self.lacks_some() && room >= self.lacking.min(all.div_ceil(8)) && !lately
    }

    /// The set is asked for from its beginning. What is held stays meanwhile.
    fn renew(&mut self, now: Time) {
        self.missing = Some(PinSnapshot::START);
        self.renewed = Some(now);
        self.behind = Some(now);
        self.moved = None;
    }

    /// Takes up a part of the set if it continues what is held, or begins it where the changes can
    /// no longer be followed. What a part shows is of its own version, ahead of the changes: when
    /// these have been followed so far, the copy is right. No more than `slice` clients go at once.
    pub(super) fn take_part(
        &mut self,
        part: &PinSnapshot,
        mut room: usize,
        slice: usize,
    ) -> Changes {
        let anew = self.version < part.memory.0;
        let mut changes = Changes::default();
        let at = if anew { Some(PinSnapshot::START) } else { self.missing };
        // Who holds everything has no use for what others asked for.
        let Some(at) = at else { return changes };
        changes.gap = part.from > at;
        let over = part.until.is_some_and(|until| until <= at);
        if changes.gap || over || part.version.0 < self.version {
            return changes;
        }
        changes.taken = true;
        if anew {
            self.version = part.version.0;
        }
        self.shown = self.shown.max(part.version.0);
        if at == PinSnapshot::START {
            self.lacking = 0;
        }
        let end = self.drop_absent(part, at, slice, &mut changes);
        let within = |client: &&IpAddr| **client >= at && end.is_none_or(|end| **client < end);
        for client in part.clients.iter().filter(within) {
            self.insert(*client, &mut room, &mut changes);
        }
        self.missing = end;
        changes
    }

    /// Drops the clients between `at` and the end of the part that it does not name: at most a
    /// slice of them. Gives the address where it stopped.
    fn drop_absent(
        &mut self,
        part: &PinSnapshot,
        at: IpAddr,
        slice: usize,
        changes: &mut Changes,
    ) -> Option<IpAddr> {
        let mut end = part.until;
        for (client, ()) in self.clients.from(Bound::Included(at)) {
            if end.is_some_and(|end| client >= end) {
                break;
            }
            if part.clients.binary_search(&client).is_err() {
                if changes.lost.len() >= slice {
                    end = Some(client);
                    break;
                }
                changes.lost.push(client);
            }
        }
        for client in &changes.lost {
            self.remove(*client);
        }
        end
    }

    /// The peer says that nothing is pinned as of `version`.
    pub(super) fn void(&mut self, version: PinVersion) -> AddressSet {
        self.version = self.version.max(version.0);
        self.missing = None;
        self.shown = 0;
        self.behind = None;
        self.lacking = 0;
        self.twice.clear();
        core::mem::take(&mut self.clients)
    }

    /// The peer names this version; or something before what came is missing.
    pub(super) fn note_named(&mut self, version: PinVersion, gap: bool, now: Time) {
        if !gap && self.holds(version) {
            self.behind = None;
            return;
        }
        if gap || self.behind.is_none() {
            // Lost or overtaken: it is asked for at once.
            self.moved = None;
        }
        self.behind.get_or_insert(now);
    }

    /// Something of use came. The peer names `version`.
    pub(super) fn note_progress(&mut self, version: PinVersion, now: Time) {
        self.moved = Some(now);
        self.behind = (!self.holds(version)).then_some(now);
    }

    /// When to ask for what is lacking; `None`: nothing is.
    pub(super) fn ask_at(&self, gap: Duration) -> Option<Time> {
        self.behind?;
        let last = self.asked.max(self.moved);
        Some(last.map_or(Time::ZERO, |at| at + gap))
    }

    /// What is asked for now.
    pub(super) fn ask(&mut self, now: Time) -> PinWant {
        self.asked = Some(now);
        self.missing.map_or(PinWant::Deltas, PinWant::Snapshot)
    }

    /// When to tell the peer, which waits for it, how far its log is held: soon when that changed,
    /// and now and then in case it was lost.
    pub(super) fn acknowledge_at(&self, gap: Duration, heartbeat: Duration) -> Option<Time> {
        if !self.holds(PinVersion(0)) {
            return None;
        }
        Some(match self.acknowledged {
            None => Time::ZERO,
            // Not in step with the heartbeats, which would be overtaken again and again.
            Some((version, at)) if version == self.version() => at + heartbeat * 3 / 4,
            Some((_, at)) => at + gap,
        })
    }

    pub(super) fn acknowledge(&mut self, now: Time) {
        self.acknowledged = Some((self.version(), now));
    }
}

impl Engine {
    /// There is room again: the log of a peer some of whose pins found none is taken up anew, one
    /// at a time.
    pub(super) fn take_pins_anew(&mut self) {
        if !self.peers.iter().any(|(_, peer)| peer.pins.lacks_some()) {
            return;
        }
        let (room, all, now) = (self.pin_room(), self.config.limits.pins, self.now);
        let renews = |peer: &Peer| peer.pins.renewed.is_some() && peer.pins.missing.is_some();
        if room == 0 || self.peers.iter().any(|(_, peer)| renews(peer)) {
            return;
        }
        let wanted = |peer: &Peer| {
            matches!(peer.says.state, State::Active | State::Draining)
                && peer.pins.holds(peer.says.pin_version)
                && peer.pins.is_to_be_renewed(room, all, now)
        };
        let next = self.peers.iter().find(|(_, peer)| wanted(peer)).map(|(node, _)| node);
        if let Some(peer) = next.and_then(|node| self.peers.get_mut(node)) {
            peer.pins.renew(now);
        }
    }
}

/// The packets that a peer said it answered: the latest of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Answered {
    order: VecDeque<u64>,
    known: BTreeSet<u64>,
}

impl Answered {
    fn insert(&mut self, fingerprint: u64) {
        if self.known.insert(fingerprint) {
            self.order.push_back(fingerprint);
        }
        if self.order.len() > ANSWERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn contains(&self, fingerprint: u64) -> bool {
        self.known.contains(&fingerprint)
    }
}

image! {
    Replica {
        version, missing, shown, clients, answered, twice, lacking, renewed, snapshot, behind, asked, moved,
        acknowledged,
    }
}
image! { Answered { order, known } }

#[cfg(test)]
mod tests;
