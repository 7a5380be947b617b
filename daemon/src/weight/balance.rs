//! From loads to a weight: how a node finds its share.
//!
//! # The rule
//! A node compares how loaded it is with the mean of the active nodes that measure the same
//! (SPEC 4.4). With `e = ln(own) - mean(ln(theirs))`, at most once per `weight_interval`:
//!
//! - `|e|` below the dead band: nothing changes.
//! - else `sum += a × e`, and the weight becomes `100 × exp(sum + b × e)`, within bounds.
//!
//! So whoever is busier than the others takes less, until all are equally busy: shares end up
//! proportional to what each machine can do, whatever that is, and stay there.
//!
//! # Why it settles
//! A fixed function of the own load (the classic: weight = load average) has to choose. Flat, it
//! leaves a weak node overloaded; steep, it swings, because near saturation the load answers a
//! small change of share with a large one of its own. A sum needs no steepness: it goes on as long
//! as there is a difference, and stops when there is none. Written in logarithms, a node's load
//! moves by exactly what its share moves, so the loop's gain is the same at every load. With the
//! load averaged over `T` and one step of `a` per interval `h`, it is an integrator before a lag:
//! damped by `(1 + b) / (2 × sqrt(a × T / h))`, which the pairs below keep at 0.8 or more.
//!
//! The dead band is what keeps noise out. Where everybody is nearly saturated little noise is
//! left and a small difference is one between a short queue and an endless one; so the band
//! narrows with what is left of the machines.

use core::time::Duration;

use nlb_engine::Time;
use nlb_protocol::Weight;

/// The weight of a node that is as loaded as the others.
pub const BASE: u16 = 100;

/// The lowest and the highest weight that a measured load leads to: no node gets more than a
/// hundred times what another gets, however wrong the measurements are.
pub const RANGE: (u16, u16) = (10, 1000);

/// The widest dead band: a difference of 8 %.
pub const DEAD_BAND: f64 = 0.08;
/// The narrowest.
const DEAD_BAND_SATURATED: f64 = 0.015;
/// The dead band, as a part of what is left of the machines.
const DEAD_BAND_OF_REST: f64 = 0.4;

/// Added to every load, so that nearly idle nodes compare as equal.
const IDLE: f64 = 0.1;

/// When the mean of everybody's weights is further than this from [`BASE`] (in logarithms), each
/// goes back a part of the way, so that weights do not all wander to one end of the range.
const WANDER: f64 = 0.5;
/// The part.
const RETURN: f64 = 0.5;

/// A peer that measures the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peer {
    /// Its weight.
    pub weight: Weight,
    /// Its load, 1 for full.
    pub load: f64,
}

/// Finds the weight of this node from its load and the others'.
#[derive(Debug, Clone)]
pub struct Balancer {
    window: Duration,
    interval: Duration,
    /// The weight in logarithms of [`BASE`], without the part that answers the present difference.
    sum: f64,
    load: Option<f64>,
    sampled: Option<Time>,
    decided: Option<Time>,
}

impl Balancer {
    /// Begins at a weight. The load is averaged over `window`.
    #[must_use]
    pub fn new(window: Duration, interval: Duration, weight: Weight) -> Self {
        let sum = logarithm(weight);
        Self { window, interval, sum, load: None, sampled: None, decided: None }
    }

    /// The load, averaged.
    #[must_use]
    pub fn load(&self) -> Option<f64> {
        self.load
    }

    /// Takes a measured load in.
    pub fn sample(&mut self, load: f64, now: Time) {
        let Some(averaged) = self.load else {
            (self.load, self.sampled) = (Some(load), Some(now));
            return;
        };
        let passed = self.sampled.map_or(Duration::ZERO, |at| now.since(at));
        let part = 1.0 - (-passed.as_secs_f64() / self.window.as_secs_f64()).exp();
        self.load = Some(averaged + (load - averaged) * part);
        self.sampled = Some(now);
    }

    /// The weight to take, if it is time to decide and something is to change.
    pub fn decide(&mut self, present: Weight, peers: &[Peer], now: Time) -> Option<Weight> {
        let own = self.load? + IDLE;
        if peers.is_empty() || self.decided.is_some_and(|at| now.since(at) < self.interval) {
            return None;
        }
        self.decided = Some(now);
        let count = peers.len() as f64 + 1.0;
        let logs: f64 = peers.iter().map(|peer| (peer.load.max(0.0) + IDLE).ln()).sum();
        let mean = (logs + own.ln()) / count;
        let wander =
            (peers.iter().map(|peer| logarithm(peer.weight)).sum::<f64>() + self.sum) / count;
        let difference = own.ln() - mean;
        let rest = (1.02 + IDLE - mean.exp()) * DEAD_BAND_OF_REST;
        let away = wander.abs() > WANDER;
        if difference.abs() < rest.clamp(DEAD_BAND_SATURATED, DEAD_BAND) && !away {
            return None;
        }
        let (step, answer) = self.gains();
        self.sum += step * difference - if away { RETURN * wander } else { 0.0 };
        let (low, high) = (log_of(RANGE.0), log_of(RANGE.1));
        self.sum = self.sum.clamp(low, high);
        let weight = exponential((self.sum + answer * difference).clamp(low, high));
        (weight != present).then_some(weight)
    }

    /// How far the sum goes per difference, and how much of the difference is answered at once.
    fn gains(&self) -> (f64, f64) {
        let window = self.window.as_secs_f64();
        let interval = self.interval.as_secs_f64();
        // The longer the average, the slower the sum: `step × window / interval` stays bounded.
        let (most, answer) = if window <= 10.0 { (0.3, 0.5) } else { (0.2, 1.0) };
        let step: f64 = 1.7 * interval / window;
        (step.min(most), answer)
    }
}

fn log_of(weight: u16) -> f64 {
    (f64::from(weight) / f64::from(BASE)).ln()
}

fn logarithm(weight: Weight) -> f64 {
    log_of(weight.get())
}

fn exponential(log: f64) -> Weight {
    let weight = (f64::from(BASE) * log.exp()).round().clamp(1.0, f64::from(u16::MAX));
    // In range by the clamp; a NaN becomes 0 and then the default.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Weight::new(weight as u16).unwrap_or(Weight::DEFAULT)
}
