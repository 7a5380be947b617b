//! Everything that one node can do within one step.

use std::rc::Rc;

use nlb_engine::PacketId;
use nlb_engine::manage::Command;
use nlb_engine::packet::ClientPacket;
use nlb_protocol::frame::Frame;
use nlb_protocol::{Buckets, Weight};

use crate::fingerprint::{self, Known, Map, Set};
use crate::mutate::Mutation;
use crate::node::{LONGEST_WAY, Node, Work};
use crate::world::Budget;

/// The most frames that can be under way to one node.
const FRAMES: usize = 32;

/// What befalls a node at the beginning of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// Its process dies.
    Crash,
    /// Its process stops.
    Stop,
    /// Its process goes on.
    Resume,
    /// An administrator speaks, at some instant of the step.
    Order(Order),
}

/// What an administrator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// Take this weight.
    Weight(u16),
    /// Leave.
    Leave,
    /// Drain.
    Drain,
    /// Serve again.
    Undrain,
}

impl Order {
    fn command(self) -> Command {
        match self {
            Self::Weight(weight) => {
                Command::SetWeight(Weight::new(weight).unwrap_or(Weight::DEFAULT))
            }
            Self::Leave => Command::Leave,
            Self::Drain => Command::Drain { timeout: None, force: true },
            Self::Undrain => Command::Undrain,
        }
    }
}

/// A frame under way to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Coming {
    /// Which one.
    pub frame: u32,
    /// For how many steps.
    pub age: u16,
    /// It arrived before: a copy may come or not.
    pub copy: bool,
}

/// What comes to a node in a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Input {
    /// The node.
    pub node: u32,
    /// What befalls it.
    pub event: Option<Event>,
    /// What may arrive.
    pub frames: Vec<Coming>,
    /// What does arrive.
    pub packets: Vec<ClientPacket>,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// A frame arrives.
    Frame(u32),
    /// A packet arrives.
    Packet(PacketId),
    /// The kernel takes a plan.
    Apply,
    /// The administrator's word.
    Order(Order),
    /// A frame that waited is read.
    ReadSocket,
    /// A packet that waited is read.
    ReadQueue,
    /// The kernel's confirmation is read.
    Confirm,
    /// The engine is asked for what it wants, and about the time.
    Turn,
}

/// One end that the step can take.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The node behind it.
    pub node: u32,
    /// Which of the frames arrived.
    pub arrived: u32,
    /// Which of them stay under way.
    pub late: u32,
    /// What left.
    pub sent: Vec<u32>,
    /// What was answered.
    pub answered: Vec<PacketId>,
    /// What was accepted at any instant of it.
    pub accepted: u32,
    /// Frames that are late, frames that are lost, plans that are late.
    pub cost: (u8, u8, u8),
    /// Whether frames can still reach the node.
    pub alive: bool,
    /// How it came.
    pub acts: Vec<Act>,
}

/// What the search has met.
#[derive(Debug, Default)]
pub struct Memory {
    /// Nodes.
    pub nodes: Known<Node>,
    /// Frames.
    pub frames: Known<Frame>,
    /// Sets of accepted buckets.
    pub accepted: Known<Buckets>,
    /// How many things happened to engines.
    pub acts: u64,
}

#[derive(Debug, Clone)]
struct Partial {
    work: Work,
    arrived: u32,
    packets: u32,
    ordered: bool,
    acts: Vec<Act>,
}

/// Every end that a step with this input can take.
///
/// # Panics
/// When more frames are under way than the search is made for.
pub fn ends(
    memory: &mut Memory,
    input: &Input,
    step: u16,
    left: &Budget,
    mutation: Option<Mutation>,
) -> Vec<Outcome> {
    assert!(input.frames.len() <= FRAMES, "too many frames under way");
    let known = memory.nodes.get(input.node);
    let comes = !input.packets.is_empty() || !input.frames.is_empty() || input.event.is_some();
    if !comes && known.is_idle(step) {
        return vec![idle(memory, &known, input.node, step)];
    }
    let mut node = (*known).clone();
    match input.event {
        Some(Event::Crash) => node.crash(step),
        Some(Event::Stop) => node.stopped = true,
        Some(Event::Resume) => node.stopped = false,
        Some(Event::Order(_)) | None => {}
    }
    let ordered = !matches!(input.event, Some(Event::Order(_)));
    let work = Work::new(node, step, mutation);
    let frames: Vec<Rc<Frame>> = input.frames.iter().map(|c| memory.frames.get(c.frame)).collect();
    let mut open = vec![Partial { work, arrived: 0, packets: 0, ordered, acts: Vec::new() }];
    let (mut seen, mut ended) = (Set::default(), Map::<u128, usize>::default());
    let mut outcomes: Vec<Outcome> = Vec::new();
    // Only one way leads to each state then.
    let single =
        possible(&open[0], input).len() <= 1 && input.frames.len() + input.packets.len() <= 1;
    while let Some(partial) = open.pop() {
        let acts = possible(&partial, input);
        for act in acts {
            let next = follow(&partial, act, input, &frames);
            memory.acts += 1;
            let name = (&next.work.node, &next.work.done, next.arrived, next.packets, next.ordered);
            if single || seen.insert(fingerprint::of(&name)) {
                open.push(next);
            }
        }
        for outcome in end(memory, partial, input, step, left) {
            let arrived = essential(&outcome, input);
            let done = (&outcome.sent, &outcome.answered, outcome.accepted);
            let name = (outcome.node, arrived, outcome.late, done);
            let known = *ended.entry(fingerprint::of(&name)).or_insert(outcomes.len());
            match outcomes.get_mut(known) {
                None => outcomes.push(outcome),
                Some(other) if outcome.arrived.count_ones() < other.arrived.count_ones() => {
                    *other = outcome;
                }
                Some(_) => {}
            }
        }
    }
    outcomes
}

/// A step in which nothing happens.
fn idle(memory: &mut Memory, node: &Rc<Node>, number: u32, step: u16) -> Outcome {
    Outcome {
        node: number,
        arrived: 0,
        late: 0,
        sent: Vec::new(),
        answered: Vec::new(),
        accepted: memory.accepted.number(Work::accepted_by(node, step)),
        cost: (0, 0, 0),
        alive: node.engine.is_some(),
        acts: Vec::new(),
    }
}

/// The frames that arrived, without copies: a copy that changed nothing may as well still come.
fn essential(outcome: &Outcome, input: &Input) -> u32 {
    let copies = input.frames.iter().enumerate().filter(|(_, coming)| coming.copy);
    copies.fold(outcome.arrived, |arrived, (index, _)| arrived & !(1 << index))
}

fn possible(partial: &Partial, input: &Input) -> Vec<Act> {
    let node = &partial.work.node;
    let mut acts = Vec::new();
    if node.engine.is_some() {
        let missing = |(index, _): &(usize, &Coming)| partial.arrived >> index & 1 == 0;
        // What waits in a socket came in the order in which it was sent.
        let most = if node.stopped { 1 } else { FRAMES };
        let frames = input.frames.iter().enumerate().filter(missing).take(most);
        acts.extend(frames.map(|(_, coming)| Act::Frame(coming.frame)));
    }
    let waiting = |(index, _): &(usize, &ClientPacket)| partial.packets >> index & 1 == 0;
    let packets = input.packets.iter().enumerate().filter(waiting);
    acts.extend(packets.map(|(_, packet)| Act::Packet(packet.id)));
    if node.kernel.applying.is_some() {
        acts.push(Act::Apply);
    }
    if let (false, Some(Event::Order(order))) = (partial.ordered, input.event) {
        acts.push(Act::Order(order));
    }
    if node.runs() {
        acts.extend((!node.socket.is_empty()).then_some(Act::ReadSocket));
        acts.extend((!node.queue.is_empty()).then_some(Act::ReadQueue));
        acts.extend(node.confirmed.map(|_| Act::Confirm));
    }
    acts
}

fn follow(partial: &Partial, act: Act, input: &Input, frames: &[Rc<Frame>]) -> Partial {
    let mut next = partial.clone();
    next.acts.push(act);
    let work = &mut next.work;
    match act {
        Act::Frame(frame) => {
            let missing =
                |(i, c): &(usize, &Coming)| c.frame == frame && next.arrived >> i & 1 == 0;
            if let Some((index, _)) = input.frames.iter().enumerate().find(missing) {
                next.arrived |= 1 << index;
                work.frame(&frames[index]);
            }
        }
        Act::Packet(id) => {
            if let Some(index) = input.packets.iter().position(|packet| packet.id == id) {
                next.packets |= 1 << index;
                work.packet(input.packets[index]);
            }
        }
        Act::Apply => work.apply(),
        Act::Order(order) => {
            next.ordered = true;
            work.command(order.command());
        }
        Act::ReadSocket => work.read_socket(),
        Act::ReadQueue => work.read_queue(),
        Act::Confirm => work.confirm(),
        Act::Turn => work.turn(),
    }
    next
}

/// What the step comes to if nothing else happens in it; nothing if something must.
fn end(
    memory: &mut Memory,
    mut partial: Partial,
    input: &Input,
    step: u16,
    left: &Budget,
) -> Vec<Outcome> {
    let node = &partial.work.node;
    let waits = !node.socket.is_empty() || !node.queue.is_empty() || node.confirmed.is_some();
    let packets = partial.packets.count_ones() as usize == input.packets.len();
    if !partial.ordered || !packets || (node.runs() && waits) {
        return Vec::new();
    }
    let slow = u8::from(node.runs() && node.kernel.applying.is_some() && node.planned < step);
    let ways = ways(&partial, input, slow, left);
    if ways.is_empty() {
        return Vec::new();
    }
    if partial.work.node.runs() {
        // Silence is judged when every frame that waits was read.
        partial.work.turn();
        partial.acts.push(Act::Turn);
        memory.acts += 1;
    }
    let Partial { work, arrived, acts, .. } = partial;
    let sent = work.done.sent.iter().map(|frame| memory.frames.number((**frame).clone()));
    let end = Outcome {
        arrived,
        late: 0,
        sent: sent.collect(),
        answered: work.done.answered,
        accepted: memory.accepted.number(work.done.accepted),
        cost: (0, 0, 0),
        alive: work.node.engine.is_some(),
        node: memory.nodes.number(work.node),
        acts,
    };
    ways.into_iter().map(|(late, cost)| Outcome { late, cost, ..end.clone() }).collect()
}

/// What may become of the frames that did not arrive: which are late, the others are lost; and
/// what that takes of the budget.
fn ways(partial: &Partial, input: &Input, slow: u8, left: &Budget) -> Vec<(u32, (u8, u8, u8))> {
    let mut ways = vec![(0_u32, (0_u8, 0_u8, slow))];
    for (index, coming) in input.frames.iter().enumerate() {
        let arrived = partial.arrived >> index & 1 == 1;
        if arrived || coming.copy || partial.work.node.engine.is_none() {
            continue;
        }
        if coming.age >= LONGEST_WAY {
            // It is not lost now: then it was so before.
            return Vec::new();
        }
        let late = ways
            .clone()
            .into_iter()
            .map(|(on, (late, lost, slow))| (on | 1 << index, (late + 1, lost, slow)));
        let lost = ways.iter().map(|(on, (late, lost, slow))| (*on, (*late, lost + 1, *slow)));
        ways = late.chain(lost).collect();
        ways.retain(|(_, cost)| affordable(*cost, left));
    }
    ways.retain(|(_, cost)| affordable(*cost, left));
    ways
}

fn affordable((late, lost, slow): (u8, u8, u8), left: &Budget) -> bool {
    late <= left.late
        && lost <= left.lost
        && slow <= left.slow
        && late.saturating_add(lost).saturating_add(slow) <= left.faults
}
