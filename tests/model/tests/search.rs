//! The search in a form that takes seconds: the engine holds, and mistakes are found.

use nlb_model::step::Memory;
use nlb_model::world::Violation;
use nlb_model::{Budget, Mutation, Report, Scenario, Search, scenario};

/// No fault at all.
const NONE: Budget = Budget {
    faults: 0,
    late: 1,
    lost: 1,
    doubled: 1,
    slow: 1,
    crashes: 1,
    stops: 1,
    packets: 0,
    orders: 0,
};

fn search(scenario: Scenario, depth: u16, budget: Budget, mutation: Option<Mutation>) -> Report {
    let mut memory = Memory::default();
    let start = scenario::start(scenario, 3, budget, &mut memory);
    let mut search = Search::new(start, memory, mutation);
    search.run(depth, 1_000_000, || false, |_, _| {})
}

fn assert_holds(scenario: Scenario, depth: u16, budget: Budget) {
    let report = search(scenario, depth, budget, None);
    assert_eq!(report.violation, None, "{scenario:?}");
    assert!(report.complete, "{scenario:?}: {} of {depth} steps", report.depth);
    assert!(report.states > u64::from(depth), "{scenario:?}: something is chosen: {report:?}");
}

/// Every order in which frames, plans and timers can come, without a fault: the whole of a planned
/// change (SPEC 6.6: I1).
#[test]
fn planned_changes_in_every_order() {
    for (scenario, depth) in
        [(Scenario::Weight, 24), (Scenario::Leave, 12), (Scenario::Drain, 12), (Scenario::Join, 24)]
    {
        assert_holds(scenario, depth, NONE);
    }
}

/// A client's packet at every instant of a change (SPEC 6.7, 6.9: I1, I2).
#[test]
fn a_packet_at_any_time_of_a_change() {
    assert_holds(Scenario::Weight, 4, Budget { packets: 1, ..NONE });
    assert_holds(Scenario::Fault, 12, Budget { packets: 2, ..NONE });
}

/// One frame late, lost or doubled, one plan late, one process dead or stopped, at any instant.
#[test]
fn one_fault_at_any_time() {
    assert_holds(Scenario::Weight, 3, Budget { faults: 1, ..NONE });
    assert_holds(Scenario::Fault, 8, Budget { faults: 1, ..NONE });
}

/// R4: who does not see what others accept takes it (SPEC 6.6.2b).
#[test]
fn a_bucket_taken_before_its_release_is_found() {
    for (scenario, depth) in [(Scenario::Leave, 6), (Scenario::Join, 16)] {
        let report = search(scenario, depth, NONE, Some(Mutation::HideAccepts));
        let found = report.violation;
        let shared = |found: &(Violation, Vec<String>)| {
            matches!(found.0, Violation::BucketShared { .. }) && !found.1.is_empty()
        };
        assert!(found.as_ref().is_some_and(shared), "{scenario:?}: {found:?}");
    }
}

/// R5: without a memory of who is where, a change of the table takes clients from whoever keeps
/// them (I2), and nobody answers twice for it.
#[test]
fn a_client_taken_from_a_node_that_lives_is_found() {
    let budget = Budget { packets: 1, ..NONE };
    let report = search(Scenario::Weight, 24, budget, Some(Mutation::NoMemory));
    let found = report.violation.map(|(violation, _)| violation);
    assert!(matches!(found, Some(Violation::ClientMoved { .. })), "{found:?}");
}

/// The same search twice finds the same (I7).
#[test]
fn a_search_is_repeatable() {
    let run = || {
        let report = search(Scenario::Weight, 8, NONE, None);
        (report.states, report.transitions, report.node_states, report.acts)
    };
    assert_eq!(run(), run());
}
