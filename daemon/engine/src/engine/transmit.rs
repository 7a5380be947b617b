//! What leaves, in which order (SPEC 6.12).

use nlb_protocol::NodeId;
use nlb_protocol::Sequence;
use nlb_protocol::frame::{Frame, Header, Heartbeat, Information, Message, PinRequest};

use super::Engine;
use super::leave::Leave;
use crate::time::Time;

/// A peer whose log is ahead is asked so often per heartbeat interval.
pub(super) const REQUESTS_PER_HEARTBEAT: u32 = 10;

impl Engine {
    /// The next frame that is due. Pins go before the heartbeat that names their version.
    pub(super) fn next_frame(&mut self) -> Option<Frame> {
        if core::mem::take(&mut self.recheck) {
            self.evaluate();
        }
        if self.is_mute() {
            return None;
        }
        if let Some(message) = self.next_pin_message() {
            return Some(self.frame(message).1);
        }
        if self.sender.heartbeat_due(self.now) {
            let heartbeat = Message::Heartbeat(self.heartbeat_now());
            let (sequence, frame) = self.frame(heartbeat);
            self.sender.heartbeat_handed(sequence, self.now);
            self.note_said(sequence);
            self.note_farewell();
            self.counters.heartbeats_sent += 1;
            return Some(frame);
        }
        if self.sender.information_due(self.now) {
            let information = Information {
                name: self.config.name.clone(),
                software: self.config.software.clone(),
                load: self.load,
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

    /// What the node says of itself now.
    fn heartbeat_now(&self) -> Heartbeat {
        Heartbeat {
            state: self.state,
            weight: self.weight,
            hold: self.hold_now(),
            epoch: self.view.named.0,
            digest: self.view.named.1,
            // In the last heartbeat: it keeps nobody, so no peer has to follow its log any more.
            pin_version: match self.leave {
                Leave::Parting { farewells: 0 | 1 } => nlb_protocol::PinVersion(0),
                _ => self.log.version(),
            },
            seed: self.seed,
            accepts: self.accepts.clone(),
            peers: self.named_peers(),
        }
    }

    fn next_pin_message(&mut self) -> Option<Message> {
        let request = self.next_request();
        if (request.is_none() && !self.log.is_pending()) || !self.sender.pin_allowed(self.now) {
            return None;
        }
        if let Some((owner, message)) = request {
            if let Some(peer) = self.peers.get_mut(owner) {
                peer.pins.asked = Some(self.now);
            }
            return Some(Message::PinRequest(message));
        }
        let message = self.log.next_message();
        // A release may have waited for this.
        self.recheck |= self.log.is_sent();
        message
    }

    /// What is to be asked of a peer whose log is ahead of the copy of it.
    fn next_request(&self) -> Option<(NodeId, PinRequest)> {
        let gap = self.config.timing.heartbeat / REQUESTS_PER_HEARTBEAT;
        let lacking = |asked: Option<Time>| asked.is_none_or(|at| self.now.since(at) >= gap);
        let mut behind =
            self.peers.iter().filter(|(_, p)| p.pins.behind.is_some() && lacking(p.pins.asked));
        behind.next().map(|(owner, peer)| {
            let after = nlb_protocol::PinVersion(peer.pins.version);
            (owner, PinRequest { owner, owner_incarnation: peer.incarnation, after })
        })
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
