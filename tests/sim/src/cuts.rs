//! Every set of one or two one-way cuts, and every deaf node, one after the other.

use crate::check::Violation;
use crate::mutate::Mutation;
use crate::node::nanos;
use crate::scenario::{Scenario, settings};
use crate::world::{MS, World};

/// What came of one set of cuts.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The cuts, from and to, counted from 0.
    pub cuts: Vec<(usize, usize)>,
    /// The deaf node, if that was the fault.
    pub deaf: Option<usize>,
    /// After how many milliseconds every bucket was accepted by exactly one node for good.
    pub after_ms: u64,
    /// What must not have happened.
    pub violations: Vec<Violation>,
    /// Packets answered twice across a cut.
    pub across_cuts: u64,
    /// Events.
    pub events: u64,
}

/// The cuts, or who is deaf.
pub type Fault = (Vec<(usize, usize)>, Option<usize>);

/// All sets of one and two cuts among `nodes`, and each deaf node.
#[must_use]
pub fn all(nodes: usize) -> Vec<Fault> {
    let links: Vec<(usize, usize)> = (0..nodes)
        .flat_map(|from| (0..nodes).map(move |to| (from, to)))
        .filter(|(from, to)| from != to)
        .collect();
    let mut sets: Vec<Fault> = links.iter().map(|link| (vec![*link], None)).collect();
    for (index, first) in links.iter().enumerate() {
        sets.extend(links[index + 1..].iter().map(|second| (vec![*first, *second], None)));
    }
    sets.extend((0..nodes).map(|deaf| (Vec::new(), Some(deaf))));
    sets
}

/// Lets a cluster settle, cuts, and measures until when it is unsettled. `watch`: for how many
/// dead-afters.
#[must_use]
pub fn run(
    nodes: usize,
    cuts: &[(usize, usize)],
    deaf: Option<usize>,
    seed: u64,
    watch: u64,
    mutation: Option<Mutation>,
    trace: bool,
) -> Settled {
    let mut settings = settings(Scenario::Cuts, nodes, mutation);
    settings.trace = trace;
    let mut world = World::new(seed, settings);
    let unit = nanos(settings.timing.dead_after);
    for index in 0..nodes {
        let at = world.rng.range(MS, unit * 3 / 10);
        world.boot_at(at, index);
    }
    world.run(unit * 3);
    world.start_clients();
    world.run(unit * 4);
    if let Some(why) = world.unsettled() {
        world.check.violations.push(Violation::NotSettled { at: world.now, why });
    }
    for (from, to) in cuts {
        world.cut(*from, *to, true);
    }
    deaf.into_iter().for_each(|index| world.deafen(index, true));
    let start = world.now;
    let (mut unsettled, mut why) = (start, None);
    while world.now < start + unit * watch {
        let next = world.now + unit / 40;
        world.run(next);
        if let Some(found) = world.unsettled() {
            unsettled = world.now;
            why = Some(found);
        }
    }
    if unsettled > start + unit * (watch - 4)
        && let Some(why) = why
    {
        world.check.violations.push(Violation::NotSettled { at: world.now, why });
    }
    Settled {
        cuts: cuts.to_vec(),
        deaf,
        after_ms: (unsettled - start) / MS,
        violations: world.check.violations,
        across_cuts: world.check.across_cuts,
        events: world.events,
    }
}
