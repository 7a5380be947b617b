//! Machines with one id, and recordings that look like one (SPEC 6.3.8).

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use nlb_protocol::Incarnation;
use nlb_protocol::frame::{Frame, State};

use super::super::Engine;
use super::super::tests::{Segment, config};
use crate::config::Config;
use crate::manage::Command;
use crate::notice::{FenceCause, Notice};

const SECOND: Duration = Duration::from_secs(1);

fn life(node: u64, incarnation: u64) -> Config {
    Config { incarnation: Incarnation(incarnation), ..config(node) }
}

/// Whoever recorded what a node said in an earlier life, of a lower incarnation, cannot stop it.
#[test]
fn a_recording_of_an_earlier_life_is_no_twin() {
    let recorded: Rc<RefCell<Vec<Frame>>> = Rc::default();
    let tape = Rc::clone(&recorded);
    let mut segment = Segment::of([life(1, 5), life(2, 9)].into_iter(), Segment::new(0).now);
    segment.wire = Some(Box::new(move |frame, _| {
        if frame.header.node.0 == 1 {
            tape.borrow_mut().push(frame.clone());
        }
        true
    }));
    segment.run(SECOND * 2);
    segment.wire = None;
    let now = segment.now;
    segment.nodes[0] = Some(Engine::new(life(1, 50), now));
    segment.run(SECOND * 3);
    let before = segment.fences();
    for frame in recorded.take() {
        let now = segment.now;
        segment.node(0).handle_frame(frame, now, now);
        segment.run(Duration::from_millis(10));
    }
    assert_eq!(segment.fences(), before);
    assert_eq!(segment.node(0).state(), State::Active);
}

/// A clone that starts beside a third node says nothing, so nobody takes it for a new life of the
/// node that serves.
#[test]
fn a_clone_ousts_nobody_who_serves() {
    let mut segment = Segment::of([life(1, 9), life(2, 7)].into_iter(), Segment::new(0).now);
    segment.run(SECOND * 3);
    let now = segment.now;
    segment.nodes.push(Some(Engine::new(life(1, 8), now)));
    segment.run(SECOND * 5);
    assert_eq!(segment.shares(), [2048, 2048, 0]);
    segment.notices.retain(|(index, _)| *index != 2);
    assert_eq!(segment.fences(), 0);
    // It takes over when the first is gone.
    segment.nodes[0] = None;
    segment.run(SECOND * 5);
    assert_eq!(segment.shares(), [2048, 2048]);
}

/// Nor when it is told to leave: peers would take its last words for the end of the other.
#[test]
fn a_clone_that_leaves_goes_without_a_word() {
    for after in [0, 50, 5000].map(Duration::from_millis) {
        let mut segment = Segment::of([life(1, 9), life(2, 7)].into_iter(), Segment::new(0).now);
        segment.run(SECOND * 3);
        let now = segment.now;
        segment.nodes.push(Some(Engine::new(life(1, 8), now)));
        segment.run(after);
        let now = segment.now;
        assert!(segment.node(2).handle_command(Command::Leave, now).is_ok());
        segment.run(SECOND * 3);
        let left = |notice: &(usize, Notice)| *notice == (2, Notice::Left);
        assert!(segment.notices.iter().any(left), "{after:?}");
        segment.notices.retain(|(index, _)| *index != 2);
        assert_eq!(segment.fences(), 0, "{after:?}");
        assert_eq!(segment.shares(), [2048, 2048, 0], "{after:?}");
    }
}

/// A copy serves while the machine stands still. When the copy has gone, the machine is heard again,
/// whoever had proved to be the later one.
#[test]
fn a_machine_is_back_when_the_clone_that_stood_in_for_it_has_gone() {
    let mut segment = Segment::of([life(1, 9), life(2, 7)].into_iter(), Segment::new(0).now);
    segment.run(SECOND * 3);
    let stopped = segment.nodes[0].take();
    let now = segment.now;
    segment.nodes.push(Some(Engine::new(life(1, 8), now)));
    segment.run(SECOND * 5);
    assert_eq!(segment.shares(), [2048, 2048], "the clone serves");
    segment.nodes[0] = stopped;
    segment.run(SECOND * 3);
    assert_eq!(segment.shares(), [0, 2048, 2048], "it goes on serving");
    segment.nodes[2] = None;
    segment.run(SECOND * 6);
    assert_eq!(segment.shares(), [2048, 2048]);
}

/// A machine that is cloned while it runs: the engine too, with its incarnation.
#[test]
fn of_a_machine_cloned_while_it_runs_one_serves() {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 3);
    let clone = segment.node(0).clone();
    segment.nodes.push(Some(clone));
    segment.run(SECOND * 5);
    let causes: Vec<Option<FenceCause>> = segment
        .notices
        .iter()
        .filter_map(|(index, notice)| match notice {
            Notice::State { to: State::Fenced, cause, .. } if *index != 1 => Some(*cause),
            _ => None,
        })
        .collect();
    assert!(!causes.is_empty(), "nobody noticed");
    let serve = [0, 2].iter().filter(|index| !segment.node(**index).accepts().is_empty()).count();
    assert!(serve <= 1, "{:?}", segment.shares());
}
