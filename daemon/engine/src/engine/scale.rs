//! A million clients change hands: no call works on more than a slice of them (SPEC 6.7).

#![expect(clippy::disallowed_methods, reason = "measures how long calls take")]

use core::net::IpAddr;
use core::time::Duration;
use std::time::Instant;

use nlb_protocol::frame::{Message, State};
use nlb_protocol::hash;

use super::clients::Clients;
use super::pins::Log;
use super::replica::Replica;
use super::tests::Segment;
use crate::config::Limits;
use crate::manage::Command;

const SLICE: usize = Limits::DEFAULT.slice;
const LOG_MEMORY: usize = Limits::DEFAULT.log;

fn client(number: usize, v6: bool) -> IpAddr {
    let number = u32::try_from(number).expect("small").wrapping_mul(0x9e37_79b9);
    if v6 {
        IpAddr::from(((0x2001_0db8 << 96) + (u128::from(number) << 44)).to_be_bytes())
    } else {
        IpAddr::from(number.to_be_bytes())
    }
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4096
}

/// How much memory was taken since; another test may give some back meanwhile.
fn grown(before: usize) -> usize {
    resident().saturating_sub(before)
}

fn hand_over(many: usize, v6: bool) {
    let mut segment = Segment::new(1);
    segment.run(Duration::from_secs(2));
    let before = resident();
    for number in 0..many {
        let (now, engine) = (segment.now, segment.node(0));
        let client = client(number, v6);
        engine.clients.insert(engine.bucket(client), client, now);
    }
    let kept = grown(before) / many;
    let before = resident();
    segment.join(2);
    let (mut slowest, mut version, start) = (Duration::ZERO, 0, segment.now);
    while segment.node(0).accepts().len() != 2048 || segment.node(1).accepts().len() != 2048 {
        let call = Instant::now();
        segment.run(Duration::from_millis(1));
        slowest = slowest.max(call.elapsed());
        let now = segment.node(0).log.version().0;
        assert!(now - version <= 3 * SLICE as u64, "{} at once", now - version);
        version = now;
        assert!(segment.now.since(start) < Duration::from_secs(60), "not handed over");
    }
    let took = segment.now.since(start);
    let pinned = segment.node(0).log.len();
    println!(
        "{many} clients (v6 {v6}): {pinned} pinned and handed over {took:?} after the join began, \
         {} frames; slowest millisecond of both {slowest:?}; {kept} bytes kept, {} pinned at both",
        segment.node(0).counters.frames_sent,
        grown(before) / pinned,
    );
    let copy = |segment: &mut Segment, now| segment.node(1).snapshot(now).nodes[0].pins;
    let now = segment.now;
    assert_eq!(copy(&mut segment, now), pinned);
    // A third has to fetch everything, and they let it in only then.
    let start = segment.now;
    segment.join(3);
    while segment.node(2).state() != State::Active {
        let call = Instant::now();
        segment.run(Duration::from_millis(1));
        slowest = slowest.max(call.elapsed());
    }
    println!("a third joined after {:?}, slowest {slowest:?}", segment.now.since(start));
    let now = segment.now;
    segment.node(0).handle_command(Command::Leave, now).expect("not leaving");
    let start = segment.now;
    while segment.node(0).log.len() > 0 {
        let call = Instant::now();
        segment.run(Duration::from_millis(1));
        slowest = slowest.max(call.elapsed());
    }
    println!("left after {:?}, slowest {slowest:?}", segment.now.since(start));
}

#[test]
fn ten_thousand_clients() {
    hand_over(10_000, false);
}

#[test]
#[ignore = "for figures: in release"]
fn a_million_clients() {
    hand_over(100_000, false);
    hand_over(1_000_000, false);
    hand_over(1_000_000, true);
}

/// Bytes of a client that is kept, in the own log, and in the copy of another's log.
fn bytes_each(many: usize, v6: bool) -> [usize; 3] {
    let mut sizes = [resident(); 4];
    let mut clients = Clients::new();
    for number in 0..many {
        let client = client(number, v6);
        clients.insert(hash::bucket(client, 7), client, crate::time::Time::ZERO);
    }
    sizes[1] = resident();
    let mut log = Log::new(LOG_MEMORY);
    let mut all: Vec<IpAddr> = (0..many).map(|number| client(number, v6)).collect();
    let borrowed = resident() - sizes[1];
    all.chunks_mut(SLICE).for_each(|slice| slice.sort_unstable());
    all.iter().for_each(|client| log.pin(*client));
    sizes[2] = resident() - borrowed;
    let mut copy = Replica::default();
    log.resend(copy.version(), nlb_protocol::frame::PinWant::Deltas);
    while let Some(message) = log.next_message() {
        match message {
            Message::PinDelta(delta) => drop(copy.apply(&delta, usize::MAX)),
            Message::PinSnapshot(part) => drop(copy.take_part(&part, usize::MAX, SLICE)),
            other => panic!("{other:?}"),
        }
    }
    sizes[3] = resident() - borrowed;
    assert_eq!((clients.len(), copy.clients.len()), (many, many));
    // Kept to the end, so that nothing is measured in memory that was used before.
    core::mem::forget((clients, log, copy, all));
    [0, 1, 2].map(|index| (sizes[index + 1] - sizes[index]) / many)
}

#[test]
#[ignore = "for figures: alone, because it looks at the whole process"]
fn what_a_client_costs() {
    println!("bytes of each IPv4 client kept, pinned, in a copy: {:?}", bytes_each(1 << 20, false));
    println!("bytes of each IPv6 client kept, pinned, in a copy: {:?}", bytes_each(1 << 20, true));
}

/// SPEC 6.12.2: a node with little processor time, whose allowance of pins comes back while it
/// sends them, tells all of them at a stretch. Its peers must not take it for dead meanwhile.
#[test]
fn heartbeats_leave_between_many_pins() {
    let mut segment = Segment::new(2);
    segment.run(Duration::from_secs(2));
    for number in 0..200_000 {
        let (now, engine) = (segment.now, segment.node(0));
        let client = client(number, false);
        engine.clients.insert(engine.bucket(client), client, now);
    }
    let mut now = segment.now;
    let engine = segment.node(0);
    engine.handle_command(Command::Drain { timeout: None, force: false }, now).expect("active");
    let (mut frames, mut last, mut longest) = (0, now, Duration::ZERO);
    while let Some(transmit) = engine.poll_transmit(now) {
        frames += 1;
        engine.handle_sent(transmit.frame.header.sequence, now);
        if matches!(transmit.frame.message, Message::Heartbeat(_)) {
            longest = longest.max(now.since(last));
            last = now;
        }
        now = now + Duration::from_millis(1);
    }
    assert!(frames > 200, "{frames}");
    assert!(now.since(last) < engine.config.timing.heartbeat * 2, "{:?}", now.since(last));
    assert!(longest < engine.config.timing.heartbeat * 2, "{longest:?}");
}
