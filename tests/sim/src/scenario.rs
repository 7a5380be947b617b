//! Kinds of schedules, and how the settings of each are drawn from a seed.

use crate::cuts;
use crate::draw::{Draw, Op};
use crate::rng::{Chance, Rng};
use crate::schedule::{ClientSpec, KernelSpec, LimitSpec, Network, NodeSpec, Schedule};

/// A kind of schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Everything, with whatever timers, nodes and networks the seed says.
    Chaos,
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
    /// Chaos with planned restarts, and processes that take up what an earlier one left.
    Upgrades,
    /// Weights change, a node is away; one or two links are cut one way, or a node is deaf or
    /// mute, and stay so.
    Standing,
    /// Churn in which nodes stall while another is about to be dead.
    Stalls,
    /// Chaos among nodes that have little room and do little at a time, with many clients in few
    /// buckets.
    Bounds,
    /// Churn among machines that a hypervisor stops, clock and all.
    Frozen,
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
    &[Op::Crash, Op::Pause, Op::Weight, Op::Boot, Op::Boot, Op::Leave, Op::Deaf, Op::Heal];
const PLANNED: &[Op] = &[Op::Weight, Op::Burst, Op::Boot, Op::Boot, Op::Leave, Op::Drain];
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
const STALLS: &[Op] = &[
    Op::Stale,
    Op::Stale,
    Op::Relay,
    Op::Relay,
    Op::Crash,
    Op::Boot,
    Op::Boot,
    Op::Weight,
    Op::Leave,
];
const FROZEN: &[Op] = &[
    Op::Freeze,
    Op::Freeze,
    Op::Freeze,
    Op::Crash,
    Op::Pause,
    Op::Boot,
    Op::Boot,
    Op::Weight,
    Op::Leave,
    Op::Drain,
];
const MANY: &[Op] = &[Op::Crash, Op::Weight, Op::Boot, Op::Leave, Op::Pause];

impl Scenario {
    /// Every kind.
    pub const ALL: [Self; 17] = [
        Self::Chaos,
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
        Self::Upgrades,
        Self::Standing,
        Self::Stalls,
        Self::Bounds,
        Self::Frozen,
    ];

    /// The command line's word for it.
    #[must_use]
    pub fn word(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    fn ops(self) -> &'static [Op] {
        match self {
            Self::Chaos | Self::Upgrades | Self::Bounds => &[],
            Self::Churn | Self::Noisy | Self::Fast => CHURN,
            Self::Cuts => CUTS,
            Self::Partitions => PARTITIONS,
            Self::Deaf => DEAF,
            Self::Planned => PLANNED,
            Self::Weights | Self::Standing => &[Op::Burst],
            Self::Stalls => STALLS,
            Self::Frozen => FROZEN,
            Self::Many => MANY,
            Self::Restarts => RESTARTS,
            Self::Rolling => ROLLING,
        }
    }

    /// The schedule of this kind that a seed names.
    #[must_use]
    pub fn schedule(self, seed: u64) -> Schedule {
        let mut rng = Rng::of(seed, Chance::Schedule, self as u64, 0);
        if matches!(self, Self::Chaos | Self::Upgrades) {
            return chaos(seed, rng, self == Self::Upgrades);
        }
        if self == Self::Bounds {
            return bounds(seed, rng);
        }
        let (heartbeat, dead) = if self == Self::Fast { (5, 50) } else { (100, 1000) };
        let mut schedule = self.settings(seed, heartbeat * 1000, dead * 1000);
        let nodes = match self {
            Self::Many => 64,
            Self::Noisy => 5,
            _ => 4,
        };
        schedule.nodes = (0..nodes).map(|_| node(&mut rng)).collect();
        let mut draw = Draw::new(rng, &schedule);
        draw.start();
        let rounds = match self {
            Self::Many => 6,
            Self::Standing => 2,
            _ => 14,
        };
        for _ in 0..rounds {
            draw.wait(3, 250);
            draw.pick(self.ops());
        }
        if self == Self::Standing {
            draw.wait(50, 150);
            draw.stand(&cuts::all(nodes));
        }
        schedule.faults = draw.finish();
        schedule
    }

    fn settings(self, seed: u64, heartbeat_us: u64, dead_after_us: u64) -> Schedule {
        let calm = matches!(self, Self::Planned | Self::Weights | Self::Rolling);
        let fast = self == Self::Fast;
        let ms = 1000;
        Schedule {
            seed,
            heartbeat_us,
            dead_after_us,
            min_members: 1,
            careful: matches!(self, Self::Planned | Self::Rolling),
            stays: self == Self::Standing,
            resumes: matches!(self, Self::Restarts | Self::Rolling),
            paths: 1,
            nodes: Vec::new(),
            network: Network {
                loss_ppm: match self {
                    Self::Noisy => 100_000,
                    Self::Planned | Self::Weights | Self::Rolling | Self::Frozen => 0,
                    _ => 10_000,
                },
                doubled_ppm: 20_000,
                delay_us: match self {
                    Self::Fast | Self::Planned | Self::Weights | Self::Rolling => ms,
                    Self::Noisy => 40 * ms,
                    _ => 5 * ms,
                },
                packet_loss_ppm: if calm { 0 } else { 1000 },
                skew_us: 500,
            },
            kernel: if fast {
                KernelSpec { usual_us: 5 * ms, worst_us: 15 * ms }
            } else {
                KernelSpec { usual_us: 20 * ms, worst_us: 100 * ms }
            },
            clients: ClientSpec {
                count: match self {
                    Self::Many => 16,
                    Self::Planned | Self::Weights | Self::Rolling => 200,
                    _ => 48,
                },
                start_us: dead_after_us * 3,
                // Planned: a client pauses between flows for longer than a leaving node lingers.
                period_us: match self {
                    Self::Fast => 20 * ms,
                    Self::Planned | Self::Weights | Self::Rolling => 1000 * ms,
                    _ => 150 * ms,
                },
                flow_us: if fast { 2 * ms } else { 20 * ms },
                idle_us: dead_after_us * 4,
                idles_ppm: if calm { 0 } else { 10_000 },
                buckets: 0,
            },
            limits: LimitSpec::default(),
            faults: Vec::new(),
        }
    }
}

fn node(rng: &mut Rng) -> NodeSpec {
    // Half a percent either way is what the timers allow for (SPEC 6.2).
    let drift_ppm = i64::try_from(rng.range(0, 10_001)).unwrap_or(0) - 5000;
    NodeSpec { drift_ppm, offload: true, hash_seed: 0x5eed }
}

/// Heartbeats in dead-after. With five nothing is left for drift (SPEC 6.2).
const RATIOS: [u64; 6] = [6, 7, 8, 12, 20, 40];

fn chaos(seed: u64, mut rng: Rng, restarts: bool) -> Schedule {
    let (heartbeat_us, ratio) = match rng.index(5) {
        0 => (5000, 10),
        1 => (rng.range(5000, 150_000), RATIOS[rng.index(RATIOS.len())]),
        _ => (100_000, 10),
    };
    let unit = heartbeat_us * ratio;
    let many = rng.chance(5000);
    let count = if many { 64 } else { 2 + rng.index(7).min(rng.index(7)) };
    let mut nodes: Vec<NodeSpec> = (0..count).map(|_| node(&mut rng)).collect();
    let portable = [0, 0, 300_000, 1_000_000][rng.index(4)];
    nodes.iter_mut().for_each(|node| node.offload = !rng.chance(portable));
    let delay_us = match rng.index(4) {
        0 => unit * 9 / 100,
        _ => rng.range(100, unit * 2 / 100),
    };
    let flow_us = unit / 50;
    let mut schedule = Schedule {
        seed,
        heartbeat_us,
        dead_after_us: unit,
        min_members: if rng.chance(100_000) { 2 } else { 1 },
        careful: false,
        stays: false,
        resumes: restarts,
        paths: [1, 1, 2, 3][rng.index(4)],
        nodes,
        network: Network {
            loss_ppm: [0, 2000, 10_000, 50_000][rng.index(4)],
            doubled_ppm: [0, 20_000, 200_000][rng.index(3)],
            delay_us,
            packet_loss_ppm: [0, 1000, 20_000][rng.index(3)],
            skew_us: unit * 8 / 1000,
        },
        kernel: KernelSpec {
            usual_us: unit * [5, 20, 60][rng.index(3)] / 1000,
            worst_us: unit * [20, 100, 150][rng.index(3)] / 1000,
        },
        clients: ClientSpec {
            count: if many { 16 } else { [8, 16, 32][rng.index(3)] },
            start_us: unit * 2,
            period_us: unit * [10, 30, 80][rng.index(3)] / 100,
            flow_us,
            idle_us: unit * [15, 25, 60][rng.index(3)] / 10,
            idles_ppm: [0, 50_000, 200_000][rng.index(3)],
            buckets: 0,
        },
        limits: LimitSpec::default(),
        faults: Vec::new(),
    };
    let mut draw = Draw::new(rng, &schedule);
    draw.start();
    draw.everything(if many { 5 } else { 18 }, restarts);
    schedule.faults = draw.finish();
    schedule
}

fn bounds(seed: u64, mut rng: Rng) -> Schedule {
    let usual = LimitSpec::default();
    let [slice, backlog] = [0, 0].map(|_: usize| [1, 2, 3, 8, 32][rng.index(5)]);
    let limits = LimitSpec {
        sticky: [6, 24, usual.sticky, usual.sticky][rng.index(4)],
        // Where there is no room for all, clients may move: that hides much.
        pins: [3, 16].get(rng.index(8)).copied().unwrap_or(usual.pins),
        held: [1, 3, 32, usual.held][rng.index(4)],
        slice,
        backlog,
        log: (slice + backlog) * [4, 8, 64][rng.index(3)],
    };
    let count = [16, 48, 120][rng.index(3)];
    let buckets = [1, 4, 16][rng.index(3)];
    let restarts = rng.chance(500_000);
    let mut schedule = chaos(seed, rng, restarts);
    schedule.limits = limits;
    schedule.clients.count = count;
    schedule.clients.buckets = buckets;
    schedule
}
