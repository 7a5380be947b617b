//! Every pair of state and event (SPEC 6.1).

use super::{Event, next};
use nlb_protocol::frame::State::{self, Active, Draining, Fenced, Joining, Leaving, Restarting};

const EVENTS: [Event; 7] = [
    Event::Ready,
    Event::Cause,
    Event::Clear,
    Event::Drain,
    Event::Undrain,
    Event::Leave,
    Event::Restart,
];

#[test]
fn all_pairs() {
    let table: [(State, [State; 7]); 6] = [
        //            Ready     Cause    Clear       Drain       Undrain     Leave    Restart
        (Joining, [Active, Fenced, Joining, Joining, Joining, Leaving, Joining]),
        (Active, [Active, Fenced, Active, Draining, Active, Leaving, Restarting]),
        (Draining, [Draining, Fenced, Draining, Draining, Active, Leaving, Restarting]),
        (Fenced, [Fenced, Fenced, Joining, Fenced, Fenced, Leaving, Fenced]),
        (Leaving, [Leaving; 7]),
        (Restarting, [Active, Fenced, Restarting, Restarting, Restarting, Leaving, Restarting]),
    ];
    for (state, row) in table {
        for (event, expected) in EVENTS.into_iter().zip(row) {
            assert_eq!(next(state, event), expected, "{state:?} {event:?}");
        }
    }
}
