//! How load follows share: late, because clients stay with their node.

use core::time::Duration;

/// Over how long a load is averaged before anybody is told of it.
pub(super) const SHORT: Duration = Duration::from_secs(10);
/// How long clients are assumed to stay.
const SESSION: Duration = Duration::from_secs(20);
/// By no more than this factor is a load corrected for a share that was another.
const CORRECTION: f64 = 4.0;

/// The share of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Granted {
    /// Now.
    share: f64,
    /// The part of the clients that is there, as far as they stay for [`SESSION`].
    clients: f64,
    /// That, averaged as the load is.
    averaged: f64,
}

impl Granted {
    /// A share of which so much is followed already, 1 for all.
    pub(super) fn begin(share: f64, followed: f64) -> Self {
        let there = share * followed;
        Self { share, clients: there, averaged: there }
    }

    /// Takes in what the share is, `passed` after the last time.
    pub(super) fn note(&mut self, share: f64, passed: Duration) {
        self.share = share;
        self.clients += (share - self.clients) * part(passed, SESSION);
        self.averaged += (self.clients - self.averaged) * part(passed, SHORT);
    }

    /// What the share was to the load that is measured now.
    pub(super) fn averaged(&self) -> f64 {
        self.averaged
    }

    /// By what a measured load is multiplied to give the one that is to be expected.
    pub(super) fn correction(&self) -> f64 {
        if self.share > 0.0 && self.averaged > 0.0 {
            (self.share / self.averaged).clamp(1.0 / CORRECTION, CORRECTION)
        } else {
            1.0
        }
    }
}

/// By how much an average over `window` moves in a time.
pub(super) fn part(passed: Duration, window: Duration) -> f64 {
    1.0 - (-passed.div_duration_f64(window)).exp()
}
