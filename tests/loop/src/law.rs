//! How a weight is made: by the daemon, not at all, or as it was done in 2006.

use core::time::Duration;

use nlb_engine::Time;
use nlb_engine::manage::NodeView;
use nlb_protocol::frame::{Load, State};
use nlb_protocol::{Incarnation, NodeId, Weight};
use nlbd::weight::{Reading, Weigher, WeightRules, WeightSource};

/// How weights are made in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// Everybody the same.
    Equal,
    /// Weight = load average of a minute, every seven seconds, not damped.
    Original,
    /// As the daemon does it.
    Daemon(WeightSource),
}

impl Law {
    /// What to call it in tables and plots.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Original => "original",
            Self::Daemon(source) => source.name(),
        }
    }
}

/// All nodes' weights.
#[derive(Debug)]
pub struct Weights {
    law: Law,
    weighers: Vec<Weigher>,
    loads: Vec<Load>,
    now: Vec<Weight>,
}

impl Weights {
    /// Of so many nodes that begin to serve.
    #[must_use]
    pub fn new(law: Law, nodes: usize) -> Self {
        let source = match law {
            Law::Daemon(source) => source,
            Law::Equal | Law::Original => WeightSource::Manual(Weight::DEFAULT),
        };
        let rules = WeightRules { warm_up: Duration::ZERO, ..WeightRules::default() };
        Self {
            law,
            weighers: vec![Weigher::new(source, rules); nodes],
            loads: vec![Load::default(); nodes],
            now: vec![Weight::DEFAULT; nodes],
        }
    }

    /// The weights now.
    #[must_use]
    pub fn all(&self) -> &[Weight] {
        &self.now
    }

    /// A second has passed; `true`: somebody's weight is another now.
    pub fn second(&mut self, second: u64, readings: &[Reading]) -> bool {
        let now = Time::ZERO + Duration::from_secs(second);
        let before = self.now.clone();
        match self.law {
            Law::Equal => {}
            Law::Original if second.is_multiple_of(7) => {
                for (weight, reading) in self.now.iter_mut().zip(readings) {
                    *weight = original(reading);
                }
            }
            Law::Original => {}
            Law::Daemon(_) => {
                for (node, reading) in readings.iter().enumerate() {
                    self.loads[node] = self.weighers[node].sample(reading, now);
                }
                // Each decides on what it heard of the others a moment ago.
                let heard = self.now.clone();
                // They all begin together, without clients.
                let state = if second == 0 { State::Joining } else { State::Active };
                for node in 0..readings.len() {
                    let views = self.views(node, &heard, state);
                    if let Some(weight) = self.weighers[node].decide(&views, now) {
                        self.now[node] = weight;
                    }
                }
            }
        }
        self.now != before
    }

    fn views(&self, local: usize, heard: &[Weight], state: State) -> Vec<NodeView> {
        let node = |(index, (weight, load)): (usize, (&Weight, &Load))| NodeView {
            id: NodeId(index as u64 + 1),
            incarnation: Incarnation(1),
            name: String::new(),
            software: String::new(),
            load: *load,
            health: Default::default(),
            state,
            weight: *weight,
            buckets: 0,
            pins: 0,
            local: index == local,
            hears_us: true,
            last_heard: Duration::ZERO,
            differs: Vec::new(),
        };
        heard.iter().zip(&self.loads).enumerate().map(node).collect()
    }
}

fn original(reading: &Reading) -> Weight {
    let load = reading.averages.map_or(0.0, |averages| averages[0]);
    let weight = (load * 100.0 / f64::from(reading.cores.max(1))).round().clamp(1.0, 65_535.0);
    // In range by the clamp.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Weight::new(weight as u16).unwrap_or(Weight::DEFAULT)
}
