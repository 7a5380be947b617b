//! Every pair of state and event (SPEC 6.1).

use super::{Event, next};
use nlb_protocol::frame::State::{self, Active, Draining, Fenced, Joining, Leaving, Restarting};

const EVENTS: [Event; 6] =
    [Event::Ready, Event::Cause, Event::Clear, Event::Drain, Event::Undrain, Event::Leave];

#[test]
fn all_pairs() {
    let table: [(State, [State; 6]); 6] = [
        //            Ready     Cause    Clear       Drain       Undrain     Leave
        (Joining, [Active, Fenced, Joining, Joining, Joining, Leaving]),
        (Active, [Active, Fenced, Active, Draining, Active, Leaving]),
        (Draining, [Draining, Fenced, Draining, Draining, Active, Leaving]),
        (Fenced, [Fenced, Fenced, Joining, Fenced, Fenced, Leaving]),
        (Leaving, [Leaving; 6]),
        (Restarting, [Active, Fenced, Restarting, Restarting, Restarting, Leaving]),
    ];
    for (state, row) in table {
        for (event, expected) in EVENTS.into_iter().zip(row) {
            assert_eq!(next(state, event), expected, "{state:?} {event:?}");
        }
    }
}
