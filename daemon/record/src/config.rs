//! An engine's configuration as a recording holds it.

use core::time::Duration;

use nlb_engine::{Config, Limits, Timing, make_table};
use nlb_protocol::{ClusterId, Incarnation, NodeId, Weight};
use serde::{Deserialize, Serialize};

/// [`Config`], with the units in the names. Limits that no file of before names are left out where
/// they are the usual ones.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_slice: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_backlog: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_log: Option<usize>,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl From<&Config> for Start {
    fn from(config: &Config) -> Self {
        let usual = Limits::DEFAULT;
        let unless = |limit: usize, usual: usize| Some(limit).filter(|limit| *limit != usual);
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
            limit_slice: unless(config.limits.slice, usual.slice),
            limit_backlog: unless(config.limits.backlog, usual.backlog),
            limit_log: unless(config.limits.log, usual.log),
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
            limits: Some(Limits {
                sticky: self.limit_sticky,
                pins: self.limit_pins,
                held: self.limit_held,
                slice: self.limit_slice.unwrap_or(Limits::DEFAULT.slice),
                backlog: self.limit_backlog.unwrap_or(Limits::DEFAULT.backlog),
                log: self.limit_log.unwrap_or(Limits::DEFAULT.log),
            })
            .filter(Limits::are_sound)?,
            tables: make_table,
        })
    }
}
