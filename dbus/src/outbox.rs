//! Signals that wait to be sent: behind the objects that they are about, and not too many.

use std::collections::VecDeque;

use crate::types::{Event, Signal};

/// Signals that wait at most: 64 nodes that each join, are fenced, or leave, in two clusters.
/// Beyond it the oldest are lost.
const MAX_SIGNALS: usize = 256;

/// Signals in the order in which they are sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox(VecDeque<Signal>);

impl Outbox {
    /// Puts a signal behind the others. Of a cluster's `Converged` the latest is kept; what was
    /// taken over for one cause is told once.
    pub(crate) fn put(&mut self, signal: Signal) {
        match &signal.event {
            Event::Converged { .. } => self.0.retain(|old| {
                old.cluster != signal.cluster || !matches!(old.event, Event::Converged { .. })
            }),
            Event::TookOver { buckets, cause, id, .. } => {
                let same = |old: &&mut Signal| {
                    old.cluster == signal.cluster
                        && matches!(&old.event, Event::TookOver { cause: c, id: i, .. }
                            if c == cause && i == id)
                };
                if let Some(old) = self.0.iter_mut().find(same)
                    && let Event::TookOver { buckets: sum, .. } = &mut old.event
                {
                    *sum = sum.saturating_add(*buckets);
                    return;
                }
            }
            Event::NodeJoined { .. } | Event::NodeLeft { .. } | Event::NodeFenced { .. } => {}
        }
        if self.0.len() >= MAX_SIGNALS {
            tracing::warn!("more happens than D-Bus signals tell; the oldest are lost");
            self.0.pop_front();
        }
        self.0.push_back(signal);
    }

    /// Everything that waits.
    pub(crate) fn take(&mut self) -> VecDeque<Signal> {
        core::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(event: Event) -> Signal {
        Signal { cluster: "nlb0".to_owned(), event }
    }

    fn converged(epoch: u64) -> Signal {
        signal(Event::Converged { epoch, buckets: 1, took_ms: 2 })
    }

    fn took(buckets: u32, id: &str) -> Signal {
        let (cause, name) = ("node-left".to_owned(), String::new());
        signal(Event::TookOver { buckets, cause, id: id.to_owned(), name })
    }

    fn joined(id: usize) -> Signal {
        signal(Event::NodeJoined { id: id.to_string(), name: String::new() })
    }

    #[test]
    fn what_happens_often_is_told_once() {
        let mut outbox = Outbox::default();
        for one in [converged(1), took(5, "1"), joined(1), took(6, "2"), took(7, "1"), converged(2)]
        {
            outbox.put(one);
        }
        assert_eq!(outbox.take(), [took(12, "1"), joined(1), took(6, "2"), converged(2)]);
        assert!(outbox.take().is_empty());
    }

    #[test]
    fn the_oldest_are_lost() {
        let mut outbox = Outbox::default();
        for number in 0..=MAX_SIGNALS {
            outbox.put(joined(number));
        }
        let kept = outbox.take();
        assert_eq!((kept.len(), kept.front()), (MAX_SIGNALS, Some(&joined(1))));
    }
}
