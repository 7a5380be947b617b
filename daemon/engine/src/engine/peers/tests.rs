//! Lives of peers, and recordings of them (SPEC 5.3, 6.3.3, 6.8.2a).

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use nlb_protocol::Incarnation;
use nlb_protocol::frame::{Frame, State};

use super::super::Engine;
use super::super::tests::{Segment, config};
use crate::config::Config;
use crate::packet::Verdict;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn life(node: u64, incarnation: u64) -> Config {
    Config { incarnation: Incarnation(incarnation), ..config(node) }
}

/// Two nodes of which the second was recorded in its life 5 and lives its life 6.
fn recorded() -> (Segment, Vec<Frame>) {
    let frames: Rc<RefCell<Vec<Frame>>> = Rc::default();
    let tape = Rc::clone(&frames);
    let mut segment = Segment::of([life(1, 1), life(2, 5)].into_iter(), Segment::new(0).now);
    segment.wire = Some(Box::new(move |frame, _| {
        if frame.header.node.0 == 2 {
            tape.borrow_mut().push(frame.clone());
        }
        true
    }));
    segment.run(SECOND * 3);
    segment.wire = None;
    let now = segment.now;
    segment.nodes[1] = Some(Engine::new(life(2, 6), now));
    segment.run(SECOND * 3);
    assert_eq!(segment.shares(), [2048, 2048]);
    (segment, frames.take())
}

/// The first node's process is replaced: it forgets whom the process before it heard, and lives on.
#[test]
fn a_recording_does_not_replace_a_life_for_a_process_that_took_one_up() {
    let (mut segment, frames) = recorded();
    let now = segment.now;
    let saved = segment.node(0).saved();
    segment.nodes[0] = Some(Engine::resume(config(1), &saved, &[], now));
    segment.run(SECOND * 3);
    assert_eq!(segment.shares(), [2048, 2048]);
    for frame in frames {
        let now = segment.now;
        segment.node(0).handle_frame(frame, now, now);
        segment.run(MS);
    }
    segment.run(SECOND);
    assert_eq!(segment.shares(), [2048, 2048]);
    assert_eq!(segment.node(0).counters.old_incarnation, 0);
}

/// A node is silent for a moment, and somebody repeats what it said in a life that is not known:
/// its pins, its buckets and its life stay what they are.
#[test]
fn a_recording_does_not_replace_a_life_that_is_late() {
    let (mut segment, frames) = recorded();
    // One who joined after the recording.
    segment.join(3);
    segment.run(SECOND * 3);
    let shares = segment.shares();
    let silent = segment.nodes[1].take();
    segment.run(MS * 400);
    for frame in frames {
        let now = segment.now;
        segment.node(2).handle_frame(frame, now, now);
    }
    segment.run(MS * 100);
    segment.nodes[1] = silent;
    segment.run(SECOND / 10);
    assert_eq!(segment.node(2).state(), State::Active);
    assert_eq!(segment.shares(), shares);
}

/// SPEC 6.8.2a: one heartbeat strays across a cut; neither side stops to serve.
#[test]
fn a_frame_that_strays_across_a_cut_fences_nobody() {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 3);
    segment.wire = Some(Box::new(|_, _| false));
    segment.run(SECOND * 3);
    assert_eq!(segment.shares(), [4096, 4096]);
    segment.notices.clear();
    for _ in 0..3 {
        let strays = Rc::new(RefCell::new([false; 2]));
        let left = Rc::clone(&strays);
        segment.wire = Some(Box::new(move |_, to| {
            let mut left = left.borrow_mut();
            !core::mem::replace(&mut left[to], true)
        }));
        segment.run(SECOND * 2);
        let answers = segment.packet(1, 77);
        assert_eq!(answers, [Verdict::Accept, Verdict::Accept]);
    }
    assert_eq!(segment.fences(), 0);
}
