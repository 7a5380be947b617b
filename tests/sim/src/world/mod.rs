//! The world: one queue of events, one clock, one seed.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BinaryHeap;
use std::rc::Rc;

use nlb_engine::packet::ClientPacket;
use nlb_engine::{Engine, Timing};
use nlb_protocol::frame::Frame;

use crate::check::Checker;
use crate::clients::Client;
use crate::mutate::Mutation;
use crate::node::Node;
use crate::rng::Rng;

mod checks;
mod driver;
mod faults;
mod restart;
mod wire;

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
    /// Whether a new process goes on with what the old one left.
    pub resumes: bool,
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
}
