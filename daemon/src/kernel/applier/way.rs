//! What is known of the chain in iptables' raw tables, the way to user space where nftables has
//! none. Pure.

use tokio::time::Instant;

use super::task::SLOW_REPAIR;

/// The way, as it was last seen.
#[derive(Debug)]
pub(super) struct Way {
    /// It is to be looked at.
    stale: bool,
    /// The queues that it leads to, as long as nobody is known to have changed it since.
    seen: Option<Vec<u16>>,
    /// Not before this, after a failure.
    not_before: Instant,
    /// The last look failed.
    unseen: bool,
}

/// What a look that failed means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unseen {
    /// The way is as it was, as far as anybody knows. If it is not, packets are dropped that user
    /// space was not asked about.
    AsItWas {
        /// It is the first look of several that fails.
        first: bool,
    },
    /// Nobody knows that there is a way.
    Unknown,
}

impl Way {
    pub(super) const fn new(now: Instant) -> Self {
        Self { stale: true, seen: None, not_before: now, unseen: false }
    }

    /// It is time to look again.
    pub(super) const fn look_again(&mut self) {
        self.stale = true;
    }

    /// Somebody changed something in the raw tables.
    pub(super) fn touched(&mut self) {
        self.stale = true;
        self.seen = None;
    }

    /// When it is to be looked at, if it is.
    pub(super) fn due(&self) -> Option<Instant> {
        self.stale.then_some(self.not_before)
    }

    /// Whether it is not known to lead to these queues: then looking waits for nothing.
    pub(super) fn is_urgent(&self, queues: &[u16]) -> bool {
        self.seen.as_deref() != Some(queues)
    }

    /// It leads to these queues.
    pub(super) fn right(&mut self, queues: Vec<u16>) {
        (self.stale, self.seen, self.unseen) = (false, Some(queues), false);
    }

    /// It could not be brought to lead anywhere.
    pub(super) fn wrong(&mut self, now: Instant) {
        (self.seen, self.not_before) = (None, now + SLOW_REPAIR);
    }

    /// It could not be looked at whether it leads to these queues.
    pub(super) fn unseen(&mut self, queues: &[u16], now: Instant) -> Unseen {
        self.not_before = now + SLOW_REPAIR;
        let first = !core::mem::replace(&mut self.unseen, true);
        if self.is_urgent(queues) { Unseen::Unknown } else { Unseen::AsItWas { first } }
    }
}

#[cfg(test)]
mod tests;
