//! What is served, in the crate's own types. Ids of nodes, digests and incarnations are text of 16
//! hexadecimal digits; durations are whole milliseconds.

use std::collections::BTreeMap;

/// A value that always moves: an age, or a count that moves with every packet. Nobody is told of
/// its changes: who wants it reads it. So states that differ in such values only are equal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moving<T>(pub T);

impl<T> PartialEq for Moving<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Moving<T> {}

/// The daemon and its clusters at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The daemon itself.
    pub manager: Manager,
    /// Its clusters.
    pub clusters: Vec<Cluster>,
}

/// The daemon: the properties of `org.nlbd1.Manager`, where each is documented.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Manager {
    pub version: String,
    pub node_id: String,
    pub node_name: String,
    pub config: String,
    pub uptime_ms: Moving<u64>,
}

/// A cluster: the properties of `org.nlbd1.Cluster`, where each is documented.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Cluster {
    pub name: String,
    pub id: u16,
    pub converged: bool,
    pub epoch: u64,
    pub digest: String,
    pub state: String,
    pub cause: String,
    pub local_node: String,
    pub addresses: Vec<String>,
    pub interfaces: Vec<String>,
    pub mode: String,
    pub mac: String,
    pub ethertype: u16,
    pub insecure: bool,
    pub ordinary_priority: bool,
    pub heartbeat_ms: u32,
    pub dead_after_ms: u32,
    pub weight: u16,
    pub weight_mode: String,
    pub weight_problem: String,
    pub kernel_path: String,
    pub uptime_ms: Moving<u64>,
    pub buckets_accepted: u32,
    pub clients: Moving<u64>,
    pub pins: Moving<u64>,
    pub held: Moving<u64>,
    pub drops: Moving<BTreeMap<String, u64>>,
    pub counters: Moving<BTreeMap<String, u64>>,
    pub nodes: Vec<Node>,
    /// `well`, `ill` or `unknown`.
    pub health: String,
    pub checks: Vec<HealthCheck>,
    /// Interfaces that are not in use: name, trouble, and the one that may be meant.
    pub unused_interfaces: Vec<(String, String, String)>,
    /// Who sends frames that cannot be taken: Ethernet address and what is wrong.
    pub strangers: Vec<(String, String)>,
    /// Id and name of each node that went without a word.
    pub lost: Vec<(String, String)>,
}

/// A health check of the service on this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthCheck {
    /// What is looked at.
    pub name: String,
    /// Whether it passes; `None` before its first run has ended.
    pub passes: Option<bool>,
    /// What the last run said.
    pub message: Moving<String>,
    /// How long ago it began to pass or to fail; `u64::MAX` before its first run has ended.
    pub changed_ms: Moving<u64>,
    /// How many runs have ended.
    pub runs: Moving<u64>,
    /// How many of them failed.
    pub failures: Moving<u64>,
}

/// A node: the properties of `org.nlbd1.Node`, where each is documented.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Node {
    pub id: String,
    pub name: String,
    pub state: String,
    pub weight: u16,
    pub buckets: u32,
    pub local: bool,
    pub hears_us: bool,
    pub last_heard_ms: Moving<u64>,
    pub incarnation: String,
    pub software: String,
    pub pins: Moving<u64>,
    /// `well`, `ill` or `unknown`.
    pub health: String,
    /// In what it is configured otherwise than this node, in words.
    pub differs: Vec<String>,
}

/// Who calls, as the bus says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user, in the daemon's user namespace.
    pub user: u32,
    /// The caller's unique name on the bus.
    pub name: String,
    /// Whether the caller waits while a person is asked for a password.
    pub interactive: bool,
}

/// What a call is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To whatever changes something.
    Changed(Changed),
    /// To `AddInterface` and `RemoveInterface`.
    Interface(InterfaceChange),
    /// To `CheckConfig`: the files that were read and the clusters they describe.
    Checked(Vec<String>, Vec<String>),
    /// To `Explain`.
    Explanation(Explanation),
    /// To `GetClients`: how many there are in all, and some of them.
    Clients(u64, Vec<Client>),
    /// To `GetBuckets`.
    Buckets(Vec<BucketRange>),
}

/// A change that was made, or was not needed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changed {
    /// Whether anything is different now.
    pub changed: bool,
    /// What the administrator should know.
    pub notes: Vec<String>,
}

/// An interface that was added or removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InterfaceChange {
    /// Whether anything is different now.
    pub changed: bool,
    /// The cluster.
    pub cluster: String,
    /// The drop-in that keeps it.
    pub file: String,
    /// The cluster's key file; empty for an insecure cluster or one that is gone.
    pub key_file: String,
    /// Whether the key was made just now.
    pub key_created: bool,
    /// Whether the cluster is new on this node, or gone from it.
    pub whole_cluster: bool,
}

/// Where a client goes. Nodes are ids, empty for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)] // each is documented at the method `Explain`
pub struct Explanation {
    pub address: String,
    pub bucket: u16,
    pub owner: String,
    pub accepted_by: String,
    pub pinned_to: String,
    pub sticky_here_ms: Option<u64>,
    pub node: String,
    pub successor: String,
    pub because: String,
}

/// A client that a node keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Client {
    /// Its address.
    pub address: String,
    /// Its bucket.
    pub bucket: u16,
    /// The id of the node that keeps it.
    pub node: String,
    /// Whether its bucket belongs to another node.
    pub pinned: bool,
    /// How long ago this node saw it; `u64::MAX` for another node's client.
    pub seen_ms: u64,
}

/// Neighbouring buckets that belong to one node. Nodes are ids, empty for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BucketRange {
    /// The first bucket.
    pub first: u16,
    /// The last bucket.
    pub last: u16,
    /// Whose they are by the table.
    pub owner: String,
    /// Who accepts their new clients now.
    pub accepted_by: String,
}

/// Something that happened in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// The cluster's name.
    pub cluster: String,
    /// What happened.
    pub event: Event,
}

/// What a signal says. A node's name is empty until the node told it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // each is the signal of its name, documented in `org.nlbd1.Cluster.xml`
pub enum Event {
    NodeJoined { id: String, name: String },
    NodeLeft { id: String, name: String, cause: String },
    NodeFenced { id: String, name: String, cause: String },
    Converged { epoch: u64, buckets: u32, took_ms: u64 },
    TookOver { buckets: u32, cause: String, id: String, name: String },
}
