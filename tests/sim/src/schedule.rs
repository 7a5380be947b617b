//! A schedule: everything that is decided before a run begins, as data.
//!
//! The same schedule gives the same run. What happens by chance on the way (how long a frame takes,
//! when a client sends) comes from `seed` and from what it is about, never from how much happened
//! before: without one of its faults, the rest of a schedule goes on as it was.

use core::time::Duration;

use nlb_engine::{Limits, Timing};
use serde::{Deserialize, Serialize};

/// What is to happen to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Names everything that happens by chance.
    pub seed: u64,
    /// Between two heartbeats.
    pub heartbeat_us: u64,
    /// After so long a silent peer is dead.
    pub dead_after_us: u64,
    /// Below so many nodes nobody serves.
    pub min_members: usize,
    /// Planned changes only: what would leave nobody to serve is left out, and no packet is lost.
    pub careful: bool,
    /// What is cut at the end stays so: the cluster settles all the same.
    #[serde(default)]
    pub stays: bool,
    /// Whether a new process goes on with what the old one left.
    pub resumes: bool,
    /// Interfaces of each node, each on its own segment; at most 8.
    pub paths: u8,
    /// The nodes.
    pub nodes: Vec<NodeSpec>,
    /// The segment.
    pub network: Network,
    /// The kernel of each node.
    pub kernel: KernelSpec,
    /// Who sends packets.
    pub clients: ClientSpec,
    /// What the nodes' engines have room for, and do at a time.
    #[serde(default)]
    pub limits: LimitSpec,
    /// What goes wrong, and what administrators do.
    pub faults: Vec<Timed>,
}

/// One node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// How much faster its clock is, in parts per million.
    pub drift_ppm: i64,
    /// Whether its kernel decides for known clients.
    pub offload: bool,
    /// The hash seed that it proposes.
    pub hash_seed: u32,
}

/// What becomes of frames and packets on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Frames lost on each link, per million.
    pub loss_ppm: u64,
    /// Frames doubled on each link, per million.
    pub doubled_ppm: u64,
    /// The longest way of a frame.
    pub delay_us: u64,
    /// Client packets that miss one node, per million.
    pub packet_loss_ppm: u64,
    /// How much later one node may receive a client's packet than another.
    pub skew_us: u64,
}

/// How long a kernel takes for a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelSpec {
    /// Usually at most.
    pub usual_us: u64,
    /// Now and then.
    pub worst_us: u64,
}

/// The bounds of an engine, as [`Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // as in the engine
pub struct LimitSpec {
    pub sticky: usize,
    pub pins: usize,
    pub held: usize,
    pub slice: usize,
    pub backlog: usize,
    pub log: usize,
}

impl LimitSpec {
    /// As the engine wants them.
    #[must_use]
    pub fn limits(self) -> Limits {
        let Self { sticky, pins, held, slice, backlog, log } = self;
        Limits { sticky, pins, held, slice, backlog, log }
    }
}

impl Default for LimitSpec {
    fn default() -> Self {
        let Limits { sticky, pins, held, slice, backlog, log } = Limits::DEFAULT;
        Self { sticky, pins, held, slice, backlog, log }
    }
}

/// The clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSpec {
    /// How many there are.
    pub count: u32,
    /// When they begin to send.
    pub start_us: u64,
    /// How long they wait between flows, on average.
    pub period_us: u64,
    /// How long they wait between the packets of a flow, on average.
    pub flow_us: u64,
    /// After so long a client that is silent is forgotten.
    pub idle_us: u64,
    /// Flows after which a client is silent for about so long, per million.
    pub idles_ppm: u64,
    /// All are of so many buckets, under the hash seed of the first node; zero: of any.
    #[serde(default)]
    pub buckets: u16,
}

/// A fault and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// When, from the beginning of the run.
    pub at_us: u64,
    /// What.
    pub fault: Fault,
}

/// What goes wrong, or is done. Nodes count from 1, as their ids do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The process starts, if it does not run.
    Boot(usize),
    /// The process dies; its kernel does not.
    Crash(usize),
    /// The process is stopped; what waited meanwhile is worked off in this order.
    Pause {
        /// Which node.
        node: usize,
        /// For how long.
        us: u64,
        /// What comes first then.
        first: Wake,
    },
    /// The whole machine stands still for so long, and its clock with it: a hypervisor stopped it.
    Freeze(usize, u64),
    /// A new weight.
    Weight(usize, u16),
    /// Hand everything over and go.
    Leave(usize),
    /// Own no buckets; with a time given, leave after it.
    Drain(usize, Option<u64>),
    /// The process ends and its kernel goes on; a new process comes so long after.
    Restart {
        /// Which node.
        node: usize,
        /// For how long the others wait for it.
        hold_us: u64,
        /// When it comes.
        away_us: u64,
    },
    /// Take a share again.
    Undrain(usize),
    /// Somebody flushes the ruleset; the daemon puts it back so much later.
    FlushRules(usize, u64),
    /// The kernel takes no plan for so long.
    Refuse(usize, u64),
    /// The kernel takes so long for each plan, for as long as the second number says.
    Slow(usize, u64, u64),
    /// Frames of the first node do not reach the second on these paths (a bit mask).
    Cut(usize, usize, u8),
    /// They do again.
    Mend(usize, usize),
    /// These nodes and all others do not reach each other.
    Partition(Vec<usize>),
    /// Nothing reaches the node any more.
    Deaf(usize),
    /// None of its frames reaches anybody, and its own kernel does not notice.
    Mute(usize),
    /// Its interfaces with these bits are down for so long.
    Down(usize, u8, u64),
    /// No cuts, nobody deaf or mute.
    Heal,
    /// From now on so many frames are lost on each link, per million.
    Loss(u64),
    /// Somebody without the key sends so many frames to a node.
    Attack(Attack, usize, usize),
}

/// What a process that was stopped does first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wake {
    /// Its packets, then its frames.
    Packets,
    /// Its timer, then its frames, then its packets.
    Timer,
    /// Its frames, then its timer, then its packets.
    Frames,
}

/// What somebody without the key sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attack {
    /// Frames that were recorded at any time.
    Replay,
    /// Recorded frames with bits changed.
    Corrupt,
    /// Frames signed with another key.
    Forge,
}

impl Schedule {
    /// The timers of the nodes.
    #[must_use]
    pub fn timing(&self) -> Timing {
        Timing {
            heartbeat: Duration::from_micros(self.heartbeat_us),
            dead_after: Duration::from_micros(self.dead_after_us),
        }
    }

    /// Every bit that stands for a path.
    #[must_use]
    pub fn all_paths(&self) -> u8 {
        u8::MAX >> (8 - self.paths.clamp(1, 8))
    }

    /// As text, to be kept in a file.
    ///
    /// # Errors
    /// Never, as far as is known: the types have nothing that the format cannot say.
    pub fn to_text(&self) -> Result<String, ron::Error> {
        let config = ron::ser::PrettyConfig::new().depth_limit(2);
        ron::ser::to_string_pretty(self, config)
    }

    /// Reads what [`Schedule::to_text`] wrote.
    ///
    /// # Errors
    /// Where the text is no schedule, or one of nodes that it does not have.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let schedule: Self = ron::from_str(text).map_err(|error| error.to_string())?;
        let count = schedule.nodes.len();
        let bad = schedule
            .faults
            .iter()
            .find(|timed| timed.fault.nodes().iter().any(|node| *node == 0 || *node > count));
        if !(1..=64).contains(&count) || schedule.paths == 0 || schedule.paths > 8 {
            return Err("a schedule has 1 to 64 nodes and 1 to 8 paths".to_owned());
        }
        if schedule.heartbeat_us < 1000 || schedule.dead_after_us < 5 * schedule.heartbeat_us {
            return Err("dead_after_us must be five heartbeats of 1000 us or longer".to_owned());
        }
        if !schedule.limits.limits().are_sound() {
            return Err("log must be four times slice and backlog together".to_owned());
        }
        bad.map_or(Ok(()), |timed| Err(format!("no such node: {:?}", timed.fault)))?;
        Ok(schedule)
    }
}

impl Fault {
    /// The nodes that it names.
    #[must_use]
    pub fn nodes(&self) -> Vec<usize> {
        match self {
            Self::Boot(node)
            | Self::Crash(node)
            | Self::Pause { node, .. }
            | Self::Restart { node, .. }
            | Self::Freeze(node, _)
            | Self::Weight(node, _)
            | Self::Leave(node)
            | Self::Drain(node, _)
            | Self::Undrain(node)
            | Self::FlushRules(node, _)
            | Self::Refuse(node, _)
            | Self::Slow(node, _, _)
            | Self::Deaf(node)
            | Self::Mute(node)
            | Self::Down(node, _, _)
            | Self::Attack(_, node, _) => vec![*node],
            Self::Cut(from, to, _) | Self::Mend(from, to) => vec![*from, *to],
            Self::Partition(side) => side.clone(),
            Self::Heal | Self::Loss(_) => Vec::new(),
        }
    }
}
