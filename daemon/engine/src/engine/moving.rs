//! Work on many clients, done in slices (SPEC 6.6, 6.7): pinning those whose buckets go,
//! unpinning those whose buckets came back, letting those go that a leaving node keeps.
//!
//! A slice is bounded, and so are the slices of a millisecond: with a million clients no call of
//! the engine takes longer than the heartbeats can bear. What is left is gone on with when the
//! time comes or a message has left, from where it stopped.

use core::net::IpAddr;
use core::time::Duration;

use nlb_protocol::frame::State;
use nlb_protocol::{Buckets, PinVersion};

use super::Engine;
use super::clients::Walk;
use super::image::image;
use crate::time::Time;

/// In so long no more clients are worked on than `Limits::slice`.
const SLICE_TIME: Duration = Duration::from_millis(1);
/// However it progresses, a hand-over does not wait for acknowledgements longer than this: four
/// times what a million clients are to take.
pub(super) const TRANSFER: Duration = Duration::from_secs(60);

/// What is being moved.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Moving {
    /// Buckets whose clients are still to be pinned.
    pinning: Walk,
    /// Buckets all of whose clients are pinned: those that were kept, and all admitted since.
    pub(super) pinned: Buckets,
    /// Buckets that came back: pins of their clients are to end.
    unpinning: Walk,
    /// Buckets in which nobody is admitted any more, a partition having healed, and some of whose
    /// clients are still to be pinned, or to be told.
    yielded: Buckets,
    /// What the new owners must hold before the buckets are released.
    mark: PinVersion,
    /// Since when there was always some bucket to be released.
    since: Option<Time>,
    /// When the hand-over last came closer to its end, and how far it had come then.
    progress: Time,
    score: u64,
    /// Buckets in which a leaving node has still to look for idle clients.
    idle: Walk,
    budget: Budget,
}

/// How many clients may still be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Budget {
    used: usize,
    since: Time,
}

impl Budget {
    fn left(&mut self, slice: usize, now: Time) -> usize {
        if now >= self.since + SLICE_TIME {
            *self = Self { used: 0, since: now };
        }
        slice.saturating_sub(self.used)
    }
}

impl Moving {
    pub(super) fn spend(&mut self, clients: usize) {
        self.budget.used += clients;
    }

    /// When more may be worked on.
    pub(super) fn next(&self) -> Time {
        self.budget.since + SLICE_TIME
    }

    /// Since when a release waits without having come closer to it.
    pub(super) fn waits_since(&self) -> Option<Time> {
        self.since.map(|since| since.max(self.progress))
    }

    /// Since when there was always some bucket to be released.
    pub(super) fn since(&self) -> Option<Time> {
        self.since
    }

    pub(super) fn mark(&self) -> PinVersion {
        self.mark
    }

    /// Whether some clients are still to be pinned.
    pub(super) fn is_pinning(&self) -> bool {
        !self.pinning.is_empty()
    }

    fn is_walking(&self) -> bool {
        self.is_pinning() || !self.unpinning.is_empty() || !self.idle.is_empty()
    }

    /// Nothing is to be released any more.
    pub(super) fn rest(&mut self) {
        self.since = None;
    }

    /// Something is to be released.
    pub(super) fn begin(&mut self, now: Time) {
        if self.since.is_none() {
            (self.since, self.progress, self.score) = (Some(now), now, 0);
        }
    }

    /// How far the hand-over has come; more is progress.
    pub(super) fn note_score(&mut self, score: u64, now: Time) {
        if score > self.score {
            self.progress = now;
        }
        self.score = score;
    }

    /// These buckets are accepted and stay: their clients need no pin.
    pub(super) fn keep(&mut self, buckets: &Buckets) {
        self.pinning.leave_out(buckets);
        self.pinned.subtract(buckets);
        self.unpinning.keep(buckets);
    }

    /// The clients of these buckets shall be pinned.
    pub(super) fn pin(&mut self, buckets: &Buckets) {
        self.pinning.add(buckets);
        self.pinning.leave_out(&self.pinned);
    }

    /// Nobody is admitted in these buckets any more; they are shown until their clients are pinned.
    pub(super) fn give(&mut self, buckets: &Buckets) {
        self.pin(buckets);
        self.yielded.union_with(buckets);
    }

    /// All changes of the log were told. Whether some bucket need no longer be shown.
    pub(super) fn told(&mut self) -> bool {
        let before = self.yielded.len();
        self.yielded.subtract(&self.pinned);
        self.yielded.len() < before
    }

    /// Buckets that are shown although nobody is admitted in them.
    pub(super) fn yielded(&self) -> &Buckets {
        &self.yielded
    }

    /// The clients of these buckets shall not be pinned.
    pub(super) fn unpin(&mut self, buckets: &Buckets) {
        self.pinning.leave_out(buckets);
        self.pinned.subtract(buckets);
        self.yielded.subtract(buckets);
        self.unpinning.add(buckets);
    }

    /// All clients are to be looked at, when all were that are being looked at.
    pub(super) fn look_for_idle(&mut self) {
        if self.idle.is_empty() {
            self.idle.add(&Buckets::ALL);
        }
    }
}

impl Engine {
    /// How many clients may be worked on now.
    pub(super) fn slice(&mut self) -> usize {
        self.moving.budget.left(self.config.limits.slice, self.now)
    }

    /// Whether so many changes wait to be sent that no more are to be made in a row.
    fn is_backed_up(&self) -> bool {
        self.log.backlog() >= self.config.limits.backlog
    }

    /// Pins clients of buckets that are about to go, so that only the latest are left to be told
    /// with the release. In the order of their addresses, which makes messages short.
    pub(super) fn pin_slice(&mut self) {
        if !self.moving.is_pinning() || self.is_backed_up() {
            return;
        }
        let room = self.slice();
        let before = self.moving.pinning.todo().clone();
        let mut batch: Vec<IpAddr> = self
            .clients
            .walk(&mut self.moving.pinning, room)
            .into_iter()
            .map(|(_, client, _)| client)
            .collect();
        self.moving.spend(batch.len());
        batch.sort_unstable();
        let version = self.log.version();
        batch.into_iter().for_each(|client| self.log.pin(client));
        if self.log.version() > version {
            self.moving.mark = self.log.version();
        }
        let mut done = before;
        done.subtract(self.moving.pinning.todo());
        self.moving.pinned.union_with(&done);
        self.moving.progress = self.now;
    }

    /// Clients of buckets that came back need no pin, unless a peer keeps them too and has to see
    /// that this node goes on with them (SPEC 6.7.7).
    pub(super) fn unpin_slice(&mut self) {
        if self.log.len() == 0 {
            self.moving.unpinning = Walk::default();
        }
        if self.moving.unpinning.is_empty() || self.is_backed_up() {
            return;
        }
        let room = self.slice();
        let batch = self.clients.walk(&mut self.moving.unpinning, room);
        self.moving.spend(batch.len());
        for (_, client, _) in batch {
            if self.log.is_pinned(client) && self.keeper(client).is_none() {
                self.log.unpin(client);
            }
        }
    }

    /// Lets some of the clients go that a leaving node still has.
    pub(super) fn let_all_go(&mut self) {
        if self.is_backed_up() {
            return;
        }
        let room = self.slice();
        let batch = self.clients.pop(room);
        self.moving.spend(batch.len());
        batch.into_iter().for_each(|client| self.log.unpin(client));
    }

    /// Looks at some of the clients that a leaving node keeps, and lets the idle ones go.
    pub(super) fn let_idle_go(&mut self) {
        if self.moving.idle.is_empty() || self.is_backed_up() {
            return;
        }
        let room = self.slice();
        let batch = self.clients.walk(&mut self.moving.idle, room);
        self.moving.spend(batch.len());
        for (bucket, client, seen) in batch {
            if self.lets_go(seen) {
                self.let_go(bucket, client);
            }
        }
    }

    /// Drops some of the clients that are remembered no more.
    pub(super) fn drop_some(&mut self) {
        if self.waiting.is_dropping() {
            let room = self.slice();
            let dropped = self.waiting.drop_some(room);
            self.moving.spend(dropped);
        }
    }

    /// Whether all clients that a leaving node keeps are pinned.
    pub(super) fn pins_all(&mut self) -> bool {
        debug_assert_eq!(self.state, State::Leaving);
        self.moving.pin(&Buckets::ALL);
        self.pin_slice();
        !self.moving.is_pinning()
    }

    /// Whether there is work that only waits for its time.
    pub(super) fn is_working(&self) -> bool {
        let closing = self.leave.is_closing() && !self.clients.is_empty();
        let settling = self.peers.iter().any(|(_, peer)| peer.is_to_settle());
        (self.moving.is_walking() || closing || settling) && !self.is_backed_up()
    }
}

image! {
    Moving {
        pinning, pinned, unpinning, yielded, mark, since, progress, score, idle, budget,
    }
}
image! { Budget { used, since } }

#[cfg(test)]
mod tests;
