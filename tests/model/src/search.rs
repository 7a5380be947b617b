//! The search: layer by layer, each a step later than the one before.

use std::rc::Rc;

use crate::fingerprint::{self, Map, Set};
use crate::mutate::Mutation;
use crate::node::Work;
use crate::product::Product;
use crate::scenario::Start;
use crate::step::{self, Coming, Event, Input, Memory, Outcome};
use crate::world::{CLIENTS, Orders, Violation, World};

/// The first order is given within a heartbeat of the beginning: at every phase of it. A later one
/// at any time behind the first.
const ORDERED: u16 = 4;
/// A copy of a frame arrives within so many steps: a heartbeat behind the longest way.
pub(crate) const COPIES: u16 = 6;
/// Packets of one client: more do not find numbers.
const MOST_PACKETS: u8 = 16;

/// What chose a successor.
#[derive(Debug)]
pub struct Choice<'a> {
    /// What befell whom.
    pub event: Option<(usize, Event)>,
    /// Which clients sent, a bit each.
    pub sends: usize,
    /// What each node made of it.
    pub ends: &'a [&'a Outcome],
}

/// What a search found.
#[derive(Debug)]
pub struct Report {
    /// Steps that were searched completely.
    pub depth: u16,
    /// Whether that is as deep as was asked for.
    pub complete: bool,
    /// Different states of the cluster, over all steps.
    pub states: u64,
    /// Transitions between them.
    pub transitions: u64,
    /// Different states of a node.
    pub node_states: usize,
    /// Things that happened to engines.
    pub acts: u64,
    /// What must not happen, and how it comes to that, shortest first.
    pub violation: Option<(Violation, Vec<String>)>,
}

/// A search.
pub struct Search {
    pub(crate) memory: Memory,
    pub(crate) start: Start,
    pub(crate) orders: Orders,
    mutation: Option<Mutation>,
    cache: Map<Input, Rc<Vec<Outcome>>>,
    void: Map<(u32, u32), bool>,
    pub(crate) transitions: u64,
    /// For each layer: of each state the one that it came from, and its name.
    pub(crate) origins: Vec<Vec<(u32, u128)>>,
}

impl Search {
    /// A search from where a scenario begins.
    #[must_use]
    pub fn new(start: Start, memory: Memory, mutation: Option<Mutation>) -> Self {
        let orders = start.orders.clone();
        Self {
            memory,
            start,
            orders,
            mutation,
            cache: Map::default(),
            void: Map::default(),
            transitions: 0,
            origins: Vec::new(),
        }
    }

    /// Searches `depth` steps, or until more than `most` states are in one layer or `limit` is over.
    /// `tell` hears of every layer: its number, and how many states it has.
    pub fn run(
        &mut self,
        depth: u16,
        most: usize,
        limit: impl Fn() -> bool,
        mut tell: impl FnMut(u16, usize),
    ) -> Report {
        let mut layer = vec![self.start.world.clone()];
        self.origins = vec![vec![(0, fingerprint::of(&layer[0]))]];
        let mut states = 1;
        for ahead in 0..depth {
            let step = self.start.step + ahead;
            let (mut next, mut names, mut origins) = (Vec::new(), Set::default(), Vec::new());
            let mut violation = None;
            for (index, world) in layer.iter().enumerate() {
                if next.len() > most || limit() {
                    return self.report(ahead, false, states, None);
                }
                let from = u32::try_from(index).unwrap_or(u32::MAX);
                self.successors(world, step, &mut |found, choice| {
                    match found {
                        Err(wrong) => {
                            let acts = crate::trace::Acts::of(choice);
                            violation.get_or_insert((from, wrong, acts));
                        }
                        Ok(world) => {
                            let name = fingerprint::of(&world);
                            if names.insert(name) {
                                next.push(world);
                                origins.push((from, name));
                            }
                        }
                    }
                    violation.is_none()
                });
                if violation.is_some() {
                    break;
                }
            }
            if let Some((from, wrong, acts)) = violation {
                let trace = self.trace(from, &acts);
                return self.report(ahead, false, states, Some((wrong, trace)));
            }
            states += next.len() as u64;
            tell(ahead + 1, next.len());
            self.origins.push(origins);
            layer = next;
            self.forget(&layer);
        }
        self.report(depth, true, states, None)
    }

    fn report(
        &self,
        depth: u16,
        complete: bool,
        states: u64,
        violation: Option<(Violation, Vec<String>)>,
    ) -> Report {
        Report {
            depth,
            complete,
            states,
            transitions: self.transitions,
            node_states: self.memory.nodes.len(),
            acts: self.memory.acts,
            violation,
        }
    }

    /// Drops what no state of the layer needs.
    pub(crate) fn forget(&mut self, layer: &[World]) {
        self.cache.clear();
        self.void.clear();
        let nodes: Set<u32> = layer.iter().flat_map(|world| world.nodes.iter().copied()).collect();
        let frames = layer.iter().flat_map(|world| world.wire.iter().map(|flight| flight.frame));
        let frames: Set<u32> = frames.collect();
        self.memory.nodes.keep(&nodes);
        self.memory.frames.keep(&frames);
    }

    /// Everything that can become of a world in one step, until `found` says no.
    pub(crate) fn successors(
        &mut self,
        world: &World,
        step: u16,
        found: &mut dyn FnMut(Result<World, Violation>, &Choice<'_>) -> bool,
    ) {
        for event in self.events(world, step) {
            for sends in 0..1_usize << CLIENTS {
                let may = |client: usize| {
                    sends >> client & 1 == 0 || world.clients[client].sent < MOST_PACKETS
                };
                if !(0..CLIENTS).all(may) || sends.count_ones() > u32::from(world.left.packets) {
                    continue;
                }
                let lists: Vec<Rc<Vec<Outcome>>> = (0..world.nodes.len())
                    .map(|node| self.ends(world, node, event, sends, step))
                    .collect();
                let mut product = Product { search: self, world, step, event, sends, found };
                if !product.extend(&lists, &mut Vec::new(), (0, 0, 0)) {
                    return;
                }
            }
        }
    }

    /// What may befall the nodes now: nothing, or one thing.
    fn events(&self, world: &World, step: u16) -> Vec<Option<(usize, Event)>> {
        let begins = step < self.start.step + ORDERED;
        let ready = |bit: usize| if bit == 0 { begins } else { world.left.orders & 1 == 0 };
        let mut events = vec![None];
        for (index, number) in world.nodes.iter().enumerate() {
            let node = self.memory.nodes.get(*number);
            if node.engine.is_none() {
                continue;
            }
            let mut may = |event| events.push(Some((index, event)));
            if world.left.crashes > 0 && world.left.faults > 0 {
                may(Event::Crash);
            }
            if node.stopped {
                may(Event::Resume);
                continue;
            }
            if world.left.stops > 0 && world.left.faults > 0 {
                may(Event::Stop);
            }
            for (bit, (to, order)) in self.orders.iter().enumerate() {
                if *to == index && world.left.orders >> bit & 1 == 1 && ready(bit) {
                    may(Event::Order(*order));
                }
            }
        }
        events
    }

    fn ends(
        &mut self,
        world: &World,
        node: usize,
        event: Option<(usize, Event)>,
        sends: usize,
        step: u16,
    ) -> Rc<Vec<Outcome>> {
        let coming = world.wire.iter().filter(|flight| usize::from(flight.to) == node);
        let coming = coming.map(|flight| Coming {
            frame: flight.frame,
            age: step - flight.sent,
            copy: flight.copy,
        });
        let sending = (0..CLIENTS).filter(|client| sends >> client & 1 == 1);
        let input = Input {
            node: world.nodes[node],
            event: event.filter(|(to, _)| *to == node).map(|(_, event)| event),
            frames: coming.collect(),
            packets: sending.map(|client| world.clients[client].next()).collect(),
        };
        if let Some(known) = self.cache.get(&input) {
            return Rc::clone(known);
        }
        let ends =
            step::ends(&mut self.memory, &input, step, &self.start.world.left, self.mutation);
        let ends = Rc::new(ends);
        self.cache.insert(input, Rc::clone(&ends));
        ends
    }
}

impl Search {
    /// Whether a frame that arrives again changes nothing: then it never will, for numbers only
    /// rise. What a stopped process has in its socket twice it reads one after the other.
    pub(crate) fn is_void(&mut self, node: u32, frame: u32, step: u16) -> bool {
        if let Some(known) = self.void.get(&(node, frame)) {
            return *known;
        }
        let known = self.memory.nodes.get(node);
        let again = self.memory.frames.get(frame);
        let void = known.stopped || {
            let mut work = Work::new((*known).clone(), step, self.mutation);
            work.frame(&again);
            // Time passes, whatever comes: what is compared has heard of the time too.
            let once = fingerprint::of(&work.node);
            let mut other = Work::new((*known).clone(), step, self.mutation);
            other.echo();
            once == fingerprint::of(&other.node)
        };
        self.void.insert((node, frame), void);
        void
    }
}
