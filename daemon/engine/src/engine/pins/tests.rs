//! The own log: what it says, how often, and what it remembers (SPEC 6.7).

use core::net::{IpAddr, Ipv4Addr};

use nlb_protocol::PinVersion;
use nlb_protocol::frame::{Message, PinSnapshot, PinWant};

use super::Log;
use crate::config::Limits;

const LOG_MEMORY: usize = Limits::DEFAULT.log;

fn client(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(u32::try_from(number).expect("small")))
}

fn messages(log: &mut Log) -> Vec<Message> {
    core::iter::from_fn(|| log.next_message()).collect()
}

#[test]
fn every_change_is_said_once() {
    let mut log = Log::new(LOG_MEMORY);
    (0..1000).for_each(|number| log.pin(client(number)));
    (0..1000).for_each(|number| log.pin(client(number)));
    assert!(!log.is_told() && log.told() == PinVersion(0));
    let said: usize = messages(&mut log)
        .into_iter()
        .map(|message| match message {
            Message::PinDelta(delta) => delta.entries.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!((said, log.told(), log.is_pending()), (1000, PinVersion(1000), false));
}

/// A word of what is held makes nothing be sent, whatever is on its way meanwhile.
#[test]
fn an_acknowledgement_is_no_request() {
    let mut log = Log::new(LOG_MEMORY);
    (0..1000).for_each(|number| log.pin(client(number)));
    messages(&mut log);
    log.resend(PinVersion(10), PinWant::Nothing);
    assert!(!log.is_pending());
    log.resend(PinVersion(999), PinWant::Deltas);
    assert_eq!(messages(&mut log).len(), 1);
}

/// Many that ask at once are answered once, from the lowest on.
#[test]
fn several_that_ask_are_answered_once() {
    let mut log = Log::new(LOG_MEMORY);
    (0..2 * LOG_MEMORY).for_each(|number| log.pin(client(number)));
    messages(&mut log);
    for _ in 0..60 {
        log.resend(PinVersion(0), PinWant::Deltas);
        log.resend(PinVersion(5), PinWant::Snapshot(client(700)));
    }
    let parts: Vec<PinSnapshot> = messages(&mut log)
        .into_iter()
        .filter_map(
            |message| if let Message::PinSnapshot(part) = message { Some(part) } else { None },
        )
        .collect();
    assert!(parts.iter().zip(&parts[1..]).all(|(one, next)| one.until == Some(next.from)));
    assert_eq!(parts[0].from, PinSnapshot::START);
    assert_eq!(parts.iter().map(|part| part.clients.len()).sum::<usize>(), 2 * LOG_MEMORY);
}

/// Neither a snapshot waits for the changes nor the changes for a snapshot.
#[test]
fn parts_and_deltas_take_turns() {
    let mut log = Log::new(LOG_MEMORY);
    (0..2 * LOG_MEMORY).for_each(|number| log.pin(client(number)));
    messages(&mut log);
    log.resend(PinVersion(0), PinWant::Deltas);
    let first: Vec<bool> = (0..40)
        .filter_map(|_| log.next_message())
        .map(|message| matches!(message, Message::PinSnapshot(_)))
        .collect();
    assert!(first.windows(2).all(|two| two[0] != two[1]), "{first:?}");
}

#[test]
fn the_memory_is_bounded() {
    let mut log = Log::new(LOG_MEMORY);
    for round in 0..3 * LOG_MEMORY {
        if round % 2 == 0 { log.pin(client(1)) } else { log.unpin(client(1)) }
    }
    assert_eq!(log.recent.len(), LOG_MEMORY);
    let Some(Message::PinDelta(delta)) = log.next_message() else { panic!("no delta") };
    assert_eq!(delta.first, PinVersion(2 * LOG_MEMORY as u64 + 1));
}
