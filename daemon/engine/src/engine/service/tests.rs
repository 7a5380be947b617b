//! Nodes whose services are ill, one, some and all (SPEC 6.8.6).

use core::time::Duration;

use nlb_protocol::frame::{Health, State};

use super::super::tests::Segment;
use super::Withdraw;
use crate::manage::Command;
use crate::notice::{FenceCause, Notice};
use crate::packet::Verdict;

const SETTLED: Duration = Duration::from_secs(5);

fn say(segment: &mut Segment, index: usize, health: Health) {
    let now = segment.now;
    segment.node(index).handle_health(health, Withdraw::WhileOthersAreWell, now);
}

fn states(segment: &mut Segment) -> Vec<State> {
    (0..segment.nodes.len()).map(|index| segment.node(index).state()).collect()
}

fn fences(segment: &Segment) -> usize {
    let ill = |notice: &Notice| matches!(notice, Notice::State { cause: Some(cause), .. } if *cause == FenceCause::Ill);
    segment.notices.iter().filter(|(_, notice)| ill(notice)).count()
}

fn running(count: u64) -> Segment {
    let mut segment = Segment::new(count);
    segment.run(SETTLED);
    assert!(states(&mut segment).iter().all(|state| *state == State::Active));
    segment
}

#[test]
fn a_node_whose_service_is_ill_goes_and_comes_back() {
    let mut segment = running(3);
    say(&mut segment, 1, Health::Ill);
    assert_eq!(segment.node(1).state(), State::Active, "it says so first");
    segment.run(Duration::from_millis(400));
    assert_eq!(states(&mut segment), [State::Active, State::Fenced, State::Active]);
    segment.run(SETTLED);
    assert_eq!(states(&mut segment), [State::Active, State::Fenced, State::Active]);
    let held: usize = [0, 2].map(|index| segment.node(index).accepts().len()).iter().sum();
    assert_eq!(held, 4096, "the others have every bucket");
    say(&mut segment, 1, Health::Well);
    segment.run(SETTLED);
    assert_eq!(states(&mut segment), [State::Active; 3]);
    assert_eq!(fences(&segment), 1);
}

#[test]
fn its_clients_are_released_and_answered_elsewhere() {
    let mut segment = running(2);
    let client = (0..1000).find(|client| segment.packet(1, *client)[1] == Verdict::Accept);
    let client = client.expect("the second node has a share");
    // Draining keeps it.
    let now = segment.now;
    let drain = Command::Drain { timeout: None, force: true };
    segment.node(1).handle_command(drain, now).expect("it may drain");
    segment.run(SETTLED);
    assert_eq!(segment.packet(2, client)[1], Verdict::Accept);
    say(&mut segment, 1, Health::Ill);
    segment.run(SETTLED);
    assert_eq!(segment.node(1).state(), State::Fenced);
    assert_eq!(segment.packet(3, client)[0], Verdict::Accept);
}

#[test]
fn when_all_become_ill_at_once_nobody_goes() {
    let mut segment = running(3);
    for index in 0..3 {
        say(&mut segment, index, Health::Ill);
    }
    segment.run(SETTLED);
    assert_eq!(states(&mut segment), [State::Active; 3]);
    assert_eq!(fences(&segment), 0);
}

#[test]
fn when_the_last_becomes_ill_all_serve_and_one_that_is_well_is_enough_to_end_that() {
    let mut segment = running(3);
    say(&mut segment, 0, Health::Ill);
    segment.run(SETTLED);
    say(&mut segment, 1, Health::Ill);
    segment.run(SETTLED);
    assert_eq!(states(&mut segment), [State::Fenced, State::Fenced, State::Active]);
    say(&mut segment, 2, Health::Ill);
    segment.run(SETTLED);
    assert_eq!(states(&mut segment), [State::Active; 3]);
    // For as long as nothing changes, nobody moves.
    let before = fences(&segment);
    segment.run(SETTLED * 6);
    assert_eq!((states(&mut segment), fences(&segment)), (vec![State::Active; 3], before));
    say(&mut segment, 0, Health::Well);
    segment.run(SETTLED);
    assert_eq!(states(&mut segment), [State::Active, State::Fenced, State::Fenced]);
    segment.run(SETTLED * 6);
    assert_eq!(fences(&segment), before + 2);
}

#[test]
fn what_a_check_leads_to_is_the_nodes_own_affair() {
    let mut segment = running(2);
    let now = segment.now;
    segment.node(0).handle_health(Health::Ill, Withdraw::Never, now);
    segment.run(SETTLED);
    assert_eq!(states(&mut segment), [State::Active; 2]);
    let now = segment.now;
    segment.node(1).handle_health(Health::Ill, Withdraw::Always, now);
    segment.run(SETTLED);
    assert_eq!(states(&mut segment), [State::Active, State::Fenced]);
}

#[test]
fn one_that_is_alone_serves_however_ill_it_is() {
    let mut segment = running(1);
    say(&mut segment, 0, Health::Ill);
    segment.run(SETTLED);
    assert_eq!(states(&mut segment), [State::Active]);
}

#[test]
fn a_node_that_is_ill_does_not_join_beside_one_that_is_well() {
    let mut segment = running(1);
    segment.join(2);
    say(&mut segment, 1, Health::Ill);
    segment.run(SETTLED);
    assert_eq!(states(&mut segment), [State::Active, State::Fenced]);
}
