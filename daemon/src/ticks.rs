//! One beat for everything that is done again and again.

use std::io;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use nlb_engine::Time;

use crate::cluster::clock::now;
use crate::timer::Timer;

/// How often sockets are looked for, and what is served is brought up to date.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A stream of ticks: see [`every`]. It ends with the runtime. Its `next` is cancel-safe.
#[derive(Debug)]
pub struct Ticks {
    first: Time,
    period: Duration,
    timer: Timer,
    /// The next one.
    due: Time,
}

/// Ticks at once, and then at the multiples of `period` since this was first asked for: all who do
/// something every second do it at the same time, and their thread wakes once. (Not by the clock
/// itself: what the kernel counts at its own ticks would be counted of whoever wakes at them.) Ticks
/// that were missed are left out. Must be called within a tokio runtime with I/O.
///
/// # Errors
/// When there are no descriptors left.
pub fn every(period: Duration) -> io::Result<Ticks> {
    static FIRST: OnceLock<Time> = OnceLock::new();
    let first = *FIRST.get_or_init(now);
    Ok(Ticks { first, period, timer: Timer::new()?, due: first })
}

impl Ticks {
    /// Without the one at once.
    ///
    /// # Errors
    /// When the timer cannot be set.
    pub(crate) fn later(mut self) -> io::Result<Self> {
        self.due = self.after(now());
        self.timer.set_at(self.due)?;
        Ok(self)
    }

    /// Until the next one; cancel-safe. Never again at the runtime's end.
    pub(crate) async fn tick(&mut self) {
        if self.next().await.is_none() {
            std::future::pending().await
        }
    }

    /// The first multiple after `time`.
    fn after(&self, time: Time) -> Time {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let period = nanos(self.period).max(1);
        let over = nanos(time.since(self.first)) % period;
        time + Duration::from_nanos(period - over)
    }
}

impl Stream for Ticks {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<()>> {
        loop {
            let now = now();
            if now >= self.due {
                self.due = self.after(now);
                return Poll::Ready(self.timer.set_at(self.due).ok());
            }
            if ready!(self.timer.poll_expired(context)).is_err() {
                return Poll::Ready(None);
            }
        }
    }
}

#[cfg(test)]
mod tests;
