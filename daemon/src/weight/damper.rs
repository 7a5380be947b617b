//! From a measured load to a weight that changes seldom.
//!
//! # The formula
//! `weight = 100 × (1 + load)`, where `load` is the load average divided by the number of cores,
//! smoothed: every second a quarter of the way to what was measured. So an idle machine weighs
//! 100, one that is just busy 200 and gets half the share, one that is nine times overloaded
//! 1000. The result is rounded to a multiple of 5, taken only if it differs from the present
//! weight by at least 15 %, and at most once per `weight_interval`.
//!
//! # Why the loop settles
//! Let a node's load be proportional to its share. Relative to each other, the weight moves by
//! `load / (1 + load) < 1` of what the load moves, and the share by at most 1 of what the weight
//! moves, the other way. The loop's gain is therefore below 1 at every load: each correction is
//! smaller than the deviation that caused it, whatever the delay. Smoothing keeps noise out; once
//! everybody is within the threshold nothing changes any more, which matters more than the last
//! percent, because every change moves clients.

use core::time::Duration;

use nlb_engine::Time;
use nlb_protocol::Weight;

/// The weight of an idle machine.
pub const BASE: u16 = 100;

/// How often the load is to be sampled.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// A change below this is none.
pub const THRESHOLD_PERCENT: u32 = 15;

/// Weights are multiples of this.
const STEP: u16 = 5;

/// How much of the way to the measured value one sample goes.
const SMOOTHING: f64 = 0.25;

// Rounding alone must not get past the threshold, or an unchanged load could change the weight.
const _: () = assert!((STEP as u32) * 100 < THRESHOLD_PERCENT * (BASE as u32));

/// The weight of a load per core.
pub(super) fn weight_of(load: f64) -> Weight {
    let exact = f64::from(BASE) * (1.0 + load.max(0.0));
    let step = f64::from(STEP);
    let stepped = ((exact / step).round() * step).clamp(1.0, f64::from(u16::MAX));
    // In range by the clamp; a NaN becomes 0 and then the default.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Weight::new(stepped as u16).unwrap_or(Weight::DEFAULT)
}

/// Decides when a measured load changes the weight.
#[derive(Debug, Clone)]
pub struct Damper {
    interval: Duration,
    weight: Weight,
    smoothed: Option<f64>,
    changed: Option<Time>,
}

impl Damper {
    /// Begins at a weight, which may change with the first sample.
    #[must_use]
    pub fn new(interval: Duration, weight: Weight) -> Self {
        Self { interval, weight, smoothed: None, changed: None }
    }

    /// The weight now.
    #[must_use]
    pub fn weight(&self) -> Weight {
        self.weight
    }

    /// How often the weight may change.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Takes a measured load per core in; gives the new weight, if it changes.
    pub fn sample(&mut self, load: f64, now: Time) -> Option<Weight> {
        if !load.is_finite() {
            return None;
        }
        let smoothed = self.smoothed.map_or(load, |old| old + (load - old) * SMOOTHING);
        self.smoothed = Some(smoothed);
        if self.changed.is_some_and(|changed| now.since(changed) < self.interval) {
            return None;
        }
        let weight = weight_of(smoothed);
        let old = u32::from(self.weight.get());
        let difference = u32::from(weight.get()).abs_diff(old);
        if difference * 100 < THRESHOLD_PERCENT * old {
            return None;
        }
        self.weight = weight;
        self.changed = Some(now);
        Some(weight)
    }
}
