//! SPEC 6.7.6: who is asked about, who ends, who does not.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use super::RESTORE;
use crate::engine::tests::Segment;
use crate::packet::{Finding, Verdict};

const IDLE: Duration = Duration::from_secs(1800);

fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(number))
}

/// A lone node that keeps so many clients.
fn keeping(count: u32) -> Segment {
    let mut segment = Segment::new(1);
    segment.run(Duration::from_secs(2));
    for id in 1..=count {
        assert_eq!(segment.packet(id, id), [Verdict::Accept]);
    }
    segment
}

/// Lets time pass in steps of a heartbeat, up to the first question.
fn until_asked(segment: &mut Segment, limit: Duration) -> Option<Vec<IpAddr>> {
    let end = segment.now + limit;
    while segment.now < end {
        segment.now = segment.now + Duration::from_millis(100);
        let now = segment.now;
        segment.node(0).handle_timeout(now, now);
        segment.poll(0);
        if let Some(question) = segment.node(0).poll_question(now) {
            return Some(question);
        }
    }
    None
}

fn answer(segment: &mut Segment, client: IpAddr, left: Option<Duration>, connected: bool) {
    let now = segment.now;
    segment.node(0).handle_findings(&[Finding { client, left, connected }], now, now);
}

fn keeps(segment: &mut Segment) -> usize {
    let now = segment.now;
    segment.node(0).snapshot(now).clients
}

#[test]
fn only_clients_unheard_of_for_long_are_asked_about() {
    let mut segment = keeping(3);
    assert_eq!(until_asked(&mut segment, IDLE * 3 / 4), None);
    let question = until_asked(&mut segment, IDLE / 8).expect("somebody is asked about");
    assert!(question.iter().all(|client| (1..=3).any(|id| *client == address(id))));
    // Used by the kernel a moment ago: not asked about again for long.
    for id in 1..=3 {
        answer(&mut segment, address(id), Some(IDLE), false);
    }
    assert_eq!(until_asked(&mut segment, IDLE / 2), None);
    assert_eq!(keeps(&mut segment), 3);
}

#[test]
fn a_client_that_the_kernel_let_go_ends_unless_it_is_connected() {
    let mut segment = keeping(2);
    until_asked(&mut segment, IDLE).expect("a question");
    answer(&mut segment, address(1), None, false);
    answer(&mut segment, address(2), None, true);
    assert_eq!(keeps(&mut segment), 1);
    let plan = segment.node(0).poll_plan().expect("a plan");
    assert_eq!(plan.renew, [address(2)]);
}

#[test]
fn an_open_connection_begins_the_time_anew_and_an_idle_client_keeps_its_own() {
    let mut segment = keeping(2);
    until_asked(&mut segment, IDLE).expect("a question");
    answer(&mut segment, address(1), Some(IDLE / 10), true);
    answer(&mut segment, address(2), Some(IDLE / 10), false);
    let plan = segment.node(0).poll_plan().expect("a plan");
    assert_eq!(plan.renew, [address(1)]);
    assert_eq!(keeps(&mut segment), 2);
}

/// The entry was looked for before the packet that made it.
#[test]
fn a_client_that_was_admitted_meanwhile_does_not_end() {
    let mut segment = keeping(1);
    until_asked(&mut segment, IDLE).expect("a question");
    assert_eq!(segment.packet(10, 1), [Verdict::Accept]);
    answer(&mut segment, address(1), None, false);
    assert_eq!(keeps(&mut segment), 1);
}

#[test]
fn what_the_kernel_lost_comes_back_in_parts() {
    let count = 3 * u32::try_from(RESTORE).expect("small");
    let mut segment = keeping(count);
    let now = segment.now;
    segment.node(0).handle_sticky_lost(now);
    let mut back = Vec::new();
    let mut plans = 0;
    while let Some(plan) = segment.node(0).poll_plan() {
        assert!(plan.remember.len() < RESTORE + 100, "{} at once", plan.remember.len());
        assert!(segment.node(0).poll_plan().is_none(), "the next part waits for this one");
        back.extend(plan.remember);
        plans += 1;
        segment.node(0).handle_applied(plan.generation, now);
    }
    assert!(plans >= 3);
    back.sort_unstable();
    assert_eq!(back, (1..=count).map(address).collect::<Vec<_>>());
}
