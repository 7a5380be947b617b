//! How kernel time stamps are brought onto the clock of the daemon.
//!
//! The kernel stamps packets with the real-time clock, which
//! may be set at any moment, so a stamp is only used for the AGE that it gives a packet at the
//! moment it is read.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nlb_engine::Time;

use crate::cluster::clock::now;

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    now: Time,
    real: Duration,
}

impl Clocks {
    /// Reads both clocks, the real-time clock first: an age comes out at most as much too short
    /// as the few nanoseconds between the two readings.
    #[must_use]
    pub fn sample() -> Self {
        // A clock that cannot be read gives every packet the age zero.
        let real = clock_gettime(ClockId::CLOCK_REALTIME).map(Duration::from).unwrap_or_default();
        Self { now: now(), real }
    }

    /// The moment of the sample.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// When a packet arrived that the kernel stamped with `stamp` (since the Unix epoch). A stamp
    /// in the future, possible only when the clock was set back meanwhile, counts as now. A clock
    /// that was set forward makes the packet look older, which is the safe side: it can only make
    /// the engine trust it less (SPEC 6).
    #[must_use]
    pub fn arrival(&self, stamp: Duration) -> Time {
        let age = nanos(self.real.saturating_sub(stamp));
        Time::from_nanos(self.now.as_nanos().saturating_sub(age))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
