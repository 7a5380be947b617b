//! Peers that end: when, and from when on nobody answers for them (SPEC 6.9).

use nlb_protocol::NodeId;
use nlb_protocol::frame::State;

use super::Engine;
use super::clients::Gone;
use super::machine;
use super::peers::Peer;
use crate::notice::Notice;
use crate::time::Time;

impl Engine {
    pub(super) fn silent_peers(&self) -> Vec<NodeId> {
        let silent = |peer: &Peer| self.read >= self.death(peer);
        let silent = self.peers.iter().filter(|(_, peer)| silent(peer));
        silent.map(|(node, _)| node).collect()
    }

    /// Peers that were silent for dead-after are dead; those that restart, for their hold.
    pub(super) fn expire_peers(&mut self) {
        for node in self.silent_peers() {
            let Some(mut limit) = self.rights_end(node) else { continue };
            if self.state == State::Leaving {
                // It takes up nobody any more, and is gone by then. (Whoever is behind a cut that
                // works in one direction only does not fence for a node that goes.)
                limit = limit.max(self.now + self.config.timing.dead_after * 5);
            }
            self.void_peer(node, limit);
            if let Some(peer) = self.peers.retire(node, self.now) {
                self.notify(Notice::PeerGone { node, state: peer.says.state });
            }
            self.sender.dirty = true;
        }
    }

    /// When a peer that fell silent has certainly lost its rights (SPEC 6.9).
    pub(super) fn rights_end(&self, node: NodeId) -> Option<Time> {
        let timing = &self.config.timing;
        let peer = self.peers.get(node)?;
        // One heartbeat more may have left and been lost on every link.
        let unseen = timing.heartbeat + timing.frame_delay();
        // Whether somebody else would have told of a later sign of life.
        let confirmed = self.peers.iter().any(|(other, witness)| {
            other != node && witness.says.state == State::Active && self.is_fresh(witness)
        });
        let last = if confirmed { timing.lease() } else { timing.rights() };
        let end = peer.lively + last + unseen;
        if peer.says.state == State::Restarting {
            // Its kernel goes on for so long without it.
            return Some(end.max(self.death(peer) + unseen));
        }
        if self.read >= self.death(peer) && self.now.since(peer.lively) < timing.late() {
            // It is dead here only: others hear it. It finds that out about now, and fences, or
            // this node does (SPEC 6.8.2c); a kernel that does not follow has its lease.
            return Some(end.max(self.now + unseen + timing.grace() + timing.lease()));
        }
        Some(end)
    }

    /// A peer ended without handing over: packets that arrived until `limit` may be answered.
    pub(super) fn void_peer(&mut self, node: NodeId, limit: Time) {
        let expires = limit.max(self.now) + self.config.timing.hold();
        let Some(peer) = self.peers.get_mut(node) else { return };
        // Its last heartbeats name no version (SPEC 6.10.6): then those before count.
        let complete = peer.pins.behind.is_none() && peer.pins.holds(peer.says.pin_version);
        let complete = complete && !peer.pins.lacks_some();
        let clients = peer.pins.void(peer.says.pin_version);
        let answered = core::mem::take(&mut peer.pins.answered);
        // It had released everything, and whom it kept is known.
        let left = peer.says.state == State::Leaving && peer.says.accepts.is_empty();
        let released = left && complete;
        let served = machine::serves(peer.says.state) || !peer.says.accepts.is_empty();
        if !clients.is_empty() {
            self.reopen();
        }
        if !served && clients.is_empty() {
            return;
        }
        if !clients.is_empty() || !answered.is_empty() {
            let answered = Some(answered);
            self.waiting.remember_gone(Gone { limit, clients, answered, expires });
        }
        if released {
            return;
        }
        self.doubt_all(limit);
    }

    /// Packets that arrived until `limit` may be answered, but for the buckets that this node
    /// accepts already.
    pub(super) fn doubt_all(&mut self, limit: Time) {
        for bucket in nlb_protocol::Bucket::all() {
            if !self.accepts.contains(bucket) {
                self.waiting.doubt(bucket, limit);
            }
        }
    }
}
