//! What a frame of a peer changes (SPEC 5.3, 6.3, 6.7).

use core::net::IpAddr;

use nlb_protocol::frame::{
    Frame, Header, Heartbeat, Information, Load, Message, PeerAck, PinDelta, PinRequest,
    PinSnapshot, PinWant, State,
};
use nlb_protocol::ids::MAX_PEERS;
use nlb_protocol::{Buckets, NodeId, PinVersion, Sequence};

use super::Engine;
use super::machine;
use super::peers::{Peer, Proof, Refusal, incarnation_low, later16, takes_up};
use super::replica::{Changes, Replica};
use crate::notice::Notice;
use crate::time::Time;

impl Engine {
    /// A frame of the cluster, as it was decoded.
    pub(super) fn receive(&mut self, frame: Frame, arrival: Time) {
        let header = frame.header;
        if header.node == self.config.node {
            self.own_id(&header, &frame.message, arrival);
            return;
        }
        if header.incarnation.0 == 0 || header.cluster != self.config.cluster {
            self.counters.unusable += 1;
            return;
        }
        match frame.message {
            Message::Heartbeat(heartbeat) => self.heartbeat(&header, heartbeat, arrival),
            Message::Information(information) if self.accept(&header, false, arrival) => {
                self.information(&header, information);
            }
            Message::PinDelta(delta) if self.accept(&header, true, arrival) => {
                self.delta(&header, &delta)
            }
            Message::PinSnapshot(part) if self.accept(&header, true, arrival) => {
                self.part(&header, &part)
            }
            Message::PinRequest(request) if self.accept(&header, true, arrival) => {
                self.requested(&header, &request)
            }
            Message::Information(_)
            | Message::PinDelta(_)
            | Message::PinSnapshot(_)
            | Message::PinRequest(_) => {}
        }
    }

    /// A frame with this node's id: its own, come back, or another machine's (SPEC 6.3.8).
    fn own_id(&mut self, header: &Header, message: &Message, arrival: Time) {
        // A number that was not used yet is of a machine that was cloned while it ran.
        if header.incarnation == self.config.incarnation && header.sequence <= self.sender.latest()
        {
            return;
        }
        self.counters.own_node_id += 1;
        if self.counters.own_node_id.is_power_of_two() {
            self.notify(Notice::OwnNodeId);
        }
        if let Message::Heartbeat(heartbeat) = message {
            self.membership.twin.hear(header, heartbeat.state, arrival);
        }
    }

    /// Whether a frame that is no heartbeat may be used; if so, its number is used up.
    fn accept(&mut self, header: &Header, pins: bool, arrival: Time) -> bool {
        let verdict = self.peers.check(header, Proof::None);
        let known = self.peers.get_mut(header.node);
        match (verdict, known) {
            (Ok(()), Some(peer)) if peer.incarnation == header.incarnation => {
                peer.sequence = header.sequence;
                peer.seen = arrival.max(peer.seen);
                peer.lively = arrival.max(peer.lively);
                true
            }
            // Nothing was heard of the sender that this could belong to (SPEC 6.3.2).
            (Ok(()) | Err(Refusal::Unknown), _) if pins => {
                self.counters.pins_unknown += 1;
                false
            }
            (verdict, _) => {
                self.count_refusal(verdict.err().unwrap_or(Refusal::Unknown));
                false
            }
        }
    }

    fn count_refusal(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::Replayed => self.counters.replayed += 1,
            Refusal::OldIncarnation => self.counters.old_incarnation += 1,
            Refusal::TooMany => self.counters.too_many_peers += 1,
            Refusal::Unknown => self.counters.unusable += 1,
        }
    }

    fn heartbeat(&mut self, header: &Header, mut says: Heartbeat, arrival: Time) {
        let node = header.node;
        says.peers.truncate(MAX_PEERS);
        says.peers.sort_by_key(|ack| ack.node);
        says.peers.dedup_by_key(|ack| ack.node);
        let low = incarnation_low(self.config.incarnation);
        let names_us = |ack: &&PeerAck| ack.node == self.config.node && ack.incarnation_low == low;
        let named = says.peers.iter().find(names_us).map(|ack| ack.sequence_low);
        let acked = named.map(|sequence| self.sender.acknowledged(sequence));
        // Nobody has recorded a heartbeat that acknowledges one of this process.
        let proof = match acked.filter(|acked| *acked >= self.sender.first()) {
            Some(acked) if !self.is_stale(acked, arrival) => Proof::Present,
            Some(_) => Proof::Process,
            None => Proof::None,
        };
        if let Err(refusal) = self.peers.check(header, proof) {
            self.count_refusal(refusal);
            return;
        }
        let acked = acked.filter(|acked| self.is_of_this_time(header, *acked, arrival));
        self.counters.heartbeats_received += 1;
        self.note_witness(arrival);
        self.view.see(says.epoch);
        self.peers.witness(&says.peers, arrival);
        if self.peers.get(node).is_none_or(|peer| peer.incarnation != header.incarnation) {
            self.begin_peer(header, says, acked, arrival);
        } else {
            self.update_peer(header, says, acked, arrival);
        }
        if proof != Proof::None {
            self.peers.prove(node);
        }
        self.note_peer_pins(node, arrival);
        self.note_overlap(node);
    }

    /// Whether a peer hears this node because it acknowledges this heartbeat. A machine that stood
    /// still, its clock too, names whom it heard before that: it has yet to hear anybody.
    fn is_of_this_time(&self, header: &Header, acked: Sequence, arrival: Time) -> bool {
        let known = self.peers.get(header.node);
        let back = match known.filter(|peer| peer.incarnation == header.incarnation) {
            Some(peer) if peer.hears_us() => return true,
            Some(peer) => peer.back,
            None => self.peers.was_dead(header.node, header.incarnation).then_some(arrival),
        };
        match back {
            Some(back) => self.sender.sent_at(acked).is_some_and(|sent| sent > back),
            // A process that took up a life has itself not spoken yet.
            None => self.sender.last_left().is_none() || !self.is_stale(acked, arrival),
        }
    }

    /// A node is heard for the first time, or in a new life.
    fn begin_peer(&mut self, header: &Header, says: Heartbeat, acked: Acked, arrival: Time) {
        let Header { node, incarnation, sequence, .. } = *header;
        if machine::serves(says.state) && !self.peers.contains(node) {
            // It served beside this node: a partition has healed.
            let now = self.now;
            nlb_protocol::Bucket::all().for_each(|bucket| self.waiting.doubt(bucket, now));
        }
        if self.peers.contains(node) {
            // Its kernel was flushed before it spoke again (SPEC 6.8).
            self.void_peer(node, arrival + self.config.timing.skew());
            self.peers.retire(node, self.now);
        }
        let peer = Peer {
            incarnation,
            sequence,
            heartbeat_sequence: sequence,
            heard: arrival,
            seen: arrival,
            lively: arrival,
            latest: sequence.low16(),
            appeared: self.now,
            back: self.peers.was_dead(node, incarnation).then_some(self.now),
            says,
            shows: 0,
            strangers: Vec::new(),
            acked,
            proven: false,
            overlap: 0,
            name: String::new(),
            software: String::new(),
            load: Load::default(),
            pins: Replica::default(),
            holds: PinVersion(0),
        };
        self.peers.insert(node, peer);
        // It is back, or its earlier life is over.
        self.away.retain(|(ack, _)| ack.node != node);
        self.sender.dirty = true;
        self.sender.information_wanted = true;
        self.notify(Notice::PeerAppeared { node, incarnation });
    }

    /// The next heartbeat of a known life.
    fn update_peer(&mut self, header: &Header, says: Heartbeat, acked: Acked, arrival: Time) {
        let node = header.node;
        let Some(peer) = self.peers.get_mut(node) else { return };
        let before = (peer.says.state, peer.says.weight, peer.hears_us());
        let after = (says.state, says.weight, acked.is_some());
        if machine::serves(before.0) && machine::pinless(after.0) {
            // It gave up its rights, and its kernel had followed before it said so.
            self.void_peer(node, arrival + self.config.timing.skew());
        }
        let Some(peer) = self.peers.get_mut(node) else { return };
        peer.sequence = header.sequence;
        peer.heartbeat_sequence = header.sequence;
        peer.heard = arrival.max(peer.heard);
        peer.seen = arrival.max(peer.seen);
        peer.lively = arrival.max(peer.lively);
        if later16(header.sequence.low16(), peer.latest) {
            peer.latest = header.sequence.low16();
        }
        if takes_up(&says) && !peer.takes_up() {
            // Its next process has yet to hear this node, and has another log.
            (peer.appeared, peer.holds) = (self.now, PinVersion(0));
        } else if before.2 && !after.2 && !takes_up(&says) {
            // It lost this node just now: that is not the beginning of an acquaintance. (A next
            // process has lost nobody yet: it ceases to name whom its predecessor heard.)
            peer.appeared = Time::ZERO;
        }
        peer.acked = acked;
        self.peers.hear(node, says);
        if before.0 != after.0 {
            self.notify(Notice::PeerState { node, from: before.0, to: after.0 });
        }
        if before.1 != after.1 {
            self.notify(Notice::PeerWeight { node, weight: after.1 });
        }
    }

    /// What the heartbeat means for the copy of the peer's pin log.
    fn note_peer_pins(&mut self, node: NodeId, arrival: Time) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(node) else { return };
        if machine::pinless(peer.says.state) && !peer.pins.void(peer.says.pin_version).is_empty() {
            self.reopen();
        }
        let Some(peer) = self.peers.get_mut(node) else { return };
        let parted = peer.says.state == State::Leaving && peer.says.pin_version.0 == 0;
        if parted && (!peer.pins.clients.is_empty() || peer.pins.behind.is_some()) {
            // It keeps nobody any more, and how it let them go was lost.
            self.void_peer(node, arrival);
        }
        let Some(peer) = self.peers.get_mut(node) else { return };
        peer.pins.note_named(peer.says.pin_version, false, now);
    }

    /// I1 as far as one node can see it.
    fn note_overlap(&mut self, node: NodeId) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        let mut shared = Buckets::EMPTY;
        if peer.hears_us() && machine::serves(peer.says.state) && machine::serves(self.state) {
            shared = peer.says.accepts.clone();
            shared.intersect_with(&self.accepts);
        }
        let buckets = shared.len();
        let new = buckets > peer.overlap;
        peer.overlap = buckets;
        if buckets > 0 {
            self.yield_overlap(node, &shared);
        }
        if new {
            self.counters.overlaps += 1;
            self.notify(Notice::Overlap { node, buckets });
        }
    }

    fn information(&mut self, header: &Header, information: Information) {
        if let Some(peer) = self.peers.get_mut(header.node) {
            peer.name = information.name;
            peer.software = information.software;
            peer.load = information.load;
        }
        self.note_settings(header.node, header.incarnation, information.settings);
    }

    /// How many pins of others still find room.
    pub(super) fn pin_room(&self) -> usize {
        let kept: usize = self.peers.iter().map(|(_, peer)| peer.pins.clients.len()).sum();
        self.config.limits.pins.saturating_sub(kept + self.waiting.gone_clients())
    }

    fn delta(&mut self, header: &Header, delta: &PinDelta) {
        self.waiting.expire(self.now);
        let room = self.pin_room();
        let Some(peer) = self.peers.get_mut(header.node) else { return };
        let changes = peer.pins.apply(delta, room);
        self.pins_changed(header.node, changes);
    }

    fn part(&mut self, header: &Header, part: &PinSnapshot) {
        self.waiting.expire(self.now);
        let (room, slice) = (self.pin_room(), self.config.limits.slice);
        let Some(peer) = self.peers.get_mut(header.node) else { return };
        let changes = peer.pins.take_part(part, room, slice);
        if changes.taken {
            peer.pins.snapshot = self.now;
        }
        self.pins_changed(header.node, changes);
    }

    fn requested(&mut self, header: &Header, request: &PinRequest) {
        let ours = request.owner == self.config.node
            && request.owner_incarnation == self.config.incarnation;
        if !ours {
            // An earlier life of this node may be meant: nobody else answers for that.
            self.counters.pins_astray += u64::from(request.owner == self.config.node);
            return;
        }
        if request.after > self.log.told() {
            self.counters.pins_astray += 1;
            return;
        }
        if let Some(peer) = self.peers.get_mut(header.node)
            && !matches!(request.want, PinWant::Snapshot(_))
        {
            peer.holds = peer.holds.max(request.after);
        }
        // The log of a node that fenced is void, and the heartbeat that says so tells it: without
        // the pins it would free clients for which packets wait that this node may have answered.
        if !machine::pinless(self.state) {
            self.log.resend(request.after, request.want);
        }
    }

    /// A peer's pins are others now.
    fn pins_changed(&mut self, node: NodeId, changes: Changes) {
        self.counters.pins_unusable += changes.unusable;
        self.reopen_unpinned(&changes);
        self.counters.pins_astray += u64::from(!changes.taken);
        let now = self.now;
        let Some(peer) = self.peers.get_mut(node) else { return };
        if changes.gap && !machine::pinless(peer.says.state) {
            // One before it was lost or overtaken: ask now, not after the next heartbeat.
            peer.pins.note_named(peer.says.pin_version, true, now);
        } else if changes.taken {
            peer.pins.note_progress(peer.says.pin_version, now);
        }
        if peer.says.state == State::Leaving {
            // It lets nobody go before it has decided on every packet itself for the linger time
            // and told which ones it answered. What came earlier its kernel may have answered;
            // what it refused came later (SPEC 6.10).
            let timing = &self.config.timing;
            let before = timing.linger().saturating_sub(timing.skew());
            let limit = now.before(before).max(peer.pins.snapshot);
            for client in changes.unpinned {
                let bucket = self.bucket(client);
                self.waiting.doubt(bucket, limit);
                self.waiting.doubt_rest(bucket, now);
            }
        }
        if !changes.lost.is_empty() {
            let expires = now + self.config.timing.hold();
            self.waiting.remember_lost(&changes.lost, expires, now);
        }
        self.compare_pins(node, &changes.pinned);
    }

    /// Looks for clients that a peer keeps and this node too, as soon as the copy of its log is
    /// complete: what it says on the way there may be long over.
    fn compare_pins(&mut self, node: NodeId, pinned: &[IpAddr]) {
        let kept = |client: &IpAddr| self.clients.get(self.bucket(*client), *client).is_some();
        let twice: Vec<IpAddr> = pinned.iter().copied().filter(kept).collect();
        let Some(peer) = self.peers.get_mut(node) else { return };
        twice.into_iter().for_each(|client| peer.pins.note_twice(client));
        self.settle_twice();
    }

    /// Decides who goes on with clients that a peer keeps and this node too.
    pub(super) fn settle_twice(&mut self) {
        let nodes: Vec<NodeId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_to_settle())
            .map(|(node, _)| node)
            .collect();
        for node in nodes {
            let room = self.slice();
            let Some(peer) = self.peers.get_mut(node) else { return };
            let some: Vec<IpAddr> =
                core::iter::from_fn(|| peer.pins.twice.pop()).take(room).collect();
            self.moving.spend(some.len());
            some.into_iter().for_each(|client| self.pinned_by_peer(node, client));
        }
    }
}

/// Which heartbeat of this node a peer heard last.
type Acked = Option<Sequence>;

#[cfg(test)]
mod tests;
