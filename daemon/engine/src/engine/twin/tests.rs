//! Machines with one id, and recordings that look like one (SPEC 6.3.8).

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use nlb_protocol::Incarnation;
use nlb_protocol::frame::{Frame, State};

use super::super::Engine;
use super::super::tests::{Segment, config};
use crate::config::Config;
use crate::notice::{FenceCause, Notice};

const SECOND: Duration = Duration::from_secs(1);

fn life(node: u64, incarnation: u64) -> Config {
    Config { incarnation: Incarnation(incarnation), ..config(node) }
}

fn fences(segment: &Segment) -> usize {
    let fenced =
        |notice: &&(usize, Notice)| matches!(notice.1, Notice::State { to: State::Fenced, .. });
    segment.notices.iter().filter(fenced).count()
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
    let before = fences(&segment);
    for frame in recorded.take() {
        let now = segment.now;
        segment.node(0).handle_frame(frame, now, now);
        segment.run(Duration::from_millis(10));
    }
    assert_eq!(fences(&segment), before);
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
    assert_eq!(fences(&segment), 0);
    // It takes over when the first is gone.
    segment.nodes[0] = None;
    segment.run(SECOND * 5);
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
