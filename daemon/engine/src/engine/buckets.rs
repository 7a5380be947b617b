//! Release before acquire: R4 (SPEC 6.6).

use nlb_protocol::frame::State;
use nlb_protocol::{Buckets, NodeId};

use super::Engine;
use super::machine;
use super::moving::TRANSFER;
use super::peers::Peer;
use crate::time::Time;

impl Engine {
    /// Whether the peer's latest heartbeat shows that it hears this node and means the same view.
    pub(super) fn agrees(&self, peer: &Peer) -> bool {
        peer.hears_us()
            && (peer.says.epoch, peer.says.digest) == (self.view.epoch, self.view.digest)
    }

    /// What heartbeats show: what is accepted, and what was given up before its clients were pinned
    /// (SPEC 6.11.1).
    pub(super) fn shown(&self) -> Buckets {
        let mut shown = self.accepts.clone();
        shown.union_with(self.moving.yielded());
        shown
    }

    /// Gives up what belongs to others and takes up what belongs to this node, as far as it may.
    pub(super) fn move_buckets(&mut self) {
        self.release();
        self.acquire();
    }

    /// What is accepted although the table gives it to somebody else.
    fn surplus(&self) -> Buckets {
        let mut surplus = self.accepts.clone();
        if self.state == State::Active {
            surplus.subtract(&self.view.mine);
        }
        surplus
    }

    fn release(&mut self) {
        let surplus = self.surplus();
        let mut kept = self.view.mine.clone();
        kept.intersect_with(&self.accepts);
        self.moving.keep(&kept);
        self.moving.pin(&surplus);
        self.pin_slice();
        if self.log.is_told() && self.moving.told() {
            self.sender.dirty = true;
        }
        if surplus.is_empty() {
            self.moving.rest();
            return;
        }
        self.moving.begin(self.now);
        let overdue = self.is_release_overdue(&surplus);
        if self.state == State::Leaving && !self.kernel.diverts() && !overdue {
            return;
        }
        let mut ready = if overdue { surplus } else { self.ready_to_go(&surplus) };
        // Whoever is still to be pinned waits for nobody but this node.
        ready.intersect_with(&self.moving.pinned);
        if ready.is_empty() || !self.log.is_told() {
            return;
        }
        // The one instant: the stage admits nobody in these buckets any more.
        self.accepts.subtract(&ready);
        self.sender.dirty = true;
        if self.accepts == self.view.mine || self.accepts.is_empty() {
            self.moving.rest();
        }
    }

    /// Whether nobody is waited for any longer: the new owners came no closer to holding the pins
    /// for dead-after, or it takes too long in all (SPEC 6.6.1).
    fn is_release_overdue(&mut self, surplus: &Buckets) -> bool {
        let mark = self.moving.mark().0;
        let owners = self.view.table.owners_of(surplus);
        let owners = owners.iter().filter_map(|node| self.peers.get(*node));
        let held = owners.map(|peer| peer.holds.0.min(mark)).sum::<u64>();
        self.moving.note_score(held.saturating_add(self.log.told().0.min(mark)), self.now);
        let waits = self.moving.waits_since();
        waits.is_some_and(|since| self.now.since(since) >= self.config.timing.dead_after)
            || self.moving.since().is_some_and(|since| self.now.since(since) >= TRANSFER)
    }

    /// Whether everybody agrees whose agreement an acquisition takes.
    fn all_agree(&self) -> bool {
        self.peers.iter().all(|(_, peer)| !machine::counts(peer.says.state) || self.agrees(peer))
    }

    /// The part of `surplus` whose new owners hold their clients' packets already and know who is
    /// pinned, but for the latest. As long as a third would keep them from accepting, nothing is
    /// released: the view may change once more before they could.
    fn ready_to_go(&self, surplus: &Buckets) -> Buckets {
        if !self.view.is_named() {
            return Buckets::EMPTY;
        }
        if self.view.view.members().is_empty() {
            // Nobody is there to take them.
            return surplus.clone();
        }
        if !self.all_agree() {
            return Buckets::EMPTY;
        }
        let caught_up = |peer: &Peer| peer.holds >= self.moving.mark();
        self.view.table.owned(surplus, |node| self.peers.get(node).is_some_and(caught_up))
    }

    /// Whether the logs of all peers are held. One that cannot be had must not keep this node from
    /// everything for ever.
    pub(super) fn is_caught_up(&self) -> bool {
        let bound = self.config.timing.dead_after * 2;
        !self.peers.iter().any(|(_, peer)| {
            // One that restarts still has its clients, and will tell of them; one that leaves
            // answers to its end, which is near.
            let last = matches!(peer.says.state, State::Restarting | State::Leaving);
            peer.pins.behind.is_some_and(|since| last || self.now.since(since) < bound)
        })
    }

    fn acquire(&mut self) {
        if self.state != State::Active || !self.view.is_named() {
            return;
        }
        let mut wanted = self.view.mine.clone();
        wanted.subtract(&self.accepts);
        if wanted.is_empty() {
            return;
        }
        if !self.is_caught_up() || !self.all_agree() {
            return;
        }
        for (_, peer) in self.peers.iter() {
            wanted.subtract(&peer.says.accepts);
        }
        if !wanted.is_empty() {
            self.accepts.union_with(&wanted);
            self.sender.dirty = true;
            // Nobody accepts them any more: what comes from now on is this node's alone, but for
            // copies of what another one answered last.
            self.waiting.settle_doubt(&wanted, self.now + self.config.timing.skew());
            self.moving.unpin(&wanted);
        }
        self.unpin_slice();
    }

    /// A peer accepts what this node accepts: a partition healed. Under one view whoever shall
    /// have the bucket keeps it; where it is a third's, or the views differ still, the lower id
    /// keeps it until the view is agreed and the bucket released (SPEC 6.11). Whoever gives it up
    /// shows it until its clients are pinned: no third takes it before it knows them.
    pub(super) fn yield_overlap(&mut self, node: NodeId, shared: &Buckets) {
        let agreed = self.peers.get(node).is_some_and(|peer| self.agrees(peer));
        let mut given = shared.clone();
        if agreed || node > self.config.node {
            given.subtract(&self.view.mine);
        }
        if node > self.config.node {
            given.intersect_with(&self.view.table.of(node));
        }
        if !given.is_empty() {
            self.moving.give(&given);
            self.pin_slice();
            self.accepts.subtract(&given);
            self.sender.dirty = true;
        }
    }

    /// Deadlines of the moves.
    pub(super) fn move_deadlines(&self, note: &mut impl FnMut(Time)) {
        if let Some(since) = self.moving.waits_since() {
            note(since + self.config.timing.dead_after);
        }
        if let Some(since) = self.moving.since() {
            note(since + TRANSFER);
        }
        if self.is_working() {
            note(self.moving.next());
        }
        for (_, peer) in self.peers.iter() {
            if let Some(since) = peer.pins.behind {
                note(since + self.config.timing.dead_after * 2);
            }
        }
    }
}

#[cfg(test)]
mod tests;
