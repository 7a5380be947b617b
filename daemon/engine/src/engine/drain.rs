//! Draining: R10 (SPEC 6.11.2). What is wanted, how far it has come, and its end.

use nlb_protocol::frame::State;

use super::Engine;
use super::image::image;
use super::machine::Event;
use crate::manage::{CommandError, DrainView, Outcome};
use crate::time::Time;

/// A node shall drain. The next process has to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Drain {
    /// When the node leaves at the latest; `None`: it drains until it is told otherwise.
    pub until: Option<Time>,
    /// The most clients that it has had since it was told to.
    pub most: usize,
}

/// A drain and its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Draining {
    wish: Drain,
    /// How many clients there were when the node last looked, before it left.
    left: usize,
    /// It has ended by itself: the next process knows nothing of it.
    over: bool,
}

impl Draining {
    /// Goes on with what an earlier process was told. If nothing else can be taken up of that one,
    /// a drain whose time is over has ended with it.
    pub(super) fn resume(wish: Drain, lives_on: bool, now: Time) -> Option<Self> {
        let over = wish.until.is_some_and(|until| now >= until);
        (lives_on || !over).then_some(Self { wish, left: wish.most, over: false })
    }

    /// What the next process has to know.
    pub(super) fn wish(&self) -> Option<Drain> {
        (!self.over).then_some(self.wish)
    }
}

impl Engine {
    /// A node that nobody can follow is not told to drain by mistake.
    pub(super) fn begin_drain(
        &mut self,
        until: Option<Time>,
        force: bool,
    ) -> Result<Outcome, CommandError> {
        let own = self.config.node;
        let alone = self.view.view.members().iter().all(|(node, _)| *node == own);
        let before = self.drain;
        if alone && !force && before.is_none() {
            return Err(CommandError::NobodyElse);
        }
        let left = self.clients.len();
        let most = before.map_or(left, |known| known.wish.most);
        self.drain = Some(Draining { wish: Drain { until, most }, left, over: false });
        self.raise(Event::Drain, None);
        let same = before.is_some_and(|known| known.wish.until == until);
        Ok(if same { Outcome::Unchanged } else { Outcome::Changed })
    }

    /// Counts who is left. A drain with a time given ends with leaving: when the time is over, or
    /// as soon as nobody is left.
    pub(super) fn step_drain(&mut self) {
        let (left, ends) = (self.clients.len(), self.may_end_drain());
        let nobody = self.state == State::Draining
            && self.shown().is_empty()
            && left == 0
            && self.waiting.len() == 0;
        let Some(drain) = self.drain.as_mut().filter(|_| self.state != State::Leaving) else {
            return;
        };
        drain.left = left;
        drain.wish.most = drain.wish.most.max(left);
        let Some(until) = drain.wish.until.filter(|_| ends) else { return };
        if nobody || self.now >= until {
            drain.over = true;
            self.begin_leaving();
        }
    }

    /// A process that is about to end leaves the end of the drain to the next one.
    fn may_end_drain(&self) -> bool {
        self.state != State::Leaving && !self.restart.is_going()
    }

    /// When a drain ends at the latest.
    pub(super) fn drain_deadline(&self, note: &mut impl FnMut(Time)) {
        if let Some(until) = self.drain.and_then(|drain| drain.wish.until)
            && self.may_end_drain()
        {
            note(until);
        }
    }

    /// How far it has come; after the node has left, how it ended.
    pub(super) fn read_drain(&self, now: Time) -> Option<DrainView> {
        let Draining { wish, left, .. } = self.drain?;
        let time_left = wish.until.map(|until| until.since(now));
        Some(DrainView { clients: left, clients_at_start: wish.most, time_left })
    }
}

image! { Drain { until, most } }
image! { Draining { wish, left, over } }

#[cfg(test)]
mod tests;
