//! Hearing, joining and fencing: R1, R6, R7 (SPEC 6.3, 6.8).

use std::collections::BTreeMap;

use nlb_protocol::frame::{PeerAck, State};
use nlb_protocol::{NodeId, Sequence};

use super::Engine;
use super::image::image;
use super::machine::{self, Event};
use super::peers::{Peer, incarnation_low};
use super::restart::Restart;
use super::twin::{Other, Twin};
use crate::notice::{FenceCause, Notice};
use crate::time::Time;

/// What a node remembers of its own membership.
#[derive(Debug, Clone, Hash)]
pub(super) struct Membership {
    /// When the node began to listen, or to join again.
    pub(super) joining_since: Time,
    /// When and with which number it first said `joining`, or `restarting`, since then.
    pub(super) said: Option<(Time, Sequence)>,
    /// Whether that has left.
    said_left: bool,
    /// When it last became active.
    pub(super) active_since: Time,
    /// When a fence cause was last seen.
    pub(super) fenced_at: Time,
    /// Nodes that others name and this node does not hear, each of their lives.
    pub(super) unheard: BTreeMap<(NodeId, u32), Unheard>,
    /// Since when nobody is heard, if so.
    pub(super) alone_since: Option<Time>,
    /// Something came off the wire since then.
    pub(super) witnessed: bool,
    /// Nothing came for so long that the receiver must be dead.
    pub(super) deaf: bool,
    /// Another machine with this node's id.
    pub(super) twin: Twin,
}

/// A node that others name and this node does not hear.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Unheard {
    /// Who names it.
    pub(super) via: NodeId,
    /// It, with the latest of its heartbeats that anybody named.
    pub(super) ack: PeerAck,
    /// When that last rose.
    pub(super) rose: Time,
    /// Since when it has been rising, without having been still for long.
    pub(super) rising: Option<Time>,
    /// Until when those that named it then keep it, if it restarts (SPEC 6.11.3h).
    pub(super) until: Time,
    /// That was said by a node that does not restart itself: of one that does it is its own time.
    pub(super) told: bool,
}

impl Membership {
    pub(super) fn new(now: Time) -> Self {
        Self {
            joining_since: now,
            said: None,
            said_left: false,
            active_since: now,
            fenced_at: now,
            unheard: BTreeMap::new(),
            alone_since: None,
            witnessed: false,
            deaf: false,
            twin: Twin::default(),
        }
    }

    pub(super) fn wanted_witness(&self) -> Option<Time> {
        self.alone_since.filter(|_| !self.witnessed)
    }

    /// Joining began anew.
    fn restart(&mut self, now: Time) {
        self.joining_since = now;
        self.forget_said();
    }

    /// The process before this one was alone, and knew that it is not deaf.
    pub(super) fn go_on_alone(&mut self, now: Time) {
        (self.alone_since, self.witnessed) = (Some(now), true);
    }

    /// What was said counts no more.
    pub(super) fn forget_said(&mut self) {
        (self.said, self.said_left) = (None, false);
    }

    /// A heartbeat that was handed out then has left: before, nobody can have been told.
    pub(super) fn note_left(&mut self, sequence: Sequence, handed: Time) {
        if !self.said_left && self.said.is_some_and(|(_, said)| sequence >= said) {
            (self.said, self.said_left) = (Some((handed, sequence)), true);
        }
    }
}

impl Engine {
    /// Moves through the state machine and does what the step takes.
    pub(super) fn raise(&mut self, event: Event, cause: Option<FenceCause>) {
        let from = self.state;
        let to = machine::next(from, event);
        if from == to {
            return;
        }
        self.state = to;
        self.cause = cause;
        self.sender.dirty = true;
        match to {
            State::Active if from != State::Draining => self.membership.active_since = self.now,
            State::Joining => self.membership.restart(self.now),
            State::Fenced => self.give_up_rights(),
            State::Active | State::Draining | State::Leaving | State::Restarting => {}
        }
        self.notify(Notice::State { from, to, cause });
    }

    /// The hash seed of the active peers wins over the own proposal (SPEC 5.5).
    pub(super) fn follow_seed(&mut self) {
        if machine::serves(self.state) {
            return;
        }
        let active = self.peers.iter().find(|(_, peer)| peer.says.state == State::Active);
        let lower = self
            .peers
            .iter()
            .find(|(node, peer)| peer.says.state == State::Joining && *node < self.config.node);
        let seed = active.or(lower).map(|(_, peer)| peer.says.seed);
        if let Some(seed) = seed
            && seed != self.seed
        {
            self.seed = seed;
            self.sender.dirty = true;
        }
    }

    /// Looks for causes to fence and for the end of joining or of a fence.
    pub(super) fn step_state(&mut self) {
        self.note_unheard();
        if let Some(cause) = self.fence_cause() {
            self.fence(cause);
            return;
        }
        match self.state {
            State::Fenced => {
                if self.kernel.is_flushing() {
                    self.membership.fenced_at = self.now;
                }
                let timing = &self.config.timing;
                let over = self.now.since(self.membership.fenced_at) >= timing.quarantine();
                let left = self.sender.last_left();
                if over && left.is_some_and(|left| self.now.since(left) < timing.rights()) {
                    self.raise(Event::Clear, None);
                }
            }
            State::Joining | State::Restarting if self.may_become_active() => {
                self.restart = Restart::No;
                self.raise(Event::Ready, None);
                if self.drain.is_some() {
                    self.raise(Event::Drain, None);
                }
            }
            State::Joining
            | State::Active
            | State::Draining
            | State::Leaving
            | State::Restarting => {}
        }
    }

    /// Whether a peer's latest heartbeat still says whom it hears: not when it fell silent.
    pub(super) fn is_fresh(&self, peer: &Peer) -> bool {
        self.now.since(peer.heard) < self.config.timing.late()
    }

    /// How many nodes, this one included, could serve together.
    pub(super) fn group(&self) -> usize {
        let others = self.peers.iter().filter(|(_, peer)| {
            // One that restarts is kept although it does not say anything.
            peer.says.state == State::Restarting
                || peer.hears_us() && peer.says.state != State::Leaving
        });
        1 + others.count()
    }

    /// Whether the node may speak yet. It listens first, so that its first heartbeat names whom
    /// it hears, and nobody takes it for deaf. If it is, it stays silent: those who hear it and are
    /// not named would all fence, and nobody would serve.
    pub(super) fn may_speak(&self) -> bool {
        // Peers would take it for another life of the node that serves under this id.
        if matches!(self.state, State::Joining | State::Fenced) && self.is_barred() {
            return false;
        }
        if self.state != State::Joining {
            return true;
        }
        if self.sender.last_handed().is_some() {
            return !self.membership.deaf;
        }
        if self.peers.is_empty() && !self.membership.witnessed {
            return false;
        }
        let timing = &self.config.timing;
        let listened = self.now.since(self.membership.joining_since);
        listened >= timing.heartbeat * 2
            && (listened >= timing.dead_after || self.hears_all_named())
    }

    /// The heartbeat with this number says the state.
    pub(super) fn note_said(&mut self, sequence: Sequence) {
        let begins = matches!(self.state, State::Joining | State::Restarting);
        if begins && self.membership.said.is_none() {
            self.membership.said = Some((self.now, sequence));
        }
    }

    /// Whether a joining node has said so for as long as joining takes at most (SPEC 6.3.6b).
    pub(super) fn has_joined_for_long(&self) -> bool {
        let timing = &self.config.timing;
        let said = self.membership.said.filter(|_| self.membership.said_left);
        // Whoever has not read what came meanwhile does not know whether it is alone.
        said.is_some_and(|(at, _)| self.read.since(at) >= timing.dead_after + timing.heartbeat)
    }

    /// Whether everyone whom the peers name is heard.
    fn hears_all_named(&self) -> bool {
        let mut fresh = self.peers.iter().filter(|(_, peer)| self.is_fresh(peer));
        fresh.all(|(_, peer)| peer.strangers.is_empty())
    }

    /// R1: the conditions under which a joining node takes part.
    fn may_become_active(&self) -> bool {
        let timing = &self.config.timing;
        if self.restart.is_going() || self.waits_for_return() {
            return false;
        }
        let Some((_, said)) = self.membership.said.filter(|_| self.membership.said_left) else {
            return false;
        };
        let asked = |peer: &Peer| {
            machine::counts(peer.says.state)
                || (peer.says.state == State::Fenced && peer.hears_us())
        };
        let acknowledged = self
            .peers
            .iter()
            .all(|(_, peer)| !asked(peer) || peer.acked.is_some_and(|acked| acked >= said));
        let full = self.has_joined_for_long();
        let listened = self.now.since(self.membership.joining_since) >= timing.heartbeat * 2;
        let active = self.peers.iter().any(|(_, peer)| peer.says.state == State::Active);
        let short = listened && active && self.hears_all_named();
        let foreign_seed = self
            .peers
            .iter()
            .any(|(_, peer)| peer.says.state == State::Active && peer.says.seed != self.seed);
        let sees = !self.peers.is_empty() || self.membership.witnessed;
        acknowledged
            && (full || short)
            && self.hears_enough()
            && self.is_caught_up()
            && !foreign_seed
            && !self.is_barred()
            && sees
            && !self.kernel.is_flushing()
            && self.group() >= self.config.min_members
    }

    /// Whether those that are named and not heard may be left alone: they have higher ids, and go
    /// on sending, as later heartbeats of theirs that were named show. One that does not is about to
    /// end, or restarts and still has clients whose pins this node does not hold; one that has just
    /// begun to may be heard here in a moment.
    fn hears_enough(&self) -> bool {
        let timing = &self.config.timing;
        let mut unheard = self.membership.unheard.iter();
        let goes_on = |it: &Unheard| {
            let long = |since| self.now.since(since) >= timing.heartbeat * 2;
            self.now.since(it.rose) < timing.late() && it.rising.is_some_and(long)
        };
        unheard.all(|((node, _), it)| *node > self.config.node && goes_on(it))
    }

    /// Whether another machine with this node's id keeps it from joining.
    pub(super) fn is_barred(&self) -> bool {
        self.twins().any(|twin| twin.bars(self.config.incarnation))
    }

    /// Other machines with this node's id. A recording of an earlier life is none: if somebody is
    /// heard, he would hear it.
    pub(super) fn twins(&self) -> impl Iterator<Item = &Other> + '_ {
        let me = self.config.node;
        let hears = move |low: u32| {
            let mut fresh = self.peers.iter().filter(|(_, peer)| self.is_fresh(peer));
            fresh.any(|(_, peer)| {
                let mut named = peer.says.peers.iter();
                named.any(|ack| ack.node == me && ack.incarnation_low == low)
            })
        };
        let present = self.membership.twin.present(self.now, self.config.timing.dead_after);
        present.filter(move |twin| {
            let low = incarnation_low(twin.incarnation);
            twin.incarnation == self.config.incarnation || self.peers.is_empty() || hears(low)
        })
    }

    /// Deadlines of this file's rules.
    pub(super) fn membership_deadlines(&self, note: &mut impl FnMut(Time)) {
        let timing = &self.config.timing;
        for (_, peer) in self.peers.iter() {
            note(self.death(peer));
            note(peer.heard + timing.late());
            note(peer.appeared + self.acquaintance(peer));
            if let Some(sent) = peer.acked.and_then(|acked| self.sender.sent_at(acked)) {
                note(sent + timing.rights());
            }
        }
        for unheard in self.membership.unheard.values() {
            let Some(since) = unheard.rising else { continue };
            note(since + timing.grace());
            note(since + timing.heartbeat * 2);
        }
        self.membership.twin.deadlines(timing.dead_after).for_each(&mut *note);
        if let Some(since) = self.membership.wanted_witness() {
            note(since + timing.witness());
        }
        if let Some(left) = self.sender.last_left() {
            note(left + timing.rights());
        }
        match self.state {
            State::Joining | State::Restarting => {
                note(self.membership.joining_since + timing.heartbeat * 2);
                note(self.membership.joining_since + timing.dead_after);
                note(self.membership.joining_since + timing.dead_after + timing.grace());
                if let Some((at, _)) = self.membership.said {
                    note(at + timing.dead_after + timing.heartbeat);
                }
            }
            State::Fenced => note(self.membership.fenced_at + timing.quarantine()),
            State::Active | State::Draining | State::Leaving => {}
        }
    }
}

image! {
    Membership {
        joining_since, said, said_left, active_since, fenced_at, unheard, alone_since, witnessed,
        deaf, twin,
    }
}
image! { Unheard { via, ack, rose, rising, until, told } }
