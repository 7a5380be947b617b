//! Packets for which this machine itself had no room on their way from namespace to namespace: a
//! segment of wire, and real servers, have no such place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nlb_tests::stamp::Stamp;

/// How often the kernel's count is read.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Between these instants so many packets were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) from: Stamp,
    pub(super) to: Stamp,
    pub(super) packets: u64,
}

/// Reads the count until it is told to end.
pub(super) struct Backlog {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Dropped>>,
}

impl Backlog {
    pub(super) fn start() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("backlog".into()).spawn(move || {
            let (mut all, mut last) = (Vec::new(), (Stamp::now(), count()));
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK_EVERY);
                let now = (Stamp::now(), count());
                if now.1 > last.1 {
                    all.push(Dropped { from: last.0, to: now.0, packets: now.1 - last.1 });
                }
                last = now;
            }
            all
        })?;
        Ok(Self { stop, thread })
    }

    pub(super) fn finish(self) -> Result<Vec<Dropped>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the backlog's reader panicked")
    }
}

/// What the kernel dropped before any namespace saw it, on all processors.
fn count() -> u64 {
    dropped(&std::fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default())
}

/// The second column, which is hexadecimal, of a line for each processor.
fn dropped(table: &str) -> u64 {
    let column = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok();
    table.lines().filter_map(column).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_all_processors_count() {
        assert_eq!(dropped("22f93521 0000bf51 0000000d 0\n21d38fa9 0000b15d 00000012 0\n"), 94_382);
        assert_eq!(dropped(""), 0);
    }
}
