//! The own pin log (SPEC 6.7). The copies of the peers' are in [`super::replica`].
//!
//! A log is written by one node and kept by all. Every change takes one version. Peers follow by
//! deltas; who missed something asks and gets deltas again, or the set itself, part by part, where
//! the log's memory does not reach back so far.

use core::net::IpAddr;
use core::ops::Bound;
use std::collections::VecDeque;

use nlb_protocol::PinVersion;
use nlb_protocol::frame::{
    MAX_DELTA_ENTRIES, MAX_SNAPSHOT_CLIENTS, Message, PinDelta, PinEntry, PinSnapshot, PinWant,
};

use super::addresses::AddressSet;
use super::image::image;

/// The own log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Log {
    /// Changes that it remembers for peers that missed some.
    memory: usize,
    version: u64,
    recent: VecDeque<PinEntry>,
    pinned: AddressSet,
    /// The change that was sent last; goes back when a peer missed some.
    sent: u64,
    /// The last change that was ever sent.
    told: u64,
    /// Where the set that is being sent goes on.
    snapshot: Option<IpAddr>,
    /// Whether it is the set's turn, so that neither waits for the other.
    part_next: bool,
}

impl Log {
    /// Nobody is pinned. So many changes will be remembered.
    pub(super) fn new(memory: usize) -> Self {
        Self {
            memory,
            version: 0,
            recent: VecDeque::new(),
            pinned: AddressSet::default(),
            sent: 0,
            told: 0,
            snapshot: None,
            part_next: false,
        }
    }

    pub(super) fn version(&self) -> PinVersion {
        PinVersion(self.version)
    }

    /// The version that heartbeats name: everything up to it was sent.
    pub(super) fn told(&self) -> PinVersion {
        PinVersion(self.told)
    }

    pub(super) fn len(&self) -> usize {
        self.pinned.len()
    }

    pub(super) fn is_pinned(&self, client: IpAddr) -> bool {
        self.pinned.contains(client)
    }

    /// Goes on behind `version`, with nobody pinned: a peer asks for what it finds to be new.
    pub(super) fn resume(&mut self, version: PinVersion) {
        (self.version, self.sent, self.told) = (version.0, version.0, version.0);
    }

    /// Whether every change has been sent at least once.
    pub(super) fn is_told(&self) -> bool {
        self.told == self.version
    }

    /// How many changes were never sent.
    pub(super) fn backlog(&self) -> usize {
        usize::try_from(self.version - self.told).unwrap_or(usize::MAX)
    }

    /// Whether there is something to send.
    pub(super) fn is_pending(&self) -> bool {
        self.snapshot.is_some() || self.sent < self.version
    }

    fn append(&mut self, entry: PinEntry) {
        if self.recent.len() >= self.memory {
            self.recent.pop_front();
        }
        self.recent.push_back(entry);
        self.version += 1;
    }

    pub(super) fn pin(&mut self, client: IpAddr) {
        if self.pinned.insert(client, ()).is_none() {
            self.append(PinEntry::Pin(client));
        }
    }

    pub(super) fn unpin(&mut self, client: IpAddr) {
        if self.pinned.remove(client).is_some() {
            self.append(PinEntry::Unpin(client));
        }
    }

    pub(super) fn answered(&mut self, fingerprint: u64) {
        self.append(PinEntry::Answered(fingerprint));
    }

    /// All pins are void. Who held some must learn that, so the version rises.
    pub(super) fn void(&mut self) {
        let version = self.version + 1;
        *self = Self { version, sent: version, told: version, ..Self::new(self.memory) };
    }

    /// The version that the memory begins behind.
    fn oldest(&self) -> u64 {
        self.version - u64::try_from(self.recent.len()).unwrap_or(0)
    }

    /// A peer followed the changes up to `after` and lacks something.
    pub(super) fn resend(&mut self, after: PinVersion, want: PinWant) {
        let from = match want {
            PinWant::Nothing => return,
            PinWant::Deltas | PinWant::Snapshot(_) if after.0 < self.oldest() => {
                Some(PinSnapshot::START)
            }
            PinWant::Deltas => None,
            PinWant::Snapshot(from) => Some(from),
        };
        if let Some(from) = from {
            // Who is further passes over what it has.
            self.snapshot = Some(self.snapshot.map_or(from, |at| at.min(from)));
        }
        self.sent = self.sent.min(after.0.max(self.oldest()));
    }

    /// The next message of the log, if any is to be sent.
    pub(super) fn next_message(&mut self) -> Option<Message> {
        // What was forgotten before it was sent is asked for.
        self.sent = self.sent.max(self.oldest());
        let part_turn = self.part_next || self.sent >= self.version;
        self.part_next = !part_turn;
        match self.snapshot {
            Some(from) if part_turn => Some(Message::PinSnapshot(self.next_part(from))),
            _ => self.next_delta().map(Message::PinDelta),
        }
    }

    fn next_delta(&mut self) -> Option<PinDelta> {
        let skip = usize::try_from(self.sent - self.oldest()).unwrap_or(usize::MAX);
        let rest = self.recent.range(skip.min(self.recent.len())..);
        let mut entries: Vec<PinEntry> = rest.take(MAX_DELTA_ENTRIES).copied().collect();
        entries.truncate(PinDelta::fitting(&entries));
        let first = PinVersion(self.sent + 1);
        self.sent += u64::try_from(entries.len()).unwrap_or(0);
        self.told = self.told.max(self.sent);
        (!entries.is_empty()).then_some(PinDelta { first, entries })
    }

    /// The part of the set that begins with `from`, as the set is now.
    fn next_part(&mut self, from: IpAddr) -> PinSnapshot {
        let rest = self.pinned.from(Bound::Included(from)).map(|(client, ())| client);
        let mut clients: Vec<IpAddr> = rest.take(MAX_SNAPSHOT_CLIENTS + 1).collect();
        let fitting = PinSnapshot::fitting(&clients);
        let until = clients.get(fitting).copied();
        clients.truncate(fitting);
        self.snapshot = until;
        let (version, memory) = (PinVersion(self.version), PinVersion(self.oldest()));
        PinSnapshot { version, memory, from, until, clients }
    }
}

image! { Log { memory, version, recent, pinned, sent, told, snapshot, part_next } }

#[cfg(test)]
mod tests;
