//! Frames and packets on their way in.

use std::rc::Rc;

use nlb_engine::PacketId;
use nlb_engine::Verdict;
use nlb_engine::packet::ClientPacket;
use nlb_protocol::frame::Frame;

use super::{Event, US, World};
use crate::check::Packet;
use crate::clients::Client;
use crate::kernel::Fate;
use crate::mutate::{self, Mutation, Receiver};
use crate::node;
use crate::rng::Chance;

impl World {
    pub(super) fn frame_arrives(&mut self, index: usize, frame: &Rc<Frame>) {
        let node = &mut self.nodes[index];
        if node.engine.is_none() || node.deaf || node.down == self.links.all() {
            return;
        }
        if node.paused.is_some() {
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
        let mutation = self.options.mutation;
        let arrival = if mutation == Some(Mutation::ArrivalNow) { self.now } else { arrival };
        let (arrival, now) = (node.clock(arrival), node.clock(self.now));
        let frame = match mutation {
            Some(mutation) => mutate::frame(mutation, frame, &Receiver::of(node, engine)),
            None => Some(frame),
        };
        if let Some(frame) = frame {
            self.with(index, |engine| engine.handle_frame(frame, arrival, now));
        }
    }

    /// Clients begin to send.
    pub(super) fn start_clients(&mut self) {
        for number in 0..self.schedule.clients.count {
            let mut chance = self.chance(Chance::Client, u64::from(number), 0);
            let spec = self.schedule.clients;
            let at = (spec.start_us + chance.range(0, spec.period_us)) * US;
            let client = self.clients.len();
            self.clients.push(Client::new(number, &self.schedule, chance));
            self.at(at, Event::Client(client));
        }
    }

    pub(super) fn client_sends(&mut self, client: usize) {
        let spec = self.schedule.clients;
        let sender = &mut self.clients[client];
        let opened = sender.opened;
        if sender.follow > 0
            && self.check.packets.get(opened).is_some_and(|packet| packet.first.is_none())
        {
            // A connection goes on when it was answered; after a while it is begun again.
            if self.now > self.check.packets[opened].sent + (spec.flow_us * 50) * US {
                sender.follow = 0;
            }
            self.at(self.now + spec.flow_us * US / 2, Event::Client(client));
            return;
        }
        let (opens, gap) = sender.step(&spec);
        let address = sender.address;
        let number = self.check.packets.len();
        if opens {
            sender.opened = number;
        }
        let mut chance = self.chance(Chance::Packet, client as u64, self.now);
        let fingerprint = chance.bits();
        let id = PacketId(u32::try_from(number).unwrap_or(u32::MAX));
        let packet = ClientPacket { id, client: address, opens, fingerprint };
        self.check.packets.push(Packet { client: address, sent: self.now, first: None });
        let path = chance.index(usize::from(self.schedule.paths));
        for index in 0..self.nodes.len() {
            let lost = chance.chance(self.schedule.network.packet_loss_ppm);
            let after = 20 + chance.range(0, self.schedule.network.skew_us);
            if !lost {
                self.at(self.now + after * US, Event::Packet(index, path, packet));
            }
        }
        self.at(self.now + gap.max(1) * US, Event::Client(client));
    }

    pub(super) fn packet_arrives(&mut self, index: usize, path: usize, packet: ClientPacket) {
        let now = self.now;
        let node = &mut self.nodes[index];
        if node.deaf || node.down & 1 << path != 0 {
            return;
        }
        match node.kernel.packet(packet.client, path, now) {
            Fate::Dropped => {}
            Fate::Accepted => {
                self.tell(index, || format!("packet {} by the kernel", packet.id.0));
                self.accepted(index, packet.id);
            }
            Fate::Queued if node.engine.is_none() => {}
            Fate::Queued if node.queue.len() + node.held >= node::QUEUE => {}
            Fate::Queued if node.paused.is_some() => node.queue.push_back((packet, now)),
            Fate::Queued => {
                self.judge(index, packet, now);
                self.pump(index);
            }
        }
    }

    pub(super) fn judge(&mut self, index: usize, packet: ClientPacket, arrival: u64) {
        let mutation = self.options.mutation;
        let late = mutation == Some(Mutation::ArrivalNow) || mutation == Some(Mutation::PacketsNow);
        let (arrival, mut now) = (if late { self.now } else { arrival }, self.now);
        if mutation == Some(Mutation::StaleStage) {
            // The stage does not ask for the time: what it had when the packet came will do.
            now = arrival;
        }
        let (arrival, now) = (self.nodes[index].clock(arrival), self.nodes[index].clock(now));
        let verdict = self.with(index, |engine| engine.handle_packet(packet, arrival, now));
        let why = self.drops(index);
        self.tell(index, || {
            format!("packet {} of {}: {verdict:?} {why}", packet.id.0, packet.client)
        });
        match verdict {
            Some(Verdict::Hold) => self.nodes[index].held += 1,
            Some(verdict) => self.verdict(index, packet.id, verdict),
            None => {}
        }
    }

    /// What a node dropped so far, by cause, for the trace.
    pub(super) fn drops(&self, index: usize) -> String {
        let engine = self.nodes[index].engine.as_ref().filter(|_| self.options.trace);
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
        let client = self.check.packets[id.0 as usize].client;
        let now = self.now;
        match verdict {
            Verdict::Accept => {
                self.nodes[index].kernel.accepted(client, now);
                self.accepted(index, id);
            }
            Verdict::Refuse => self.nodes[index].kernel.refused(client, now),
            Verdict::Drop | Verdict::Hold => {}
        }
    }
}
