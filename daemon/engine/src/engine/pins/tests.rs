//! Logs and their copies (SPEC 6.7).

use core::net::{IpAddr, Ipv4Addr};

use nlb_protocol::PinVersion;
use nlb_protocol::frame::Message;

use super::{LOG_MEMORY, Log, Replica};

fn client(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(number))
}

/// Gives what the log sends to the copy, but for the messages that `lost` names.
fn follow(log: &mut Log, copy: &mut Replica, lost: &[usize]) -> usize {
    let mut sent = 0;
    while let Some(message) = log.next_message() {
        if !lost.contains(&sent) {
            match message {
                Message::PinDelta(delta) => drop(copy.apply(&delta, usize::MAX)),
                Message::PinSnapshot(part) => drop(copy.assemble(part, usize::MAX)),
                other => panic!("{other:?}"),
            }
        }
        sent += 1;
    }
    sent
}

#[test]
fn deltas_make_the_copy_equal() {
    let (mut log, mut copy) = (Log::default(), Replica::default());
    (0..1000).for_each(|number| log.pin(client(number)));
    (0..500).for_each(|number| log.unpin(client(number)));
    log.answered(7);
    follow(&mut log, &mut copy, &[]);
    assert_eq!(copy.version, log.version().0);
    assert_eq!(copy.clients.len(), 500);
    assert!(copy.answered.contains(7) && !copy.answered.contains(8));
}

#[test]
fn a_gap_is_asked_for_and_filled() {
    let (mut log, mut copy) = (Log::default(), Replica::default());
    (0..1000).for_each(|number| log.pin(client(number)));
    follow(&mut log, &mut copy, &[3]);
    assert!(copy.version < log.version().0);
    log.resend(PinVersion(copy.version));
    follow(&mut log, &mut copy, &[]);
    assert_eq!((copy.version, copy.clients.len()), (1000, 1000));
}

#[test]
fn beyond_the_memory_a_snapshot_helps() {
    let (mut log, mut copy) = (Log::default(), Replica::default());
    let many = u32::try_from(LOG_MEMORY).expect("small") + 100;
    (0..many).for_each(|number| log.pin(client(number)));
    while log.next_message().is_some() {}
    log.resend(PinVersion(0));
    log.pin(client(many));
    follow(&mut log, &mut copy, &[]);
    assert_eq!(copy.version, log.version().0);
    assert_eq!(copy.clients.len(), many as usize + 1);
}

/// SPEC 6.7.4: who fences forgets, and everybody learns it.
#[test]
fn a_void_log_empties_the_copy() {
    let (mut log, mut copy) = (Log::default(), Replica::default());
    (0..10).for_each(|number| log.pin(client(number)));
    follow(&mut log, &mut copy, &[]);
    log.void();
    assert!(log.version().0 > copy.version);
    log.resend(PinVersion(copy.version));
    follow(&mut log, &mut copy, &[]);
    assert!(copy.clients.is_empty());
    assert_eq!(copy.version, log.version().0);
}

#[test]
fn what_finds_no_room_is_counted() {
    let (mut log, mut copy) = (Log::default(), Replica::default());
    (0..10).for_each(|number| log.pin(client(number)));
    let Some(Message::PinDelta(delta)) = log.next_message() else { panic!("no delta") };
    let changes = copy.apply(&delta, 4);
    assert_eq!((copy.clients.len(), changes.unusable, copy.version), (4, 6, 10));
}
