//! When a node must not serve, and what it does then: R6, R7, R8 (SPEC 6.8).

use core::time::Duration;
use std::collections::BTreeMap;

use nlb_protocol::frame::State;
use nlb_protocol::{NodeId, PinVersion, Sequence};

use super::Engine;
use super::machine::{self, Event};
use super::membership::Unheard;
use super::peers::{Peer, later16};
use super::restart::Restart;
use crate::notice::FenceCause;
use crate::time::Time;

impl Engine {
    /// R6: whether the node has sent nothing for so long that it has no right left. A node that
    /// holds none has none to lose.
    pub(super) fn has_been_silent(&self) -> bool {
        let holds = match self.state {
            State::Active | State::Draining | State::Joining | State::Restarting => true,
            State::Leaving => self.leave.diverts(),
            State::Fenced => false,
        };
        if let Restart::Resumed { until } = self.restart
            && self.sender.last_left().is_none()
        {
            return self.now >= until;
        }
        holds
            && self
                .sender
                .last_left()
                .is_some_and(|left| self.now.since(left) >= self.config.timing.rights())
    }

    /// Fences, whatever the state (SPEC 6.8). A leaving node goes at once instead.
    pub(super) fn fence(&mut self, cause: FenceCause) {
        self.membership.fenced_at = self.now;
        if self.state == State::Leaving {
            self.abandon();
            return;
        }
        if self.state != State::Fenced {
            self.counters.fenced += 1;
        }
        self.raise(Event::Cause, Some(cause));
        if self.state == State::Fenced {
            self.cause = Some(cause);
        }
        if self.restart.is_going() {
            // There is nothing left that another process could go on with.
            self.begin_leaving();
        }
        self.restart = Restart::No;
    }

    /// Stops admitting and drops the right to every client. Nothing is sent until the kernel has
    /// followed.
    pub(super) fn give_up_rights(&mut self) {
        self.accepts = nlb_protocol::Buckets::EMPTY;
        self.moving = super::moving::Moving::default();
        self.clients.clear();
        self.log.void();
        self.kernel.flush();
        self.sender.dirty = true;
    }

    /// Keeps account of the nodes that are named and not heard.
    pub(super) fn note_unheard(&mut self) {
        let named = self.named_unheard();
        let now = self.now;
        let before = core::mem::take(&mut self.membership.unheard);
        let recent = self.config.timing.dead_after;
        let missing =
            |life: &(NodeId, u32)| !named.contains_key(life) && !self.peers.contains(life.0);
        let ended =
            |life: &(NodeId, u32)| missing(life) && !self.peers.ended_lately(life.0, recent, now);
        let ended = before.keys().any(ended);
        let lost = before.iter().filter(|(life, _)| missing(life)).map(|(_, unheard)| *unheard);
        let lost: Vec<Unheard> = lost.collect();
        if ended {
            // Whoever is named no more was never heard here: when it ceased to answer is not
            // known, only that it has (SPEC 6.9).
            self.doubt_all(now);
        }
        self.membership.unheard = named
            .into_iter()
            .map(|(life, new)| match before.get(&life) {
                Some(known) if later16(new.ack.sequence_low, known.ack.sequence_low) => {
                    let still = now.since(known.rose) >= self.config.timing.late();
                    let rising = known.rising.filter(|_| !still).or(Some(now));
                    (life, Unheard { rising, ..new })
                }
                Some(known) if new.told && !known.told => {
                    (life, Unheard { via: new.via, until: new.until, told: true, ..*known })
                }
                // What is said of it anew is hearsay: it lengthens nothing.
                Some(known) => (life, Unheard { via: new.via, ..*known }),
                None => (life, new),
            })
            .collect();
        self.note_away(&lost);
    }

    /// Who is named by peers that are fresh, and not heard: by whom, and the latest of its
    /// heartbeats that anybody named.
    fn named_unheard(&self) -> BTreeMap<(NodeId, u32), Unheard> {
        let now = self.now;
        let mut named: BTreeMap<(NodeId, u32), Unheard> = BTreeMap::new();
        for (via, peer) in self.peers.iter().filter(|(_, peer)| self.is_fresh(peer)) {
            for ack in &peer.strangers {
                let until = peer.heard + peer.says.hold;
                let told = peer.says.state != State::Restarting;
                let new = Unheard { via, ack: *ack, rose: now, rising: None, until, told };
                let latest = named.entry((ack.node, ack.incarnation_low)).or_insert(new);
                if later16(ack.sequence_low, latest.ack.sequence_low) {
                    latest.ack = *ack;
                }
                (latest.told, latest.until) = (latest.told, latest.until).max((told, until));
            }
        }
        named
    }

    /// R6, R7, R8: why this node must not serve now, if there is a reason.
    pub(super) fn fence_cause(&self) -> Option<FenceCause> {
        let timing = &self.config.timing;
        let fenced = self.state == State::Fenced;
        if self.kernel.has_failed() {
            return Some(FenceCause::Kernel);
        }
        if self.leave.is_over() {
            return None;
        }
        let mine = self.config.incarnation;
        let serves = matches!(self.state, State::Active | State::Draining | State::Restarting);
        if (fenced || serves) && self.twins().any(|twin| twin.ousts(mine)) {
            return Some(FenceCause::OwnNodeId);
        }
        if self.membership.deaf && (fenced || serves) {
            return Some(FenceCause::Deaf);
        }
        if let Some(cause) = self.ill_cause() {
            return Some(cause);
        }
        let joined = self.now.since(self.membership.joining_since);
        // It may have listened for dead-after before it spoke.
        if self.state == State::Joining && joined < timing.dead_after + timing.grace() {
            return None;
        }
        // Whoever leaves does not say any more whom it keeps to those whom it does not hear.
        let keeps = |peer: &Peer| {
            fenced && peer.says.state == State::Leaving && !peer.hears_us() && !has_parted(peer)
        };
        for (node, peer) in self.peers.iter() {
            let asked = machine::counts(peer.says.state) || keeps(peer) || peer.takes_up();
            if asked && let Some(cause) = self.unheard_by(node, peer) {
                return Some(cause);
            }
        }
        let grace = timing.grace();
        // Who sends nothing to those who name it either is on its way out, or restarts.
        let goes_on = |unheard: &Unheard| self.now.since(unheard.rose) < timing.late();
        let long = |since| self.now.since(since) >= grace;
        let unheard = self.membership.unheard.iter().filter(|(_, unheard)| goes_on(unheard));
        let lower = unheard.filter(|((node, _), _)| *node < self.config.node);
        for ((node, _), unheard) in lower {
            if fenced || unheard.rising.is_some_and(long) {
                return Some(FenceCause::PartialConnectivity { node: *node, via: unheard.via });
            }
        }
        self.too_few()
    }

    /// R6: whether this peer, which takes part, does not hear this node.
    fn unheard_by(&self, node: NodeId, peer: &Peer) -> Option<FenceCause> {
        let timing = &self.config.timing;
        let known = self.now.since(peer.appeared) >= self.acquaintance(peer);
        if peer.takes_up() && !known {
            // It names whom the process before it heard.
            return None;
        }
        let Some(acked) = peer.acked else {
            // Whoever served while this node was away had known it.
            let served = matches!(peer.says.state, State::Active | State::Draining);
            let forgot = self.state == State::Restarting && served;
            let at_once = self.state == State::Fenced || forgot;
            // A frame that strayed across a cut, or was recorded, is nobody who goes on sending.
            let sends = self.is_fresh(peer);
            return (sends && (known || at_once)).then_some(FenceCause::Unheard(node));
        };
        let active = peer.says.state == State::Active;
        if active && peer.says.seed != self.seed && node < self.config.node {
            return Some(FenceCause::ForeignSeed(node));
        }
        let fresh = self.now.since(peer.heard) < timing.heartbeat * 2;
        (fresh && self.is_stale(acked, self.now) && self.sender.last_left().is_some())
            .then_some(FenceCause::StaleAcknowledgement(node))
    }

    /// Whether whoever acknowledges this heartbeat has not heard this node for *rights*.
    pub(super) fn is_stale(&self, acked: Sequence, now: Time) -> bool {
        let rights = self.config.timing.rights();
        self.sender.sent_at(acked).is_none_or(|sent| now.since(sent) >= rights)
    }

    /// How long a peer may be heard before it must hear this node. One that takes up a life speaks
    /// before it has listened, and may turn out to be deaf: it is active later than this.
    pub(super) fn acquaintance(&self, peer: &Peer) -> Duration {
        let timing = &self.config.timing;
        let listening = if peer.takes_up() { timing.heartbeat * 2 } else { Duration::ZERO };
        timing.grace() + listening
    }

    /// R8: whether the group is smaller than it must be to serve.
    fn too_few(&self) -> Option<FenceCause> {
        let concerned = match self.state {
            State::Active | State::Draining | State::Fenced => true,
            // Nobody may wait for one that does not come any further.
            State::Joining | State::Restarting => self.has_joined_for_long(),
            State::Leaving => false,
        };
        (concerned && self.group() < self.config.min_members).then_some(FenceCause::TooFew)
    }
}

/// Whether a leaving peer answers nobody any more (SPEC 6.10.6).
fn has_parted(peer: &Peer) -> bool {
    peer.says.accepts.is_empty() && peer.says.pin_version == PinVersion(0)
}
