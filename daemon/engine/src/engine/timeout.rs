//! When the engine wants to be called next.

use super::Engine;
use super::leave::Leave;
use crate::time::Time;

impl Engine {
    /// The earliest deadline of any rule. Those that lie in the past were looked at when they
    /// passed; only what is due to be fetched counts at once.
    pub(super) fn next_timeout(&self) -> Time {
        let now = self.now;
        let mut next = now + self.config.timing.heartbeat;
        // Some of these are judged by what was read, which is behind now.
        self.membership_deadlines(&mut |at| {
            if at > self.read {
                next = next.min(at.max(now));
            }
        });
        let mut note = |at: Time| {
            if at > now {
                next = next.min(at);
            }
        };
        self.move_deadlines(&mut note);
        self.leave_deadlines(&mut note);
        self.drain_deadline(&mut note);
        self.restart_deadlines(&mut note);
        self.hold_deadline().into_iter().for_each(&mut note);
        self.waiting.expiry().into_iter().for_each(&mut note);
        self.waiting.look_at().into_iter().for_each(&mut note);
        if self.waiting.is_dropping() {
            note(self.moving.next());
        }
        self.ill_deadline().into_iter().for_each(&mut note);
        self.retry_at.into_iter().for_each(&mut note);
        if self.weight != self.weight_wanted {
            let gap = self.config.timing.heartbeat * 2;
            self.weighed.into_iter().for_each(|at| note(at + gap));
        }
        self.transmit_deadlines(&mut note);
        if self.is_something_due() { now } else { next }
    }

    fn transmit_deadlines(&self, note: &mut impl FnMut(Time)) {
        if self.leave == Leave::Gone || self.held().is_some() {
            return;
        }
        self.sender.heartbeat_at().into_iter().for_each(&mut *note);
        if self.log.is_pending() {
            note(self.sender.pin_at());
        }
        self.request_deadlines(note);
    }

    /// Whether a poll would give something now.
    fn is_something_due(&self) -> bool {
        let retrying = self.retry_at.is_some_and(|at| at > self.now);
        let plan = !retrying && self.kernel.wants(&self.wanted_filter());
        // Only `handle_timeout` judges silence, so it is called again while there is some.
        let unjudged = !self.silent_peers().is_empty() || self.is_receiver_unjudged();
        let unlooked = self.waiting.look_at().is_some_and(|at| at <= self.now);
        plan || !self.waiting.ready.is_empty() || unjudged || unlooked
    }
}
