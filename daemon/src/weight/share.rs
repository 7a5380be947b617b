//! What is done to a weight before the cluster hears of it: the warm-up of a node that has just
//! become active, and the bounds of its share.

use core::time::Duration;

use nlb_engine::Time;
use nlb_protocol::Weight;

/// How many times heavier a node begins than its weight says.
pub const COLD: f64 = 4.0;
/// In so many steps it comes down; each moves buckets.
const STEPS: u32 = 6;

/// A node that has just become active takes its share in steps: caches are cold, connection pools
/// empty, and everybody whose bucket moves comes at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmUp {
    length: Duration,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// The node serves nobody yet, or not again.
    Cold,
    Warming(Time),
    Warm,
}

impl WarmUp {
    /// The warm-up of a node that does not serve yet, and how long it will take. Zero: none.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self { length, phase: Phase::Cold }
    }

    /// It takes so long from now on.
    pub fn set_length(&mut self, length: Duration) {
        self.length = length;
    }

    /// The node serves already.
    pub fn end(&mut self) {
        self.phase = Phase::Warm;
    }

    /// The node does not serve.
    pub fn cool(&mut self) {
        self.phase = Phase::Cold;
    }

    /// The node serves.
    pub fn warm(&mut self, now: Time) {
        self.phase = match self.phase {
            Phase::Cold => Phase::Warming(now),
            Phase::Warming(since) if now.since(since) >= self.length => Phase::Warm,
            other => other,
        };
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.length.is_zero() || self.phase == Phase::Warm
    }

    /// By what the weight is multiplied: from [`COLD`] down to 1, in equal ratios.
    #[must_use]
    pub fn factor(&self, now: Time) -> f64 {
        let passed = match self.phase {
            _ if self.is_over() => return 1.0,
            Phase::Cold | Phase::Warm => Duration::ZERO,
            Phase::Warming(since) => now.since(since),
        };
        let step = (passed * STEPS).div_duration_f64(self.length).floor();
        COLD.powf((1.0 - step / f64::from(STEPS)).max(0.0))
    }
}

/// The least and the most that a node takes of the whole, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareBounds {
    /// The least. It holds where the nodes can all have it.
    pub min_percent: u8,
    /// The most. It holds where the others can take the rest.
    pub max_percent: u8,
}

impl Default for ShareBounds {
    fn default() -> Self {
        Self { min_percent: 0, max_percent: 100 }
    }
}

impl ShareBounds {
    /// The weight, moved to where the share that it gives beside `others` is within the bounds.
    #[must_use]
    pub fn apply(self, weight: f64, others: &[Weight]) -> Weight {
        let rest: f64 = others.iter().map(|other| 1.0 / f64::from(other.get())).sum();
        let equal = 100.0 / (others.len() as f64 + 1.0);
        let mut bounded = weight;
        if rest > 0.0 {
            // share = (1/w) / (1/w + rest), so w = (1 - share) / (share × rest).
            let weight_of = |percent: f64| (100.0 - percent) / (percent * rest);
            let (least, most) = (f64::from(self.min_percent), f64::from(self.max_percent));
            if least > 0.0 {
                bounded = bounded.min(weight_of(least.min(equal)));
            }
            if most < 100.0 {
                bounded = bounded.max(weight_of(most.max(equal)));
            }
        }
        let bounded = bounded.round().clamp(1.0, f64::from(u16::MAX));
        // In range by the clamp; a NaN becomes 0 and then the default.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Weight::new(bounded as u16).unwrap_or(Weight::DEFAULT)
    }
}
