//! From loads to a weight: how a node finds its share.
//!
//! # The rule
//! With each active peer that measures the same (SPEC 4.4) the node compares loads and shares: the
//! own over the peer's. Through what it sees it draws a straight line, load over share (`seen.rs`), by
//! the mean of what was seen since conditions changed, at most over the window of the source. Where
//! that line says that both are equally loaded is the share, beside the peer's, that the node is to
//! have. At most once per `weight_interval` it takes the mean of what its weight differs by from
//! these, in logarithms, `e`:
//!
//! - `|e|` below the dead band: nothing changes.
//! - else the weight is multiplied by `exp(e)`, within bounds.
//!
//! So whoever is busier than the others takes less, until all are equally busy: shares end up where
//! that is so, whatever each machine can do, and stay there.
//!
//! How steep the line is says how much of the load goes with the share. All of it, it is assumed, as
//! long as shares were not seen to move; then what was seen counts. Clients that never go are load
//! that stays where it began: taken for load that goes, it leaves a part of each difference to the
//! next change of weights, and shares creep for many minutes. A share changes by at most
//! [`GAIN`](super::seen::GAIN) times what the load is to.
//!
//! # Why it settles
//! A fixed function of the own load (the classic: weight = load average) has to choose. Flat, it
//! leaves a weak node overloaded; steep, it swings, because near saturation the load answers a
//! small change of share with a large one of its own. A sum of differences has to wait for what its
//! last step did, so it is slow where the average is long. The line holds what the machines can do,
//! which weights do not move: what was seen at another share lies on it as well. Nor does a load that
//! all have more of. So the mean may be long, and the longer nothing changes, the less is left of the
//! noise; what does change (`UNLIKE`) begins it anew.
//!
//! Clients stay with their node for a while, so load follows share late (`granted.rs`). Told is the
//! load that is to be expected at the present share if clients stay for 20 seconds; compared is what
//! was measured, with what the shares were to that. In logarithms and as transfer functions, with `P`
//! what really becomes of a change of share, `M = 1/(1 + s m)` what is assumed, `A = 1/(1 + s a)` the
//! short average of a load, `F = 1/(1 + s w)` the mean and `g` the gain, a share `x` follows its goal
//! `d` by `x = F A (M x + g (d - P x))`: its poles are where `D = (1 + s w) (1 + s a) - M + g P` is
//! zero. Whatever the lengths of sessions are, and if a part of the load never moves, `P` is a mean
//! of lags `1/(1 + s t)`, which lie in the disc around 1/2 with radius 1/2, so `|P|^2 <= Re P`. If `D`
//! were zero at some `s = i v`, its real part would say `g Re P <= v^2 w a`, and its imaginary part
//! `g |P| >= v (w + a)`, hence `g >= (w + a)^2 / (w a)`, which is 4 at least. With `g` below 4 no pole
//! crosses that axis: the loop is stable for all sessions, however young the mean is. How well it is
//! damped where sessions are much longer than assumed depends on the window: by about
//! `sqrt((w + m) / (4 g t))`, so 0.5 where the window is as long as the sessions and `g` is 1.
//!
//! The dead band is what keeps noise out: as wide as the noise is seen to be. And where nobody has
//! anything to do ([`QUIET`]), nothing moves.

use core::time::Duration;
use std::collections::BTreeMap;

use nlb_engine::Time;
use nlb_protocol::{NodeId, Weight};

use super::granted::{Granted, SHORT, part};
use super::seen::{Level, Seen, Sight, UNLIKE, portion};

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

/// Added to every load, so that nearly idle nodes compare as equal.
const IDLE: f64 = 0.1;

/// Where nobody is loaded by more there is nothing to balance, and weights stay. What loads differ by
/// then is how old they are: a peer's was measured up to two seconds ago. While everybody's falls, as
/// after a start, each node finds itself less loaded than the others; all weights go down together,
/// and as that changes no share, nothing would end it.
pub const QUIET: f64 = 0.05;

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
    /// Its share of the cluster.
    pub share: f64,
    /// The load that it tells, 1 for full.
    pub load: f64,
}

/// Finds the weight of this node from its load and the others'.
#[derive(Debug, Clone)]
pub struct Balancer {
    window: Duration,
    interval: Duration,
    measured: Option<Measured>,
    /// What was seen of each peer.
    seen: BTreeMap<NodeId, Seen>,
    /// How far what is measured strays from the averages: the variance, and of how long.
    strays: (f64, Duration),
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

impl Balancer {
    /// Begins to compare. What is seen is averaged over `window` at most.
    #[must_use]
    pub fn new(window: Duration, interval: Duration) -> Self {
        let (measured, seen, strays) = (None, BTreeMap::new(), (0.0, Duration::ZERO));
        Self { window, interval, measured, seen, strays, compared: None, decided: None }
    }

    /// The load that is to be expected at the present share.
    #[must_use]
    pub fn load(&self) -> Option<f64> {
        let Measured { load, granted, .. } = self.measured?;
        Some(load * granted.map_or(1.0, |granted| granted.correction()))
    }

    /// Takes a measured load in, and the share of the cluster that the node has, if it knows.
    pub fn sample(&mut self, load: f64, share: Option<f64>, now: Time) {
        let begin = |share: f64| Granted::begin(share, 1.0);
        let Some(measured) = &mut self.measured else {
            self.measured = Some(Measured { load, granted: share.map(begin), at: now });
            return;
        };
        let passed = now.since(measured.at);
        measured.load += (load - measured.load) * part(passed, SHORT);
        measured.at = now;
        let Some(share) = share else { return };
        measured.granted.get_or_insert(begin(share)).note(share, passed);
    }

    /// Compares itself with the peers, and gives the weight to take if it is time to decide and
    /// something is to change. `present` is what the cluster has from here, `share` what that comes
    /// to: it may be less than the weight says, where checks fail.
    pub fn decide(
        &mut self,
        present: Weight,
        share: f64,
        peers: &[Peer],
        now: Time,
    ) -> Option<Weight> {
        let Measured { load, granted, .. } = self.measured?;
        let granted = granted.unwrap_or(Granted::begin(share, 1.0));
        let passed = self.compared.map_or(Duration::ZERO, |at| now.since(at));
        self.compared = Some(now);
        self.seen.retain(|id, _| peers.iter().any(|peer| peer.id == *id));
        let count = peers.len() as f64 + 1.0;
        // Whoever is there from the beginning is taken to be as far as this node is.
        let followed = if share > 0.0 { (granted.averaged() / share).min(1.0) } else { 0.0 };
        let (mut difference, mut stray, mut busiest) = (0.0, 0.0, load);
        for peer in peers {
            let begin = || Seen::new(Granted::begin(peer.share, followed));
            let seen = self.seen.entry(peer.id).or_insert_with(begin);
            seen.granted.note(peer.share, passed);
            let theirs = peer.load.max(0.0) / seen.granted.correction();
            busiest = theirs.max(busiest);
            let loads = [load + IDLE, theirs + IDLE];
            let sight = Sight::new([&granted, &seen.granted], loads);
            let middle = f64::midpoint(loads[0].ln(), loads[1].ln());
            let level = Level { middle, fuller: load.max(theirs) };
            seen.note(sight, level, passed, self.window);
            difference -= (seen.goal().ln() + apart(present, peer.weight)) / count;
            stray += seen.stray(sight) / count;
        }
        let stray = stray.clamp(-UNLIKE, UNLIKE);
        let (variance, age) = &mut self.strays;
        *age += passed;
        *variance += (stray * stray - *variance) * portion(passed, *age, self.window);
        let since = *self.decided.get_or_insert(now);
        if peers.is_empty() || now.since(since) < self.interval {
            return None;
        }
        self.decided = Some(now);
        if busiest < QUIET {
            return None;
        }
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
    /// What differs by less may be noise. The younger the means, the more of it is; and where a
    /// share must change by more than the load is to, noise moves it by more as well.
    fn dead_band(&self) -> f64 {
        let (variance, age) = self.strays;
        let young = self.seen.values().map(Seen::age).min().unwrap_or_default();
        let samples = age.min(young).min(self.window).max(APART).div_duration_f64(APART);
        let noise = (variance / samples).sqrt();
        let stretch = self.seen.values().map(Seen::stretch).fold(1.0, f64::max);
        (NOISE * noise).clamp(NARROWEST, DEAD_BAND) * stretch
    }
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
