//! What D-Bus signals are made of the engine's notices.

use std::sync::Arc;

use nlb_dbus::{Event as Said, Signal};

use super::super::signals::Signals;
use super::*;

const LOCAL: NodeId = NodeId(1);

/// Plays notices; the node `active` is active when they are heard.
fn play(signals: &mut Signals, notices: Vec<Notice>, active: u64) -> Vec<Said> {
    let (handle, mut inbox) = channel(0, Polkit::absent());
    let mut events = handle.events();
    let mut said = Vec::new();
    for notice in notices {
        let known = |id: NodeId| Known { name: format!("n{}", id.0), active: id.0 == active };
        inbox.events.notice("nlb0", notice, 1, LOCAL, known);
        let event = events.try_recv().unwrap();
        assert_eq!(event.cluster, Arc::from("nlb0"));
        said.extend(signals.of(&event).into_iter().map(|Signal { event, .. }| event));
    }
    said
}

fn peer(id: u64, from: State, to: State) -> Notice {
    Notice::PeerState { node: NodeId(id), from, to }
}

fn converged(epoch: u64, buckets: usize) -> Notice {
    Notice::Converged { epoch: Epoch(epoch), buckets, took: Duration::from_millis(30) }
}

fn joined(id: u64) -> Said {
    Said::NodeJoined { id: NodeId(id).to_string(), name: format!("n{id}") }
}

fn took(buckets: u32, cause: &str, id: u64) -> Said {
    let (id, name) = match id {
        0 => (String::new(), String::new()),
        id => (NodeId(id).to_string(), format!("n{id}")),
    };
    Said::TookOver { buckets, cause: cause.to_owned(), id, name }
}

fn agreed(epoch: u64, buckets: u32) -> Said {
    Said::Converged { epoch, buckets, took_ms: 30 }
}

fn left(id: u64, cause: &str) -> Said {
    let (id, name) = (NodeId(id).to_string(), format!("n{id}"));
    Said::NodeLeft { id, name, cause: cause.to_owned() }
}

#[test]
fn who_comes_and_goes_and_what_is_taken_over() {
    let mut signals = Signals::default();
    let local = |from, to| Notice::State { from, to, cause: None };
    let said = play(
        &mut signals,
        vec![
            local(State::Joining, State::Active),
            converged(1, 4096),
            peer(2, State::Joining, State::Active),
            converged(2, 2048),
            Notice::PeerGone { node: NodeId(2), state: State::Active },
            converged(3, 4096),
        ],
        0,
    );
    let expected = [
        joined(1),
        took(4096, "joined", 1),
        agreed(1, 4096),
        joined(2),
        agreed(2, 2048),
        left(2, "silent"),
        took(2048, "node-silent", 2),
        agreed(3, 4096),
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_leave_a_drain_and_a_weight_are_told_apart() {
    let mut signals = Signals::default();
    play(&mut signals, vec![converged(1, 1000)], 0);
    let said = play(
        &mut signals,
        vec![
            peer(2, State::Active, State::Leaving),
            converged(2, 2000),
            Notice::PeerGone { node: NodeId(2), state: State::Leaving },
            peer(3, State::Active, State::Draining),
            converged(3, 3000),
            Notice::PeerWeight { node: NodeId(4), weight: weight(7) },
            converged(4, 4000),
            Notice::Left,
        ],
        0,
    );
    let expected = [
        took(1000, "node-left", 2),
        agreed(2, 2000),
        left(2, "left"),
        took(1000, "node-drained", 3),
        agreed(3, 3000),
        took(1000, "weight", 0),
        agreed(4, 4000),
        left(1, "left"),
    ];
    assert_eq!(said, expected);
}

#[test]
fn fences_say_why_and_a_healed_partition_is_a_join() {
    let mut signals = Signals::default();
    let cause = Some(FenceCause::Unheard(NodeId(2)));
    let own = Notice::State { from: State::Active, to: State::Fenced, cause };
    let said = play(
        &mut signals,
        vec![
            own,
            peer(3, State::Active, State::Fenced),
            Notice::PeerAppeared { node: NodeId(4), incarnation: Incarnation(1) },
            Notice::PeerAppeared { node: NodeId(5), incarnation: Incarnation(1) },
        ],
        4,
    );
    let fenced = |id: u64, cause: &str| {
        let (id, name) = (NodeId(id).to_string(), format!("n{id}"));
        Said::NodeFenced { id, name, cause: cause.to_owned() }
    };
    assert_eq!(said, [fenced(1, "n2 does not hear this node"), fenced(3, ""), joined(4)]);
}
