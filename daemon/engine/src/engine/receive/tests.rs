//! Pin messages that nobody should send, and copies of logs that do not become complete
//! (SPEC 6.3.6j, 6.7).
//!
//! A bucket that is out of range cannot come: pins name clients, whose buckets are computed, and
//! what a heartbeat accepts has exactly one bit for each bucket (SPEC 4.3).

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use nlb_protocol::frame::{Frame, Header, Message, PinDelta, PinEntry, PinRequest, PinWant, State};
use nlb_protocol::{ClusterId, Incarnation, NodeId, PinVersion, Sequence};

use crate::config::{Config, Limits};
use crate::engine::tests::{Segment, config};
use crate::manage::Counters;
use crate::time::Time;

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(1);

fn client(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number))
}

/// A pin message from node `node`, of which nobody has heard so high a number.
fn frame(node: u64, incarnation: u64, message: Message) -> Frame {
    let header = Header {
        cluster: ClusterId(1),
        node: NodeId(node),
        incarnation: Incarnation(incarnation),
        sequence: Sequence(1 << 40),
    };
    Frame { header, message }
}

fn delta(first: u64, clients: core::ops::Range<u32>) -> Message {
    let entries = clients.map(|number| PinEntry::Pin(client(number))).collect();
    Message::PinDelta(PinDelta { first: PinVersion(first), entries })
}

/// What the first of two nodes counts of a frame that seems to come from the second, and how many
/// pins of the second it then holds.
fn counted(frame: Frame) -> (Counters, usize) {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 2);
    let now = segment.now;
    segment.node(0).handle_frame(frame, now, now);
    let snapshot = segment.node(0).snapshot(now);
    let pins = snapshot.nodes.iter().find(|node| !node.local).map_or(0, |node| node.pins);
    (snapshot.counters, pins)
}

const SECOND_NODE: (u64, u64) = (2, 0x1002);

#[test]
fn pins_of_the_peer_are_taken() {
    let (counters, pins) = counted(frame(SECOND_NODE.0, SECOND_NODE.1, delta(1, 0..5)));
    assert_eq!((counters.pins_unknown, counters.pins_astray, pins), (0, 0, 5));
}

/// SPEC 6.7.4: nobody hears node 9.
#[test]
fn pins_of_an_unknown_node_are_counted() {
    let (counters, pins) = counted(frame(9, 1, delta(1, 0..5)));
    assert_eq!((counters.pins_unknown, pins), (1, 0));
}

/// SPEC 6.3.3: only a heartbeat begins another life.
#[test]
fn pins_of_another_life_are_counted() {
    let (counters, pins) = counted(frame(SECOND_NODE.0, 0x0999, delta(1, 0..5)));
    assert_eq!((counters.pins_unknown, pins), (1, 0));
}

/// SPEC 5.3: a life that ended does not speak again.
#[test]
fn pins_of_an_ended_life_are_counted() {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 2);
    let again = Config { incarnation: Incarnation(0x2002), ..config(2) };
    let now = segment.now;
    segment.nodes[1] = Segment::of(core::iter::once(again), now).nodes.pop().expect("one");
    segment.run(SECOND * 4);
    assert_eq!(segment.node(1).state(), State::Active);
    let (now, before) = (segment.now, segment.node(0).counters.old_incarnation);
    segment.node(0).handle_frame(frame(2, 0x1002, delta(1, 0..5)), now, now);
    let snapshot = segment.node(0).snapshot(now);
    assert_eq!(snapshot.counters.old_incarnation + snapshot.counters.pins_unknown, before + 1);
    assert!(snapshot.nodes.iter().all(|node| node.pins == 0));
}

/// SPEC 6.7.3: a delta that begins above the next version is not taken, and what is missing is
/// asked for.
#[test]
fn pins_out_of_sequence_are_counted() {
    let (counters, pins) = counted(frame(SECOND_NODE.0, SECOND_NODE.1, delta(7, 0..5)));
    assert_eq!((counters.pins_astray, pins), (1, 0));
}

/// SPEC 6.7.4: a request for a log of an earlier life, and one for what was never sent.
#[test]
fn requests_for_another_log_are_counted() {
    let request = |incarnation, after| {
        let owner_incarnation = Incarnation(incarnation);
        let (owner, after) = (NodeId(1), PinVersion(after));
        let request = PinRequest { owner, owner_incarnation, after, want: PinWant::Deltas };
        counted(frame(SECOND_NODE.0, SECOND_NODE.1, Message::PinRequest(request))).0.pins_astray
    };
    assert_eq!(request(0x1001, 0), 0);
    assert_eq!(request(0x0999, 0), 1);
    assert_eq!(request(0x1001, 1), 1);
}

/// What finds no room in the table of pins is counted; the log is followed all the same, so that
/// what ends makes room for what comes.
#[test]
fn pins_beyond_the_bound_are_counted() {
    assert_eq!(Limits::default().pins, 1_048_576);
    let limits = Limits { pins: 10, ..Limits::default() };
    let configs = [Config { limits, ..config(1) }, config(2)];
    let mut segment = Segment::of(configs.into_iter(), Time::from_nanos(60_000_000_000));
    segment.run(SECOND * 2);
    let pin = |segment: &mut Segment, clients: core::ops::Range<u32>| {
        clients.for_each(|number| segment.node(1).log.pin(client(number)));
        segment.run(SECOND);
        let now = segment.now;
        let snapshot = segment.node(0).snapshot(now);
        (snapshot.nodes[1].pins, snapshot.counters.pins_unusable)
    };
    assert_eq!(pin(&mut segment, 0..25), (10, 15));
    (0..5).for_each(|number| segment.node(1).log.unpin(client(number)));
    // Three and, when the set is taken anew, two of those that found no room before.
    assert_eq!(pin(&mut segment, 30..33), (10, 28));
}

/// A third node that joins two, of which the first keeps so many pins; its frames may be lost.
/// After how long it is active, and whether it holds the log then.
fn joins(pins: u32, mut lost: impl FnMut(&Message) -> bool + 'static) -> (Duration, bool) {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 2);
    (0..pins).for_each(|number| segment.node(0).log.pin(client(number)));
    segment.run(SECOND * 2);
    segment.wire = Some(Box::new(move |frame, to| to != 2 || !lost(&frame.message)));
    segment.join(3);
    let start = segment.now;
    while segment.node(2).state() != State::Active {
        segment.run(TICK);
        assert!(segment.now.since(start) < SECOND * 20, "it never joins");
    }
    let version = segment.node(0).log.told();
    let holds = segment.node(2).peers.get(NodeId(1)).is_some_and(|one| one.pins.holds(version));
    (segment.now.since(start), holds)
}

/// SPEC 6.3.6j: whoever joins holds the logs of its peers, also when much is lost, and when the set
/// comes in parts because the log's memory does not reach back.
#[test]
fn a_joining_node_holds_the_pins_before_it_is_active() {
    let (usual, holds) = joins(0, |_| false);
    assert!(holds);
    for pins in [5_000, 100_000] {
        let (took, holds) = joins(pins, |_| false);
        assert!(holds && took < usual + SECOND, "{pins} pins: {took:?}, without {usual:?}");
        let mut number = 0;
        let every_third = move |message: &Message| {
            number += 1;
            number % 3 == 0 && !matches!(message, Message::Heartbeat(_))
        };
        let (took, holds) = joins(pins, every_third);
        assert!(holds, "{pins} pins: {took:?}");
    }
}

/// SPEC 6.6.2c: a log that never completes is waited for as long as something of it comes, and two
/// dead-after more.
#[test]
fn a_peer_whose_log_never_completes_does_not_keep_a_node_from_joining() {
    let pins =
        |message: &Message| matches!(message, Message::PinDelta(_) | Message::PinSnapshot(_));
    let (took, holds) = joins(5_000, pins);
    assert!(!holds && took >= SECOND * 2 && took < SECOND * 4, "{took:?}");
    let mut parts = 0;
    let broken = move |message: &Message| {
        parts += u32::from(pins(message));
        pins(message) && parts > 20
    };
    let (took, holds) = joins(100_000, broken);
    assert!(!holds && took >= SECOND * 2 && took < SECOND * 5, "{took:?}");
}

/// SPEC 6.2: the clients of a peer that ended take room for *hold*, and no longer; then those that
/// found none are taken.
#[test]
fn pins_that_found_no_room_are_taken_when_there_is_some() {
    let limits = Limits { pins: 10, ..Limits::default() };
    let configs = [Config { limits, ..config(1) }, config(2), config(3)];
    let mut segment = Segment::of(configs.into_iter(), Time::from_nanos(60_000_000_000));
    segment.run(SECOND * 2);
    (0..10).for_each(|number| segment.node(2).log.pin(client(number)));
    segment.run(SECOND);
    segment.nodes[2] = None;
    segment.run(SECOND * 3 / 2);
    (20..25).for_each(|number| segment.node(1).log.pin(client(number)));
    segment.run(SECOND / 5);
    let held = |segment: &mut Segment| {
        let peer = segment.node(0).peers.get(NodeId(2)).expect("heard");
        (peer.pins.clients.len(), peer.pins.lacks_some())
    };
    assert_eq!((segment.node(0).waiting.gone_clients(), held(&mut segment)), (10, (0, true)));
    segment.run(SECOND * 2);
    assert_eq!((segment.node(0).waiting.gone_clients(), held(&mut segment)), (0, (5, false)));
    assert!(segment.node(0).keeper(client(20)) == Some(NodeId(2)));
}

/// Whoever leaves ends twice, with its farewell and when it is dead; what is empty is not
/// remembered.
#[test]
fn ends_that_leave_no_doubt_take_no_room() {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 2);
    let now = segment.now;
    segment.node(1).handle_command(crate::manage::Command::Leave, now).expect("not leaving");
    segment.run(SECOND * 3);
    assert_eq!(segment.node(0).waiting.ends(), 0);
}

/// I6: a peer that names a version that never comes, and pins and unpins one client for ever.
#[test]
fn a_client_that_is_pinned_again_and_again_is_noted_once() {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 2);
    let (now, client) = (segment.now, client(1));
    let engine = segment.node(0);
    engine.clients.insert(engine.bucket(client), client, now);
    engine.peers.get_mut(NodeId(2)).expect("heard").says.pin_version = PinVersion(1 << 40);
    for round in 0..100 {
        let entries = [PinEntry::Unpin(client), PinEntry::Pin(client)].repeat(20);
        let first = PinVersion(1 + 40 * round);
        let message = Message::PinDelta(PinDelta { first, entries });
        let mut frame = frame(SECOND_NODE.0, SECOND_NODE.1, message);
        frame.header.sequence.0 += round;
        engine.handle_frame(frame, now, now);
        assert_eq!(engine.peers.get(NodeId(2)).expect("heard").pins.twice.len(), 1);
    }
}
