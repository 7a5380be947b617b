//! Restarts among engines on a perfect wire (SPEC 6.11.3). The simulator does the rest.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use nlb_protocol::frame::State;

use crate::config::Config;
use crate::engine::tests::{Segment, config};
use crate::engine::{Engine, Saved};
use crate::manage::{Command, CommandError};
use crate::notice::Notice;
use crate::packet::Verdict;

const SECOND: Duration = Duration::from_secs(1);
const HOLD: Duration = Duration::from_secs(10);

fn client(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number))
}

/// The clients of the first hundred that this node accepts.
fn kept(segment: &mut Segment, index: usize) -> Vec<u32> {
    let verdicts = (0..100).map(|one| (one, segment.packet(one, 0x0a00_0000 + one)));
    verdicts
        .filter(|(_, verdicts)| verdicts[index] == Verdict::Accept)
        .map(|(one, _)| one)
        .collect()
}

fn resume(segment: &mut Segment, index: usize, saved: &Saved, clients: &[u32]) {
    let clients: Vec<_> = clients.iter().map(|one| (client(*one), SECOND * 1800)).collect();
    let node = u64::try_from(index).expect("small") + 1;
    let engine = Engine::resume(config(node), saved, &clients, segment.now);
    segment.nodes[index] = Some(engine);
}

/// Dies, and goes on within its rights. What was noticed before that is forgotten.
fn crash(segment: &mut Segment, index: usize, clients: &[u32]) {
    let saved = segment.node(index).saved();
    segment.nodes[index] = None;
    segment.run(Duration::from_millis(300));
    segment.notices.clear();
    resume(segment, index, &saved, clients);
}

#[test]
fn a_planned_restart_keeps_the_clients() {
    let mut segment = Segment::new(3);
    segment.run(SECOND * 2);
    let clients = kept(&mut segment, 0);
    assert!(clients.len() > 10);
    let now = segment.now;
    assert!(segment.node(0).handle_command(Command::Restart { hold: HOLD }, now).is_ok());
    let refused = segment.node(0).handle_command(Command::Undrain, now);
    assert_eq!(refused, Err(CommandError::Restarting));
    while segment.node(0).held().is_none() {
        segment.run(Duration::from_millis(1));
    }
    assert!(segment.now.since(now) < Duration::from_millis(300));
    let saved = segment.node(0).saved();
    let life = saved.life.expect("it can go on");
    assert!(life.planned && life.until.since(now) < HOLD);
    // Away for much longer than dead-after: the others have all buckets and touch no client.
    segment.nodes[0] = None;
    segment.run(SECOND * 6);
    let shown: usize = segment.nodes.iter().flatten().map(|node| node.accepts().len()).sum();
    assert_eq!(shown, 4096);
    for one in &clients {
        let verdicts = segment.packet(1000 + one, 0x0a00_0000 + one);
        assert_eq!(verdicts, [Verdict::Drop; 2], "client {one}");
    }
    resume(&mut segment, 0, &saved, &clients);
    segment.run(SECOND);
    let now = segment.now;
    assert_eq!(segment.node(0).state(), State::Active);
    assert_eq!(segment.node(0).snapshot(now).clients, clients.len());
    assert!(segment.node(0).snapshot(now).converged);
    let again = kept(&mut segment, 0);
    assert!(clients.iter().all(|one| again.contains(one)));
}

#[test]
fn who_does_not_come_back_in_time_is_dead() {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 2);
    let clients = kept(&mut segment, 0);
    let now = segment.now;
    assert!(segment.node(0).handle_command(Command::Restart { hold: SECOND * 3 }, now).is_ok());
    while segment.node(0).held().is_none() {
        segment.run(Duration::from_millis(1));
    }
    let until = segment.node(0).held().expect("just asked");
    segment.nodes[0] = None;
    while !segment.notices.iter().any(|(_, notice)| matches!(notice, Notice::PeerGone { .. })) {
        segment.run(Duration::from_millis(1));
    }
    // The kernel has ended before (SPEC 6.11.3).
    assert!(segment.now > until);
    segment.run(SECOND);
    let verdicts = segment.packet(5000, 0x0a00_0000 + clients[0]);
    assert_eq!(verdicts, [Verdict::Accept]);
}

#[test]
fn a_crash_is_repaired_while_the_rights_last() {
    let mut segment = Segment::new(3);
    segment.run(SECOND * 2);
    let clients = kept(&mut segment, 1);
    let saved = segment.node(1).saved();
    let until = saved.life.expect("it can go on").until;
    segment.nodes[1] = None;
    segment.run(Duration::from_millis(300));
    assert!(segment.now < until);
    resume(&mut segment, 1, &saved, &clients);
    segment.run(SECOND);
    assert!(!segment.notices.iter().any(|(_, notice)| matches!(notice, Notice::PeerGone { .. })));
    assert_eq!(segment.node(1).state(), State::Active);
    let again = kept(&mut segment, 1);
    assert!(clients.iter().all(|one| again.contains(one)));
}

/// A life that was dead once, and came back, goes on after a crash as any other does.
#[test]
fn a_life_that_was_dead_once_is_repaired_too() {
    let mut segment = Segment::new(3);
    segment.run(SECOND * 2);
    let stopped = segment.nodes[1].take();
    segment.run(SECOND * 2);
    segment.nodes[1] = stopped;
    segment.run(SECOND * 4);
    assert_eq!(segment.node(1).state(), State::Active, "it was fenced, and is back");
    let clients = kept(&mut segment, 1);
    crash(&mut segment, 1, &clients);
    segment.run(SECOND);
    assert_eq!(segment.fences(), 0);
    assert_eq!(segment.node(1).state(), State::Active);
}

/// SPEC 6.11.3f: nobody else is there to give a sign that the receiver works, nor was before.
#[test]
fn whoever_was_alone_goes_on_alone() {
    let mut segment = Segment::new(1);
    segment.run(SECOND * 2);
    segment.others = false;
    segment.run(SECOND * 2);
    let clients = kept(&mut segment, 0);
    crash(&mut segment, 0, &clients);
    segment.run(SECOND * 4);
    assert_eq!(segment.node(0).state(), State::Active);
    assert_eq!(kept(&mut segment, 0), clients);
    assert_eq!(segment.fences(), 0);
}

#[test]
fn a_process_that_comes_too_late_begins_anew() {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 2);
    let clients = kept(&mut segment, 1);
    let saved = segment.node(1).saved();
    segment.nodes[1] = None;
    segment.run(SECOND);
    resume(&mut segment, 1, &saved, &clients);
    let now = segment.now;
    segment.node(1).handle_timeout(now, now);
    assert_eq!(segment.node(1).state(), State::Fenced);
    assert_eq!(segment.node(1).snapshot(now).clients, 0);
    assert!(segment.node(1).saved().life.is_none());
    assert!(segment.node(1).poll_plan().is_some_and(|plan| plan.flush));
}

#[test]
fn whoever_keeps_nobody_leaves() {
    let mut segment = Segment::new(2);
    let now = segment.now;
    assert!(segment.node(0).saved().life.is_none());
    assert!(segment.node(0).handle_command(Command::Restart { hold: HOLD }, now).is_ok());
    assert_eq!(segment.node(0).state(), State::Leaving);
    // Without offload nothing is in the kernel that could be gone on with.
    let plain = Config { offload: false, ..config(3) };
    segment.nodes.push(Some(Engine::new(plain, now)));
    segment.run(SECOND * 3);
    assert_eq!(segment.node(2).state(), State::Active);
    assert!(segment.node(2).saved().life.is_none());
}

#[test]
fn a_hold_that_cannot_be_is_refused() {
    let mut segment = Segment::new(1);
    let now = segment.now;
    for hold in [SECOND, SECOND * 66] {
        let refused = segment.node(0).handle_command(Command::Restart { hold }, now);
        assert!(matches!(refused, Err(CommandError::Hold { .. })), "{hold:?}");
    }
}

#[test]
fn whoever_asks_twice_does_not_wait() {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 2);
    kept(&mut segment, 0);
    let now = segment.now;
    assert!(segment.node(0).handle_command(Command::Leave, now).is_ok());
    assert!(segment.node(0).handle_command(Command::LeaveNow, now).is_ok());
    // Less than the clients are given, which is the linger time: only the farewells are said.
    segment.run(Duration::from_millis(290));
    assert!(segment.notices.contains(&(0, Notice::Left)));
}

/// A node that joins holds no pins of one that restarts, so it waits.
#[test]
fn nobody_joins_past_a_node_that_restarts() {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 2);
    let now = segment.now;
    assert!(segment.node(0).handle_command(Command::Restart { hold: SECOND * 4 }, now).is_ok());
    while segment.node(0).held().is_none() {
        segment.run(Duration::from_millis(1));
    }
    segment.nodes[0] = None;
    let now = segment.now;
    segment.nodes.push(Some(Engine::new(config(3), now)));
    segment.run(SECOND * 3);
    assert_eq!(segment.node(2).state(), State::Joining);
    segment.run(SECOND * 3);
    assert_eq!(segment.node(2).state(), State::Active);
}
