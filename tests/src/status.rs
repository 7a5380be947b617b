//! What `nlbctl status --json` says, as far as the tests look at it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

/// The whole answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// One entry per cluster of the node.
    pub clusters: Vec<ClusterStatus>,
}

/// One cluster as one node sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct ClusterStatus {
    /// Its name, such as `nlb0`.
    pub name: String,
    /// Its id.
    pub id: u16,
    /// Whether all agree and every bucket lies where the table says.
    pub converged: bool,
    /// The epoch.
    pub epoch: u64,
    /// The digest.
    pub digest: String,
    /// This node's state.
    pub state: String,
    /// Which node answered.
    pub local_node: String,
    /// The service addresses.
    pub addresses: Vec<IpAddr>,
    /// How many buckets this node accepts.
    pub buckets_accepted: usize,
    /// How many clients this node keeps.
    pub clients: usize,
    /// How many of them are pinned.
    pub pins: usize,
    /// Every node of the cluster.
    pub nodes: Vec<NodeStatus>,
    /// Frames and packets that were dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// What else is counted.
    pub counters: BTreeMap<String, u64>,
    /// Everything else that the answer holds.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// One node as another sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeStatus {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: String,
    /// Its weight.
    pub weight: u16,
    /// How many buckets it accepts.
    pub buckets: usize,
    /// Whether it is the node that answered.
    pub local: bool,
    /// How long ago its latest heartbeat came.
    pub last_heard_ms: u64,
}

impl ClusterStatus {
    /// Whether the node that answered serves.
    #[must_use]
    pub fn active(&self) -> bool {
        self.state.eq_ignore_ascii_case("active")
    }

    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeStatus> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// How many frames were dropped for this reason; zero if the reason is not named.
    #[must_use]
    pub fn drops_for(&self, reason: &str) -> u64 {
        self.drops.get(reason).copied().unwrap_or(0)
    }
}

impl NodeStatus {
    /// Whether the node serves.
    #[must_use]
    pub fn active(&self) -> bool {
        self.state.eq_ignore_ascii_case("active")
    }
}
