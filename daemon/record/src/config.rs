//! An engine's configuration as a recording holds it.

use core::time::Duration;

use nlb_engine::{Config, Limits, Timing, make_table};
use nlb_protocol::{ClusterId, Incarnation, NodeId, Weight};
use serde::{Deserialize, Serialize};

/// [`Config`], with the units in the names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // as in the engine
pub struct Start {
    pub cluster: u16,
    pub node: u64,
    pub incarnation: u64,
    pub name: String,
    pub software: String,
    pub heartbeat_us: u64,
    pub dead_after_us: u64,
    pub weight: u16,
    pub seed: u32,
    pub sticky_idle_ms: u64,
    pub offload: bool,
    pub min_members: usize,
    pub limit_sticky: usize,
    pub limit_pins: usize,
    pub limit_held: usize,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl From<&Config> for Start {
    fn from(config: &Config) -> Self {
        Self {
            cluster: config.cluster.0,
            node: config.node.0,
            incarnation: config.incarnation.0,
            name: config.name.clone(),
            software: config.software.clone(),
            heartbeat_us: micros(config.timing.heartbeat),
            dead_after_us: micros(config.timing.dead_after),
            weight: config.weight.get(),
            seed: config.seed,
            sticky_idle_ms: micros(config.sticky_idle) / 1000,
            offload: config.offload,
            min_members: config.min_members,
            limit_sticky: config.limits.sticky,
            limit_pins: config.limits.pins,
            limit_held: config.limits.held,
        }
    }
}

impl Start {
    /// What the engine is made with.
    pub(crate) fn config(&self) -> Option<Config> {
        Some(Config {
            cluster: ClusterId(self.cluster),
            node: NodeId(self.node),
            incarnation: Some(Incarnation(self.incarnation)).filter(|it| it.0 != 0)?,
            name: self.name.clone(),
            software: self.software.clone(),
            timing: Timing {
                heartbeat: Duration::from_micros(self.heartbeat_us),
                dead_after: Duration::from_micros(self.dead_after_us),
            },
            weight: Weight::new(self.weight)?,
            seed: self.seed,
            sticky_idle: Duration::from_millis(self.sticky_idle_ms),
            offload: self.offload,
            min_members: self.min_members,
            limits: Limits {
                sticky: self.limit_sticky,
                pins: self.limit_pins,
                held: self.limit_held,
            },
            tables: make_table,
        })
    }
}
