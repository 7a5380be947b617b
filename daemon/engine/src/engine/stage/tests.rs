//! Very many packets wait (SPEC 6.9).

#![expect(clippy::disallowed_methods, reason = "measures how long a look takes")]

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::time::Instant;

use nlb_protocol::{Buckets, NodeId};

use crate::engine::tests::Segment;
use crate::packet::{ClientPacket, PacketId, Verdict};

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(1);
const MANY: u32 = 4096;

fn packet(number: u32) -> ClientPacket {
    let client = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number));
    ClientPacket { id: PacketId(number), client, opens: true, fingerprint: u64::from(number) }
}

/// A node whose buckets are all still to come, for whose clients so many packets wait.
fn flooded(many: u32) -> Segment {
    let mut segment = Segment::new(1);
    segment.run(SECOND * 2);
    let now = segment.now;
    let engine = segment.node(0);
    engine.accepts = Buckets::EMPTY;
    for number in 0..many {
        assert_eq!(engine.handle_packet(packet(number), now, now), Verdict::Hold);
    }
    segment
}

/// What waits is decided on a little at a time, and all of it soon.
#[test]
fn a_flood_of_packets_is_settled_in_slices() {
    let mut segment = flooded(MANY);
    let (mut before, mut rounds) = (0, 0);
    while segment.verdicts.len() < MANY as usize {
        let now = segment.now;
        for _ in 0..10 {
            segment.node(0).handle_timeout(now, now);
        }
        segment.poll(0);
        assert!(segment.verdicts.len() - before <= super::DECIDED, "in round {rounds}");
        before = segment.verdicts.len();
        segment.run(TICK);
        assert!(segment.verdicts.len() - before <= super::DECIDED, "in round {rounds}");
        (before, rounds) = (segment.verdicts.len(), rounds + 1);
        assert!(rounds <= 70);
    }
    assert!(segment.verdicts.iter().all(|(_, _, verdict)| *verdict == Verdict::Accept));
}

/// A few are settled at the instant at which their bucket comes.
#[test]
fn a_few_packets_wait_for_nothing() {
    let mut segment = flooded(10);
    let now = segment.now;
    // Twice at one instant: before the buckets come, and then.
    segment.node(0).settle_held();
    segment.node(0).handle_timeout(now, now);
    segment.poll(0);
    assert_eq!(segment.verdicts.len(), 10);
}

#[test]
#[ignore = "for figures: in release"]
fn what_a_look_at_a_flood_takes() {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 2);
    let now = segment.now;
    let engine = segment.node(0);
    let peer = engine.peers.get(NodeId(2)).expect("heard").clone();
    for node in 3..65 {
        let mut peer = peer.clone();
        for number in 0..1000 {
            let address = 0x0b00_0000 + number * 63 + u32::try_from(node).expect("small");
            peer.pins.clients.insert(IpAddr::V4(Ipv4Addr::from(address)), ());
        }
        engine.peers.insert(NodeId(node), peer);
    }
    engine.accepts = Buckets::EMPTY;
    let mut number = 0;
    while engine.waiting.held.len() < MANY as usize {
        engine.handle_packet(packet(number), now, now);
        number += 1;
    }
    let start = Instant::now();
    let held: Vec<_> = engine.waiting.held.iter().copied().collect();
    let wait = held.iter().filter(|held| engine.decide_held(held) == super::Decision::Hold).count();
    println!("all decided: {:?}, {wait} wait on", start.elapsed());
    let start = Instant::now();
    engine.settle_held();
    println!("a look while the buckets are coming: {:?}", start.elapsed());
    engine.now = now + TICK;
    engine.accepts = engine.view.mine.clone();
    let start = Instant::now();
    engine.settle_held();
    println!("a look when they came: {:?}", start.elapsed());
}
