//! Another machine with this node's id (SPEC 6.3.8): a cloned disk, most likely.
//!
//! Two nodes of one id cannot be told apart by anybody, so one of them must not serve: whoever
//! came second does not join, and where both serve (a partition healed) the higher incarnation
//! gives way. A machine that was cloned while it ran has the same incarnation too: whoever hears a
//! number that it has not used yet gives way.

use core::time::Duration;

use nlb_protocol::frame::{Header, State};
use nlb_protocol::{Incarnation, Sequence};

use super::image::{Image, Input, image};
use crate::time::Time;

/// Lives of which the highest number is remembered, so that a recording of one that was heard is
/// known; the oldest is forgotten.
const LIVES: usize = 16;

/// What was heard under this node's id that is not its own; of each life the latest.
#[derive(Debug, Clone, Hash, Default)]
pub(super) struct Twin(Vec<Other>);

/// What a machine with this node's id said last.
#[derive(Debug, Clone, Hash)]
pub(super) struct Other {
    pub(super) incarnation: Incarnation,
    sequence: Sequence,
    state: State,
    at: Time,
}

impl Twin {
    /// A heartbeat with this node's id came. A recording of one that was heard already counts
    /// for nothing.
    pub(super) fn hear(&mut self, header: &Header, state: State, at: Time) {
        let (incarnation, sequence) = (header.incarnation, header.sequence);
        let life = self.0.iter().position(|other| other.incarnation == incarnation);
        if life.is_some_and(|life| self.0[life].sequence >= sequence) {
            return;
        }
        if let Some(life) = life {
            self.0.remove(life);
        } else if self.0.len() >= LIVES {
            self.0.remove(0);
        }
        self.0.push(Other { incarnation, sequence, state, at });
    }

    /// Those that were heard less than dead-after ago.
    pub(super) fn present(
        &self,
        now: Time,
        dead_after: Duration,
    ) -> impl Iterator<Item = &Other> + '_ {
        self.0.iter().filter(move |other| now.since(other.at) < dead_after)
    }

    /// When others count as gone.
    pub(super) fn deadlines(&self, dead_after: Duration) -> impl Iterator<Item = Time> + '_ {
        self.0.iter().map(move |other| other.at + dead_after)
    }
}

impl Other {
    /// Whether a joining node of this incarnation has to wait: the other serves, or joins and has
    /// the lower incarnation.
    pub(super) fn bars(&self, mine: Incarnation) -> bool {
        match self.state {
            State::Active | State::Draining | State::Leaving | State::Restarting => true,
            State::Joining => self.incarnation <= mine,
            State::Fenced => false,
        }
    }

    /// Whether a serving node of this incarnation has to give way.
    pub(super) fn ousts(&self, mine: Incarnation) -> bool {
        match self.state {
            State::Active | State::Draining => self.incarnation <= mine,
            State::Joining | State::Fenced | State::Leaving | State::Restarting => false,
        }
    }
}

image! { Other { incarnation, sequence, state, at } }

impl Image for Twin {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        Image::take(input).map(Self)
    }
}

#[cfg(test)]
mod tests;
