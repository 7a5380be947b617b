//! Rates and acknowledgements (SPEC 6.12, 6.3.1).

use core::time::Duration;

use nlb_protocol::Sequence;

use super::{Sender, TRIGGER_BURST, TRIGGERS_PER_HEARTBEAT};
use crate::config::Timing;
use crate::time::Time;

fn start() -> (Sender, Time) {
    let now = Time::from_nanos(60_000_000_000);
    (Sender::new(Timing::default(), now), now)
}

fn due(sender: &mut Sender, now: Time) -> bool {
    sender.is_regular_due(now) || sender.trigger_due(now)
}

fn heartbeat(sender: &mut Sender, now: Time) -> Sequence {
    let sequence = sender.number();
    sender.heartbeat_handed(sequence, now);
    sequence
}

/// SPEC 6.12.1: whatever changes, and however often, the allowance holds.
#[test]
fn triggered_heartbeats_are_bounded() {
    let (mut sender, mut now) = start();
    let mut sent = 0;
    for _ in 0..10_000 {
        sender.dirty = true;
        if due(&mut sender, now) {
            heartbeat(&mut sender, now);
            sent += 1;
        }
        now = now + Duration::from_micros(100);
    }
    let intervals = 10;
    assert!(sent <= TRIGGER_BURST + (TRIGGERS_PER_HEARTBEAT + 1) * (intervals + 1), "{sent}");
    assert!(sent >= TRIGGER_BURST, "{sent}");
}

/// SPEC 6.12.3, 6.12.4: however often somebody appears, and however many heartbeats say so.
#[test]
fn information_is_sent_once_an_interval_at_most() {
    let (mut sender, mut now) = start();
    assert!(!sender.information_due(now), "a heartbeat goes first");
    let mut sent = 0;
    for _ in 0..10_000 {
        (sender.dirty, sender.information_wanted) = (true, true);
        if due(&mut sender, now) {
            heartbeat(&mut sender, now);
        }
        sent += u32::from(sender.information_due(now));
        now = now + Duration::from_micros(100);
    }
    assert_eq!(sent, 10);
}

#[test]
fn two_heartbeats_keep_the_minimum_gap() {
    let (mut sender, now) = start();
    heartbeat(&mut sender, now);
    sender.dirty = true;
    assert!(!due(&mut sender, now + Duration::from_millis(1)));
    assert!(due(&mut sender, now + Duration::from_millis(2)));
}

/// SPEC 6.3.1: 16 bits are enough to name any heartbeat that matters.
#[test]
fn acknowledgements_find_their_heartbeat() {
    let (mut sender, mut now) = start();
    let sent: Vec<(Sequence, Time)> = (0..20)
        .map(|_| {
            now = now + Duration::from_millis(100);
            // Other frames take numbers in between.
            sender.number();
            (heartbeat(&mut sender, now), now)
        })
        .collect();
    for (sequence, at) in &sent {
        assert_eq!(sender.acknowledged(sequence.low16()), *sequence);
        assert_eq!(sender.sent_at(*sequence), Some(*at));
    }
    let old = Sequence(sent[0].0.0 - 1);
    assert_eq!(sender.sent_at(old), None);
}

/// SPEC 6.8.1: only what has left counts, from the time when it was given out.
#[test]
fn what_did_not_leave_does_not_count() {
    let (mut sender, now) = start();
    let sequence = heartbeat(&mut sender, now);
    assert_eq!(sender.last_left(), None);
    sender.left(sequence);
    assert_eq!(sender.last_left(), Some(now));
    heartbeat(&mut sender, now + Duration::from_millis(100));
    assert_eq!(sender.last_left(), Some(now));
}
