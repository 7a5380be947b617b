//! Pin logs (SPEC 6.7): the own one, and the copies of the peers'.
//!
//! A log is written by one node and kept by all. Every change takes one version. Peers follow by
//! deltas; who missed something asks, and gets deltas again, or the whole set where the log's
//! memory does not reach back so far.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nlb_protocol::PinVersion;
use nlb_protocol::frame::{
    MAX_DELTA_ENTRIES, MAX_SNAPSHOT_CLIENTS, Message, PinDelta, PinEntry, PinSnapshot,
};

use crate::time::Time;

/// Changes that the own log remembers for peers that fell behind.
const LOG_MEMORY: usize = 16_384;
/// Answered packets that are remembered of one peer.
pub(super) const ANSWERED: usize = 4096;
/// The most parts a snapshot is accepted in: enough for a million clients.
const SNAPSHOT_PARTS: u16 = 16_384;

/// The own log.
#[derive(Debug, Clone, Hash, Default)]
pub(super) struct Log {
    version: u64,
    recent: VecDeque<PinEntry>,
    pinned: BTreeSet<IpAddr>,
    /// How far the deltas have been sent.
    sent: u64,
    snapshot: Option<Outgoing>,
}

/// A snapshot on its way out.
#[derive(Debug, Clone, Hash)]
struct Outgoing {
    version: u64,
    parts: VecDeque<Vec<IpAddr>>,
    next: u16,
    total: u16,
}

impl Log {
    pub(super) fn version(&self) -> PinVersion {
        PinVersion(self.version)
    }

    pub(super) fn len(&self) -> usize {
        self.pinned.len()
    }

    pub(super) fn is_pinned(&self, client: IpAddr) -> bool {
        self.pinned.contains(&client)
    }

    /// Goes on behind `version`, with nobody pinned: a peer asks for what it finds to be new.
    pub(super) fn resume(&mut self, version: PinVersion) {
        self.version = version.0;
        self.sent = version.0;
    }

    /// Whether every change has been sent at least once.
    pub(super) fn is_sent(&self) -> bool {
        self.sent >= self.version
    }

    /// Whether there is something to send.
    pub(super) fn is_pending(&self) -> bool {
        self.snapshot.is_some() || !self.is_sent()
    }

    fn append(&mut self, entry: PinEntry) {
        if self.recent.len() >= LOG_MEMORY {
            self.recent.pop_front();
        }
        self.recent.push_back(entry);
        self.version += 1;
    }

    pub(super) fn pin(&mut self, client: IpAddr) {
        if self.pinned.insert(client) {
            self.append(PinEntry::Pin(client));
        }
    }

    pub(super) fn unpin(&mut self, client: IpAddr) {
        if self.pinned.remove(&client) {
            self.append(PinEntry::Unpin(client));
        }
    }

    pub(super) fn answered(&mut self, fingerprint: u64) {
        self.append(PinEntry::Answered(fingerprint));
    }

    /// All pins are void. Who held some must learn that, so the version rises.
    pub(super) fn void(&mut self) {
        self.recent.clear();
        self.snapshot = None;
        self.version += 1;
        self.sent = self.version;
        self.pinned.clear();
    }

    /// A peer lacks what came after `after`.
    pub(super) fn resend(&mut self, after: PinVersion) {
        if after.0 >= self.version {
            return;
        }
        if after.0 >= self.oldest() {
            self.sent = self.sent.min(after.0);
        } else if self.snapshot.as_ref().is_none_or(|running| running.version < after.0) {
            self.start_snapshot();
        }
    }

    /// The version that the memory begins behind.
    fn oldest(&self) -> u64 {
        self.version - u64::try_from(self.recent.len()).unwrap_or(0)
    }

    fn start_snapshot(&mut self) {
        let clients: Vec<IpAddr> = self.pinned.iter().copied().collect();
        let mut parts: VecDeque<Vec<IpAddr>> =
            clients.chunks(MAX_SNAPSHOT_CLIENTS).map(<[IpAddr]>::to_vec).collect();
        if parts.is_empty() {
            parts.push_back(Vec::new());
        }
        parts.truncate(usize::from(SNAPSHOT_PARTS));
        let total = u16::try_from(parts.len()).unwrap_or(SNAPSHOT_PARTS);
        self.snapshot = Some(Outgoing { version: self.version, parts, next: 0, total });
    }

    /// The next message of the log, if any is to be sent.
    pub(super) fn next_message(&mut self) -> Option<Message> {
        if self.sent < self.oldest() {
            self.sent = self.version;
            self.start_snapshot();
        }
        if let Some(message) = self.next_part() {
            return Some(message);
        }
        if self.is_sent() {
            return None;
        }
        let skip = usize::try_from(self.sent - self.oldest()).unwrap_or(usize::MAX);
        let entries: Vec<PinEntry> =
            self.recent.iter().skip(skip).take(MAX_DELTA_ENTRIES).copied().collect();
        let first = PinVersion(self.sent + 1);
        self.sent += u64::try_from(entries.len()).unwrap_or(0);
        Some(Message::PinDelta(PinDelta { first, entries }))
    }

    fn next_part(&mut self) -> Option<Message> {
        let running = self.snapshot.as_mut()?;
        let clients = running.parts.pop_front().unwrap_or_default();
        let message = PinSnapshot {
            version: PinVersion(running.version),
            part: running.next,
            parts: running.total,
            clients,
        };
        running.next += 1;
        if running.next >= running.total {
            self.sent = self.sent.min(running.version);
            self.snapshot = None;
        }
        Some(Message::PinSnapshot(message))
    }
}

/// A peer's log as far as this node holds it.
#[derive(Debug, Clone, Hash, Default)]
pub(super) struct Replica {
    pub(super) version: u64,
    pub(super) clients: BTreeSet<IpAddr>,
    pub(super) answered: Answered,
    assembling: Option<Assembly>,
    /// Pinned since the copy was last complete: looked at when it is again.
    pub(super) news: BTreeSet<IpAddr>,
    /// When a snapshot was last taken up: it says nothing of packets answered before.
    pub(super) snapshot: Time,
    /// When the rest was last asked for.
    pub(super) asked: Option<Time>,
    /// Since when the peer names more than is held.
    pub(super) behind: Option<Time>,
}

/// The packets that a peer said it answered: the latest of them.
#[derive(Debug, Clone, Hash, Default)]
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

    pub(super) fn contains(&self, fingerprint: u64) -> bool {
        self.known.contains(&fingerprint)
    }
}

#[derive(Debug, Clone, Hash)]
struct Assembly {
    version: u64,
    parts: u16,
    got: BTreeMap<u16, Vec<IpAddr>>,
    kept: usize,
    unusable: u64,
}

/// What a message changed in a replica.
#[derive(Debug, Clone, Hash, Default)]
pub(super) struct Changes {
    pub(super) pinned: Vec<IpAddr>,
    pub(super) unpinned: Vec<IpAddr>,
    /// Clients that a snapshot no longer names: why they went is not known.
    pub(super) lost: BTreeSet<IpAddr>,
    /// Pins that found no room.
    pub(super) unusable: u64,
}

impl Replica {
    /// Takes up a delta as far as it continues what is held. `room`: how many clients may be added.
    pub(super) fn apply(&mut self, delta: &PinDelta, mut room: usize) -> Changes {
        let mut changes = Changes::default();
        let mut version = delta.first.0;
        for entry in &delta.entries {
            if version == self.version.saturating_add(1) {
                self.version = version;
                match *entry {
                    PinEntry::Pin(client) if room > 0 => {
                        if self.clients.insert(client) {
                            room -= 1;
                            changes.pinned.push(client);
                        }
                    }
                    PinEntry::Pin(_) => changes.unusable += 1,
                    PinEntry::Unpin(client) => {
                        if self.clients.remove(&client) {
                            changes.unpinned.push(client);
                        }
                    }
                    PinEntry::Answered(fingerprint) => self.answered.insert(fingerprint),
                }
            }
            version = version.saturating_add(1);
        }
        changes
    }

    /// Takes up a part of a snapshot; with the last one the replica is as the snapshot says.
    pub(super) fn assemble(&mut self, part: PinSnapshot, room: usize) -> Option<Changes> {
        let sane = part.parts > 0 && part.parts <= SNAPSHOT_PARTS && part.part < part.parts;
        if !sane || part.version.0 <= self.version {
            return None;
        }
        let running = match self.assembling.take() {
            Some(running) if running.version > part.version.0 => {
                self.assembling = Some(running);
                return None;
            }
            Some(running) if running.version == part.version.0 && running.parts == part.parts => {
                running
            }
            _ => Assembly {
                version: part.version.0,
                parts: part.parts,
                got: BTreeMap::new(),
                kept: 0,
                unusable: 0,
            },
        };
        let bound = self.clients.len().saturating_add(room);
        let running = self.assembling.insert(running);
        if !running.got.contains_key(&part.part) {
            let mut clients = part.clients;
            let fit = clients.len().min(bound.saturating_sub(running.kept));
            running.unusable += u64::try_from(clients.len() - fit).unwrap_or(0);
            clients.truncate(fit);
            running.kept += fit;
            running.got.insert(part.part, clients);
        }
        if running.got.len() < usize::from(running.parts) {
            return None;
        }
        let done = self.assembling.take()?;
        let clients: BTreeSet<IpAddr> = done.got.into_values().flatten().collect();
        let mut changes = Changes { unusable: done.unusable, ..Changes::default() };
        changes.pinned = clients.difference(&self.clients).copied().collect();
        changes.lost = self.clients.difference(&clients).copied().collect();
        self.clients = clients;
        self.version = done.version;
        Some(changes)
    }

    /// The peer says that nothing is pinned as of `version`.
    pub(super) fn void(&mut self, version: PinVersion) -> BTreeSet<IpAddr> {
        self.version = self.version.max(version.0);
        self.assembling = None;
        self.behind = None;
        self.news.clear();
        core::mem::take(&mut self.clients)
    }
}

#[cfg(test)]
mod tests;
