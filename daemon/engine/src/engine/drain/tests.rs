//! Draining among engines on a perfect wire (SPEC 6.11.2).

use core::time::Duration;

use nlb_protocol::Incarnation;
use nlb_protocol::frame::State;

use crate::config::Config;
use crate::engine::Engine;
use crate::engine::tests::{Segment, config};
use crate::manage::{Command, CommandError, DrainView, Outcome};
use crate::notice::Notice;
use crate::packet::{Finding, Verdict};

const SECOND: Duration = Duration::from_secs(1);
/// When a client that says nothing is forgotten.
const IDLE: Duration = Duration::from_secs(8);

/// Nodes that forget quickly, and how many of a hundred clients the first one has.
fn segment(count: u64) -> (Segment, usize) {
    let now = Segment::new(0).now;
    let quick = |node| Config { sticky_idle: IDLE, ..config(node) };
    let mut segment = Segment::of((1..=count).map(quick), now);
    segment.run(SECOND * 2);
    let taken = (0..100).map(|one| segment.packet(one, 0x0a00_0000 + one));
    let taken = taken.filter(|verdicts| verdicts[0] == Verdict::Accept).count();
    assert!(taken > 10);
    (segment, taken)
}

fn drain(segment: &mut Segment, timeout: Option<Duration>) -> Result<Outcome, CommandError> {
    let now = segment.now;
    segment.node(0).handle_command(Command::Drain { timeout, force: false }, now)
}

fn progress(segment: &mut Segment) -> Option<DrainView> {
    let now = segment.now;
    segment.node(0).snapshot(now).drain
}

/// Nobody says anything any more, and the first node's kernel says so when it is asked.
fn fall_silent(segment: &mut Segment) {
    let end = segment.now + IDLE * 2;
    while segment.now < end {
        segment.run(Duration::from_millis(20));
        let now = segment.now;
        let asked = segment.node(0).poll_question(now).unwrap_or_default();
        let gone = |client| Finding { client, left: None, connected: false };
        let findings: Vec<_> = asked.into_iter().map(gone).collect();
        segment.node(0).handle_findings(&findings, now, now);
    }
}

fn has_left(segment: &Segment) -> bool {
    segment.notices.contains(&(0, Notice::Left))
}

#[test]
fn a_drain_counts_down_and_goes_on_when_nobody_is_left() {
    let (mut segment, taken) = segment(2);
    assert_eq!(progress(&mut segment), None);
    assert_eq!(drain(&mut segment, None), Ok(Outcome::Changed));
    assert_eq!(drain(&mut segment, None), Ok(Outcome::Unchanged));
    let view = DrainView { clients: taken, clients_at_start: taken, time_left: None };
    assert_eq!(progress(&mut segment), Some(view));
    segment.run(SECOND);
    assert_eq!(segment.node(0).state(), State::Draining);
    assert!(segment.node(0).accepts().is_empty());
    // Clients stay as long as they talk; nobody new comes.
    for one in 0..200 {
        let verdicts = segment.packet(1000 + one, 0x0a00_0000 + one);
        assert!(one < 100 || verdicts[0] == Verdict::Drop, "client {one}");
    }
    assert_eq!(progress(&mut segment), Some(view));
    fall_silent(&mut segment);
    let none = DrainView { clients: 0, ..view };
    assert_eq!((segment.node(0).state(), progress(&mut segment)), (State::Draining, Some(none)));
    let now = segment.now;
    assert_eq!(segment.node(0).handle_command(Command::Undrain, now), Ok(Outcome::Changed));
    segment.run(SECOND);
    assert_eq!((segment.node(0).state(), progress(&mut segment)), (State::Active, None));
    assert!(!segment.node(0).accepts().is_empty());
}

#[test]
fn a_timed_drain_ends_as_soon_as_nobody_is_left() {
    let (mut segment, taken) = segment(2);
    assert_eq!(drain(&mut segment, Some(SECOND * 100)), Ok(Outcome::Changed));
    let view = progress(&mut segment).expect("it drains");
    assert_eq!((view.clients, view.time_left), (taken, Some(SECOND * 100)));
    segment.run(SECOND * 3);
    assert!(!has_left(&segment));
    fall_silent(&mut segment);
    assert!(has_left(&segment));
    let view = progress(&mut segment).expect("how it ended");
    assert_eq!((view.clients, view.clients_at_start), (0, taken));
    assert_eq!(segment.node(0).saved().drain, None, "the next process joins");
}

#[test]
fn a_timed_drain_ends_in_time() {
    let (mut segment, taken) = segment(2);
    assert_eq!(drain(&mut segment, Some(SECOND * 2)), Ok(Outcome::Changed));
    // It can be given another time.
    assert_eq!(drain(&mut segment, Some(SECOND * 3)), Ok(Outcome::Changed));
    segment.run(Duration::from_millis(2900));
    assert_eq!(segment.node(0).state(), State::Draining);
    segment.run(SECOND * 3);
    assert!(has_left(&segment));
    let view = progress(&mut segment).expect("how it ended");
    assert_eq!((view.clients, view.time_left), (taken, Some(Duration::ZERO)));
}

#[test]
fn nobody_drains_alone_by_mistake() {
    let (mut segment, _) = segment(1);
    assert_eq!(drain(&mut segment, None), Err(CommandError::NobodyElse));
    segment.run(SECOND);
    assert_eq!(segment.node(0).state(), State::Active);
    let (now, force) = (segment.now, Command::Drain { timeout: None, force: true });
    assert_eq!(segment.node(0).handle_command(force, now), Ok(Outcome::Changed));
    // Whoever drains already may be told how long.
    assert_eq!(drain(&mut segment, Some(SECOND * 60)), Ok(Outcome::Changed));
    segment.run(SECOND);
    assert_eq!(segment.node(0).state(), State::Draining);
}

#[test]
fn the_next_process_drains_too() {
    let (mut segment, taken) = segment(2);
    assert_eq!(drain(&mut segment, Some(SECOND * 100)), Ok(Outcome::Changed));
    segment.run(SECOND);
    let mut saved = segment.node(0).saved();
    let wish = saved.drain.expect("it is wanted");
    assert_eq!(wish.most, taken);
    saved.life = None;
    segment.nodes[0] = None;
    segment.run(SECOND * 2);
    let anew = Config { incarnation: Incarnation(7), ..config(1) };
    let again = Engine::resume(anew, &saved, &[], segment.now);
    segment.nodes[0] = Some(again);
    // It joins, finds nobody left, and goes.
    segment.run(SECOND * 2);
    assert!(has_left(&segment));
    // A time that was over before it came ended with the one before.
    let late = Engine::resume(config(1), &saved, &[], segment.now + SECOND * 100);
    assert_eq!(late.snapshot(segment.now).drain, None);
    saved.drain = Some(super::Drain { until: None, most: taken });
    let waits = Engine::resume(config(1), &saved, &[], segment.now + SECOND * 100);
    assert!(waits.snapshot(segment.now).drain.is_some());
}

/// A process that is about to end leaves the end of the drain to the next one.
#[test]
fn a_restart_is_not_a_drains_end() {
    let (mut segment, _) = segment(2);
    assert_eq!(drain(&mut segment, Some(SECOND * 3 / 5)), Ok(Outcome::Changed));
    segment.run(SECOND * 3 / 5 - Duration::from_millis(2));
    let now = segment.now;
    let restart = Command::Restart { hold: SECOND * 10 };
    assert_eq!(segment.node(0).handle_command(restart, now), Ok(Outcome::Changed));
    while segment.node(0).held().is_none() {
        segment.run(Duration::from_millis(1));
        assert_ne!(segment.node(0).state(), State::Leaving);
    }
    let time_left = progress(&mut segment).expect("it drains").time_left;
    assert_eq!(time_left, Some(Duration::ZERO));
    assert!(segment.node(0).saved().drain.is_some());
}
