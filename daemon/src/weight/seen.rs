//! What a node has seen of a peer: how their loads compare at which shares, and how much of the load
//! goes with the share.

use core::ops::RangeInclusive;
use core::time::Duration;

use super::granted::{Granted, part};

/// A difference (in logarithms) that is no noise: of the load that both have, or of what is seen from
/// what was to be expected. What was seen before says nothing of now.
pub(super) const UNLIKE: f64 = 0.2;
/// What was seen at shares further from the present ones than this (in logarithms) says less of now:
/// no line fits everywhere.
const NEAR: f64 = 0.08;
/// The line is drawn through what was seen over this long.
const LINE: Duration = Duration::from_secs(120);
/// A server that measures so much is full, and how much too much it has cannot be seen: what
/// is seen of it lies on no line. All that is known is that its share is to be less, soon. (Who
/// measures more, like connections, is not bounded by 1, and says how much it has.)
const FULL: RangeInclusive<f64> = 0.99..=1.05;
/// It is full if it was in the mean over this long.
const BRIEF: Duration = Duration::from_secs(10);
/// Over this long what is seen of a full server is averaged.
const SOON: Duration = Duration::from_secs(30);
/// Whoever was full for longer than this had too much, and what was seen of it says nothing of now.
const OVERLOAD: Duration = Duration::from_secs(60);
/// The variance of shares, as a part of their square, that counts for as much as what was assumed:
/// that all load goes with the share. Where shares moved by less, noise says more than load does.
const DOUBT: f64 = 0.1;
/// A share changes by at most so many times what the load is to: a third of the load at least is
/// taken to go with the share. Less than 4, for which the loop is stable (`balance.rs`). By as much
/// it changes where a server is full.
pub(super) const GAIN: f64 = 3.0;
/// By no more than this factor is a share to change at once.
const STEP: f64 = 4.0;
/// Nobody's share is less.
const LEAST: f64 = 1e-6;

/// What is seen of a peer at one moment, measured, not told: each the own over the peer's.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sight {
    /// What the shares were to the loads.
    share: f64,
    load: f64,
}

impl Sight {
    /// Own and peer's.
    pub(super) fn new(granted: [&Granted; 2], loads: [f64; 2]) -> Self {
        let [own, theirs] = granted.map(|granted| granted.averaged().max(LEAST));
        Self { share: own / theirs, load: loads[0] / loads[1] }
    }
}

/// How loaded both are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    /// Their middle, in logarithms.
    pub(super) middle: f64,
    /// The more loaded one's.
    pub(super) fuller: f64,
}

/// What was seen of one peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// The peer's share.
    pub(super) granted: Granted,
    mean: Mean,
    line: Line,
    full: Full,
}

impl Seen {
    /// Begins with a peer that has this share.
    pub(super) fn new(granted: Granted) -> Self {
        Self { granted, mean: Mean::default(), line: Line::default(), full: Full::default() }
    }

    /// Takes a sight in, `passed` after the one before.
    pub(super) fn note(&mut self, sight: Sight, level: Level, passed: Duration, window: Duration) {
        let relieved = self.full.note(level.fuller, passed);
        let window = if self.full.is_now() { SOON.min(window) } else { window };
        let (middle, before) = (level.middle, self.mean.level.unwrap_or(f64::INFINITY));
        if relieved || (middle - before).abs() > UNLIKE || self.stray(sight).abs() > UNLIKE {
            self.mean = Mean { at: sight, level: Some(middle), ..Mean::default() };
        } else if (sight.share / self.mean.at.share).ln().abs() > NEAR {
            self.mean = Mean { at: sight, age: Duration::ZERO, ..self.mean };
        } else {
            self.mean.note(sight, passed, window);
        }
        if !self.full.is_now() {
            self.line.note(sight, passed);
        }
    }

    /// By how much the load grows with the share.
    fn slope(&self) -> f64 {
        let at = self.mean.at;
        let all = at.load / at.share;
        if self.full.is_now() { all / GAIN } else { self.line.slope(at) }
    }

    /// By what the sight differs from what was to be expected there, as a part.
    pub(super) fn stray(&self, sight: Sight) -> f64 {
        let at = self.mean.at;
        let expected = at.load + (sight.share - at.share) * self.slope();
        (sight.load - expected) / at.load
    }

    /// For how long the mean has been taken.
    pub(super) fn age(&self) -> Duration {
        self.mean.age
    }

    /// The own share over the peer's where both are equally loaded.
    pub(super) fn goal(&self) -> f64 {
        let at = self.mean.at;
        let change = (1.0 - at.load) / (self.slope() * at.share);
        at.share * (1.0 + change).clamp(1.0 / STEP, STEP)
    }

    /// How much more the share must change than the load is to: at least 1.
    pub(super) fn stretch(&self) -> f64 {
        let at = self.mean.at;
        at.load / at.share / self.slope()
    }
}

/// Whether the more loaded of both is full.
#[derive(Debug, Clone, Copy, Default)]
struct Full {
    /// How loaded it is, over [`BRIEF`].
    load: Option<f64>,
    /// For how long it has been full.
    lasted: Duration,
}

impl Full {
    /// Takes its load in, and says whether an overload is over.
    fn note(&mut self, fuller: f64, passed: Duration) -> bool {
        let load = self.load.get_or_insert(fuller);
        *load += (fuller - *load) * part(passed, BRIEF);
        let before = self.lasted;
        self.lasted = if self.is_now() { before + passed } else { Duration::ZERO };
        before > OVERLOAD && !self.is_now()
    }

    fn is_now(&self) -> bool {
        self.load.is_some_and(|load| FULL.contains(&load))
    }
}

/// A mean that begins with what there is, and comes to be one over a window.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    at: Sight,
    age: Duration,
    /// The load when it began.
    level: Option<f64>,
}

impl Mean {
    fn note(&mut self, sight: Sight, passed: Duration, window: Duration) {
        self.age += passed;
        let part = portion(passed, self.age, window);
        self.at.share += (sight.share - self.at.share) * part;
        self.at.load += (sight.load - self.at.load) * part;
    }
}

/// The straight line through what was seen: load over share. What it has at no share is load that
/// stays, as of clients that never go.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    age: Duration,
    mean: Sight,
    /// The variance of the share, and its covariance with the load.
    square: f64,
    product: f64,
}

impl Line {
    fn note(&mut self, sight: Sight, passed: Duration) {
        if self.age.is_zero() {
            self.mean = sight;
        }
        self.age += passed;
        let part = portion(passed, self.age, LINE);
        let off = sight.share - self.mean.share;
        let above = sight.load - self.mean.load;
        self.mean.share += off * part;
        self.mean.load += above * part;
        self.square += (off * off * (1.0 - part) - self.square) * part;
        self.product += (off * above * (1.0 - part) - self.product) * part;
    }

    /// By how much the load grows with the share: as if all of it went with the share, down to a
    /// part of that.
    fn slope(&self, at: Sight) -> f64 {
        let all = at.load / at.share;
        let doubt = DOUBT * at.share * at.share;
        let slope = (self.product + doubt * all) / (self.square + doubt);
        if slope.is_finite() { slope.clamp(all / GAIN, all) } else { all }
    }
}

/// What part of a mean over its age, or a window, what came in at last is.
pub(super) fn portion(passed: Duration, age: Duration, window: Duration) -> f64 {
    if passed.is_zero() { 0.0 } else { passed.div_duration_f64(age.min(window).max(passed)) }
}

#[cfg(test)]
mod tests;
