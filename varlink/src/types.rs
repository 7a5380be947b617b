//! What travels over varlink. `nlbctl … --json` prints these as they are, so they are an
//! interface: fields are added, never renamed or removed. A field that an older daemon does not send
//! reads as nothing, zero or empty (`serde(default)` on every type), and one that is not known is
//! skipped: a client understands daemons of all versions, as far as they say the same.
//!
//! Ids of nodes, digests and incarnations are text (16 hexadecimal digits), because JSON readers
//! lose the low bits of large numbers. Durations are whole milliseconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zlink::introspect::{CustomType, Type};

/// The answer to `Status`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Type)]
#[serde(default)]
pub struct Status {
    /// The daemon itself.
    pub daemon: Daemon,
    /// Every cluster, by name.
    pub clusters: Vec<Cluster>,
}

/// The daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, CustomType)]
#[serde(default)]
pub struct Daemon {
    pub version: String,
    pub pid: u32,
    pub uptime_ms: u64,
    pub node_id: String,
    pub node_name: String,
    /// The main configuration file.
    pub config: String,
}

/// A cluster as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, CustomType)]
#[serde(default)]
pub struct Cluster {
    pub name: String,
    pub id: u16,
    /// Whether every node agrees and every bucket lies where the table says.
    pub converged: bool,
    pub epoch: u64,
    pub digest: String,
    /// `joining`, `active`, `draining`, `fenced`, `leaving` or `restarting`.
    pub state: String,
    /// Why this node is fenced or not yet active.
    pub cause: Option<String>,
    pub local_node: String,
    pub addresses: Vec<String>,
    pub interfaces: Vec<String>,
    /// `Unicast`, `Multicast` or `Igmp`.
    pub mode: String,
    pub mac: String,
    pub ethertype: u16,
    /// Whether the cluster runs without a key.
    pub insecure: bool,
    /// Whether heartbeats have no priority over other work on this node.
    pub ordinary_priority: bool,
    pub heartbeat_ms: u64,
    pub dead_after_ms: u64,
    /// Where this node's weight comes from.
    pub weight_mode: String,
    /// Why the weight does not follow that, if it does not.
    pub weight_problem: Option<String>,
    /// How new clients reach the stage: `nft-queue`, `iptables-nfqueue` or `user-space`.
    pub kernel_path: String,
    pub uptime_ms: u64,
    pub buckets_accepted: u64,
    pub clients: u64,
    pub pins: u64,
    /// Packets that wait for a verdict.
    pub held: u64,
    /// How far this node has come with draining, if it shall drain.
    pub drain: Option<Drain>,
    pub nodes: Vec<Node>,
    /// Nodes that went without a word, until they are heard again or a day has passed.
    pub lost: Vec<Lost>,
    /// Interfaces that are not in use.
    pub unused_interfaces: Vec<UnusedInterface>,
    /// Who sent frames within the last minute that this node cannot take; 4 at most.
    pub strangers: Vec<Stranger>,
    /// The checks of the service on this node.
    pub checks: Vec<Check>,
    /// Frames and packets that were dropped, by reason. Reasons that never occurred are there
    /// with 0.
    pub drops: BTreeMap<String, u64>,
    /// What else is counted.
    pub counters: BTreeMap<String, u64>,
}

/// An interface of a cluster that is not in use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, CustomType)]
#[serde(default)]
pub struct UnusedInterface {
    pub interface: String,
    /// `absent`, `down`, `no-carrier`, `not-ethernet` or `unfit`.
    pub trouble: String,
    /// The same in words.
    pub text: String,
    pub since_ms: u64,
    /// Of one that is absent: the interface that may be meant.
    pub meant: Option<String>,
}

/// An Ethernet address, which nothing proves, that frames came from which cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, CustomType)]
#[serde(default)]
pub struct Stranger {
    pub mac: String,
    /// `other-key` or `other-version`.
    pub kind: String,
    /// What the frames are, in words.
    pub text: String,
    /// How long ago the first one came.
    pub since_ms: u64,
    /// And the last.
    pub last_ms: u64,
    pub frames: u64,
}

/// A node that went without a word.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, CustomType)]
#[serde(default)]
pub struct Lost {
    pub id: String,
    /// Empty if it never told it.
    pub name: String,
    /// What it was when it was last heard.
    pub state: String,
    pub silent_ms: u64,
}

/// A health check of the service on the answering node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, CustomType)]
#[serde(default)]
pub struct Check {
    /// What is looked at.
    pub name: String,
    /// Whether it passes; nothing before its first run has ended.
    pub passes: Option<bool>,
    /// How long ago that last changed.
    pub changed_ms: Option<u64>,
    /// What the last run said.
    pub message: String,
    pub runs: u64,
    pub failures: u64,
}

/// How far a node has come with draining.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, CustomType)]
#[serde(default)]
pub struct Drain {
    /// Clients that are left; once the node leaves: that were left when it began to.
    pub clients: u64,
    pub clients_at_start: u64,
    /// When this is over it leaves in any case; without, it does not leave.
    pub left_ms: Option<u64>,
}

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, CustomType)]
#[serde(default)]
pub struct Node {
    pub id: String,
    pub name: String,
    pub state: String,
    pub weight: u16,
    /// How many buckets it accepts.
    pub buckets: u64,
    pub local: bool,
    pub last_heard_ms: u64,
    pub incarnation: String,
    pub software: String,
    pub pins: u64,
    /// Whether it hears this node.
    pub hears_us: bool,
    /// What the checks of the service there say: `well`, `ill` or `unknown`.
    pub health: String,
    /// In what it is configured otherwise than this node, where all must be alike, in words.
    /// [`OTHER_KEYS`] is one of them.
    pub differs: Vec<String>,
}

/// What [`Node::differs`] says where a node does not hold the same keys in the same order.
pub const OTHER_KEYS: &str = "other keys, or in another order";

/// The answer to `Buckets`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Type)]
#[serde(default)]
pub struct Buckets {
    pub cluster: String,
    /// All buckets in rising order, neighbours that agree in one range.
    pub ranges: Vec<BucketRange>,
}

/// Neighbouring buckets that belong to one node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, CustomType)]
#[serde(default)]
pub struct BucketRange {
    pub first: u16,
    pub last: u16,
    /// Whose they are by the table; nobody's while no node is active.
    pub owner: Option<NodeName>,
    /// Who accepts their new clients now; nobody while they change hands.
    pub accepted_by: Option<NodeName>,
}

/// A node, named.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, CustomType,
)]
#[serde(default)]
pub struct NodeName {
    pub id: String,
    /// Empty until its information message came.
    pub name: String,
}

/// The answer to `Clients`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Type)]
#[serde(default)]
pub struct Clients {
    pub cluster: String,
    /// How many clients this node keeps in all.
    pub total: u64,
    pub clients: Vec<Client>,
}

/// A client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, CustomType)]
#[serde(default)]
pub struct Client {
    pub address: String,
    pub bucket: u16,
    /// Who keeps it.
    pub node: NodeName,
    /// Whether its bucket belongs to another node.
    pub pinned: bool,
    /// How long ago this node's stage last saw it.
    pub seen_ms: Option<u64>,
}

/// The answer to `Explain`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Type)]
#[serde(default)]
pub struct Explanation {
    pub cluster: String,
    pub address: String,
    /// What the address hashes to, 8 hexadecimal digits, before that is scaled to a bucket.
    pub hash: String,
    pub bucket: u16,
    /// Who owns the bucket by the table.
    pub owner: Option<NodeName>,
    /// Who accepts the bucket's new clients now.
    pub accepted_by: Option<NodeName>,
    /// Who keeps the client although the bucket is another's.
    pub pinned_to: Option<NodeName>,
    /// How long ago this node's stage last saw the client, if this node keeps it.
    pub sticky_here_ms: Option<u64>,
    /// Who answers the client's next packet; nobody while that is being settled.
    pub node: Option<NodeName>,
    /// Who would answer if that node died.
    pub successor: Option<NodeName>,
    /// The same in words.
    pub because: String,
}

/// The answer to whatever changes something.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Type)]
#[serde(default)]
pub struct Changed {
    /// Whether anything is different now.
    pub changed: bool,
    /// What the administrator should know.
    pub notes: Vec<String>,
}

/// The answer to `AddInterface` and `RemoveInterface`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Type)]
#[serde(default)]
pub struct InterfaceChange {
    pub changed: bool,
    pub cluster: String,
    /// The drop-in that keeps it.
    pub file: String,
    /// The key file of the cluster, if it has a key.
    pub key_file: Option<String>,
    /// Whether the key was made just now.
    pub key_created: bool,
    /// Whether the cluster is new on this node, or gone from it.
    pub whole_cluster: bool,
    /// What the administrator should know.
    pub notes: Vec<String>,
}

/// The answer to `CheckConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Type)]
#[serde(default)]
pub struct Checked {
    /// The files that were read.
    pub files: Vec<String>,
    /// The clusters they describe.
    pub clusters: Vec<String>,
    /// What may be a mistake although it is valid.
    pub warnings: Vec<String>,
}

/// The answer to `Events`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Type)]
#[serde(default)]
pub struct Events {
    /// In the order of their numbers.
    pub events: Vec<Event>,
}

/// One answer of `Monitor`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Type)]
#[serde(default)]
pub struct Happened {
    /// The event.
    pub event: Event,
}

/// One answer of `Record`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Type)]
#[serde(default)]
pub struct Recorded {
    /// Lines of the recording, without their ends; none in the last answer.
    pub lines: Vec<String>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, CustomType)]
#[serde(default)]
pub struct Event {
    /// Rises by one with every event of the daemon: a gap means that events were lost.
    pub sequence: u64,
    /// Milliseconds since 1970 UTC.
    pub time_ms: u64,
    pub cluster: String,
    /// A short name of the kind of event, like `peer-gone`.
    pub kind: String,
    /// The event in words.
    pub text: String,
    /// Why it happened, in words, if that is known.
    pub cause: Option<String>,
}
