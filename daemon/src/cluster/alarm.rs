//! Wakes the cluster's loop at the engine's deadlines, by the engine's clock.
//!
//! tokio's timers look again every 64 ms while they wait, and are up to a millisecond late; a loop
//! that is at rest but for heartbeats would wake half as often again. Owned by the cluster's task.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nlb_engine::Time;
use tokio::io::{Interest, unix::AsyncFd};

use super::clock::now;

/// One deadline at a time.
pub(super) struct Alarm {
    timer: AsyncFd<Timer>,
    /// What the kernel was told.
    set: Option<Time>,
}

struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    /// Not set yet. Must be called within a tokio runtime with I/O.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        // The clock of `now`.
        let timer = Timer(TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?);
        // SAFETY: a `Timer` owns its descriptor, which stays open and the same until the `Timer`
        // is dropped; nothing here takes it out or replaces it.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
        Ok(Self { timer, set: None })
    }

    /// Until `due`; at once, if that is over. Cancel-safe.
    pub(super) async fn at(&mut self, due: Time) {
        while now() < due {
            if self.set != Some(due) {
                let at = Expiration::OneShot(TimeSpec::from_duration(due.since(Time::ZERO)));
                if self.timer.get_ref().0.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME).is_err() {
                    return tokio::time::sleep(due.since(now())).await;
                }
                self.set = Some(due);
            }
            match self.timer.readable().await {
                // Whatever is set next makes it ready anew; it need not be read for that.
                Ok(mut ready) => ready.clear_ready(),
                // The runtime's end; the loop sees that by itself.
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn wait(alarm: &mut Alarm, due: Time, limit: Duration) -> bool {
        tokio::time::timeout(limit, alarm.at(due)).await.is_ok()
    }

    #[tokio::test]
    async fn it_comes_at_its_time_whatever_was_set_before() {
        const LONG: Duration = Duration::from_secs(20);
        const SHORT: Duration = Duration::from_millis(20);
        let mut alarm = Alarm::new().unwrap();
        let over = now();
        assert!(wait(&mut alarm, over, LONG).await, "what is over is not waited for");
        for _ in 0..2 {
            let due = now() + SHORT;
            assert!(wait(&mut alarm, due, LONG).await);
            assert!(now() >= due, "not before its time");
        }
        // Given up, and gone off while nobody waited.
        let due = now() + SHORT;
        assert!(!wait(&mut alarm, due, Duration::from_millis(1)).await);
        std::thread::sleep(SHORT);
        let later = now() + LONG;
        assert!(!wait(&mut alarm, later, SHORT).await, "another time is set");
        let sooner = now() + SHORT;
        assert!(wait(&mut alarm, sooner, LONG).await);
        assert!(now() >= sooner);
        // Farther away than a clock goes.
        assert!(!wait(&mut alarm, Time::from_nanos(u64::MAX), SHORT).await);
    }
}
