//! Whether the threads that the service depends on move: systemd is told that the daemon lives
//! while all of them do, and starts it anew when one stands still.
//!
//! A thread counts its turns; a task of the main thread's runtime looks at the counts. So a turn of
//! the supervisor may take as long as it does, a leave for instance, and a thread that hangs in
//! the kernel is found out all the same.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio::sync::watch;

use crate::ticks::{Ticks, every};

/// Looks in the time after which systemd gives up: a thread that stood still at one look may move
/// until the next.
const LOOKS: u32 = 4;

/// A thread's own end: it beats once a turn, and drops it at its end.
#[derive(Debug)]
pub(crate) struct Heart(Arc<AtomicU64>);

/// The other end.
#[derive(Debug, Clone)]
pub struct Pulse {
    name: String,
    turns: Weak<AtomicU64>,
}

impl Heart {
    /// Both ends, for the thread of this name.
    pub(crate) fn new(name: &str) -> (Self, Pulse) {
        let turns = Arc::new(AtomicU64::new(1));
        let pulse = Pulse { name: name.to_owned(), turns: Arc::downgrade(&turns) };
        (Self(turns), pulse)
    }

    /// Another turn.
    pub(crate) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Pulse {
    /// Whether the thread has not ended.
    pub(crate) fn is_there(&self) -> bool {
        self.turns.strong_count() > 0
    }

    /// Whether it has moved since this was asked last. Whoever has ended does not stand still.
    fn has_moved(&self) -> bool {
        self.turns.upgrade().is_none_or(|turns| turns.swap(0, Ordering::Relaxed) > 0)
    }
}

/// When to look at the threads, so that systemd is told at least twice in `patience`.
///
/// # Errors
/// When there is no timer to be had.
pub fn looks(patience: Duration) -> io::Result<Ticks> {
    every((patience / LOOKS).max(Duration::from_millis(1)))
}

/// Tells at each of these looks that all is well while all threads move. Ends when nobody can
/// register threads any more.
pub async fn watch(
    threads: watch::Receiver<Vec<Pulse>>,
    mut looks: impl Stream<Item = ()> + Unpin,
    mut well: impl FnMut(),
) {
    while threads.has_changed().is_ok() && looks.next().await.is_some() {
        let all = threads.borrow().clone();
        let still: Vec<&str> =
            all.iter().filter(|pulse| !pulse.has_moved()).map(|pulse| &*pulse.name).collect();
        if still.is_empty() {
            well();
        } else {
            let threads = still.join(", ");
            tracing::error!(
                threads,
                "a thread stands still; without it the daemon is started anew"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So long nothing is told any more, and looks may still find what moved before.
    const STILL: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn all_is_well_while_every_thread_moves() {
        let (hung, first) = Heart::new("nlb0");
        let (moves, second) = Heart::new("nlb-kernel");
        let (registered, threads) = watch::channel(vec![first, second.clone()]);
        let (told, mut tells) = watch::channel(());
        let watching = tokio::spawn(watch(threads, looks(STILL / 2).unwrap(), move || {
            let _ = told.send(());
        }));
        let turns = tokio::spawn(async move {
            loop {
                moves.beat();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        // It moved once, at its start.
        tells.changed().await.unwrap();
        tokio::time::sleep(STILL).await;
        tells.mark_unchanged();
        assert!(tokio::time::timeout(STILL, tells.changed()).await.is_err(), "one hangs");
        hung.beat();
        tells.changed().await.unwrap();
        drop(hung);
        for _ in 0..3 {
            tells.changed().await.unwrap();
        }
        assert!(second.is_there());
        turns.abort();
        let _ = turns.await;
        assert!(!second.is_there(), "whoever has ended does not stand still");
        tells.changed().await.unwrap();
        drop(registered);
        watching.await.unwrap();
    }
}
