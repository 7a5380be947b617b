//! Another machine with this node's id (SPEC 6.3.8): a cloned disk, most likely.
//!
//! Two nodes of one id cannot be told apart by anybody, so one of them must not serve: whoever
//! came second does not join, and where both serve (a partition healed) the higher incarnation
//! gives way.

use core::time::Duration;

use nlb_protocol::frame::{Header, State};
use nlb_protocol::{Incarnation, Sequence};

use super::image::{Image, Input, image};
use crate::time::Time;

/// What was last heard under this node's id from another life.
#[derive(Debug, Clone, Hash, Default)]
pub(super) struct Twin(Option<Heard>);

#[derive(Debug, Clone, Hash)]
struct Heard {
    incarnation: Incarnation,
    sequence: Sequence,
    state: State,
    at: Time,
}

impl Twin {
    /// A heartbeat with this node's id came. A recording of one that was heard already counts
    /// for nothing.
    pub(super) fn hear(&mut self, header: &Header, state: State, at: Time) {
        let known = self.0.as_ref().is_some_and(|heard| {
            heard.incarnation == header.incarnation && heard.sequence >= header.sequence
        });
        if !known {
            let (incarnation, sequence) = (header.incarnation, header.sequence);
            self.0 = Some(Heard { incarnation, sequence, state, at });
        }
    }

    fn present(&self, now: Time, dead_after: Duration) -> Option<&Heard> {
        self.0.as_ref().filter(|heard| now.since(heard.at) < dead_after)
    }

    /// Whether a joining node of this incarnation has to wait: the other serves, or joins and has
    /// the lower incarnation.
    pub(super) fn bars(&self, mine: Incarnation, now: Time, dead_after: Duration) -> bool {
        self.present(now, dead_after).is_some_and(|heard| match heard.state {
            State::Active | State::Draining | State::Leaving | State::Restarting => true,
            State::Joining => heard.incarnation < mine,
            State::Fenced => false,
        })
    }

    /// Whether a serving node of this incarnation has to give way.
    pub(super) fn ousts(&self, mine: Incarnation, now: Time, dead_after: Duration) -> bool {
        self.present(now, dead_after).is_some_and(|heard| match heard.state {
            State::Active | State::Draining => heard.incarnation < mine,
            State::Joining | State::Fenced | State::Leaving | State::Restarting => false,
        })
    }

    /// When the other counts as gone.
    pub(super) fn deadline(&self, dead_after: Duration) -> Option<Time> {
        self.0.as_ref().map(|heard| heard.at + dead_after)
    }
}

image! { Heard { incarnation, sequence, state, at } }

impl Image for Twin {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        Image::take(input).map(Self)
    }
}
