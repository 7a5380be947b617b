//! One beat for everything that is done again and again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::cluster::clock::now;
use crate::timer::Timer;
use futures_util::Stream;
use nlb_engine::Time;

/// How often sockets are looked for, and what is served is brought up to date.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A stream of ticks: see [`every`]. It ends with the runtime. Its `next` is cancel-safe.
#[derive(Debug)]
pub struct Ticks {
    period: Duration,
    timer: Timer,
    /// The next one.
    due: Time,
}

/// Ticks at once, and then at the multiples of `period` by the machine's clock: all who do something
/// every second do it at the same time, and their thread wakes once. Ticks that were missed are left
/// out. Must be called within a tokio runtime with I/O.
///
/// # Errors
/// When there are no descriptors left.
pub fn every(period: Duration) -> io::Result<Ticks> {
    Ok(Ticks { period, timer: Timer::new()?, due: Time::ZERO })
}

/// The first multiple of `period` after `time`.
fn next_multiple(time: Time, period: Duration) -> Time {
    let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1);
    time + Duration::from_nanos(period - time.as_nanos() % period)
}

impl Stream for Ticks {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<()>> {
        loop {
            let now = now();
            if now >= self.due {
                self.due = next_multiple(now, self.period);
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
