//! Schedules of every kind, checked packet by packet. `nlb-sim` runs many more.

use nlb_sim::{Scenario, cuts, run};

fn schedules(scenario: Scenario, seeds: core::ops::Range<u64>) {
    for seed in seeds {
        let nodes = scenario.nodes();
        let outcome = run(scenario, seed, nodes, None, false);
        assert!(
            outcome.violations.is_empty(),
            "{:?}\nreplay: cargo xtask sim --seed {seed} --nodes {nodes} --scenario {} --trace",
            outcome.violations.first(),
            scenario.word()
        );
    }
}

#[test]
fn churn() {
    schedules(Scenario::Churn, 0..40);
}

#[test]
fn noisy() {
    schedules(Scenario::Noisy, 0..20);
}

#[test]
fn fast() {
    schedules(Scenario::Fast, 0..30);
}

#[test]
fn one_way_cuts() {
    schedules(Scenario::Cuts, 0..20);
}

#[test]
fn partitions() {
    schedules(Scenario::Partitions, 0..20);
}

#[test]
fn deaf_nodes() {
    schedules(Scenario::Deaf, 0..20);
}

#[test]
fn planned_changes_lose_nothing() {
    schedules(Scenario::Planned, 0..30);
}

/// SPEC 6.11.3; the seeds found a peer that left, one that was forgotten, one that was away, and a log that was told after it was void.
#[test]
fn restarts() {
    schedules(Scenario::Restarts, 0..30);
    for seed in [43, 107, 253, 429, 452] {
        schedules(Scenario::Restarts, seed..seed + 1);
    }
}

#[test]
fn planned_restarts_lose_nothing() {
    schedules(Scenario::Rolling, 0..50);
}

#[test]
fn a_weight_every_50_ms() {
    for seed in 0..4 {
        let outcome = run(Scenario::Weights, seed, 4, None, false);
        assert_eq!(outcome.violations, []);
        let (served, buckets) = outcome.served;
        assert!(served * 1000 >= buckets * 987, "{served} of {buckets} buckets served");
    }
}

/// I7: the same seed gives the same run.
#[test]
fn a_run_repeats_itself() {
    for scenario in [Scenario::Churn, Scenario::Partitions] {
        let hashes = [(); 2].map(|()| run(scenario, 7, 4, None, false).hash);
        assert_eq!(hashes[0], hashes[1], "{scenario:?}");
    }
}

/// I3: every set of one or two one-way cuts, and every deaf node.
#[test]
fn every_pair_of_cuts_settles() {
    let mut times = Vec::new();
    for nodes in [3, 4] {
        for (number, (set, deaf)) in cuts::all(nodes).iter().enumerate() {
            let settled = cuts::run(nodes, set, *deaf, number as u64, 10, None, false);
            assert_eq!(
                settled.violations,
                [],
                "replay: cargo xtask sim --cuts {nodes} --set {number} --trace"
            );
            times.push(settled.after_ms);
        }
    }
    let worst = times.iter().max().copied().unwrap_or_default();
    assert!(worst <= 4500, "settled after {worst} ms");
}
