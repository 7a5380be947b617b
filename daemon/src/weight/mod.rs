//! The weight of this node: where it comes from, and how a measured load becomes one.
//!
//! The higher the weight, the less traffic: shares are proportional to 1/weight. A measured weight
//! closes a loop (share drives load drives weight), so it must be dull: `balance.rs` says how, and
//! why it settles. Pure but for [`Meter`]; the main thread calls [`Weigher::sample`] and
//! [`Weigher::decide`] once a second.

mod balance;
mod command;
mod granted;
mod seen;
mod share;
mod source;

use core::time::Duration;

use nlb_engine::Time;
use nlb_engine::manage::NodeView;
use nlb_protocol::Weight;
use nlb_protocol::frame::{Load, State};

pub use balance::{BASE, Balancer, DEAD_BAND, Peer, QUIET, RANGE};
pub use command::{Answers, LoadCommand, Said};
pub use share::{COLD, ShareBounds, WarmUp};
pub use source::{Meter, Reading, WeightSource};

/// How often the load is to be sampled.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// How a weight is made, beside where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightRules {
    /// How often a measured weight may change.
    pub interval: Duration,
    /// How long a node takes to come to its share. Not where the weight is set by hand.
    pub warm_up: Duration,
    /// The bounds of the share of a measured weight.
    pub bounds: ShareBounds,
}

impl Default for WeightRules {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(7),
            warm_up: Duration::from_secs(30),
            bounds: ShareBounds::default(),
        }
    }
}

/// What decides on the weight of this node in one cluster.
#[derive(Debug, Clone)]
pub struct Weigher {
    source: WeightSource,
    rules: WeightRules,
    balancer: Balancer,
    /// The share of this node, as soon as it knows.
    share: Option<f64>,
    /// What the balancer found, before warm-up and bounds.
    found: Weight,
    /// What the cluster was told.
    told: Weight,
    warm_up: WarmUp,
}

impl Weigher {
    /// Begins to weigh.
    #[must_use]
    pub fn new(source: WeightSource, rules: WeightRules) -> Self {
        let found = match source {
            WeightSource::Manual(weight) => weight,
            _ => Weight::DEFAULT,
        };
        let mut weigher = Self {
            source,
            rules,
            balancer: Balancer::new(source.window(), rules.interval),
            share: None,
            found,
            told: found,
            warm_up: WarmUp::new(rules.warm_up),
        };
        weigher.told = weigher.bounded(&[], Time::ZERO);
        weigher
    }

    /// Goes on from the weight that the process before this one had come to: the service did not
    /// stop in between. Gives the weight to take at once, if it is another, as where one is
    /// configured.
    pub fn go_on(&mut self, weight: Weight) -> Option<Weight> {
        if self.is_manual() {
            return (self.told != weight).then_some(self.told);
        }
        self.warm_up.end();
        self.fall_back(weight);
        self.told = weight;
        None
    }

    /// Where the weight comes from now.
    #[must_use]
    pub fn source(&self) -> WeightSource {
        self.source
    }

    /// The weight that the cluster is told.
    #[must_use]
    pub fn weight(&self) -> Weight {
        self.told
    }

    /// Takes the weight from elsewhere; `None` keeps the present one until another is set. Gives
    /// the weight to take at once, if it is another.
    pub fn set_source(&mut self, source: Option<WeightSource>) -> Option<Weight> {
        let same = source.is_some_and(|source| source == self.source);
        self.source = source.unwrap_or(WeightSource::Manual(self.told));
        if let WeightSource::Manual(weight) = self.source {
            self.found = weight;
        }
        if !same {
            self.balancer = Balancer::new(self.source.window(), self.rules.interval);
        }
        (self.found != self.told && self.is_manual()).then(|| {
            self.told = self.found;
            self.told
        })
    }

    /// Nothing is measured any more: this weight, until something is.
    pub fn fall_back(&mut self, weight: Weight) {
        self.found = weight;
        self.balancer = Balancer::new(self.source.window(), self.rules.interval);
    }

    /// Weighs by other rules from now on.
    pub fn set_rules(&mut self, rules: WeightRules) {
        self.rules = rules;
        self.warm_up.set_length(rules.warm_up);
        self.balancer = Balancer::new(self.source.window(), rules.interval);
    }

    /// Takes a measured load in; gives what the peers are to be told of it.
    pub fn sample(&mut self, reading: &Reading, now: Time) -> Load {
        if let Some(load) = self.source.load(reading) {
            self.balancer.sample(load, self.share, now);
        }
        match self.balancer.load() {
            // In range by the clamp.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Some(load) if !self.is_manual() => Load {
                measure: self.source.measure(),
                permille: (load * 1000.0).round().clamp(0.0, f64::from(u16::MAX)) as u16,
            },
            _ => Load::default(),
        }
    }

    /// The weight to take, if it is to change, from all nodes as this one sees them.
    pub fn decide(&mut self, nodes: &[NodeView], now: Time) -> Option<Weight> {
        let local = nodes.iter().find(|node| node.local);
        let state = local.map(|node| node.state);
        match state {
            Some(State::Active) => self.warm_up.warm(now),
            Some(State::Joining | State::Fenced) | None => self.warm_up.cool(),
            Some(State::Draining | State::Leaving | State::Restarting) => {}
        }
        let own = local.map_or(self.told, |node| node.weight);
        let active = || nodes.iter().filter(|node| node.state == State::Active);
        let others = || active().filter(|node| !node.local);
        let part = |weight: Weight| 1.0 / f64::from(weight.get());
        let whole: f64 = active().map(|node| part(node.weight)).sum();
        let share = if state == Some(State::Active) { part(own) / whole } else { 0.0 };
        self.share = Some(share);
        if self.is_manual() {
            return None;
        }
        let measure = self.source.measure();
        let load = |node: &NodeView| f64::from(node.load.permille) / 1000.0;
        let peer = |node: &NodeView| Peer {
            id: node.id,
            weight: node.weight,
            share: part(node.weight) / whole,
            load: load(node),
        };
        let peers: Vec<Peer> =
            others().filter(|node| node.load.measure == measure).map(peer).collect();
        if state == Some(State::Active)
            && self.warm_up.is_over()
            && let Some(weight) = self.balancer.decide(self.told, share, &peers, now)
        {
            self.found = weight;
        }
        let others: Vec<Weight> = others().map(|node| node.weight).collect();
        let bounded = self.bounded(&others, now);
        // What the bounds move by less than a percent follows the others' weights, not the load.
        let moved = u32::from(bounded.get().abs_diff(self.told.get()));
        let close = moved * 100 < u32::from(self.told.get());
        if bounded == self.told || close && bounded != self.found {
            return None;
        }
        self.told = bounded;
        Some(bounded)
    }

    /// What was found, with warm-up and within the bounds of the share.
    fn bounded(&self, others: &[Weight], now: Time) -> Weight {
        if self.is_manual() {
            return self.found;
        }
        let weight = f64::from(self.found.get()) * self.warm_up.factor(now);
        self.rules.bounds.apply(weight, others)
    }

    fn is_manual(&self) -> bool {
        matches!(self.source, WeightSource::Manual(_))
    }
}

#[cfg(test)]
mod tests;
