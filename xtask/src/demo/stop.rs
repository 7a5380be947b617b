//! Ctrl-C and SIGTERM end the demo in good order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

/// Whether somebody wants the demo to end.
#[derive(Debug, Clone)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on Ctrl-C and SIGTERM only set this. Must come before any thread is started:
    /// threads inherit that the signals are blocked, and one of them waits for them.
    pub(crate) fn on_signals() -> Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.add(Signal::SIGHUP);
        signals.thread_block().context("block signals")?;
        let stop = Self(Arc::new(AtomicBool::new(false)));
        let flag = stop.0.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            while signals.wait().is_ok() {
                if flag.swap(true, Ordering::Relaxed) {
                    // Asked twice: somebody is in a hurry. The kernel cleans up.
                    std::process::exit(130);
                }
            }
        })?;
        Ok(stop)
    }

    /// Whether to stop.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits; less long when somebody wants to stop.
    pub(crate) fn pause(&self, time: Duration) {
        let begun = Instant::now();
        while !self.is_set() && begun.elapsed() < time {
            let left = time.saturating_sub(begun.elapsed());
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }
}
