//! Points in time that the kernel's arrival stamps of frames and the clock of this process share.

use std::time::{Duration, SystemTime};

/// Nanoseconds of `CLOCK_REALTIME`: what `SO_TIMESTAMPNS` stamps frames with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The instant that a log line of a daemon begins with: `2026-01-31T23:59:59.123456Z`.
    #[must_use]
    pub fn of_log(line: &str) -> Option<Self> {
        let number = |from: usize, to: usize| line.get(from..to)?.parse::<u64>().ok();
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let micros = number(20, 26).filter(|_| line.get(26..27) == Some("Z"))?;
        // Days since 0000-03-01, so that a leap day is the last of its year; then since 1970.
        let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
        let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
        let seconds = ((days.checked_sub(719_469)? * 24 + hour) * 60 + minute) * 60 + second;
        Some(Self((seconds * 1_000_000 + micros) * 1000))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Stamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::Stamp;

    #[test]
    fn log_lines_have_instants() {
        let at = |line: &str| Stamp::of_log(line).map(|stamp| stamp.0 / 1000);
        assert_eq!(at("1970-01-01T00:00:00.000001Z  INFO x"), Some(1));
        assert_eq!(at("2026-11-21T09:09:08.320242Z  INFO x"), Some(1_795_252_148_320_242));
        assert_eq!(at("2024-02-29T12:00:00.000000Z WARN"), Some(1_709_208_000_000_000));
        assert_eq!(at("thread 'main' panicked at"), None);
    }
}
