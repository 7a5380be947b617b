//! The states of a node and what leads from one to another (SPEC 6.1).
//!
//! ```text
//!            Ready               Drain
//!  Joining ---------> Active <---------> Draining
//!   |   ^               |      Undrain      |
//!   |   | Clear         | Cause             | Cause
//!   |   |               v                   |
//!   +-> Fenced <--------+-------------------+
//!  Cause
//!
//!  Active, Draining -- Restart --> Restarting -- Ready --> Active, -- Cause --> Fenced
//!  any state -- Leave --> Leaving (the end)
//! ```
//!
//! Pure: no time, no peers. Whoever raises an event has looked at those.

use nlb_protocol::frame::State;

/// What can happen to a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The conditions of R1 hold.
    Ready,
    /// A cause of R6, R7 or R8 to fence.
    Cause,
    /// No cause for the quarantine.
    Clear,
    /// Own no buckets.
    Drain,
    /// Own buckets again.
    Undrain,
    /// Be gone.
    Leave,
    /// Another process goes on.
    Restart,
}

/// The state after `event`. Draining is a wish: a node that cannot serve remembers it elsewhere.
pub(super) const fn next(state: State, event: Event) -> State {
    match (state, event) {
        (State::Joining | State::Restarting, Event::Ready)
        | (State::Active, Event::Ready | Event::Clear | Event::Undrain)
        | (State::Draining, Event::Undrain) => State::Active,

        (State::Active | State::Draining, Event::Drain)
        | (State::Draining, Event::Ready | Event::Clear) => State::Draining,

        (
            State::Joining | State::Active | State::Draining | State::Fenced | State::Restarting,
            Event::Cause,
        )
        | (State::Fenced, Event::Ready | Event::Drain | Event::Undrain | Event::Restart) => {
            State::Fenced
        }

        (State::Fenced, Event::Clear)
        | (State::Joining, Event::Clear | Event::Drain | Event::Undrain | Event::Restart) => {
            State::Joining
        }

        (
            State::Joining | State::Active | State::Draining | State::Fenced | State::Restarting,
            Event::Leave,
        )
        | (
            State::Leaving,
            Event::Ready
            | Event::Cause
            | Event::Clear
            | Event::Drain
            | Event::Undrain
            | Event::Leave
            | Event::Restart,
        ) => State::Leaving,

        (State::Active | State::Draining, Event::Restart)
        | (State::Restarting, Event::Clear | Event::Drain | Event::Undrain | Event::Restart) => {
            State::Restarting
        }
    }
}

/// Whether a node in this state may answer clients at all.
pub(super) const fn serves(state: State) -> bool {
    match state {
        State::Active | State::Draining | State::Leaving | State::Restarting => true,
        State::Joining | State::Fenced => false,
    }
}

/// Whether a peer in this state must agree before anybody acquires, and must hear everybody.
/// Draining nodes may come back without joining, so they count.
pub(super) const fn counts(state: State) -> bool {
    match state {
        State::Joining | State::Active | State::Draining => true,
        State::Fenced | State::Leaving | State::Restarting => false,
    }
}

/// Whether the pins of a peer in this state are void.
pub(super) const fn pinless(state: State) -> bool {
    match state {
        State::Joining | State::Fenced => true,
        State::Active | State::Draining | State::Leaving | State::Restarting => false,
    }
}

#[cfg(test)]
mod tests;
