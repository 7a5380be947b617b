//! The world: one queue of events, one clock, one schedule.

use core::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;

use nlb_engine::Engine;
use nlb_engine::packet::ClientPacket;
use nlb_protocol::auth::KeyRing;
use nlb_protocol::frame::Frame;

use crate::check::Checker;
use crate::clients::Client;
use crate::mutate::Mutation;
use crate::node::{Node, nanos};
use crate::rng::{Chance, Rng};
use crate::schedule::{Fault, Schedule};

mod attack;
mod between;
mod checks;
mod driver;
mod faults;
mod frozen;
mod links;
mod restart;
mod wire;

use self::links::Links;

/// A millisecond.
pub const MS: u64 = 1_000_000;
/// A microsecond.
pub const US: u64 = 1000;
/// Polls at one instant after which an engine is said to spin.
const SPIN: usize = 200;

/// How a schedule is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The mistake to make.
    pub mutation: Option<Mutation>,
    /// Whether to tell what happens.
    pub trace: bool,
}

#[derive(Debug)]
enum Event {
    Fault(usize),
    Boot(usize),
    Timer(usize, u64),
    Frame(usize, Rc<Frame>),
    Packet(usize, usize, ClientPacket),
    Client(usize),
    Thaw(usize),
    Applied(usize, u32),
    Witness(usize, u32),
    Wake(usize, u32, u64),
    List(usize, u32),
    Repair(usize, u32),
    Up(usize, u8),
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

/// Segments with nodes and clients.
pub struct World {
    /// What is to happen.
    pub schedule: Schedule,
    /// How it is run.
    pub options: Options,
    /// The time.
    pub now: u64,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// What was seen.
    pub check: Checker,
    /// How many events there were.
    pub events: u64,
    /// How many frames were sent.
    pub frames: u64,
    /// Names the run: equal for equal runs.
    pub hash: u64,
    /// When the last fault was over.
    pub last_fault: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    clients: Vec<Client>,
    links: Links,
    keys: KeyRing,
    /// What waits in the rings of machines that stand still, by node.
    rings: Vec<Vec<Event>>,
    /// Frames that somebody recorded.
    recorded: VecDeque<Rc<[u8]>>,
    records: bool,
}

impl World {
    /// A world whose nodes are all down.
    #[must_use]
    pub fn new(schedule: &Schedule, options: Options) -> Self {
        let size = schedule.nodes.len();
        let records = schedule.faults.iter().any(|t| matches!(t.fault, Fault::Attack(..)));
        let mut world = Self {
            options,
            now: 0,
            nodes: (0..size).map(|index| Node::new(index, schedule)).collect(),
            check: Checker::default(),
            events: 0,
            frames: 0,
            hash: 0xcbf2_9ce4_8422_2325,
            last_fault: 0,
            queue: BinaryHeap::new(),
            order: 0,
            clients: Vec::new(),
            links: Links::new(size, schedule.all_paths()),
            keys: KeyRing::insecure(),
            rings: (0..size).map(|_| Vec::new()).collect(),
            recorded: VecDeque::new(),
            records,
            schedule: schedule.clone(),
        };
        for (index, timed) in schedule.faults.iter().enumerate() {
            world.at(timed.at_us * US, Event::Fault(index));
        }
        world.start_clients();
        world
    }

    fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Entry { at, order: self.order, event }));
    }

    fn chance(&self, what: Chance, one: u64, other: u64) -> Rng {
        Rng::of(self.schedule.seed, what, one, other)
    }

    fn note(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(0x0100_0000_01b3);
    }

    fn tell(&self, index: usize, what: impl FnOnce() -> String) {
        if self.options.trace {
            let (ms, us) = (self.now / MS, self.now % MS / US);
            println!("{ms:>7}.{us:03} n{} {}", index + 1, what());
        }
    }

    /// Lets time pass, until something happens that must not.
    pub fn run(&mut self, until: u64) {
        while self.check.violations.is_empty()
            && self.queue.peek().is_some_and(|Reverse(entry)| entry.at <= until)
        {
            let Some(Reverse(entry)) = self.queue.pop() else { break };
            self.now = entry.at;
            self.events += 1;
            self.note(entry.at);
            self.step(entry.event);
        }
        self.now = self.now.max(until);
    }

    fn step(&mut self, event: Event) {
        let Some(event) = self.unless_frozen(event) else { return };
        match event {
            Event::Fault(index) => {
                let fault = self.schedule.faults[index].fault.clone();
                self.act(&fault);
            }
            Event::Boot(index) => {
                self.boot(index);
            }
            Event::Timer(index, timer) => {
                if self.nodes[index].timer == timer && self.nodes[index].runs() {
                    self.timeout(index);
                }
            }
            Event::Frame(index, frame) => self.frame_arrives(index, &frame),
            Event::Packet(index, path, packet) => self.packet_arrives(index, path, packet),
            Event::Client(client) => self.client_sends(client),
            Event::Applied(index, life) => self.plan_applied(index, life),
            Event::Witness(index, life) => {
                let node = &self.nodes[index];
                let receives = !node.deaf && node.down != self.links.all();
                let always = self.options.mutation == Some(Mutation::AlwaysWitness);
                if node.life == life && node.runs() && (receives || always) {
                    let now = node.clock(self.now);
                    self.with(index, |engine| engine.handle_witness(now));
                    self.pump(index);
                }
            }
            Event::Thaw(index) => self.thaw(index),
            Event::Wake(index, life, since) => self.wake(index, life, since),
            Event::List(index, life) => self.list(index, life),
            Event::Repair(index, life) => self.repair(index, life),
            Event::Up(index, paths) => {
                self.plug(index, paths, false);
                self.relink();
            }
        }
    }

    fn with<T>(&mut self, index: usize, act: impl FnOnce(&mut Engine) -> T) -> Option<T> {
        self.nodes[index].engine.as_mut().map(act)
    }

    /// Dead-after, as the world counts.
    #[must_use]
    pub fn unit(&self) -> u64 {
        nanos(self.schedule.timing().dead_after)
    }
}
