//! The checkers see: with each of these mistakes made on purpose, some seed fails soon.
//! `cargo xtask sim --mutations` makes all of them, over more seeds.

use nlb_sim::schedule::{Fault, Schedule};
use nlb_sim::{Mutation, Options, Scenario, cuts, run, shrink};

fn options(mutation: Option<Mutation>) -> Options {
    Options { mutation, trace: false }
}

fn is_found(mutation: Mutation, scenario: Scenario, seeds: u64) {
    let found = (0..seeds)
        .find(|seed| run(&scenario.schedule(*seed), options(Some(mutation))).violation.is_some());
    assert!(found.is_some(), "{mutation:?} was not found in {seeds} seeds");
}

#[test]
fn a_kernel_that_keeps_its_clients() {
    is_found(Mutation::IgnoreFlush, Scenario::Churn, 40);
}

#[test]
fn a_gate_that_never_closes() {
    is_found(Mutation::NoLease, Scenario::Churn, 40);
}

#[test]
fn buckets_taken_before_they_are_released() {
    is_found(Mutation::HideAccepts, Scenario::Planned, 40);
}

#[test]
fn views_that_nobody_agreed_on() {
    is_found(Mutation::FakeAgreement, Scenario::Planned, 40);
}

#[test]
fn pins_that_do_not_arrive() {
    is_found(Mutation::NoPins, Scenario::Planned, 40);
}

#[test]
fn answered_packets_that_are_not_told() {
    is_found(Mutation::NoAnswered, Scenario::Churn, 40);
}

#[test]
fn packets_that_count_from_when_they_were_read() {
    is_found(Mutation::PacketsNow, Scenario::Stalls, 30);
}

#[test]
fn silence_that_is_judged_before_what_came_was_read() {
    let kept = include_str!("../kept/silence-is-judged-when-what-waits-was-read.ron");
    let schedule = Schedule::from_text(kept).expect("it was written by the simulator");
    assert_eq!(run(&schedule, options(None)).violation, None);
    assert!(run(&schedule, options(Some(Mutation::UnreadSilence))).violation.is_some());
}

#[test]
fn a_machine_that_is_not_told_that_it_was_dead() {
    is_found(Mutation::NeverTold, Scenario::Frozen, 60);
}

#[test]
fn a_node_that_does_not_listen() {
    is_found(Mutation::NoListening, Scenario::Stalls, 20);
}

#[test]
fn a_deaf_node_that_believes_it_hears() {
    is_found(Mutation::AlwaysWitness, Scenario::Standing, 30);
}

#[test]
fn a_node_that_becomes_active_unasked() {
    is_found(Mutation::JoinUnasked, Scenario::Standing, 60);
}

/// R6 guards what a cut keeps from agreeing, and that is counted apart: one of two nodes is not
/// heard by the other, which takes over.
#[test]
fn a_node_that_believes_it_is_heard() {
    let twice = |mutation| {
        cuts::run(2, &[Fault::Cut(1, 2, u8::MAX)], 1, 10, options(mutation)).excused.one_way
    };
    assert_eq!(twice(None), 0);
    assert!(twice(Some(Mutation::AlwaysHeard)) > 100);
}

/// A schedule that fails is reduced to one that fails alike and has fewer faults.
#[test]
fn a_failure_shrinks() {
    let schedule = Scenario::Planned.schedule(1);
    let limit = core::time::Duration::from_secs(20);
    let shrunk = shrink::shrink(&schedule, options(Some(Mutation::HideAccepts)), limit).unwrap();
    assert!(shrunk.schedule.faults.len() < schedule.faults.len() / 2);
    let again = run(&shrunk.schedule, options(Some(Mutation::HideAccepts))).violation;
    assert_eq!(again, Some(shrunk.violation));
}
