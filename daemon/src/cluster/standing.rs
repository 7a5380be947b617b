//! Whether the cluster's loop comes before other work. Whoever has no right to that runs all the
//! same, and whoever wonders later why the node fenced under load is to find it said.
//!
//! Part of the cluster's loop.

use std::time::Duration;

use nlb_engine::Time;

use crate::priority;

/// Until it is looked: priority is given by a process that the service manager starts for it.
const LOOK_AFTER: Duration = Duration::from_secs(3);

/// What is said once, where it does not.
const ORDINARY: &str = "heartbeats run at ordinary priority: nobody here may give them a better \
                        one, and work that keeps the processors busy can cost the node its rights";

/// Looks once, when priority must have been given.
#[derive(Debug)]
pub(super) struct Standing {
    at: Time,
    /// `None` before it was looked.
    before_others: Option<bool>,
}

impl Standing {
    /// Of a loop that starts now.
    pub(super) fn new(now: Time) -> Self {
        Self { at: now + LOOK_AFTER, before_others: None }
    }

    /// Whether it is known to run as everybody does.
    pub(super) fn is_ordinary(&self) -> bool {
        self.before_others == Some(false)
    }

    /// To be called in the loop's thread, and often. Words on it, once.
    pub(super) fn look(&mut self, now: Time) -> Option<&'static str> {
        if now < self.at || self.before_others.is_some() {
            return None;
        }
        self.before_others = Some(priority::is_realtime());
        self.is_ordinary().then_some(ORDINARY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_and_not_before_priority_can_be_there() {
        let start = Time::from_nanos(5_000_000_000);
        let mut standing = Standing::new(start);
        assert_eq!((standing.look(start), standing.is_ordinary()), (None, false));
        let later = start + LOOK_AFTER;
        assert_eq!(standing.look(later), Some(ORDINARY), "tests run as everybody does");
        assert_eq!((standing.look(later), standing.is_ordinary()), (None, true));
    }
}
