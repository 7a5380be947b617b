//! From loads to a weight: how a node finds its share.
//!
//! # The rule
//! A node's load over its share is what it would bear of the whole: the reciprocal of what it can
//! do. So for each active peer that measures the same (SPEC 4.4) the node keeps an average, over the
//! window of the source, of how much more that peer can do:
//! `ln(own load) - ln(its load) + ln(own weight) - ln(its weight)`. At most once per
//! `weight_interval` it takes the mean of what its weight differs by from these, `e`:
//!
//! - `|e|` below the dead band: nothing changes.
//! - else the weight is multiplied by `exp(e)`, within bounds.
//!
//! So whoever is busier than the others takes less, until all are equally busy: shares end up
//! proportional to what each machine can do, whatever that is, and stay there.
//!
//! # Why it settles
//! A fixed function of the own load (the classic: weight = load average) has to choose. Flat, it
//! leaves a weak node overloaded; steep, it swings, because near saturation the load answers a
//! small change of share with a large one of its own. A sum of differences has to wait for what its
//! last step did, so it is slow where the average is long. Here what the weights did is taken out of
//! the average: it holds what the machines can do, which weights do not move. Nor does a load that
//! all have more of.
//!
//! Clients stay with their node for a while, so load follows share late. Told is the load that is to
//! be expected at the present share if clients stay for [`SESSION`]: the average of the load, times
//! the share, over the average of what the share was to them. With `P` what really becomes of a
//! change of share, `M` what is assumed and `F` the average, all in logarithms and as transfer
//! functions, a weight `x` follows its goal `d` by `x = F d + F (M - P) x`. Whatever the lengths of
//! sessions are, `P` is a mean of lags `1/(1 + s t)`, each of which lies in the disc around 1/2 with
//! radius 1/2, as does `M`: so `|M - P|` is at most 1 and `|F|` less than 1, and the loop is stable
//! for all of them (small gain theorem). How well it is damped where sessions are much longer than
//! assumed depends on the window: about `(w + 2 m) / (2 sqrt(t (w + m)))` for a window `w`,
//! sessions `t` and [`SESSION`] `m`, so 0.5 and more where the window is as long as the sessions.
//!
//! The dead band is what keeps noise out: as wide as the noise is seen to be.

use core::time::Duration;
use std::collections::BTreeMap;

use nlb_engine::Time;
use nlb_protocol::{NodeId, Weight};

/// The weight of a node that is as loaded as the others.
pub const BASE: u16 = 100;

/// The lowest and the highest weight that a measured load leads to: no node gets more than a
/// hundred times what another gets, however wrong the measurements are.
pub const RANGE: (u16, u16) = (10, 1000);

/// The dead band is so many times the noise of what is compared.
const NOISE: f64 = 1.5;
/// The widest dead band: a difference of 3 %. A single step is no larger than what shares may stray.
pub const DEAD_BAND: f64 = 0.03;
/// The narrowest.
const NARROWEST: f64 = 0.015;
/// What is measured at two instants this far apart says two things.
const APART: Duration = Duration::from_secs(20);
/// What was seen while the weights were further from the present ones than this (in logarithms) says
/// little of now: some load does not move with the share, like that of clients that never go.
const NEAR: f64 = 0.08;
/// Over at least this long the noise is measured.
const LONG: Duration = Duration::from_secs(60);

/// Over how long a load is averaged before anybody is told of it.
const SHORT: Duration = Duration::from_secs(10);
/// How long clients are assumed to stay.
const SESSION: Duration = Duration::from_secs(20);
/// By no more than this factor is a load corrected for a share that was another.
const CORRECTION: f64 = 4.0;

/// Added to every load, so that nearly idle nodes compare as equal.
const IDLE: f64 = 0.1;

/// When the mean of everybody's weights is further than this from [`BASE`] (in logarithms), each
/// goes back a part of the way, so that weights do not all wander to one end of the range.
const WANDER: f64 = 0.5;
/// The part.
const RETURN: f64 = 0.5;

/// A node that measures the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peer {
    /// Who it is.
    pub id: NodeId,
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
    measured: Option<Measured>,
    /// How much more each peer can do, in logarithms.
    abler: BTreeMap<NodeId, Average>,
    /// How far what is measured strays from the averages: the variance.
    strays: Average,
    compared: Option<Time>,
    decided: Option<Time>,
}

/// What the load was, and the share that it came from.
#[derive(Debug, Clone, Copy)]
struct Measured {
    load: f64,
    /// Not before the node knows its share.
    granted: Option<Granted>,
    at: Time,
}

/// The share of a node.
#[derive(Debug, Clone, Copy)]
struct Granted {
    /// Now.
    share: f64,
    /// The part of the clients that is here, as far as they stay for [`SESSION`].
    clients: f64,
    /// That, averaged as the load is.
    averaged: f64,
}

impl Balancer {
    /// Begins to compare. What nodes can do is averaged over `window`.
    #[must_use]
    pub fn new(window: Duration, interval: Duration) -> Self {
        let (measured, abler, strays) = (None, BTreeMap::new(), Average::default());
        Self { window, interval, measured, abler, strays, compared: None, decided: None }
    }

    /// The load that is to be expected at the present share.
    #[must_use]
    pub fn load(&self) -> Option<f64> {
        let Measured { load, granted, .. } = self.measured?;
        let factor = match granted {
            Some(Granted { share, averaged, .. }) if share > 0.0 && averaged > 0.0 => {
                (share / averaged).clamp(1.0 / CORRECTION, CORRECTION)
            }
            _ => 1.0,
        };
        Some(load * factor)
    }

    /// Takes a measured load in, and the share of the cluster that the node has, if it knows.
    pub fn sample(&mut self, load: f64, share: Option<f64>, now: Time) {
        let begin = |share: f64| Granted { share, clients: share, averaged: share };
        let Some(measured) = &mut self.measured else {
            self.measured = Some(Measured { load, granted: share.map(begin), at: now });
            return;
        };
        let passed = now.since(measured.at);
        measured.load += (load - measured.load) * part(passed, SHORT);
        measured.at = now;
        let Some(share) = share else { return };
        let granted = measured.granted.get_or_insert(begin(share));
        granted.share = share;
        granted.clients += (share - granted.clients) * part(passed, SESSION);
        granted.averaged += (granted.clients - granted.averaged) * part(passed, SHORT);
    }

    /// Compares itself with the peers, and gives the weight to take if it is time to decide and
    /// something is to change. `present` is what the cluster has from here, `own` what it counts:
    /// that may be more, where checks fail.
    pub fn decide(
        &mut self,
        present: Weight,
        own: Weight,
        peers: &[Peer],
        now: Time,
    ) -> Option<Weight> {
        let load = (self.load()? + IDLE).ln();
        let passed = self.compared.map_or(Duration::ZERO, |at| now.since(at));
        self.compared = Some(now);
        self.abler.retain(|id, _| peers.iter().any(|peer| peer.id == *id));
        let count = peers.len() as f64 + 1.0;
        let (mut difference, mut stray) = (0.0, 0.0);
        for peer in peers {
            let abler = load - (peer.load.max(0.0) + IDLE).ln() + apart(own, peer.weight);
            let average = self.abler.entry(peer.id).or_default();
            average.keep_near(apart(own, peer.weight));
            average.note(abler, passed, self.window);
            difference += (average.value - apart(present, peer.weight)) / count;
            stray += (abler - average.value) / count;
        }
        let stray = stray.clamp(-2.0 * DEAD_BAND, 2.0 * DEAD_BAND);
        self.strays.note(stray * stray, passed, self.window.max(LONG));
        let since = *self.decided.get_or_insert(now);
        if peers.is_empty() || now.since(since) < self.interval {
            return None;
        }
        self.decided = Some(now);
        let all = peers.iter().map(|peer| logarithm(peer.weight)).sum::<f64>();
        let wander = (all + logarithm(present)) / count;
        let away = wander.abs() > WANDER;
        if difference.abs() < self.dead_band() && !away {
            return None;
        }
        let back = if away { RETURN * wander } else { 0.0 };
        let weight = exponential(logarithm(present) + difference - back);
        (weight != present).then_some(weight)
    }
}

impl Balancer {
    /// What differs by less may be noise.
    fn dead_band(&self) -> f64 {
        let samples = self.strays.age.min(self.window).max(APART).div_duration_f64(APART);
        let noise = (self.strays.value / samples).sqrt();
        (NOISE * noise).clamp(NARROWEST, DEAD_BAND)
    }
}

/// A mean that begins with what there is, and comes to be one over a window.
#[derive(Debug, Clone, Copy, Default)]
struct Average {
    value: f64,
    age: Duration,
    begun: bool,
    /// How far apart the weights were when it began.
    apart: f64,
}

impl Average {
    /// Begins anew where the weights are far from those at which it was taken.
    fn keep_near(&mut self, apart: f64) {
        if !self.begun || (apart - self.apart).abs() > NEAR {
            *self = Self { apart, ..Self::default() };
        }
    }

    fn note(&mut self, value: f64, passed: Duration, window: Duration) {
        if !self.begun {
            (self.value, self.begun) = (value, true);
        } else if !passed.is_zero() {
            self.age += passed;
            let part = passed.div_duration_f64(self.age.min(window).max(passed));
            self.value += (value - self.value) * part;
        }
    }
}

/// By how much an average over `window` moves in a time.
fn part(passed: Duration, window: Duration) -> f64 {
    1.0 - (-passed.div_duration_f64(window)).exp()
}

/// A weight, in logarithms of [`BASE`].
fn logarithm(weight: Weight) -> f64 {
    (f64::from(weight.get()) / f64::from(BASE)).ln()
}

fn apart(one: Weight, other: Weight) -> f64 {
    logarithm(one) - logarithm(other)
}

fn exponential(log: f64) -> Weight {
    let weight = f64::from(BASE) * log.exp();
    let weight = weight.round().clamp(f64::from(RANGE.0), f64::from(RANGE.1));
    // In range by the clamp; a NaN becomes 0 and then the default.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Weight::new(weight as u16).unwrap_or(Weight::DEFAULT)
}
