//! Wakes the cluster's loop at the engine's deadlines, by the engine's clock. Owned by the
//! cluster's task.

use std::future::poll_fn;
use std::io;

use nlb_engine::Time;

use super::clock::now;
use crate::timer::Timer;

/// One deadline at a time.
pub(super) struct Alarm {
    timer: Timer,
    /// What the kernel was told.
    set: Option<Time>,
}

impl Alarm {
    /// Not set yet. Must be called within a tokio runtime with I/O.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { timer: Timer::new()?, set: None })
    }

    /// Until `due`; at once, if that is over. Cancel-safe.
    pub(super) async fn at(&mut self, due: Time) {
        while now() < due {
            if self.set != Some(due) {
                if self.timer.set_at(due).is_err() {
                    return tokio::time::sleep(due.since(now())).await;
                }
                self.set = Some(due);
            }
            // An error is the runtime's end; the loop sees that by itself.
            if poll_fn(|context| self.timer.poll_expired(context)).await.is_err() {
                return;
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
