//! The vocabulary of management: what can be asked of a cluster, what comes of it, how it looks.
//!
//! Front ends (varlink, D-Bus) translate to and from these types and decide nothing.

use core::net::IpAddr;
use core::time::Duration;

use nlb_protocol::frame::{Health, Load, Settings, State};
use nlb_protocol::table::{Table, View};
use nlb_protocol::{
    Bucket, ClusterId, Digest, Epoch, Incarnation, MacAddr, NodeId, PinVersion, Weight,
};

/// A change that somebody asked the engine for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Take this weight.
    SetWeight(Weight),
    /// Hand everything over and be gone (R9).
    Leave,
    /// Be gone at once, whoever is in the middle of something: the second asking.
    LeaveNow,
    /// Hand the buckets over and have the kernel keep the clients until the next process goes on
    /// with them (R11). A node that keeps nobody leaves.
    Restart {
        /// For how long at most.
        hold: Duration,
    },
    /// Own no buckets, keep the clients (R10). With a time given, leave when it is over or nobody
    /// is left.
    Drain {
        /// When to give up on the clients that remain.
        timeout: Option<Duration>,
        /// Also where no other node is active.
        force: bool,
    },
    /// Take a share again.
    Undrain,
}

/// What a command did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Something is different now.
    Changed,
    /// It was so already.
    Unchanged,
}

/// Why a command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The node is on its way out: only the end is left.
    #[error("the node is leaving the cluster")]
    Leaving,
    /// The process ends, and another goes on.
    #[error("the daemon is about to restart")]
    Restarting,
    /// New clients would be answered by nobody.
    #[error(
        "no other node is active, so nobody would take new clients; it is done all the same with \
         force"
    )]
    NobodyElse,
    /// A hold that cannot be.
    #[error("hold: found another time; allowed: {} to {} ms", least.as_millis(), most.as_millis())]
    Hold {
        /// The shortest: twice dead-after.
        least: Duration,
        /// The longest that the wire carries.
        most: Duration,
    },
}

/// One node as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its name, empty until its information message came.
    pub name: String,
    /// Its software version, empty until its information message came.
    pub software: String,
    /// Its state.
    pub state: State,
    /// Its weight.
    pub weight: Weight,
    /// How loaded it is; nothing measured until its information message came.
    pub load: Load,
    /// What it finds when it checks its service.
    pub health: Health,
    /// How many buckets it accepts by its latest heartbeat.
    pub buckets: usize,
    /// How many clients it has pinned, as far as this node holds its log.
    pub pins: usize,
    /// Whether it is this node.
    pub local: bool,
    /// Whether it hears this node.
    pub hears_us: bool,
    /// How long ago its latest heartbeat arrived; zero for this node.
    pub last_heard: Duration,
    /// In what it is configured otherwise than this node, where all must be alike.
    pub differs: Vec<Difference>,
}

/// A setting that must be the same on all nodes of a cluster, and is not (SPEC 4.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The heartbeat interval.
    Heartbeat {
        /// On this node.
        here_ms: u32,
        /// On the other.
        there_ms: u32,
    },
    /// How long a peer may be silent.
    DeadAfter {
        /// On this node.
        here_ms: u32,
        /// On the other.
        there_ms: u32,
    },
    /// How the cluster MAC reaches the nodes: codes of [`MacMode`](nlb_protocol::MacMode).
    Mode {
        /// On this node.
        here: u8,
        /// On the other.
        there: u8,
    },
    /// The cluster MAC, within one mode.
    Mac {
        /// On this node.
        here: MacAddr,
        /// On the other.
        there: MacAddr,
    },
    /// The service addresses.
    Addresses,
    /// The ports that are balanced.
    Ports,
    /// The keys, or their order.
    Keys,
}

impl Difference {
    /// In what two nodes' settings differ.
    #[must_use]
    pub fn between(here: &Settings, there: &Settings) -> Vec<Self> {
        let (here_ms, there_ms) = (here.heartbeat_ms, there.heartbeat_ms);
        let heartbeat = Self::Heartbeat { here_ms, there_ms };
        let (here_ms, there_ms) = (here.dead_after_ms, there.dead_after_ms);
        let dead_after = Self::DeadAfter { here_ms, there_ms };
        let mode = Self::Mode { here: here.mode, there: there.mode };
        let mac = Self::Mac { here: here.mac, there: there.mac };
        [
            (here.heartbeat_ms != there.heartbeat_ms, heartbeat),
            (here.dead_after_ms != there.dead_after_ms, dead_after),
            (here.mode != there.mode, mode),
            // Another mode has another MAC as a rule.
            (here.mode == there.mode && here.mac != there.mac, mac),
            (here.addresses != there.addresses, Self::Addresses),
            (here.ports != there.ports, Self::Ports),
            (here.keys != there.keys, Self::Keys),
        ]
        .into_iter()
        .filter_map(|(differs, difference)| differs.then_some(difference))
        .collect()
    }
}

/// What the engine counts. Every counter starts at zero with the incarnation and only rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)] // each is the number of what its name says
pub struct Counters {
    pub heartbeats_sent: u64,
    pub heartbeats_received: u64,
    pub frames_sent: u64,
    pub replayed: u64,
    pub old_incarnation: u64,
    pub own_node_id: u64,
    pub unusable: u64,
    pub too_many_peers: u64,
    pub pins_unusable: u64,
    pub pins_astray: u64,
    pub pins_unknown: u64,
    pub admitted: u64,
    pub held: u64,
    pub held_admitted: u64,
    pub dropped_foreign: u64,
    pub dropped_pinned: u64,
    pub dropped_no_right: u64,
    pub dropped_held_too_long: u64,
    pub dropped_held_too_many: u64,
    pub dropped_maybe_answered: u64,
    pub dropped_sticky_full: u64,
    pub fenced: u64,
    pub overlaps: u64,
}

/// The cluster as this node sees it, at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// Whether every node heard is agreed on epoch and digest, and the buckets lie where the
    /// table says.
    pub converged: bool,
    /// The epoch.
    pub epoch: Epoch,
    /// The digest.
    pub digest: Digest,
    /// The hash seed.
    pub seed: u32,
    /// This node's state.
    pub state: State,
    /// Why this node is fenced or not yet active, in words, if it is.
    pub cause: Option<String>,
    /// This node's id.
    pub local_node: NodeId,
    /// How many buckets this node accepts.
    pub buckets_accepted: usize,
    /// How many clients this node keeps.
    pub clients: usize,
    /// How many of them are pinned: their bucket belongs to another node.
    pub pins: usize,
    /// How far the own pin log has come.
    pub pin_version: PinVersion,
    /// How many packets wait for a verdict.
    pub held: usize,
    /// How far the node has come with draining, if it shall drain.
    pub drain: Option<DrainView>,
    /// Every node, this one included, in rising order of the ids.
    pub nodes: Vec<NodeView>,
    /// The counters.
    pub counters: Counters,
}

/// How far a node has come with draining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainView {
    /// How many clients are left; after the node began to leave: how many were left then.
    pub clients: usize,
    /// The most that there were since it was told to drain.
    pub clients_at_start: usize,
    /// How long until it leaves in any case; `None`: it does not leave.
    pub time_left: Option<Duration>,
}

/// Who has a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketView {
    /// Which bucket.
    pub bucket: Bucket,
    /// Whose it is by the table; `None` while nobody is active.
    pub owner: Option<NodeId>,
    /// Who accepts it now; `None` while it changes hands.
    pub accepted_by: Option<NodeId>,
}

/// A client that this node keeps, or knows that another keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientView {
    /// Its address.
    pub client: IpAddr,
    /// Its bucket.
    pub bucket: Bucket,
    /// Who keeps it.
    pub node: NodeId,
    /// Whether its bucket belongs to another node than the one that keeps it.
    pub pinned: bool,
    /// How long ago the stage last saw it; `None` for a client of another node.
    pub seen: Option<Duration>,
}

/// Where a client goes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The client.
    pub client: IpAddr,
    /// Its hash, before it is scaled to a bucket.
    pub hash: u32,
    /// Its bucket.
    pub bucket: Bucket,
    /// Who owns the bucket by the table.
    pub owner: Option<NodeId>,
    /// Who accepts the bucket's new clients now.
    pub accepted_by: Option<NodeId>,
    /// Who keeps the client although the bucket is another's.
    pub pinned_to: Option<NodeId>,
    /// How long ago this node's stage last saw the client, if this node keeps it.
    pub sticky_here: Option<Duration>,
    /// Who answers the client's next packet; `None` while that is being settled.
    pub node: Option<NodeId>,
    /// Who would share the clients if that node died.
    pub heirs: View,
}

impl Explanation {
    /// Who would answer if the node that answers now died. This makes a whole table, which takes
    /// milliseconds: it is for whoever asks, not for the loop that owns the engine.
    #[must_use]
    pub fn successor(&self) -> Option<NodeId> {
        Table::build(&self.heirs).owner(self.bucket)
    }
}
