//! R7: whether this node's receiver works (SPEC 6.8.2d).

use nlb_protocol::frame::State;

use super::Engine;
use crate::time::Time;

impl Engine {
    /// Something came off the wire.
    pub(super) fn note_witness(&mut self, arrival: Time) {
        if self.membership.alone_since.is_some_and(|since| arrival >= since) {
            self.membership.witnessed = true;
            self.membership.deaf = false;
        }
    }

    /// Whether any peer was not late when the frames were read.
    fn hears_somebody(&self) -> bool {
        let late = self.config.timing.late();
        self.peers.iter().any(|(_, peer)| self.read.since(peer.heard) < late)
    }

    /// R7: notices that somebody is heard.
    pub(super) fn watch_receiver(&mut self) {
        if self.hears_somebody() || self.state == State::Leaving {
            self.membership.alone_since = None;
            self.membership.witnessed = false;
            self.membership.deaf = false;
        }
    }

    /// R7: notices that nobody is heard, and that nothing else is either, when all that waited to
    /// be read was read. A stalled node that finds old frames first is not deaf (SPEC 6.8.2d).
    pub(super) fn judge_receiver(&mut self) {
        if self.hears_somebody() || self.state == State::Leaving {
            return;
        }
        // Whoever said that it goes did not fall silent: hearing it say so was the sign.
        let mut last = self.peers.iter().map(|(_, peer)| peer.says.state);
        let said = |state| matches!(state, State::Leaving | State::Restarting);
        let all_left = !self.peers.is_empty() && last.all(said);
        let membership = &mut self.membership;
        if membership.alone_since.is_none() {
            membership.alone_since = Some(self.now);
            membership.witnessed = all_left;
        }
        let witness = self.config.timing.witness();
        let wanted = self.membership.wanted_witness();
        self.membership.deaf = wanted.is_some_and(|since| self.now.since(since) >= witness);
    }

    /// Whether [`Self::judge_receiver`] would find something new.
    pub(super) fn is_receiver_unjudged(&self) -> bool {
        let membership = &self.membership;
        if self.state == State::Leaving || self.hears_somebody() {
            return false;
        }
        let witness = self.config.timing.witness();
        let waited = |since: Time| !membership.deaf && self.now.since(since) >= witness;
        membership.alone_since.is_none() || membership.wanted_witness().is_some_and(waited)
    }
}
