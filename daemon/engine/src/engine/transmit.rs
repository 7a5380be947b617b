//! What leaves, in which order (SPEC 6.12).

use core::time::Duration;

use nlb_protocol::NodeId;
use nlb_protocol::Sequence;
use nlb_protocol::frame::{
    Frame, Header, Heartbeat, Information, Message, PinRequest, PinWant, State,
};

use super::Engine;
use super::leave::Leave;
use super::peers::Peer;
use crate::time::Time;

/// A peer whose log is ahead is asked so often per heartbeat interval ...
const REQUESTS_PER_HEARTBEAT: u32 = 10;
/// ... but not less often than this: well within what its memory holds.
const REQUEST_GAP: Duration = Duration::from_millis(10);

impl Engine {
    /// The next frame that is due. Pins go before the heartbeat that names their version, but no
    /// number of pins keeps the regular one: where there is little processor time, the allowance
    /// of pins may come back as fast as they are sent.
    pub(super) fn next_frame(&mut self) -> Option<Frame> {
        if core::mem::take(&mut self.recheck) {
            self.evaluate();
        }
        if self.is_mute() {
            return None;
        }
        if self.sender.is_regular_due(self.now) {
            return Some(self.next_heartbeat());
        }
        if let Some(message) = self.next_pin_message() {
            return Some(self.frame(message).1);
        }
        if self.sender.trigger_due(self.now) {
            return Some(self.next_heartbeat());
        }
        if self.sender.information_due(self.now) {
            let information = Information {
                name: self.config.name.clone(),
                software: self.config.software.clone(),
                load: self.load,
                settings: self.alike.own(),
            };
            return Some(self.frame(Message::Information(information)).1);
        }
        None
    }

    /// Whether nothing may be sent: rights that were given up may still be in the kernel, whose
    /// gate every frame opens; or the node listens first; or it has left.
    fn is_mute(&self) -> bool {
        self.kernel.is_flushing()
            || self.kernel.has_failed()
            || self.leave == Leave::Gone
            || self.held().is_some()
            || !self.may_speak()
    }

    fn frame(&mut self, message: Message) -> (Sequence, Frame) {
        let sequence = self.sender.number();
        self.counters.frames_sent += 1;
        let header = Header {
            cluster: self.config.cluster,
            node: self.config.node,
            incarnation: self.config.incarnation,
            sequence,
        };
        (sequence, Frame { header, message })
    }

    fn next_heartbeat(&mut self) -> Frame {
        let heartbeat = Message::Heartbeat(self.heartbeat_now());
        let (sequence, frame) = self.frame(heartbeat);
        let unnamed = self.is_anybody_back();
        self.sender.heartbeat_handed(sequence, self.now);
        self.sender.dirty |= unnamed;
        self.note_said(sequence);
        self.note_farewell();
        self.note_restart_said();
        self.counters.heartbeats_sent += 1;
        frame
    }

    /// What the node says of itself now.
    fn heartbeat_now(&self) -> Heartbeat {
        Heartbeat {
            state: self.said_state(),
            weight: self.weight,
            hold: self.hold_now(),
            epoch: self.view.named.0,
            digest: self.view.named.1,
            // In the last heartbeat: it keeps nobody, so no peer has to follow its log any more.
            pin_version: match self.leave {
                Leave::Parting { farewells: 0 | 1 } => nlb_protocol::PinVersion(0),
                _ => self.log.told(),
            },
            seed: self.seed,
            health: self.service.health(),
            accepts: self.shown(),
            peers: self.named_peers(),
        }
    }

    fn next_pin_message(&mut self) -> Option<Message> {
        let request = self.next_request();
        if (request.is_none() && !self.log.is_pending()) || !self.sender.pin_allowed(self.now) {
            return None;
        }
        if let Some((owner, asks)) = request {
            return self.request(owner, asks).map(Message::PinRequest);
        }
        let message = self.log.next_message();
        // A release may have waited for this, or more clients to be pinned.
        self.recheck |= self.log.is_told() || self.is_working();
        message
    }

    /// Between two requests for the same log.
    fn request_gap(&self) -> Duration {
        (self.config.timing.heartbeat / REQUESTS_PER_HEARTBEAT).min(REQUEST_GAP)
    }

    /// When this peer's log is to be asked for, or to be acknowledged.
    fn request_at(&self, peer: &Peer) -> (Option<Time>, Option<Time>) {
        let gap = self.request_gap();
        let ask = peer.pins.ask_at(gap);
        // It shows a bucket that shall be this node's, or is about to end: it waits until its pins
        // are known here.
        let shows = || peer.shows > 0 && !peer.says.accepts.is_disjoint(&self.view.mine);
        let ends = peer.says.state == State::Restarting && !peer.takes_up() && self.is_fresh(peer);
        let waits = peer.hears_us() && (ends || shows());
        let acknowledge = || peer.pins.acknowledge_at(gap, self.config.timing.heartbeat);
        (ask, waits.then(acknowledge).flatten())
    }

    /// Whose log is to be asked for now, or to be acknowledged.
    fn next_request(&self) -> Option<(NodeId, bool)> {
        self.peers.iter().find_map(|(owner, peer)| {
            let (ask, acknowledge) = self.request_at(peer);
            let asks = ask.is_some_and(|at| at <= self.now);
            (asks || acknowledge.is_some_and(|at| at <= self.now)).then_some((owner, asks))
        })
    }

    fn request(&mut self, owner: NodeId, asks: bool) -> Option<PinRequest> {
        let peer = self.peers.get_mut(owner)?;
        let want = if asks { peer.pins.ask(self.now) } else { PinWant::Nothing };
        if !matches!(want, PinWant::Snapshot(_)) {
            peer.pins.acknowledge(self.now);
        }
        let after = peer.pins.version();
        Some(PinRequest { owner, owner_incarnation: peer.incarnation, after, want })
    }

    /// Deadlines of requests.
    pub(super) fn request_deadlines(&self, note: &mut impl FnMut(Time)) {
        for (_, peer) in self.peers.iter() {
            let (ask, acknowledge) = self.request_at(peer);
            for at in [ask, acknowledge].into_iter().flatten() {
                note(at.max(self.sender.pin_at()));
            }
        }
    }

    /// Takes up a new weight. Changes are coalesced: one in two heartbeats (SPEC 6.4).
    pub(super) fn take_weight(&mut self) {
        if self.weight == self.weight_wanted {
            return;
        }
        let gap = self.config.timing.heartbeat * 2;
        if self.weighed.is_none_or(|at| self.now.since(at) >= gap) {
            self.weight = self.weight_wanted;
            self.weighed = Some(self.now);
            self.sender.dirty = true;
        }
    }
}
