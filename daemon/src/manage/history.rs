//! The last events, for whoever asks later: a bounded ring, and the followers of what comes.
//!
//! One lock joins both, so that a follower who wants the past first gets every event once, in
//! order. It is held for a copy, never while anybody waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use super::event::Event;

/// Events that a slow reader may lag behind before it loses some (and learns how many).
pub const MAX_EVENTS: usize = 1024;

/// Events that are kept. A change of the cluster makes about ten, so these reach back a hundred
/// changes and take less than a megabyte.
pub const MAX_HISTORY: usize = 1024;

/// The ring and the followers; copies are the same one.
#[derive(Debug, Clone)]
pub(super) struct History {
    kept: Arc<Mutex<VecDeque<Event>>>,
    followers: broadcast::Sender<Event>,
}

impl History {
    pub(super) fn new() -> Self {
        let (followers, _) = broadcast::channel(MAX_EVENTS);
        Self { kept: Arc::default(), followers }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Event>> {
        // A panic between two pushes leaves a ring that is still in order.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an event and hands it to the followers.
    pub(super) fn push(&self, event: Event) {
        let mut kept = self.kept();
        if kept.len() >= MAX_HISTORY {
            kept.pop_front();
        }
        kept.push_back(event.clone());
        // It fails when nobody follows.
        let _ = self.followers.send(event);
    }

    /// The events after this number that are still kept.
    pub(super) fn after(&self, sequence: u64) -> Vec<Event> {
        self.kept().iter().filter(|event| event.sequence > sequence).cloned().collect()
    }

    /// The events after this number that are still kept (none, if none is named), and whatever
    /// comes behind them.
    pub(super) fn follow(
        &self,
        after: Option<u64>,
    ) -> (VecDeque<Event>, broadcast::Receiver<Event>) {
        let kept = self.kept();
        let past = |after| kept.iter().filter(|event| event.sequence > after).cloned().collect();
        (after.map(past).unwrap_or_default(), self.followers.subscribe())
    }
}
