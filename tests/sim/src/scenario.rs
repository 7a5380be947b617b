//! What happens to a cluster: kinds of schedules, drawn from the seed.

use core::time::Duration;

use nlb_engine::Timing;

use crate::check::Violation;
use crate::mutate::Mutation;
use crate::node::nanos;
use crate::world::{MS, Settings, World};

/// A kind of schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Crashes, stops, restarts, leaves, weights, lost rules; every link works.
    Churn,
    /// The same with a tenth of all frames lost.
    Noisy,
    /// The same at 5 ms heartbeats and 50 ms dead-after.
    Fast,
    /// Churn and one-way cuts, two at a time.
    Cuts,
    /// Churn and partitions.
    Partitions,
    /// Churn and deaf nodes.
    Deaf,
    /// Planned changes only: joins, weights, leaves, drains. Nothing may be lost.
    Planned,
    /// A weight changes every 50 ms.
    Weights,
    /// Sixty-four nodes, a few changes.
    Many,
    /// Churn with planned restarts, and crashes from which the process is back quickly.
    Restarts,
    /// Planned changes and planned restarts. Nothing may be lost.
    Rolling,
}

impl Scenario {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Churn,
        Self::Noisy,
        Self::Fast,
        Self::Cuts,
        Self::Partitions,
        Self::Deaf,
        Self::Planned,
        Self::Weights,
        Self::Many,
        Self::Restarts,
        Self::Rolling,
    ];

    /// How many nodes it is usually run with.
    #[must_use]
    pub const fn nodes(self) -> usize {
        match self {
            Self::Many => 64,
            Self::Noisy => 5,
            _ => 4,
        }
    }

    /// The command line's word for it.
    #[must_use]
    pub fn word(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What must not have happened.
    pub violations: Vec<Violation>,
    /// Names the run.
    pub hash: u64,
    /// How many events there were.
    pub events: u64,
    /// How many frames were sent.
    pub frames: u64,
    /// Packets sent and answered.
    pub packets: (usize, usize),
    /// Packets answered twice, clients moved, buckets shared: across cuts.
    pub across_cuts: (u64, u64, u64),
    /// The longest wait of a packet, in nanoseconds, and how many waited more than a millisecond.
    pub waits: (u64, u64),
    /// The most frames of one node within dead-after.
    pub most_frames: usize,
    /// Samples: buckets served of buckets there are.
    pub served: (u64, u64),
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Crash,
    Boot,
    Pause,
    Stall,
    Weight,
    Burst,
    Leave,
    Rules,
    Drain,
    Cut,
    Partition,
    Deafen,
    Heal,
    Restart,
    Return,
}

const CHURN: &[Op] = &[
    Op::Crash,
    Op::Pause,
    Op::Stall,
    Op::Weight,
    Op::Weight,
    Op::Burst,
    Op::Boot,
    Op::Boot,
    Op::Leave,
    Op::Rules,
    Op::Drain,
];
const CUTS: &[Op] = &[
    Op::Crash,
    Op::Pause,
    Op::Stall,
    Op::Weight,
    Op::Burst,
    Op::Boot,
    Op::Boot,
    Op::Leave,
    Op::Cut,
    Op::Cut,
    Op::Heal,
];
const PARTITIONS: &[Op] =
    &[Op::Crash, Op::Pause, Op::Weight, Op::Boot, Op::Boot, Op::Leave, Op::Partition, Op::Heal];
const DEAF: &[Op] =
    &[Op::Crash, Op::Pause, Op::Weight, Op::Boot, Op::Boot, Op::Leave, Op::Deafen, Op::Heal];
const PLANNED: &[Op] =
    &[Op::Weight, Op::Burst, Op::Boot, Op::Boot, Op::Leave, Op::Drain, Op::Stall];
const WEIGHTS: &[Op] = &[Op::Burst];
const RESTARTS: &[Op] = &[
    Op::Crash,
    Op::Pause,
    Op::Stall,
    Op::Weight,
    Op::Burst,
    Op::Boot,
    Op::Boot,
    Op::Leave,
    Op::Rules,
    Op::Drain,
    Op::Restart,
    Op::Restart,
    Op::Return,
    Op::Return,
    Op::Return,
];
const ROLLING: &[Op] =
    &[Op::Weight, Op::Boot, Op::Leave, Op::Drain, Op::Restart, Op::Restart, Op::Restart];
const MANY: &[Op] = &[Op::Crash, Op::Weight, Op::Boot, Op::Leave, Op::Pause];

/// How a scenario's world is made.
#[must_use]
pub fn settings(scenario: Scenario, nodes: usize, mutation: Option<Mutation>) -> Settings {
    let fast = scenario == Scenario::Fast;
    let timing = if fast {
        Timing { heartbeat: Duration::from_millis(5), dead_after: Duration::from_millis(50) }
    } else {
        Timing::default()
    };
    let calm = matches!(scenario, Scenario::Planned | Scenario::Weights | Scenario::Rolling);
    Settings {
        nodes,
        timing,
        loss: match scenario {
            Scenario::Noisy => 100_000,
            Scenario::Planned | Scenario::Weights | Scenario::Rolling => 0,
            _ => 10_000,
        },
        doubled: 20_000,
        delay: match scenario {
            Scenario::Fast | Scenario::Planned | Scenario::Weights | Scenario::Rolling => MS,
            Scenario::Noisy => 40 * MS,
            _ => 5 * MS,
        },
        packet_loss: if calm { 0 } else { 1000 },
        applier: if fast { (15 * MS, 5 * MS) } else { (100 * MS, 20 * MS) },
        clients: match scenario {
            Scenario::Many => 16,
            Scenario::Planned | Scenario::Weights | Scenario::Rolling => 200,
            _ => 48,
        },
        // Planned: a client pauses between flows for longer than a leaving node lingers.
        period: match scenario {
            Scenario::Fast => 20 * MS,
            Scenario::Planned | Scenario::Weights | Scenario::Rolling => 1000 * MS,
            _ => 150 * MS,
        },
        flow: if fast { 2 * MS } else { 20 * MS },
        idle: timing.dead_after * 4,
        drift: 5000,
        resumes: matches!(scenario, Scenario::Restarts | Scenario::Rolling),
        mutation,
        trace: false,
    }
}

fn ops(scenario: Scenario) -> &'static [Op] {
    match scenario {
        Scenario::Churn | Scenario::Noisy | Scenario::Fast => CHURN,
        Scenario::Cuts => CUTS,
        Scenario::Partitions => PARTITIONS,
        Scenario::Deaf => DEAF,
        Scenario::Planned => PLANNED,
        Scenario::Weights => WEIGHTS,
        Scenario::Many => MANY,
        Scenario::Restarts => RESTARTS,
        Scenario::Rolling => ROLLING,
    }
}

/// Runs one schedule.
#[must_use]
pub fn run(
    scenario: Scenario,
    seed: u64,
    nodes: usize,
    mutation: Option<Mutation>,
    trace: bool,
) -> Outcome {
    let mut settings = settings(scenario, nodes, mutation);
    settings.trace = trace;
    let mut world = World::new(seed, settings);
    let unit = nanos(settings.timing.dead_after);
    for index in 0..nodes {
        let at = world.rng.range(MS, unit / 2);
        world.boot_at(at, index);
    }
    world.run(unit * 3);
    world.start_clients();
    let mut served = (0, 0);
    let mut time = unit * 7 / 2;
    let many = scenario == Scenario::Many;
    for _ in 0..if many { 6 } else { 14 } {
        time += world.rng.range(unit * 3 / 100, unit * 5 / 2);
        sample(&mut world, time, &mut served);
        let list = ops(scenario);
        let op = list[world.rng.index(list.len())];
        act(&mut world, op, unit, scenario);
        world.last_fault = world.last_fault.max(world.now);
    }
    finish(&mut world, unit, &mut served);
    Outcome {
        hash: world.hash,
        events: world.events,
        frames: world.frames,
        packets: (world.check.packets.len(), world.check.answered()),
        across_cuts: (
            world.check.across_cuts,
            world.check.moved_across_cuts,
            world.check.shared_across_cuts,
        ),
        waits: (world.check.longest_wait, world.check.waited),
        most_frames: world.check.most_frames,
        served,
        violations: world.check.violations,
    }
}

fn sample(world: &mut World, until: u64, served: &mut (u64, u64)) {
    let step = nanos(world.settings.timing.dead_after) / 20;
    while world.now + step < until {
        let next = world.now + step;
        world.run(next);
        served.0 += world.served() as u64;
        served.1 += nlb_protocol::ids::BUCKETS as u64;
    }
    world.run(until);
}

/// Everything is mended; then the cluster has to settle (I3).
fn finish(world: &mut World, unit: u64, served: &mut (u64, u64)) {
    if world.cut_count() > 0 {
        world.heal();
        world.last_fault = world.last_fault.max(world.now);
    }
    // Who is on the way out gets there; if nobody is left, somebody starts.
    sample(world, world.last_fault.max(world.now) + unit * 3, served);
    if world.nodes.iter().all(|node| node.engine.is_none()) {
        let now = world.now;
        world.boot_at(now, 0);
        world.last_fault = world.last_fault.max(now);
    }
    let until = (world.last_fault + unit * SETTLE).max(world.now);
    sample(world, until, served);
    // With every tenth frame lost a node is unheard by chance now and then, for one more round.
    let patience = if world.settings.loss >= 100_000 { unit * SETTLE } else { 0 };
    let end = world.now + patience;
    while world.now < end && world.unsettled().is_some() {
        let next = world.now + unit / 20;
        world.run(next);
    }
    if let Some(why) = world.unsettled() {
        world.check.violations.push(Violation::NotSettled { at: world.now, why });
    }
    let calm = matches!(world.settings, Settings { loss: 0, packet_loss: 0, .. });
    if calm {
        let end = world.now.saturating_sub(unit * 2);
        let lost = world.check.packets.iter().enumerate();
        let lost: Vec<Violation> = lost
            .filter(|(_, packet)| packet.first.is_none() && packet.sent < end)
            .map(|(number, packet)| Violation::PacketLost { at: packet.sent, packet: number })
            .collect();
        world.check.violations.extend(lost);
    }
}

/// Within so many dead-afters of the last fault the cluster is settled: a fenced node's
/// quarantine, its joining, and a second round of both.
const SETTLE: u64 = 5;

fn act(world: &mut World, op: Op, unit: u64, scenario: Scenario) {
    let nodes = world.nodes.len();
    let index = world.rng.index(nodes);
    let now = world.now;
    let planned = matches!(scenario, Scenario::Planned | Scenario::Rolling);
    match op {
        Op::Crash => world.crash(index),
        Op::Boot => {
            let down = (0..nodes).find(|node| world.nodes[*node].engine.is_none());
            down.into_iter().for_each(|node| world.boot_at(now, node));
        }
        Op::Pause => {
            let duration = world.rng.range(unit / 10, unit * 5);
            world.pause(index, duration);
        }
        Op::Stall => {
            // A planned run allows for a busy machine, not for a lost lease.
            let duration = world.rng.range(unit / 1000, unit * 8 / 100);
            if !planned {
                world.pause(index, duration);
            }
        }
        Op::Weight => {
            let weight = [50, 100, 200, 300][world.rng.index(4)];
            world.weigh(index, weight);
        }
        Op::Burst => world.weigh_often(index, 20, unit / 20),
        Op::Leave => {
            let up = world.nodes.iter().filter(|node| node.engine.is_some()).count();
            if !planned || up > 1 && others_serve(world, index) {
                world.leave(index);
                world.last_fault = world.last_fault.max(now + unit * 3);
            }
        }
        Op::Rules => world.flush_rules(index),
        Op::Drain => drain(world, index, unit, planned),
        Op::Cut => {
            let other = world.rng.index(nodes);
            if other != index && world.cut_count() < 2 {
                world.cut(index, other, true);
            }
        }
        Op::Partition => partition(world),
        Op::Deafen => {
            if world.cut_count() == 0 {
                world.deafen(index, true);
            }
        }
        Op::Heal => world.heal(),
        Op::Restart => restart(world, index, unit, planned),
        Op::Return => {
            let away = world.rng.range(unit / 200, unit * 12 / 10);
            world.crash_and_return(index, away);
        }
    }
}

/// Whether somebody else is there to take what `index` has.
fn others_serve(world: &World, index: usize) -> bool {
    use nlb_protocol::frame::State;
    world.nodes.iter().enumerate().any(|(other, node)| {
        other != index && node.engine.as_ref().is_some_and(|e| e.state() == State::Active)
    })
}

fn drain(world: &mut World, index: usize, unit: u64, planned: bool) {
    use nlb_engine::manage::Command;
    if !world.nodes[index].runs() || planned && !others_serve(world, index) {
        return;
    }
    if world.rng.chance(500_000) {
        world.command(index, Command::Drain { timeout: None });
        let resume = world.now + world.rng.range(unit / 10, unit * 2);
        world.run(resume);
        if world.nodes[index].runs() {
            world.command(index, Command::Undrain);
        }
    } else {
        let timeout = Some(Duration::from_nanos(unit));
        world.command(index, Command::Drain { timeout });
        world.last_fault = world.last_fault.max(world.now + unit * 4);
    }
}

fn restart(world: &mut World, index: usize, unit: u64, planned: bool) {
    if planned && !others_serve(world, index) {
        return;
    }
    let hold = world.rng.range(unit * 2, unit * 10);
    // Usually in time.
    let most = if planned { hold / 2 } else { hold * 12 / 10 };
    let away = world.rng.range(unit / 20, most);
    world.restart(index, Duration::from_nanos(hold), away);
}

fn partition(world: &mut World) {
    let nodes = world.nodes.len();
    let side: Vec<bool> = (0..nodes).map(|_| world.rng.chance(500_000)).collect();
    for from in 0..nodes {
        for to in 0..nodes {
            if from != to && side[from] != side[to] {
                world.cut(from, to, true);
            }
        }
    }
}
