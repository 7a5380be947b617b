//! The one place that reads a clock for the engine, and one for people.

use nix::time::{ClockId, clock_gettime};
use nlb_engine::Time;

/// Now, by `CLOCK_BOOTTIME`: the clock that goes on while the machine is suspended, so that a node
/// which slept knows that it did (SPEC 6).
#[must_use]
pub fn now() -> Time {
    // The clock exists since Linux 2.6.39; a kernel without it cannot run the rest either. Time
    // zero would make every deadline lie ahead and every right be over: it fails closed.
    let Ok(time) = clock_gettime(ClockId::CLOCK_BOOTTIME) else { return Time::ZERO };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    Time::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// For people: when an event happened, in milliseconds since 1970.
#[must_use]
#[allow(clippy::disallowed_methods)] // this is the driver
pub(super) fn wall_clock_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
