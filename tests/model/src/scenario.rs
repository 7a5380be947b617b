//! Where a search begins: a cluster that has formed, and what is to happen to it.

use std::rc::Rc;

use nlb_protocol::frame::Frame;
use nlb_protocol::table::{Table, View};
use nlb_protocol::{Bucket, NodeId, Weight, hash};

use crate::node::{Node, Work, clock};
use crate::step::{Memory, Order};
use crate::world::{Budget, CLIENTS, Client, Flight, Orders, World, client_of};

/// The hash seed of simulated nodes.
const SEED: u32 = 0x5eed;
/// Steps within which a cluster that nothing befalls has formed.
const FORMED: u16 = 200;
/// Steps for which it is left alone then: heartbeats come in their own time again.
const QUIET: u16 = 30;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// A node gets another weight.
    Weight,
    /// A node's weight changes and changes back: the same view again under a later epoch.
    Back,
    /// A node leaves.
    Leave,
    /// A node drains.
    Drain,
    /// A node joins.
    Join,
    /// Nothing is planned: crashes and stops only.
    Fault,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Weight, Self::Back, Self::Leave, Self::Drain, Self::Join, Self::Fault];

    fn orders(self) -> Orders {
        match self {
            Self::Weight => vec![(0, Order::Weight(300))],
            Self::Back => vec![(0, Order::Weight(300)), (0, Order::Weight(100))],
            Self::Leave => vec![(0, Order::Leave)],
            Self::Drain => vec![(0, Order::Drain)],
            Self::Join | Self::Fault => Vec::new(),
        }
    }

    /// The view after it, as far as the clients are chosen by it.
    fn after(self, nodes: u64) -> View {
        let weight = |node| if node == 1 { 300 } else { 100 };
        match self {
            Self::Weight | Self::Back => view((1..=nodes).map(|node| (node, weight(node)))),
            Self::Leave | Self::Drain | Self::Fault => view((2..=nodes).map(|node| (node, 100))),
            Self::Join => view((1..=nodes).map(|node| (node, 100))),
        }
    }

    /// Those who are there from the beginning.
    fn founders(self, nodes: u64) -> u64 {
        if self == Self::Join { nodes - 1 } else { nodes }
    }
}

/// Where a search begins.
#[derive(Debug)]
pub struct Start {
    /// The cluster.
    pub world: World,
    /// The time.
    pub step: u16,
    /// What administrators may say.
    pub orders: Orders,
    /// What the numbers in `world` mean.
    pub nodes: Vec<(u32, Rc<Node>)>,
    /// The same for frames.
    pub frames: Vec<(u32, Rc<Frame>)>,
}

fn view(members: impl Iterator<Item = (u64, u16)>) -> View {
    let weight = |weight| Weight::new(weight).unwrap_or(Weight::DEFAULT);
    View::new(members.map(|(node, w)| (NodeId(node), weight(w))))
}

/// Two clients whose buckets move, from or to different nodes.
fn clients(before: &View, after: &View) -> [Client; CLIENTS] {
    let (before, after) = (Table::build(before), Table::build(after));
    let client = |number| Client { number, sent: 0, keeper: None };
    let bucket =
        |number: u32| -> Bucket { hash::bucket(client_of(client(number).next().id), SEED) };
    let moves = |number: &u32| {
        let bucket = bucket(*number);
        (before.owner(bucket), after.owner(bucket))
    };
    let mut moving = (1..).filter(|number| moves(number).0 != moves(number).1);
    let first = moving.next().unwrap_or(1);
    let other = |number: &u32| moves(number) != moves(&first) && bucket(*number) != bucket(first);
    [client(first), client(moving.find(other).unwrap_or(2))]
}

/// A cluster on its way to the beginning: everything arrives after one step, and plans are
/// applied at once.
struct Forming {
    nodes: Vec<Node>,
    wire: Vec<(usize, Rc<Frame>)>,
    step: u16,
}

impl Forming {
    /// One step; gives who answered a packet of this client, if it sends one.
    fn step(&mut self, client: Option<&Client>) -> Option<u8> {
        let wire = core::mem::take(&mut self.wire);
        let mut keeper = None;
        for index in 0..self.nodes.len() {
            let mut work = Work::new(self.nodes[index].clone(), self.step, None);
            let mine = wire.iter().filter(|(to, _)| *to == index);
            mine.for_each(|(_, frame)| work.frame(frame));
            work.witness();
            if let Some(client) = client {
                work.packet(client.next());
            }
            while work.node.kernel.applying.is_some() {
                work.apply();
            }
            work.turn();
            if !work.done.answered.is_empty() {
                keeper = u8::try_from(index).ok();
            }
            for to in (0..self.nodes.len()).filter(|to| *to != index) {
                self.wire.extend(work.done.sent.iter().map(|frame| (to, Rc::clone(frame))));
            }
            self.nodes[index] = work.node;
        }
        self.step += 1;
        keeper
    }

    fn is_formed(&self) -> bool {
        let engines = self.nodes.iter().filter_map(|node| node.engine.as_ref());
        engines.map(|engine| engine.snapshot(nlb_engine::Time::ZERO)).all(|seen| seen.converged)
    }
}

/// Lets a cluster form, with one client that is kept and one that is not known yet.
///
/// # Panics
/// When it does not.
#[must_use]
pub fn start(scenario: Scenario, nodes: u64, budget: Budget, memory: &mut Memory) -> Start {
    let founders = scenario.founders(nodes);
    let before = view((1..=founders).map(|node| (node, 100)));
    let mut clients = clients(&before, &scenario.after(nodes));
    let boot = (1..=founders).map(|id| Node::boot(id, 0)).collect();
    let mut forming = Forming { nodes: boot, wire: Vec::new(), step: 0 };
    while !forming.is_formed() {
        assert!(forming.step < FORMED, "the cluster does not form");
        forming.step(None);
    }
    let keeper = forming.step(Some(&clients[0]));
    clients[0].sent = 1;
    clients[0].keeper = keeper.map(|keeper| (keeper, forming.step - 1));
    assert!(keeper.is_some(), "the first client was not answered");
    for _ in 0..QUIET {
        forming.step(None);
    }
    let Forming { mut nodes, wire, step } = forming;
    if scenario == Scenario::Join {
        nodes.push(Node::boot(founders + 1, step));
    }
    let orders = scenario.orders();
    let frame = |(to, frame): &(usize, Rc<Frame>), memory: &mut Memory| Flight {
        to: u8::try_from(*to).unwrap_or(u8::MAX),
        sent: step - 1,
        frame: memory.frames.number((**frame).clone()),
        copy: false,
    };
    let mut wire: Vec<Flight> = wire.iter().map(|flight| frame(flight, memory)).collect();
    wire.sort_unstable();
    let nodes: Vec<u32> = nodes.into_iter().map(|node| memory.nodes.number(node)).collect();
    let all = (1 << orders.len()) - 1;
    let left = Budget { orders: all, ..budget };
    let answered = vec![(clients[0].number << 4, clients[0].keeper.map_or(0, |keeper| keeper.0))];
    let world = World { nodes, wire, clients, answered, left };
    Start {
        nodes: world.nodes.iter().map(|number| (*number, memory.nodes.get(*number))).collect(),
        frames: world.wire.iter().map(|f| (f.frame, memory.frames.get(f.frame))).collect(),
        world,
        step,
        orders,
    }
}

/// Milliseconds since the search began.
#[must_use]
pub fn milliseconds(start: &Start, step: u16) -> u64 {
    (clock(step) - clock(start.step)) / 1_000_000
}
