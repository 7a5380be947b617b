//! What an engine is made with.

use core::time::Duration;

use nlb_protocol::{ClusterId, Incarnation, NodeId, Weight};

/// The timers of a cluster; all others are fractions of these (SPEC 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats. 5 ms to 10 s.
    pub heartbeat: Duration,
    /// A peer that was silent for so long is dead. At least five heartbeats, ten by default.
    pub dead_after: Duration,
}

impl Timing {
    /// How long the kernel accepts cluster traffic after a heartbeat left: 4/10 of dead-after.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.dead_after * 4 / 10
    }

    /// A node that has not sent for so long has lost every right: 7/10 of dead-after.
    #[must_use]
    pub fn rights(&self) -> Duration {
        self.dead_after * 7 / 10
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat: Duration::from_millis(100), dead_after: Duration::from_secs(1) }
    }
}

/// The bounds of everything that grows with traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Clients that the sticky table remembers.
    pub sticky: usize,
    /// Clients whose pins of other nodes are kept, over all nodes.
    pub pins: usize,
    /// Packets that wait for a verdict.
    pub held: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sticky: 1 << 20, pins: 1 << 20, held: 4096 }
    }
}

/// Everything an engine must know before its first event.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// This node's id.
    pub node: NodeId,
    /// This life's number: random, never zero.
    pub incarnation: Incarnation,
    /// Goes into the information message.
    pub name: String,
    /// Goes into the information message.
    pub software: String,
    /// The timers.
    pub timing: Timing,
    /// The weight to begin with.
    pub weight: Weight,
    /// The hash seed to propose; a running cluster's own seed wins.
    pub seed: u32,
    /// How long a client that sends nothing stays with its node.
    pub sticky_idle: Duration,
    /// Whether the kernel decides for known clients. `false`: every packet comes to the stage.
    pub offload: bool,
    /// Below so many active nodes the cluster does not serve (SPEC rule R8). 1: always serve.
    pub min_members: usize,
    /// The bounds.
    pub limits: Limits,
}
