//! One node: its engine, its kernel, and what waits for it.

use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;

use nlb_engine::manage::Command;
use nlb_engine::packet::ClientPacket;
use nlb_engine::{Engine, Generation, KernelPlan, Notice, PacketId, Time, Timing, Verdict};
use nlb_protocol::frame::{Frame, Header, Message, PinRequest, PinWant, State};
use nlb_protocol::{Buckets, ClusterId, Incarnation, PinVersion, Sequence};
use nlb_sim::kernel::{Fate, Kernel};
use nlb_sim::node::{config, nanos};

use crate::mutate::Mutation;

/// Five heartbeats in dead-after: the fewest that SPEC 6.2 allows, and here no clock drifts.
pub const TIMING: Timing =
    Timing { heartbeat: Duration::from_millis(200), dead_after: Duration::from_secs(1) };
/// One step. Every timer but the shortest gaps is a multiple of it.
pub const STEP: Duration = Duration::from_millis(50);
/// A frame is under way for one step, or for as many as SPEC 6.2 allows (frame delay).
pub const LONGEST_WAY: u16 = 2;
/// Nobody is idle for so long in a search.
const IDLE: Duration = Duration::from_secs(1800);
/// The clock at step zero: late enough for every span to lie behind it.
const START: u64 = 1 << 40;
/// Calls at one instant after which an engine would be called for ever.
const SPIN: usize = 100;

const _: () = assert!(
    STEP.as_nanos() * (LONGEST_WAY as u128) == TIMING.dead_after.as_nanos() / 10,
    "the longest way is the frame delay"
);

const fn incarnation(id: u64) -> Incarnation {
    Incarnation(0xa0 + id)
}

/// A step of the search, as the clocks show it.
#[must_use]
pub fn clock(step: u16) -> u64 {
    START + u64::from(step) * nanos(STEP)
}

/// One node.
#[derive(Debug, Clone, Hash)]
pub struct Node {
    /// The engine, while the process lives.
    pub engine: Option<Engine>,
    /// Its kernel.
    pub kernel: Kernel,
    /// The process is stopped.
    pub stopped: bool,
    /// What arrived while it was, with the step.
    pub socket: VecDeque<(Rc<Frame>, u16)>,
    /// Packets that did.
    pub queue: VecDeque<(ClientPacket, u16)>,
    /// A plan that the kernel took meanwhile.
    pub confirmed: Option<Generation>,
    /// When the plan in hand was told.
    pub planned: u16,
    /// When it last gave up its rights.
    pub lost: u16,
}

/// What a node did within a step.
#[derive(Debug, Clone, Hash, Default)]
pub struct Done {
    /// The frames that left.
    pub sent: Vec<Rc<Frame>>,
    /// The packets that it answered.
    pub answered: Vec<PacketId>,
    /// What it accepted at any instant of the step with its gate open.
    pub accepted: Buckets,
}

impl Node {
    /// A node whose process starts.
    #[must_use]
    pub fn boot(id: u64, step: u16) -> Self {
        let now = Time::from_nanos(clock(step));
        let config = config(id, incarnation(id), TIMING, IDLE);
        let (lease, refusal) = (nanos(TIMING.lease()), nanos(config.refusal()));
        Self {
            kernel: Kernel::new(lease, nanos(config.kernel_idle()), refusal),
            engine: Some(Engine::new(config, now)),
            stopped: false,
            socket: VecDeque::new(),
            queue: VecDeque::new(),
            confirmed: None,
            planned: step,
            lost: step,
        }
    }

    /// Whether the process lives and runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.engine.is_some() && !self.stopped
    }

    /// Whether there is nothing for it to do in this step unless something comes.
    #[must_use]
    pub fn is_idle(&self, step: u16) -> bool {
        let waits = |engine: &Engine| engine.poll_timeout() > Time::from_nanos(clock(step));
        let applying = self.kernel.applying.is_some();
        let asleep = self.stopped || self.engine.as_ref().is_none_or(waits);
        let read = self.stopped
            || (self.socket.is_empty() && self.queue.is_empty() && self.confirmed.is_none());
        asleep && read && !applying
    }

    /// Whether it keeps what it has: it has a right to its clients.
    #[must_use]
    pub fn serves(&self) -> bool {
        let serves = |engine: &Engine| matches!(engine.state(), State::Active | State::Draining);
        self.engine.as_ref().is_some_and(serves)
    }

    /// The process dies; its kernel does not.
    pub fn crash(&mut self, step: u16) {
        self.engine = None;
        self.kernel.orphaned();
        self.socket.clear();
        self.queue.clear();
        self.confirmed = None;
        self.stopped = false;
        self.lost = step;
    }
}

/// A node at work within one step.
#[derive(Debug, Clone)]
pub struct Work {
    /// The node.
    pub node: Node,
    /// What it did.
    pub done: Done,
    served: bool,
    step: u16,
    mutation: Option<Mutation>,
}

impl Work {
    /// Work begins. What the node accepts at its beginning counts.
    #[must_use]
    pub fn new(node: Node, step: u16, mutation: Option<Mutation>) -> Self {
        let served = node.serves();
        let mut work = Self { node, done: Done::default(), served, step, mutation };
        work.note_accepted();
        work
    }

    fn now(&self) -> Time {
        Time::from_nanos(clock(self.step))
    }

    fn note_accepted(&mut self) {
        let serves = self.node.serves();
        if self.served && !serves {
            self.node.lost = self.step;
        }
        self.served = serves;
        self.done.accepted.union_with(&Self::accepted_by(&self.node, self.step));
    }

    /// What a node accepts: nothing where its gate is closed.
    #[must_use]
    pub fn accepted_by(node: &Node, step: u16) -> Buckets {
        let engine = node.engine.as_ref().filter(|_| node.kernel.is_open(clock(step)));
        engine.map_or(Buckets::EMPTY, |engine| engine.accepts().clone())
    }

    /// Something happens to the engine.
    fn engine(&mut self, act: impl FnOnce(&mut Engine, Time)) {
        let now = self.now();
        if let Some(engine) = &mut self.node.engine {
            act(engine, now);
        }
        self.note_accepted();
    }

    /// The engine is asked for everything it wants.
    fn flush(&mut self) {
        let now = self.now();
        while let Some(plan) = self.node.engine.as_mut().and_then(Engine::poll_plan) {
            self.take_plan(plan);
        }
        self.note_accepted();
        while let Some((id, verdict)) =
            self.node.engine.as_mut().and_then(|engine| engine.poll_verdict(now))
        {
            self.verdict(id, verdict);
        }
        while let Some(transmit) =
            self.node.engine.as_mut().and_then(|engine| engine.poll_transmit(now))
        {
            self.send(transmit.frame);
        }
        self.note_accepted();
        while let Some(notice) = self.node.engine.as_mut().and_then(Engine::poll_notice) {
            if notice == Notice::Left {
                self.node.crash(self.step);
                self.node.kernel.removed();
            }
        }
    }

    fn take_plan(&mut self, plan: KernelPlan) {
        let kernel = &mut self.node.kernel;
        if kernel.applying.is_none() {
            kernel.applying = Some(plan);
            self.node.planned = self.step;
        } else {
            kernel.next = Some(match kernel.next.take() {
                Some(earlier) => plan.follow(earlier),
                None => plan,
            });
        }
    }

    fn send(&mut self, frame: Frame) {
        let now = self.now();
        let sequence = frame.header.sequence;
        match frame.message {
            Message::Heartbeat(_) => {
                let closes = self.mutation != Some(Mutation::NoLease);
                self.node.kernel.heartbeat_left(1, clock(self.step), closes);
            }
            // A name: nothing is concluded from it.
            Message::Information(_) => return,
            Message::PinDelta(_) | Message::PinSnapshot(_) | Message::PinRequest(_) => {}
        }
        if let Some(engine) = &mut self.node.engine {
            engine.handle_sent(sequence, now);
        }
        self.done.sent.push(Rc::new(frame));
    }

    fn verdict(&mut self, id: PacketId, verdict: Verdict) {
        let (client, now) = (crate::world::client_of(id), clock(self.step));
        match verdict {
            Verdict::Accept => {
                self.node.kernel.accepted(client, now);
                self.done.answered.push(id);
            }
            Verdict::Refuse => self.node.kernel.refused(client, now),
            Verdict::Drop | Verdict::Hold => {}
        }
    }

    fn arrival(&self, step: u16) -> Time {
        let late = self.mutation == Some(Mutation::ArrivalNow);
        Time::from_nanos(clock(if late { self.step } else { step }))
    }

    /// A frame arrives.
    pub fn frame(&mut self, frame: &Rc<Frame>) {
        if self.node.stopped || !self.node.socket.is_empty() {
            self.node.socket.push_back((Rc::clone(frame), self.step));
        } else {
            self.read_frame(frame, self.step);
        }
    }

    fn read_frame(&mut self, frame: &Frame, arrived: u16) {
        let arrival = self.arrival(arrived);
        let frame = match (self.mutation, &self.node.engine) {
            (Some(mutation), Some(engine)) => mutation.frame(frame.clone(), engine),
            _ => Some(frame.clone()),
        };
        if let Some(frame) = frame {
            self.engine(|engine, now| engine.handle_frame(frame, arrival, now));
        }
    }

    /// A frame of its own comes back: nothing is concluded from it but the time.
    pub fn echo(&mut self) {
        let Some(node) = self.node.engine.as_ref().map(Engine::node) else { return };
        let incarnation = incarnation(node.0);
        let header = Header { cluster: ClusterId(1), node, incarnation, sequence: Sequence(1) };
        let nothing = PinRequest {
            owner: node,
            owner_incarnation: incarnation,
            after: PinVersion(0),
            want: PinWant::Nothing,
        };
        self.read_frame(&Frame { header, message: Message::PinRequest(nothing) }, self.step);
    }

    /// The oldest frame that waited is read.
    pub fn read_socket(&mut self) {
        if let Some((frame, arrived)) = self.node.socket.pop_front() {
            self.read_frame(&frame, arrived);
        }
    }

    /// A client's packet arrives.
    pub fn packet(&mut self, packet: ClientPacket) {
        match self.node.kernel.packet(packet.client, 0, clock(self.step)) {
            Fate::Dropped => {}
            Fate::Accepted => self.done.answered.push(packet.id),
            Fate::Queued if self.node.engine.is_none() => {}
            Fate::Queued if self.node.stopped || !self.node.queue.is_empty() => {
                self.node.queue.push_back((packet, self.step));
            }
            Fate::Queued => self.judge(packet, self.step),
        }
    }

    fn judge(&mut self, packet: ClientPacket, arrived: u16) {
        let arrival = self.arrival(arrived);
        let mut verdict = Verdict::Drop;
        self.engine(|engine, now| verdict = engine.handle_packet(packet, arrival, now));
        self.verdict(packet.id, verdict);
    }

    /// The oldest packet that waited gets its verdict.
    pub fn read_queue(&mut self) {
        if let Some((packet, arrived)) = self.node.queue.pop_front() {
            self.judge(packet, arrived);
        }
    }

    /// The kernel takes the plan in hand.
    pub fn apply(&mut self) {
        let ignore = (self.mutation == Some(Mutation::IgnoreFlush))
            .then_some(nlb_sim::Mutation::IgnoreFlush);
        let Some(plan) = self.node.kernel.apply(ignore, clock(self.step)) else { return };
        if self.mutation == Some(Mutation::NoMemory) {
            self.node.kernel.forget_moved();
        }
        self.node.kernel.applying = self.node.kernel.next.take();
        self.node.planned = self.step;
        if self.node.stopped {
            self.node.confirmed = Some(plan.generation);
        } else {
            self.engine(|engine, now| engine.handle_applied(plan.generation, now));
        }
    }

    /// The process reads what the kernel confirmed while it was stopped.
    pub fn confirm(&mut self) {
        if let Some(generation) = self.node.confirmed.take() {
            self.engine(|engine, now| engine.handle_applied(generation, now));
        }
    }

    /// An administrator speaks.
    pub fn command(&mut self, command: Command) {
        self.engine(|engine, now| {
            // A node on its way out refuses; that is its answer.
            let _ = engine.handle_command(command, now);
        });
    }

    /// Somebody on the segment answers what the node asks for to see whether it can hear.
    pub fn witness(&mut self) {
        if self.node.engine.as_ref().is_some_and(|engine| engine.wants_witness().is_some()) {
            self.engine(Engine::handle_witness);
        }
    }

    /// The end of a turn: everything that came was handed in, now the engine is asked what it
    /// wants, then about the time. Silence is judged when every frame that waits was read.
    ///
    /// # Panics
    /// When the engine wants to be called for ever.
    pub fn turn(&mut self) {
        self.flush();
        let now = self.now();
        let mut rounds = 0;
        while self.node.engine.as_ref().is_some_and(|engine| engine.poll_timeout() <= now) {
            assert!(rounds < SPIN, "the engine spins");
            rounds += 1;
            self.engine(|engine, now| engine.handle_timeout(now, now));
            self.flush();
        }
    }
}
