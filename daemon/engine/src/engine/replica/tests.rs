//! Copies of logs: whatever is lost, they become equal (SPEC 6.7).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nlb_protocol::PinVersion;
use nlb_protocol::frame::{Message, PinSnapshot, PinWant};

use super::super::pins::Log;
use super::{Changes, Replica};
use crate::config::Limits;

const SLICE: usize = Limits::DEFAULT.slice;
const LOG_MEMORY: usize = Limits::DEFAULT.log;

fn client(number: usize) -> IpAddr {
    let number = u32::try_from(number).expect("small");
    if number % 3 == 0 {
        IpAddr::V6(Ipv6Addr::from(u128::from(number) << 40))
    } else {
        IpAddr::V4(Ipv4Addr::from(number.wrapping_mul(0x9e37_79b9)))
    }
}

fn take(copy: &mut Replica, message: &Message) -> Changes {
    match message {
        Message::PinDelta(delta) => copy.apply(delta, usize::MAX),
        Message::PinSnapshot(part) => copy.take_part(part, usize::MAX, SLICE),
        other => panic!("{other:?}"),
    }
}

/// Gives what the log sends to the copy, but for the messages that are lost.
fn follow(log: &mut Log, copy: &mut Replica, mut lost: impl FnMut(usize) -> bool) -> usize {
    let mut sent = 0;
    while let Some(message) = log.next_message() {
        if !lost(sent) {
            take(copy, &message);
        }
        sent += 1;
    }
    sent
}

fn ask(log: &mut Log, copy: &Replica) {
    log.resend(copy.version(), copy.missing.map_or(PinWant::Deltas, PinWant::Snapshot));
}

fn assert_equal(log: &Log, copy: &Replica, clients: impl Iterator<Item = usize>) {
    assert!(copy.holds(log.version()));
    assert_eq!(copy.clients.len(), log.len());
    for number in clients {
        assert_eq!(copy.clients.contains(client(number)), log.is_pinned(client(number)));
    }
}

#[test]
fn deltas_make_the_copy_equal() {
    let (mut log, mut copy) = (Log::new(LOG_MEMORY), Replica::default());
    (0..1000).for_each(|number| log.pin(client(number)));
    (0..500).for_each(|number| log.unpin(client(number)));
    log.answered(7);
    follow(&mut log, &mut copy, |_| false);
    assert_equal(&log, &copy, 0..1000);
    assert!(copy.answered.contains(7) && !copy.answered.contains(8));
}

#[test]
fn a_gap_is_seen_asked_for_and_filled() {
    let (mut log, mut copy) = (Log::new(LOG_MEMORY), Replica::default());
    (0..3000).for_each(|number| log.pin(client(number)));
    follow(&mut log, &mut copy, |number| number == 3);
    assert!(!copy.holds(log.version()));
    ask(&mut log, &copy);
    follow(&mut log, &mut copy, |_| false);
    assert_equal(&log, &copy, 0..3000);
}

/// The set in parts while it changes, a quarter of the messages lost: what a part shows is ahead of the
/// changes, and these lead to the same end.
#[test]
fn a_set_that_changes_meanwhile_is_taken_up_in_spite_of_loss() {
    let (mut log, mut copy) = (Log::new(LOG_MEMORY), Replica::default());
    let many = LOG_MEMORY + 20_000;
    (0..many).for_each(|number| log.pin(client(number)));
    while log.next_message().is_some() {}
    let (mut sent, mut rounds, mut random) = (0, 0, 1_u32);
    while !copy.holds(log.version()) {
        ask(&mut log, &copy);
        for _ in 0..8 {
            let Some(message) = log.next_message() else { break };
            sent += 1;
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if random >> 30 != 0 {
                take(&mut copy, &message);
            }
            if sent < 400 {
                // In front of the parts and behind them.
                log.unpin(client(sent * 100));
                log.pin(client(many + sent * 7));
                log.unpin(client(many + sent * 7 / 2));
                log.pin(client(sent * 50));
            }
        }
        rounds += 1;
        assert!(rounds < 2000, "{:?} of {:?}", copy.version(), log.version());
    }
    assert_equal(&log, &copy, 0..many + 3000);
}

/// A lost part does not lead to the beginning.
#[test]
fn a_snapshot_goes_on_where_it_was_broken() {
    let (mut log, mut copy) = (Log::new(LOG_MEMORY), Replica::default());
    (0..LOG_MEMORY + 10_000).for_each(|number| log.pin(client(number)));
    while log.next_message().is_some() {}
    ask(&mut log, &copy);
    let whole = follow(&mut log, &mut copy, |number| number >= 100);
    ask(&mut log, &copy);
    let rest = follow(&mut log, &mut copy, |_| false);
    assert!(rest <= whole - 100, "{rest} of {whole}");
    assert_equal(&log, &copy, 0..1000);
}

/// SPEC 6.7.5: who fences forgets, and everybody learns it, a slice at a time.
#[test]
fn a_void_log_empties_the_copy_in_slices() {
    let (mut log, mut copy) = (Log::new(LOG_MEMORY), Replica::default());
    (0..3 * SLICE).for_each(|number| log.pin(client(number)));
    follow(&mut log, &mut copy, |_| false);
    log.void();
    let mut most = 0;
    while !copy.holds(log.version()) {
        ask(&mut log, &copy);
        while let Some(message) = log.next_message() {
            most = most.max(take(&mut copy, &message).lost.len());
        }
    }
    assert_eq!(most, SLICE);
    assert_equal(&log, &copy, 0..1000);
}

#[test]
fn what_finds_no_room_is_counted() {
    let (mut log, mut copy) = (Log::new(LOG_MEMORY), Replica::default());
    (0..10).for_each(|number| log.pin(client(number)));
    let Some(Message::PinDelta(delta)) = log.next_message() else { panic!("no delta") };
    let changes = copy.apply(&delta, 4);
    assert_eq!((copy.clients.len(), changes.unusable), (4, 6));
    assert!(copy.holds(log.version()), "nothing is lost for those that found room");
}

/// Out of sequence: a part that is older than what is held, one that does not continue it, a delta
/// that does not, and one that is known.
#[test]
fn what_is_out_of_sequence_changes_nothing() {
    let (mut log, mut copy) = (Log::new(LOG_MEMORY), Replica::default());
    (0..2000).for_each(|number| log.pin(client(number)));
    let deltas: Vec<Message> = core::iter::from_fn(|| log.next_message()).collect();
    take(&mut copy, &deltas[0]);
    let before = copy.clone();
    let part = |version, memory, from| {
        Message::PinSnapshot(PinSnapshot {
            version: PinVersion(version),
            memory: PinVersion(memory),
            from,
            until: None,
            clients: vec![],
        })
    };
    let others = client(1);
    for message in [
        &deltas[0],
        &deltas[2],
        &part(1, 0, PinSnapshot::START),
        &part(5000, 0, PinSnapshot::START),
        &part(5000, 4000, others),
    ] {
        assert!(!take(&mut copy, message).taken, "{message:?}");
        assert_eq!(copy, before);
    }
}
