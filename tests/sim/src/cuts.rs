//! Every set of one or two one-way cuts, and every deaf node, one after the other.

use crate::check::{Excused, Violation};
use crate::scenario::Scenario;
use crate::schedule::{Fault, Schedule};
use crate::world::{MS, Options, World};

/// What came of one set of cuts.
#[derive(Debug, Clone)]
pub struct Settled {
    /// After how many milliseconds every bucket was accepted by exactly one node for good.
    pub after_ms: u64,
    /// What must not have happened.
    pub violation: Option<Violation>,
    /// What happened across the cuts.
    pub excused: Excused,
    /// Events.
    pub events: u64,
}

/// All sets of one and two cuts among `nodes`, each deaf node and each mute one.
#[must_use]
pub fn all(nodes: usize) -> Vec<Vec<Fault>> {
    let links: Vec<Fault> = (1..=nodes)
        .flat_map(|from| (1..=nodes).map(move |to| (from, to)))
        .filter(|(from, to)| from != to)
        .map(|(from, to)| Fault::Cut(from, to, u8::MAX))
        .collect();
    let mut sets: Vec<Vec<Fault>> = links.iter().map(|link| vec![link.clone()]).collect();
    for (index, first) in links.iter().enumerate() {
        sets.extend(links[index + 1..].iter().map(|second| vec![first.clone(), second.clone()]));
    }
    sets.extend((1..=nodes).map(|node| vec![Fault::Deaf(node)]));
    sets.extend((1..=nodes).map(|node| vec![Fault::Mute(node)]));
    sets
}

/// Lets a cluster settle, cuts, and measures until when it is unsettled. `watch`: for how many
/// dead-afters.
#[must_use]
pub fn run(nodes: usize, cuts: &[Fault], seed: u64, watch: u64, options: Options) -> Settled {
    let mut schedule = Scenario::Cuts.schedule(seed);
    schedule.nodes.truncate(nodes);
    schedule.faults.retain(|timed| matches!(timed.fault, Fault::Boot(node) if node <= nodes));
    schedule.faults.truncate(nodes);
    settle(&schedule, cuts, watch, options)
}

fn settle(schedule: &Schedule, cuts: &[Fault], watch: u64, options: Options) -> Settled {
    let mut world = World::new(schedule, options);
    let unit = world.unit();
    world.run(unit * 4);
    if let Some(why) = world.unsettled() {
        world.check.violations.push(Violation::NotSettled { at: world.now, why });
    }
    cuts.iter().for_each(|cut| world.act(cut));
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
        after_ms: (unsettled - start) / MS,
        violation: world.check.violations.into_iter().next(),
        excused: world.check.excused,
        events: world.events,
    }
}
