//! A timer of the kernel on the reactor of a tokio runtime.
//!
//! tokio's own are up to a millisecond late, and those that are further away than 64 ms wake their
//! thread once or twice before their time: whoever is at rest but for timers would wake two and
//! three times as often.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::task::{Context, Poll, ready};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nlb_engine::Time;
use tokio::io::{Interest, unix::AsyncFd};

/// Goes by the clock of [`now`](crate::cluster::clock::now). One task at a time may wait for it.
#[derive(Debug)]
pub(crate) struct Timer(AsyncFd<Descriptor>);

#[derive(Debug)]
struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    /// Not set yet. Must be called within a tokio runtime with I/O.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = Descriptor(TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?);
        // SAFETY: a `Descriptor` owns its descriptor, which stays open and the same until it is
        // dropped; nothing here takes it out or replaces it.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
        Ok(Self(timer))
    }

    /// Goes off once, at `due`.
    ///
    /// # Errors
    /// When it is farther away than the kernel counts.
    pub(crate) fn set_at(&self, due: Time) -> io::Result<()> {
        let due = Expiration::OneShot(TimeSpec::from_duration(due.since(Time::ZERO)));
        Ok(self.0.get_ref().0.set(due, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }

    /// Until it has gone off, maybe by what was set before.
    ///
    /// # Errors
    /// At the runtime's end.
    pub(crate) fn poll_expired(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whatever is set next tells the reactor anew; it need not be read for that.
        Poll::Ready(ready!(self.0.poll_read_ready(context)).map(|mut ready| ready.clear_ready()))
    }
}
