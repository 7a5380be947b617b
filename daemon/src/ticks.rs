//! One beat for everything that is done again and again.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// How often sockets are looked for, and what is served is brought up to date.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Ticks at once, and then at the multiples of `period` since this was first asked for: all who do
/// something every second do it at the same time. Ticks that were missed are left out.
///
/// # Panics
/// If `period` is zero.
#[must_use]
pub fn every(period: Duration) -> Interval {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let now = Instant::now();
    let since = now.saturating_duration_since(*FIRST.get_or_init(|| now));
    let nanos = since.as_nanos() % period.as_nanos();
    let passed = Duration::from_nanos(u64::try_from(nanos).unwrap_or_default());
    let mut ticks = interval_at(now - passed, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

#[cfg(test)]
mod tests;
