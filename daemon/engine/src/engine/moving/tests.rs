//! Work in slices that is broken off and begun anew (SPEC 6.6, 6.7).

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use nlb_protocol::table::{Table, View};
use nlb_protocol::{Bucket, Incarnation, NodeId, Weight, hash};

use crate::config::{Config, Limits};
use crate::engine::Engine;
use crate::engine::tests::{Segment, config};
use crate::manage::Command;
use crate::packet::{ClientPacket, PacketId, Verdict};
use crate::time::Time;

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(1);
const SMALL: Limits = Limits { slice: 8, backlog: 8, log: 64, ..Limits::DEFAULT };

/// Clients of one bucket, the lowest addresses first.
fn clients_of(bucket: Bucket, many: usize) -> Vec<IpAddr> {
    let all = (0x0a00_0000_u32..).map(|number| IpAddr::V4(Ipv4Addr::from(number)));
    all.filter(|client| hash::bucket(*client, 7) == bucket).take(many).collect()
}

/// How many nodes accept a packet of a client at once.
fn takers(segment: &mut Segment, client: IpAddr) -> usize {
    let packet = ClientPacket { id: PacketId(1), client, opens: true, fingerprint: 1 };
    let now = segment.now;
    let nodes = segment.nodes.iter_mut().flatten();
    let verdicts = nodes.map(|engine| engine.handle_packet(packet, now, now));
    verdicts.filter(|verdict| *verdict == Verdict::Accept).count()
}

fn life(incarnation: u64, now: Time) -> Option<Engine> {
    Some(Engine::new(Config { incarnation: Incarnation(incarnation), ..config(2) }, now))
}

fn run_until(segment: &mut Segment, met: impl Fn(&mut Engine) -> bool) {
    let start = segment.now;
    while !met(segment.node(0)) {
        segment.run(TICK);
        assert!(segment.now.since(start) < SECOND * 10, "{:?}", segment.shares());
    }
}

/// A hand-over is broken off in the middle of a bucket, because the new owner is gone. Whoever is
/// admitted in that bucket then is pinned when it goes in the end (SPEC 6.6.1).
#[test]
fn whoever_comes_after_a_broken_hand_over_is_pinned_in_the_next() {
    let small = Config { limits: SMALL, ..config(1) };
    let mut segment = Segment::of([small].into_iter(), Time::from_nanos(60_000_000_000));
    segment.run(SECOND * 2);
    let two = View::new([1, 2].map(|node| (NodeId(node), Weight::DEFAULT)));
    let bucket = Table::build(&two).of(NodeId(2)).iter().next().expect("half of them");
    let clients = clients_of(bucket, 5 * SMALL.slice);
    // The lowest comes later.
    for client in &clients[1..] {
        assert_eq!(takers(&mut segment, *client), 1);
    }
    let now = segment.now;
    segment.nodes.push(life(1, now));
    run_until(&mut segment, |engine| engine.log.is_pinned(clients[1]));
    assert!(!segment.node(0).log.is_pinned(clients[5 * SMALL.slice - 1]), "not broken off");
    let now = segment.now;
    segment.node(1).handle_command(Command::LeaveNow, now).expect("not leaving");
    run_until(&mut segment, |engine| !engine.moving.is_pinning());
    assert_eq!(takers(&mut segment, clients[0]), 1);
    segment.nodes[1] = life(2, segment.now);
    run_until(&mut segment, |engine| !engine.accepts().contains(bucket));
    segment.run(SECOND);
    assert!(segment.node(1).accepts().contains(bucket));
    for client in clients {
        assert_eq!(takers(&mut segment, client), 1, "{client}");
        assert!(segment.node(0).log.is_pinned(client));
    }
}
