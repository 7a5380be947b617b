//! The world: one queue of events, one clock, one seed.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BinaryHeap;
use std::rc::Rc;

use nlb_engine::manage::Command;
use nlb_engine::packet::ClientPacket;
use nlb_engine::{Engine, KernelPlan, Notice, PacketId, Timing, Verdict};
use nlb_protocol::frame::{Frame, Message, State};
use nlb_protocol::{Bucket, Incarnation, Weight};

use crate::check::{Checker, Packet, Violation};
use crate::clients::Client;
use crate::kernel::Fate;
use crate::mutate::{self, Mutation, Receiver};
use crate::node::{self, Node, nanos};
use crate::rng::Rng;

/// A millisecond.
pub const MS: u64 = 1_000_000;
/// Polls at one instant after which an engine is said to spin.
const SPIN: usize = 200;

/// What a world is made with.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many nodes there are.
    pub nodes: usize,
    /// Their timers.
    pub timing: Timing,
    /// Frames lost on each link, per million.
    pub loss: u64,
    /// Frames doubled on each link, per million.
    pub doubled: u64,
    /// The longest way of a frame.
    pub delay: u64,
    /// Client packets that miss one node, per million.
    pub packet_loss: u64,
    /// The longest and the usual longest time that the kernel takes for a plan.
    pub applier: (u64, u64),
    /// How many clients there are.
    pub clients: u32,
    /// How long they wait between flows, on average.
    pub period: u64,
    /// How long they wait between the packets of a flow, on average.
    pub flow: u64,
    /// After so long a client is forgotten.
    pub idle: Duration,
    /// The most that a clock is wrong, in parts per million.
    pub drift: u64,
    /// The mistake to make.
    pub mutation: Option<Mutation>,
    /// Whether to tell what happens.
    pub trace: bool,
}

#[derive(Debug)]
enum Event {
    Boot(usize),
    Timer(usize, u64),
    Frame(usize, Rc<Frame>),
    Packet(usize, ClientPacket),
    Client(usize),
    Applied(usize, u32),
    Witness(usize, u32),
    Wake(usize, u32, u64),
    List(usize, u32),
    Repair(usize, u32),
    Weigh(usize, u32, u16),
}

struct Entry {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A segment with nodes and clients.
pub struct World {
    /// How it was made.
    pub settings: Settings,
    /// The time.
    pub now: u64,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// What was seen.
    pub check: Checker,
    /// The random numbers.
    pub rng: Rng,
    /// How many events there were.
    pub events: u64,
    /// How many frames were sent.
    pub frames: u64,
    /// Names the run: equal for equal runs.
    pub hash: u64,
    /// Until when the planned faults last.
    pub last_fault: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    clients: Vec<Client>,
    cuts: Vec<Vec<bool>>,
    clean_since: Vec<Vec<u64>>,
}

impl World {
    /// A world whose nodes are all down.
    #[must_use]
    pub fn new(seed: u64, settings: Settings) -> Self {
        let mut rng = Rng::new(seed);
        let nodes = (0..settings.nodes)
            .map(|index| {
                let drift = rng.range(0, settings.drift * 2 + 1);
                let drift =
                    i64::try_from(drift).unwrap_or(0) - i64::try_from(settings.drift).unwrap_or(0);
                let offset = rng.range(100_000 * MS, 10_000_000 * MS);
                let id = index as u64 + 1;
                Node::new(id, settings.timing, settings.idle, drift, offset)
            })
            .collect();
        let size = settings.nodes;
        Self {
            settings,
            now: 0,
            nodes,
            check: Checker::default(),
            rng,
            events: 0,
            frames: 0,
            hash: 0xcbf2_9ce4_8422_2325,
            last_fault: 0,
            queue: BinaryHeap::new(),
            order: 0,
            clients: Vec::new(),
            cuts: vec![vec![false; size]; size],
            clean_since: vec![vec![0; size]; size],
        }
    }

    fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Entry { at, order: self.order, event }));
    }

    fn note(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(0x0100_0000_01b3);
    }

    fn tell(&self, index: usize, what: impl FnOnce() -> String) {
        if self.settings.trace {
            let (ms, us) = (self.now / MS, self.now % MS / 1000);
            println!("{ms:>7}.{us:03} n{} {}", index + 1, what());
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, until: u64) {
        while self.queue.peek().is_some_and(|Reverse(entry)| entry.at <= until) {
            let Some(Reverse(entry)) = self.queue.pop() else { break };
            self.now = entry.at;
            self.events += 1;
            self.note(entry.at);
            self.step(entry.event);
        }
        self.now = self.now.max(until);
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Boot(index) => self.boot(index),
            Event::Timer(index, timer) => {
                if self.nodes[index].timer == timer && self.nodes[index].runs() {
                    let now = self.nodes[index].clock(self.now);
                    self.with(index, |engine| engine.handle_timeout(now));
                    self.pump(index);
                }
            }
            Event::Frame(index, frame) => self.frame_arrives(index, &frame),
            Event::Packet(index, packet) => self.packet_arrives(index, packet),
            Event::Client(client) => self.client_sends(client),
            Event::Applied(index, life) => self.plan_applied(index, life),
            Event::Witness(index, life) => {
                let node = &self.nodes[index];
                if node.life == life && node.runs() && !node.deaf {
                    let now = node.clock(self.now);
                    self.with(index, |engine| engine.handle_witness(now));
                    self.pump(index);
                }
            }
            Event::Wake(index, life, since) => self.wake(index, life, since),
            Event::List(index, life) => self.list(index, life),
            Event::Repair(index, life) => self.repair(index, life),
            Event::Weigh(index, life, weight) => {
                if self.nodes[index].life == life {
                    self.weigh(index, weight);
                }
            }
        }
    }

    fn with<T>(&mut self, index: usize, act: impl FnOnce(&mut Engine) -> T) -> Option<T> {
        self.nodes[index].engine.as_mut().map(act)
    }

    // ---- faults and orders ----

    /// Starts a process at a later time.
    pub fn boot_at(&mut self, at: u64, index: usize) {
        self.at(at, Event::Boot(index));
    }

    fn boot(&mut self, index: usize) {
        if self.nodes[index].engine.is_some() {
            return;
        }
        let incarnation = Incarnation(self.rng.bits() | 1);
        let (timing, idle) = (self.settings.timing, self.settings.idle);
        let now = self.now;
        let node = &mut self.nodes[index];
        node.life += 1;
        node.incarnation = incarnation;
        node.paused = false;
        node.lost = now;
        let config = node::config(node.id.0, incarnation, timing, idle);
        node.engine = Some(Engine::new(config, node.clock(now)));
        let life = node.life;
        self.tell(index, || format!("boots as {incarnation}"));
        self.at(now + nanos(timing.dead_after), Event::List(index, life));
        self.pump(index);
    }

    /// The process dies; its kernel does not.
    pub fn crash(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        if node.engine.take().is_some() {
            node.lost = now;
            node.kernel.orphaned();
            self.clear(index);
            self.tell(index, || "crashes".to_owned());
        }
    }

    fn clear(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.socket.clear();
        node.queue.clear();
        node.held = 0;
        node.confirmed = None;
        node.timer += 1;
        node.paused = false;
    }

    /// The process is stopped for so long.
    pub fn pause(&mut self, index: usize, duration: u64) {
        if self.nodes[index].runs() {
            self.nodes[index].paused = true;
            let (life, since) = (self.nodes[index].life, self.now);
            self.tell(index, || format!("stops for {} ms", duration / MS));
            self.at(since + duration, Event::Wake(index, life, since));
            self.last_fault = self.last_fault.max(since + duration);
        }
    }

    /// Wakes up: what waits is worked off in any order.
    fn wake(&mut self, index: usize, life: u32, since: u64) {
        if self.nodes[index].life != life || !self.nodes[index].paused {
            return;
        }
        self.nodes[index].paused = false;
        if self.settings.mutation == Some(Mutation::StoppedClock) {
            self.nodes[index].stood += self.now - since;
        }
        let order = self.rng.range(0, 3);
        self.tell(index, || format!("goes on, order {order}"));
        match order {
            0 => {
                self.read_queue(index);
                self.read_socket(index);
            }
            1 => {
                self.timeout(index);
                self.read_socket(index);
                self.read_queue(index);
            }
            _ => {
                self.read_socket(index);
                self.timeout(index);
                self.read_queue(index);
            }
        }
        let confirmed = self.nodes[index].confirmed.take();
        let now = self.nodes[index].clock(self.now);
        if let Some(generation) = confirmed {
            self.with(index, |engine| engine.handle_applied(generation, now));
        }
        self.timeout(index);
    }

    fn timeout(&mut self, index: usize) {
        let now = self.nodes[index].clock(self.now);
        self.with(index, |engine| engine.handle_timeout(now));
        self.pump(index);
    }

    fn read_queue(&mut self, index: usize) {
        let waiting = core::mem::take(&mut self.nodes[index].queue);
        for (packet, arrival) in waiting {
            self.judge(index, packet, arrival);
        }
        self.pump(index);
    }

    fn read_socket(&mut self, index: usize) {
        let waiting = core::mem::take(&mut self.nodes[index].socket);
        for (frame, arrival) in waiting {
            self.read_frame(index, frame, arrival);
        }
        self.pump(index);
    }

    /// A new weight.
    pub fn weigh(&mut self, index: usize, weight: u16) {
        if self.nodes[index].runs()
            && let Some(weight) = Weight::new(weight)
        {
            self.tell(index, || format!("weight {weight}"));
            self.command(index, Command::SetWeight(weight));
        }
    }

    /// Many weights, one after the other.
    pub fn weigh_often(&mut self, index: usize, times: u64, gap: u64) {
        for time in 0..times {
            let weight = u16::try_from(self.rng.range(50, 400)).unwrap_or(100);
            let life = self.nodes[index].life;
            self.at(self.now + time * gap, Event::Weigh(index, life, weight));
        }
        self.last_fault = self.last_fault.max(self.now + times * gap);
    }

    /// Hand everything over.
    pub fn leave(&mut self, index: usize) {
        if self.nodes[index].runs() {
            self.tell(index, || "is to leave".to_owned());
            self.command(index, Command::Leave);
        }
    }

    /// A command by an administrator.
    pub fn command(&mut self, index: usize, command: Command) {
        let now = self.nodes[index].clock(self.now);
        let _ = self.with(index, |engine| engine.handle_command(command, now));
        self.pump(index);
    }

    /// Frames from one node no longer reach another, or reach it again.
    pub fn cut(&mut self, from: usize, to: usize, cut: bool) {
        if self.cuts[from][to] != cut {
            self.cuts[from][to] = cut;
            self.clean_since[from][to] = self.now;
            self.clean_since[to][from] = self.now;
            self.tell(from, || format!("{} to n{}", if cut { "cut" } else { "healed" }, to + 1));
        }
    }

    /// How many cuts there are.
    #[must_use]
    pub fn cut_count(&self) -> usize {
        self.cuts.iter().flatten().filter(|cut| **cut).count()
    }

    /// Nothing reaches the node any more, or everything does again.
    pub fn deafen(&mut self, index: usize, deaf: bool) {
        self.nodes[index].deaf = deaf;
        for other in 0..self.nodes.len() {
            if other != index {
                self.cut(other, index, deaf);
            }
        }
    }

    /// No cuts, nobody deaf.
    pub fn heal(&mut self) {
        for from in 0..self.nodes.len() {
            self.nodes[from].deaf = false;
            for to in 0..self.nodes.len() {
                self.cut(from, to, false);
            }
        }
    }

    /// Somebody flushed the ruleset; the daemon notices later.
    pub fn flush_rules(&mut self, index: usize) {
        if self.nodes[index].engine.is_some() {
            self.nodes[index].kernel.rules_lost();
            let (life, delay) = (self.nodes[index].life, self.rng.range(5 * MS, 300 * MS));
            self.tell(index, || "loses its rules".to_owned());
            self.at(self.now + delay, Event::Repair(index, life));
            self.last_fault = self.last_fault.max(self.now + delay);
        }
    }

    fn repair(&mut self, index: usize, life: u32) {
        if self.nodes[index].life != life || self.nodes[index].engine.is_none() {
            return;
        }
        if !self.nodes[index].runs() {
            self.at(self.now + 100 * MS, Event::Repair(index, life));
            return;
        }
        if !self.nodes[index].kernel.was_lost() {
            return;
        }
        self.nodes[index].kernel.reinstall();
        let now = self.nodes[index].clock(self.now);
        self.with(index, |engine| engine.handle_sticky_lost(now));
        self.pump(index);
    }

    // ---- the driver ----

    /// What the daemon does after every event.
    fn pump(&mut self, index: usize) {
        for round in 0.. {
            if !self.nodes[index].runs() {
                return;
            }
            if round > SPIN {
                self.check.violations.push(Violation::Spin { at: self.now, node: index });
                return;
            }
            let now = self.nodes[index].clock(self.now);
            while let Some(Some(plan)) = self.with(index, Engine::poll_plan) {
                self.take_plan(index, plan);
            }
            while let Some(Some((id, verdict))) = self.with(index, |e| e.poll_verdict(now)) {
                self.nodes[index].held = self.nodes[index].held.saturating_sub(1);
                let why = self.drops(index);
                self.tell(index, || format!("packet {} at last: {verdict:?} {why}", id.0));
                self.verdict(index, id, verdict);
            }
            while let Some(Some(transmit)) = self.with(index, |e| e.poll_transmit(now)) {
                self.send(index, transmit.frame);
            }
            while let Some(Some(notice)) = self.with(index, Engine::poll_notice) {
                self.noticed(index, &notice);
            }
            let next = self.with(index, |engine| engine.poll_timeout());
            match next {
                Some(next) if next <= now => {
                    self.with(index, |engine| engine.handle_timeout(now));
                }
                Some(next) => {
                    self.schedule(index, next);
                    break;
                }
                None => break,
            }
        }
        self.check_buckets(index);
    }

    fn schedule(&mut self, index: usize, next: nlb_engine::Time) {
        self.nodes[index].timer += 1;
        let timer = self.nodes[index].timer;
        let at = self.nodes[index].world(next).max(self.now) + self.rng.range(1, MS / 5);
        self.at(at, Event::Timer(index, timer));
        if self.with(index, |engine| engine.wants_witness().is_some()) == Some(true) {
            let life = self.nodes[index].life;
            let answer = self.now + self.rng.range(MS, 10 * MS);
            self.at(answer, Event::Witness(index, life));
        }
    }

    fn take_plan(&mut self, index: usize, plan: KernelPlan) {
        if self.settings.mutation == Some(Mutation::EarlyAck) {
            let (generation, now) = (plan.generation, self.nodes[index].clock(self.now));
            self.with(index, |engine| engine.handle_applied(generation, now));
        }
        self.tell(index, || {
            let (flush, divert, filter) = (plan.flush, plan.divert, plan.filter.len());
            let (forget, remember) = (&plan.forget, plan.remember.len());
            format!("packet plan flush {flush} divert {divert} filter {filter} forget {forget:?} remember {remember}")
        });
        let kernel = &mut self.nodes[index].kernel;
        if kernel.applying.is_some() {
            kernel.next = Some(match kernel.next.take() {
                Some(earlier) => plan.follow(earlier),
                None => plan,
            });
        } else {
            kernel.applying = Some(plan);
            self.apply_later(index);
        }
    }

    fn apply_later(&mut self, index: usize) {
        let (worst, usual) = self.settings.applier;
        let most = if self.rng.chance(20_000) { worst } else { usual };
        let (at, life) = (self.now + self.rng.range(MS / 2, most), self.nodes[index].life);
        self.at(at, Event::Applied(index, life));
    }

    fn plan_applied(&mut self, index: usize, life: u32) {
        if self.nodes[index].life != life {
            return;
        }
        let ignore = self.settings.mutation == Some(Mutation::IgnoreFlush);
        let world = self.now;
        let Some(plan) = self.nodes[index].kernel.apply(ignore, world) else { return };
        if plan.flush {
            // Until then the kernel may have answered for an earlier life.
            self.nodes[index].lost = world;
        }
        if self.nodes[index].kernel.next.is_some() {
            self.nodes[index].kernel.applying = self.nodes[index].kernel.next.take();
            self.apply_later(index);
        }
        if self.nodes[index].runs() {
            let now = self.nodes[index].clock(self.now);
            if self.nodes[index].kernel.was_lost() {
                // Writing the rules, the daemon finds that its own are gone.
                self.with(index, |engine| engine.handle_sticky_lost(now));
            }
            self.with(index, |engine| engine.handle_applied(plan.generation, now));
            self.pump(index);
        } else {
            self.nodes[index].confirmed = Some(plan.generation);
        }
    }

    fn send(&mut self, index: usize, frame: Frame) {
        let now = self.now;
        self.frames += 1;
        let closes = self.settings.mutation != Some(Mutation::NoLease);
        let node = &mut self.nodes[index];
        node.kernel.frame_left(now, closes);
        if matches!(frame.message, Message::Heartbeat(_)) {
            node.latest = frame.header.sequence.low16();
        }
        let clock = node.clock(now);
        let sequence = frame.header.sequence;
        self.with(index, |engine| engine.handle_sent(sequence, clock));
        self.count_frame(index);
        let frame = Rc::new(frame);
        for other in 0..self.nodes.len() {
            if other == index || self.nodes[other].engine.is_none() || self.cuts[index][other] {
                continue;
            }
            let copies = 1 + u64::from(self.rng.chance(self.settings.doubled));
            for _ in 0..copies {
                if !self.rng.chance(self.settings.loss) {
                    let delay = self.rng.range(MS / 20, self.settings.delay);
                    self.at(now + delay, Event::Frame(other, Rc::clone(&frame)));
                }
            }
        }
    }

    /// I5: the bound of SPEC 6.12 over dead-after.
    fn count_frame(&mut self, index: usize) {
        let timing = self.settings.timing;
        let window = nanos(timing.dead_after);
        let intervals = usize::try_from(window / nanos(timing.heartbeat)).unwrap_or(1) + 1;
        let bound = nlb_engine::frames_bound(intervals);
        let now = self.now;
        let frames = &mut self.nodes[index].frames;
        frames.push_back(now);
        while frames.front().is_some_and(|at| now - at > window) {
            frames.pop_front();
        }
        let count = frames.len();
        self.check.most_frames = self.check.most_frames.max(count);
        if count > bound {
            let violation = Violation::TooManyFrames { at: now, node: index, frames: count };
            self.check.violations.push(violation);
        }
    }

    fn noticed(&mut self, index: usize, notice: &Notice) {
        self.tell(index, || format!("{notice:?}"));
        if let Notice::State { to, .. } = notice {
            self.note(*to as u64 + 1000);
            if matches!(to, State::Fenced | State::Leaving | State::Joining) {
                self.nodes[index].lost = self.now;
            }
        }
        if *notice == Notice::Left {
            self.nodes[index].engine = None;
            self.nodes[index].kernel.removed();
            self.clear(index);
        }
    }

    fn list(&mut self, index: usize, life: u32) {
        if self.nodes[index].life != life || self.nodes[index].engine.is_none() {
            return;
        }
        self.at(self.now + nanos(self.settings.timing.dead_after), Event::List(index, life));
        if self.nodes[index].runs() && self.nodes[index].kernel.is_installed() {
            let listed: Vec<_> = self.nodes[index]
                .kernel
                .listed(self.now)
                .into_iter()
                .map(|(client, left)| (client, Duration::from_nanos(left)))
                .collect();
            let now = self.nodes[index].clock(self.now);
            self.with(index, |engine| engine.handle_sticky_listed(&listed, now));
            self.pump(index);
        }
    }

    // ---- the wire ----

    fn frame_arrives(&mut self, index: usize, frame: &Rc<Frame>) {
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

    fn read_frame(&mut self, index: usize, frame: Frame, arrival: u64) {
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

    fn client_sends(&mut self, client: usize) {
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

    fn packet_arrives(&mut self, index: usize, packet: ClientPacket) {
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

    fn judge(&mut self, index: usize, packet: ClientPacket, arrival: u64) {
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
            Some(verdict) => self.verdict(index, packet.id, verdict),
            None => {}
        }
    }

    /// What a node dropped so far, by cause, for the trace.
    fn drops(&self, index: usize) -> String {
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

    fn verdict(&mut self, index: usize, id: PacketId, verdict: Verdict) {
        if verdict == Verdict::Accept {
            let client = self.check.packets[id.0 as usize].client;
            let now = self.now;
            self.nodes[index].kernel.accepted(client, now);
            self.accepted(index, id);
        }
    }

    // ---- the checks ----

    /// Whether two nodes have been able to hear each other for long enough.
    #[must_use]
    pub fn mutual(&self, one: usize, other: usize, since: u64) -> bool {
        let timing = self.settings.timing;
        let settle = nanos(timing.rights() + timing.heartbeat);
        let clean = self.clean_since[one][other];
        let cut = self.cuts[one][other] || self.cuts[other][one];
        !cut && (clean == 0 || since.saturating_sub(clean) > settle)
    }

    /// A node answers a packet.
    fn accepted(&mut self, index: usize, id: PacketId) {
        let now = self.now;
        let number = id.0 as usize;
        self.note(now ^ (number as u64) << 20 ^ (index as u64) << 50);
        let packet = self.check.packets[number];
        if let Some(first) = packet.first {
            self.tell(index, || format!("ANSWERS {number} of {} AGAIN", packet.client));
            if self.mutual(index, first.0, now) {
                let second = index;
                let violation = Violation::AnsweredTwice { at: now, packet: number, first, second };
                self.check.violations.push(violation);
            } else {
                self.check.across_cuts += 1;
            }
            return;
        }
        self.check.packets[number].first = Some((index, now));
        let wait = now - packet.sent;
        self.check.longest_wait = self.check.longest_wait.max(wait);
        self.check.waited += u64::from(wait > MS);
        self.check_moved(index, &packet);
        let life = self.nodes[index].life;
        self.check.last.insert(packet.client, (index, now, life));
    }

    fn check_moved(&mut self, index: usize, packet: &Packet) {
        let Some(&(before, at, life)) = self.check.last.get(&packet.client) else { return };
        let keeper = &self.nodes[before];
        let kept = before != index
            && self.now - at < nanos(self.settings.idle) * 9 / 10
            && keeper.life == life
            && keeper.lost < at
            && keeper.runs()
            && keeper.engine.as_ref().is_some_and(|e| e.state() == State::Active);
        if !kept {
            return;
        }
        if self.mutual(index, before, at) {
            let (at, client, nodes) = (self.now, packet.client, (before, index));
            self.tell(index, || format!("TAKES {client} from n{}", before + 1));
            self.check.violations.push(Violation::ClientMoved { at, client, nodes });
        } else {
            self.check.moved_across_cuts += 1;
        }
    }

    fn open(&self, index: usize) -> Option<&Engine> {
        let node = &self.nodes[index];
        node.engine.as_ref().filter(|_| node.kernel.is_open(self.now))
    }

    /// I1 by bucket.
    fn check_buckets(&mut self, index: usize) {
        let Some(mine) = self.open(index).map(Engine::accepts) else { return };
        let mut found = None;
        for other in (0..self.nodes.len()).filter(|other| *other != index) {
            let Some(theirs) = self.open(other).map(Engine::accepts) else { continue };
            if !mine.is_disjoint(theirs) {
                let mut shared = mine.clone();
                shared.intersect_with(theirs);
                found = Some((other, shared.len()));
            }
        }
        let Some((other, buckets)) = found else { return };
        if self.mutual(index, other, self.now) {
            let (at, nodes) = (self.now, (index, other));
            self.check.violations.push(Violation::BucketShared { at, nodes, buckets });
        } else {
            self.check.shared_across_cuts += 1;
        }
    }

    /// I3: why the cluster is not settled, if it is not.
    #[must_use]
    pub fn unsettled(&self) -> Option<String> {
        let mut owners = vec![0_u8; nlb_protocol::ids::BUCKETS];
        let mut view = None;
        for index in 0..self.nodes.len() {
            let Some(engine) = self.open(index) else { continue };
            for bucket in engine.accepts().iter() {
                owners[bucket.index()] += 1;
            }
            if engine.state() == State::Active {
                let expected = *view.get_or_insert(engine.view());
                if engine.view() != expected {
                    return Some("active nodes show different views".to_owned());
                }
            }
        }
        let none = owners.iter().filter(|count| **count == 0).count();
        let many = owners.iter().filter(|count| **count > 1).count();
        (none + many > 0).then(|| {
            let states: Vec<String> = self.nodes.iter().map(describe).collect();
            format!("{none} buckets without owner, {many} with several: {}", states.join(" "))
        })
    }

    /// How many buckets are accepted by somebody now.
    #[must_use]
    pub fn served(&self) -> usize {
        let open: Vec<_> = (0..self.nodes.len()).filter_map(|index| self.open(index)).collect();
        Bucket::all().filter(|b| open.iter().any(|engine| engine.accepts().contains(*b))).count()
    }
}

fn describe(node: &Node) -> String {
    match &node.engine {
        None => format!("n{} down", node.id.0),
        Some(engine) => {
            let snapshot = engine.snapshot(nlb_engine::Time::ZERO);
            let cause = snapshot.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
            format!("n{} {:?}{cause} {}", node.id.0, snapshot.state, snapshot.buckets_accepted)
        }
    }
}
