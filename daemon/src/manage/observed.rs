//! What is counted of a cluster's notices, for the metrics: why this node was fenced, and how long
//! the cluster took to agree. It lives as long as the daemon, through restarts of the cluster.

use core::time::Duration;
use std::collections::BTreeMap;

use nlb_engine::{FenceCause, Notice};
use nlb_protocol::frame::State;

/// The upper bounds of the convergence times, in milliseconds: from a few heartbeats of the fast
/// profile to an alert.
pub const CONVERGENCE_BOUNDS_MS: [u64; 11] =
    [10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000];

/// How long it took to agree, how often.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Convergence {
    /// How many took no longer than each bound and longer than the one before; the last: longer
    /// than all.
    pub counts: [u64; CONVERGENCE_BOUNDS_MS.len() + 1],
    /// All together.
    pub sum: Duration,
}

impl Convergence {
    fn observe(&mut self, took: Duration) {
        let bound = |ms: &u64| took <= Duration::from_millis(*ms);
        let slot = CONVERGENCE_BOUNDS_MS.iter().position(bound);
        if let Some(count) = self.counts.get_mut(slot.unwrap_or(CONVERGENCE_BOUNDS_MS.len())) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(took);
    }
}

/// What was counted of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// How often this node fenced itself, by cause.
    pub fences: BTreeMap<&'static str, u64>,
    /// Convergence times.
    pub convergence: Convergence,
}

impl Default for Observed {
    /// Every cause at zero, so that a first fence shows as a rise.
    fn default() -> Self {
        let fences = CAUSES.iter().map(|cause| (*cause, 0)).collect();
        Self { fences, convergence: Convergence::default() }
    }
}

impl Observed {
    /// Counts a notice.
    pub fn observe(&mut self, notice: &Notice) {
        match notice {
            Notice::State { to: State::Fenced, cause, .. } => {
                let cause = cause.as_ref().map_or("unknown", cause_name);
                *self.fences.entry(cause).or_default() += 1;
            }
            Notice::Converged { took, .. } => self.convergence.observe(*took),
            _ => {}
        }
    }
}

const CAUSES: [&str; 10] = [
    "unheard",
    "stale_acknowledgement",
    "partial_connectivity",
    "silent",
    "deaf",
    "foreign_seed",
    "kernel",
    "own_node_id",
    "too_few",
    "ill",
];

fn cause_name(cause: &FenceCause) -> &'static str {
    match cause {
        FenceCause::Unheard(_) => "unheard",
        FenceCause::StaleAcknowledgement(_) => "stale_acknowledgement",
        FenceCause::PartialConnectivity { .. } => "partial_connectivity",
        FenceCause::Silent => "silent",
        FenceCause::Deaf => "deaf",
        FenceCause::ForeignSeed(_) => "foreign_seed",
        FenceCause::Kernel => "kernel",
        FenceCause::OwnNodeId => "own_node_id",
        FenceCause::TooFew => "too_few",
        FenceCause::Ill => "ill",
    }
}
