//! The checkers see: with each of these mistakes made on purpose, some seed fails soon.

use nlb_sim::{Mutation, Scenario, cuts, run};

fn is_found(mutation: Mutation, scenario: Scenario, seeds: u64) {
    let found = (0..seeds).find(|seed| {
        !run(scenario, *seed, scenario.nodes(), Some(mutation), false).violations.is_empty()
    });
    assert!(found.is_some(), "{mutation:?} was not found in {seeds} seeds");
}

#[test]
fn plans_confirmed_before_they_are_applied() {
    is_found(Mutation::EarlyAck, Scenario::Cuts, 40);
}

#[test]
fn a_kernel_that_keeps_its_clients() {
    is_found(Mutation::IgnoreFlush, Scenario::Churn, 20);
}

#[test]
fn a_gate_that_never_closes() {
    is_found(Mutation::NoLease, Scenario::Churn, 20);
}

#[test]
fn buckets_taken_before_they_are_released() {
    is_found(Mutation::HideAccepts, Scenario::Planned, 20);
}

#[test]
fn views_that_nobody_agreed_on() {
    is_found(Mutation::FakeAgreement, Scenario::Planned, 20);
}

#[test]
fn pins_that_do_not_arrive() {
    is_found(Mutation::NoPins, Scenario::Planned, 20);
}

#[test]
fn answered_packets_that_are_not_told() {
    is_found(Mutation::NoAnswered, Scenario::Churn, 20);
}

#[test]
fn a_clock_that_stands_still_while_stopped() {
    is_found(Mutation::StoppedClock, Scenario::Noisy, 100);
}

/// R6 guards what a cut keeps from agreeing, and that is counted apart: one of two nodes is not
/// heard by the other, which takes over.
#[test]
fn a_node_that_believes_it_is_heard() {
    let twice = |mutation| cuts::run(2, &[(0, 1)], None, 1, 10, mutation, false).across_cuts;
    assert_eq!(twice(None), 0);
    assert!(twice(Some(Mutation::AlwaysHeard)) > 100);
}
