//! Release before acquire: R4 (SPEC 6.6).

use core::net::IpAddr;

use nlb_protocol::frame::State;
use nlb_protocol::{Buckets, NodeId};

use super::Engine;
use super::machine;
use super::peers::Peer;
use crate::time::Time;

impl Engine {
    /// Whether the peer's latest heartbeat shows that it hears this node and means the same view.
    pub(super) fn agrees(&self, peer: &Peer) -> bool {
        peer.hears_us()
            && (peer.says.epoch, peer.says.digest) == (self.view.epoch, self.view.digest)
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
        if surplus.is_empty() {
            self.releasing = None;
            return;
        }
        let since = *self.releasing.get_or_insert(self.now);
        self.publish(&surplus);
        let waited = self.now.since(since) >= self.config.timing.dead_after;
        if self.state == State::Leaving && !self.kernel.diverts() && !waited {
            return;
        }
        let ready = if waited { surplus } else { self.ready_to_go(&surplus) };
        if ready.is_empty() {
            return;
        }
        // The one instant: the stage admits nobody in these buckets any more.
        self.accepts.subtract(&ready);
        self.sender.dirty = true;
        if self.accepts == self.view.mine || self.accepts.is_empty() {
            self.releasing = None;
        }
    }

    /// The part of `surplus` whose new owners hold their clients' packets already and can know
    /// who is pinned.
    fn ready_to_go(&self, surplus: &Buckets) -> Buckets {
        let mut ready = Buckets::EMPTY;
        if !self.view.is_named() || !self.log.is_sent() {
            return ready;
        }
        for (node, _) in self.view.view.members() {
            if self.peers.get(*node).is_some_and(|peer| self.agrees(peer)) {
                ready.union_with(&self.view.table.of(*node));
            }
        }
        ready.intersect_with(surplus);
        if self.view.view.members().is_empty() {
            // Nobody is there to take them.
            return surplus.clone();
        }
        ready
    }

    /// Pins the clients of buckets that are about to go, so that only the latest are left to be
    /// told with the release.
    fn publish(&mut self, buckets: &Buckets) {
        for bucket in buckets.iter() {
            for client in self.clients.of(bucket) {
                self.log.pin(client);
            }
        }
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
        let bound = self.config.timing.dead_after * 2;
        for (_, peer) in self.peers.iter() {
            if machine::counts(peer.says.state) && !self.agrees(peer) {
                return;
            }
            // A log that cannot be had must not keep buckets from everybody for ever.
            // One that restarts still has its clients, and will tell of them.
            let restarts = peer.says.state == State::Restarting;
            let waits = |since| restarts || self.now.since(since) < bound;
            if peer.pins.behind.is_some_and(waits) {
                return;
            }
            wanted.subtract(&peer.says.accepts);
        }
        if !wanted.is_empty() {
            self.accepts.union_with(&wanted);
            self.sender.dirty = true;
            // Nobody accepts them any more: what comes from now on is this node's alone.
            self.waiting.settle_doubt(&wanted, self.now);
            self.unpin_own(&wanted);
        }
    }

    /// Clients of buckets that came back need no pin, unless a peer keeps them too and has to see
    /// that this node goes on with them (SPEC 6.7.6).
    fn unpin_own(&mut self, buckets: &Buckets) {
        if self.log.len() == 0 {
            return;
        }
        for bucket in buckets.iter() {
            let pinned: Vec<IpAddr> =
                self.clients.of(bucket).filter(|client| self.log.is_pinned(*client)).collect();
            let alone = |client: &IpAddr| self.keeper(*client).is_none();
            let pinned: Vec<IpAddr> = pinned.into_iter().filter(alone).collect();
            pinned.into_iter().for_each(|client| self.log.unpin(client));
        }
    }

    /// A peer accepts what this node accepts: a partition healed. Under one view whoever shall
    /// have the bucket keeps it; where it is a third's, or the views differ still, the lower id
    /// keeps it until the view is agreed and the bucket released (SPEC 6.11).
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
            self.publish(&given);
            self.accepts.subtract(&given);
            self.sender.dirty = true;
        }
    }

    /// Deadlines of the moves.
    pub(super) fn move_deadlines(&self, note: &mut impl FnMut(Time)) {
        if let Some(since) = self.releasing {
            note(since + self.config.timing.dead_after);
        }
        for (_, peer) in self.peers.iter() {
            if let Some(since) = peer.pins.behind {
                note(since + self.config.timing.dead_after * 2);
            }
        }
    }
}
