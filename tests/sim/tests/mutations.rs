//! The checkers see: with each of these mistakes made on purpose, some seed fails soon.

use nlb_sim::{Mutation, Scenario, run};

fn is_found(mutation: Mutation, scenario: Scenario, seeds: u64) {
    let found = (0..seeds).find(|seed| {
        !run(scenario, *seed, scenario.nodes(), Some(mutation), false).violations.is_empty()
    });
    assert!(found.is_some(), "{mutation:?} was not found in {seeds} seeds");
}

#[test]
fn plans_confirmed_before_they_are_applied() {
    is_found(Mutation::EarlyAck, Scenario::Cuts, 10);
}

#[test]
fn a_kernel_that_keeps_its_clients() {
    is_found(Mutation::IgnoreFlush, Scenario::Churn, 3);
}

#[test]
fn a_gate_that_never_closes() {
    is_found(Mutation::NoLease, Scenario::Churn, 5);
}

#[test]
fn buckets_taken_before_they_are_released() {
    is_found(Mutation::HideAccepts, Scenario::Planned, 3);
}

#[test]
fn views_that_nobody_agreed_on() {
    is_found(Mutation::FakeAgreement, Scenario::Planned, 3);
}

#[test]
fn pins_that_do_not_arrive() {
    is_found(Mutation::NoPins, Scenario::Planned, 3);
}

#[test]
fn answered_packets_that_are_not_told() {
    is_found(Mutation::NoAnswered, Scenario::Churn, 5);
}

#[test]
fn a_clock_that_stands_still_while_stopped() {
    is_found(Mutation::StoppedClock, Scenario::Churn, 30);
}

/// R6 guards what a cut keeps from agreeing, and that is counted apart.
#[test]
fn nodes_that_believe_they_are_heard() {
    let twice = |mutation| -> u64 {
        let runs = (0..20).map(|seed| run(Scenario::Cuts, seed, 4, mutation, false));
        runs.map(|outcome| outcome.across_cuts.0).sum()
    };
    let (honest, mistaken) = (twice(None), twice(Some(Mutation::AlwaysHeard)));
    assert!(mistaken > honest * 10 + 100, "{honest} twice without the mistake, {mistaken} with it");
}
