//! The stage: what becomes of a client's packet (SPEC 6.6, 6.9, 7.2).
//!
//! Here ownership takes effect. A decision is made at one instant, from what the node knows then,
//! and never without asking whether the node may decide at all.

use core::net::IpAddr;

use nlb_protocol::frame::State;
use nlb_protocol::{Bucket, NodeId};

use super::Engine;
use super::clients::Held;
use super::machine;
use crate::packet::{ClientPacket, DropCause, PacketId, Verdict};
use crate::time::Time;

/// Held packets that are decided on in one look. With 63 peers a decision may take some
/// microseconds; 4096 are decided on within 64 ms.
const DECIDED: usize = 64;

/// What the rules say of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// The client is kept already.
    Keep,
    /// The client is new and taken.
    Admit,
    /// Not settled yet.
    Hold,
    /// A leaving node lets the client go.
    LetGo,
    Drop(DropCause),
}

impl Engine {
    /// The verdict on a packet that has just come.
    pub(super) fn judge(&mut self, packet: ClientPacket, arrival: Time) -> Verdict {
        let decision = self.decide(&packet, arrival);
        if decision != Decision::Hold {
            return self.carry_out(decision, &packet);
        }
        if self.waiting.len() >= self.config.limits.held {
            return self.carry_out(Decision::Drop(DropCause::HeldTooMany), &packet);
        }
        self.counters.held += 1;
        self.waiting.held.push_back(Held { packet, arrival });
        Verdict::Hold
    }

    /// Moves the held packets that are settled by now to where their verdicts are fetched. Some at
    /// a time: a flood of packets for buckets that are coming must not hold up the heartbeats by
    /// which they come.
    pub(super) fn settle_held(&mut self) {
        if self.waiting.held.is_empty() || !self.waiting.begin_look(self.now) {
            return;
        }
        let may_answer = self.may_answer();
        let mut room = DECIDED;
        let mut again = Vec::new();
        for packet in core::mem::take(&mut self.waiting.held) {
            if !may_answer {
                self.waiting.ready.push_back(packet);
            } else if self.still_comes(&packet) {
                self.waiting.held.push_back(packet);
            } else if room == 0 {
                self.waiting.look_again();
                self.waiting.held.push_back(packet);
            } else {
                room -= 1;
                match self.decide_held(&packet) {
                    // Behind those that were not decided.
                    Decision::Hold => again.push(packet),
                    _ => self.waiting.ready.push_back(packet),
                }
            }
        }
        self.waiting.held.extend(again);
    }

    /// Whether a held packet waits in any case, because its bucket is still to come: the usual
    /// reason, and seen without asking who keeps its client.
    fn still_comes(&self, held: &Held) -> bool {
        let Held { packet, arrival } = held;
        let bucket = self.bucket(packet.client);
        self.state == State::Active
            && self.view.mine.contains(bucket)
            && !self.accepts.contains(bucket)
            && *arrival >= self.membership.active_since
            && self.now.since(*arrival) < self.config.timing.hold()
            && self.clients.get(bucket, packet.client).is_none()
    }

    /// The next verdict on a held packet. It is decided at this instant, whatever was true when
    /// it was settled.
    pub(super) fn next_verdict(&mut self) -> Option<(PacketId, Verdict)> {
        while let Some(held) = self.waiting.ready.pop_front() {
            match self.decide_held(&held) {
                Decision::Hold => self.waiting.held.push_back(held),
                decision => {
                    let verdict = self.carry_out(decision, &held.packet);
                    self.counters.held_admitted += u64::from(verdict == Verdict::Accept);
                    return Some((held.packet.id, verdict));
                }
            }
        }
        None
    }

    /// Whether the node may answer anybody now: it serves, and its latest heartbeat left less
    /// than a lease ago (SPEC 6.8).
    fn may_answer(&self) -> bool {
        let deadline = self.sender.last_left().map(|left| left + self.config.timing.lease());
        machine::serves(self.state)
            && !self.leave.is_over()
            && !self.kernel.is_flushing()
            && deadline.is_some_and(|deadline| self.now < deadline)
    }

    fn decide(&self, packet: &ClientPacket, arrival: Time) -> Decision {
        if !self.may_answer() || arrival < self.membership.active_since {
            return Decision::Drop(DropCause::NoRight);
        }
        if self.now.since(arrival) >= self.config.timing.hold() {
            return Decision::Drop(DropCause::HeldTooLong);
        }
        let bucket = self.bucket(packet.client);
        if let Some(client) = self.clients.get(bucket, packet.client) {
            return if packet.opens && self.lets_go(client.seen) {
                Decision::LetGo
            } else {
                Decision::Keep
            };
        }
        if let Some(decision) = self.decide_pinned(packet, arrival, bucket) {
            return decision;
        }
        if self.accepts.contains(bucket) {
            return self.decide_own(packet, arrival, bucket);
        }
        if self.state == State::Active && self.view.mine.contains(bucket) {
            return Decision::Hold;
        }
        if self.view.late_mine.contains(bucket) && self.is_late_owner(bucket, arrival) {
            return Decision::Hold;
        }
        Decision::Drop(DropCause::Foreign)
    }

    /// The same for a packet that waited. Its client may have been taken meanwhile, by another
    /// packet that waited: that does not tell who answered this one (SPEC 6.9.3).
    fn decide_held(&self, held: &Held) -> Decision {
        let Held { packet, arrival } = held;
        match self.decide(packet, *arrival) {
            Decision::Keep if self.is_doubtful(packet, *arrival, self.bucket(packet.client)) => {
                Decision::Drop(DropCause::MaybeAnswered)
            }
            decision => decision,
        }
    }

    /// Whether another node may have answered a packet.
    fn is_doubtful(&self, packet: &ClientPacket, arrival: Time, bucket: Bucket) -> bool {
        self.waiting.is_doubtful(bucket, packet.opens, arrival)
            || self.waiting.may_be_answered(packet, arrival)
            || self.answered_by_peer(packet.fingerprint)
    }

    /// A new client of a bucket that is accepted.
    fn decide_own(&self, packet: &ClientPacket, arrival: Time, bucket: Bucket) -> Decision {
        if self.is_doubtful(packet, arrival, bucket) {
            Decision::Drop(DropCause::MaybeAnswered)
        } else if self.clients.len() >= self.config.limits.sticky {
            Decision::Drop(DropCause::StickyFull)
        } else {
            Decision::Admit
        }
    }

    /// A client that a peer keeps. Its packets wait only where the peer is about to let it go.
    fn decide_pinned(
        &self,
        packet: &ClientPacket,
        arrival: Time,
        bucket: Bucket,
    ) -> Option<Decision> {
        let keeper = self.keeper(packet.client)?;
        let ours = self.accepts.contains(bucket)
            || self.state == State::Active && self.view.mine.contains(bucket)
            || self.view.late_mine.contains(bucket);
        let leaving = self.peers.get(keeper).is_some_and(|p| p.says.state == State::Leaving);
        let ending = leaving || self.is_past_rights(keeper, arrival);
        Some(if packet.opens && ours && ending {
            Decision::Hold
        } else {
            Decision::Drop(DropCause::Pinned)
        })
    }

    /// The peer that keeps a client, by its pin log.
    pub(super) fn keeper(&self, client: IpAddr) -> Option<NodeId> {
        let mut keepers = self.peers.iter().filter(|(_, peer)| peer.pins.clients.contains(client));
        keepers.next().map(|(node, _)| node)
    }

    fn answered_by_peer(&self, fingerprint: u64) -> bool {
        self.peers.iter().any(|(_, peer)| peer.pins.answered.contains(fingerprint))
    }

    /// Whether `node` is late, and the packet came when its rights were over for certain.
    fn is_past_rights(&self, node: NodeId, arrival: Time) -> bool {
        self.rights_end(node).is_some_and(|end| arrival > end)
    }

    fn is_late_owner(&self, bucket: Bucket, arrival: Time) -> bool {
        self.view.table.owner(bucket).is_some_and(|owner| self.is_past_rights(owner, arrival))
    }

    fn carry_out(&mut self, decision: Decision, packet: &ClientPacket) -> Verdict {
        let bucket = self.bucket(packet.client);
        match decision {
            Decision::Keep => {
                if let Some(client) = self.clients.get_mut(bucket, packet.client) {
                    client.seen = self.now;
                }
                self.note_answered(packet);
                Verdict::Accept
            }
            Decision::Admit => {
                self.clients.insert(bucket, packet.client, self.now);
                if !self.view.mine.contains(bucket) {
                    self.log.pin(packet.client);
                }
                self.counters.admitted += 1;
                self.note_answered(packet);
                Verdict::Accept
            }
            Decision::LetGo => {
                self.let_go(bucket, packet.client);
                self.counters.dropped_foreign += 1;
                Verdict::Drop
            }
            // Whoever asks for a verdict gets none from here; the packet is not kept either.
            Decision::Hold => Verdict::Hold,
            Decision::Drop(cause) => {
                self.count_drop(cause);
                let lasting = cause == DropCause::Pinned && self.refuse(packet.client);
                if lasting { Verdict::Refuse } else { Verdict::Drop }
            }
        }
    }

    /// A leaving node says which packets it answered itself (SPEC 6.10).
    fn note_answered(&mut self, packet: &ClientPacket) {
        if self.state == State::Leaving && packet.opens {
            self.log.answered(packet.fingerprint);
        }
    }

    fn count_drop(&mut self, cause: DropCause) {
        let counters = &mut self.counters;
        let counter = match cause {
            DropCause::Foreign => &mut counters.dropped_foreign,
            DropCause::Pinned => &mut counters.dropped_pinned,
            DropCause::NoRight => &mut counters.dropped_no_right,
            DropCause::HeldTooLong => &mut counters.dropped_held_too_long,
            DropCause::HeldTooMany => &mut counters.dropped_held_too_many,
            DropCause::MaybeAnswered => &mut counters.dropped_maybe_answered,
            DropCause::StickyFull => &mut counters.dropped_sticky_full,
        };
        *counter += 1;
    }

    /// A peer pinned a client. Two nodes can both keep one only after a partition: the lower id
    /// goes on (SPEC 6.7.7).
    pub(super) fn pinned_by_peer(&mut self, node: NodeId, client: IpAddr) {
        let bucket = self.bucket(client);
        if self.clients.get(bucket, client).is_none() {
            return;
        }
        if node < self.config.node {
            // Out of the log only when it is out of the kernel.
            self.clients.remove(bucket, client);
            self.kernel.forget(client);
        } else {
            self.log.pin(client);
        }
    }

    /// When the oldest held packet's time is over.
    pub(super) fn hold_deadline(&self) -> Option<Time> {
        let oldest = self.waiting.held.iter().map(|held| held.arrival).min();
        oldest.map(|arrival| arrival + self.config.timing.hold())
    }
}

#[cfg(test)]
mod tests;
