//! Frames and packets on their way in.

use std::rc::Rc;

use nlb_engine::PacketId;
use nlb_engine::Verdict;
use nlb_engine::packet::ClientPacket;
use nlb_protocol::frame::Frame;

use super::Event;
use super::MS;
use super::World;
use crate::check::Packet;
use crate::clients::Client;
use crate::kernel::Fate;
use crate::mutate;
use crate::mutate::Mutation;
use crate::mutate::Receiver;
use crate::node;
use crate::rng::Rng;

impl World {
    pub(super) fn frame_arrives(&mut self, index: usize, frame: &Rc<Frame>) {
        let node = &mut self.nodes[index];
        if node.engine.is_none() || node.deaf {
            return;
        }
        if node.paused {
            if node.socket.len() < node::SOCKET {
                node.socket.push_back(((**frame).clone(), self.now));
            }
            return;
        }
        self.read_frame(index, (**frame).clone(), self.now);
        self.pump(index);
    }

    pub(super) fn read_frame(&mut self, index: usize, frame: Frame, arrival: u64) {
        let node = &self.nodes[index];
        let Some(engine) = node.engine.as_ref() else { return };
        let receiver = Receiver {
            node: node.id,
            state: engine.state(),
            incarnation_low: u32::try_from(node.incarnation.0 & 0xffff_ffff).unwrap_or(0),
            latest: node.latest,
            view: engine.view(),
        };
        let arrival =
            if self.settings.mutation == Some(Mutation::ArrivalNow) { self.now } else { arrival };
        let (arrival, now) = (node.clock(arrival), node.clock(self.now));
        if let Some(frame) = mutate::frame(self.settings.mutation, frame, receiver) {
            self.with(index, |engine| engine.handle_frame(frame, arrival, now));
        }
    }

    /// Clients begin to send.
    pub fn start_clients(&mut self) {
        for number in 0..self.settings.clients {
            let client = self.clients.len();
            self.clients.push(Client::new(number));
            let at = self.now + self.rng.range(0, self.settings.period);
            self.at(at, Event::Client(client));
        }
    }

    pub(super) fn client_sends(&mut self, client: usize) {
        let period = self.settings.period;
        let opened = self.clients[client].opened;
        if self.clients[client].follow > 0
            && self.check.packets.get(opened).is_some_and(|packet| packet.first.is_none())
        {
            // A connection goes on when it was answered; after a second it is begun again.
            if self.now > self.check.packets[opened].sent + 1000 * MS {
                self.clients[client].follow = 0;
            }
            self.at(self.now + self.settings.flow / 2, Event::Client(client));
            return;
        }
        let (opens, gap) = self.clients[client].step(&mut self.rng, period, self.settings.flow);
        let address = self.clients[client].address;
        let number = self.check.packets.len();
        let packet = ClientPacket {
            id: PacketId(u32::try_from(number).unwrap_or(u32::MAX)),
            client: address,
            opens,
            fingerprint: Rng::new(number as u64).bits(),
        };
        if opens {
            self.clients[client].opened = number;
        }
        self.check.packets.push(Packet { client: address, sent: self.now, first: None });
        for index in 0..self.nodes.len() {
            if !self.rng.chance(self.settings.packet_loss) {
                let at = self.now + self.rng.range(MS / 50, MS / 2);
                self.at(at, Event::Packet(index, packet));
            }
        }
        self.at(self.now + gap, Event::Client(client));
    }

    pub(super) fn packet_arrives(&mut self, index: usize, packet: ClientPacket) {
        let now = self.now;
        let node = &mut self.nodes[index];
        if node.deaf {
            return;
        }
        match node.kernel.packet(packet.client, now) {
            Fate::Dropped => {}
            Fate::Accepted => {
                self.tell(index, || format!("packet {} by the kernel", packet.id.0));
                self.accepted(index, packet.id);
            }
            Fate::Queued if node.engine.is_none() => {}
            Fate::Queued if node.queue.len() + node.held >= node::QUEUE => {}
            Fate::Queued if node.paused => node.queue.push_back((packet, now)),
            Fate::Queued => {
                self.judge(index, packet, now);
                self.pump(index);
            }
        }
    }

    pub(super) fn judge(&mut self, index: usize, packet: ClientPacket, arrival: u64) {
        let arrival =
            if self.settings.mutation == Some(Mutation::ArrivalNow) { self.now } else { arrival };
        let (arrival, now) = (self.nodes[index].clock(arrival), self.nodes[index].clock(self.now));
        let verdict = self.with(index, |engine| engine.handle_packet(packet, arrival, now));
        let why = self.drops(index);
        self.tell(index, || {
            format!("packet {} of {}: {verdict:?} {why}", packet.id.0, packet.client)
        });
        match verdict {
            Some(Verdict::Hold) => self.nodes[index].held += 1,
            Some(Verdict::Refuse) => {
                let world = self.now;
                self.nodes[index].kernel.refused(packet.client, world);
            }
            Some(verdict) => self.verdict(index, packet.id, verdict),
            None => {}
        }
    }

    /// What a node dropped so far, by cause, for the trace.
    pub(super) fn drops(&self, index: usize) -> String {
        let engine = self.nodes[index].engine.as_ref().filter(|_| self.settings.trace);
        engine.map_or_else(String::new, |engine| {
            let c = engine.snapshot(nlb_engine::Time::ZERO).counters;
            let (foreign, pinned, right) =
                (c.dropped_foreign, c.dropped_pinned, c.dropped_no_right);
            let (long, many) = (c.dropped_held_too_long, c.dropped_held_too_many);
            let maybe = c.dropped_maybe_answered;
            format!("[foreign {foreign} pinned {pinned} no-right {right} long {long} many {many} maybe {maybe}]")
        })
    }

    pub(super) fn verdict(&mut self, index: usize, id: PacketId, verdict: Verdict) {
        if verdict == Verdict::Accept {
            let client = self.check.packets[id.0 as usize].client;
            let now = self.now;
            self.nodes[index].kernel.accepted(client, now);
            self.accepted(index, id);
        }
    }
}
