//! Schedules of every kind, checked packet by packet. `cargo xtask sim` runs many more.

use nlb_sim::schedule::{Attack, Fault, Timed};
use nlb_sim::{Options, Scenario, Schedule, cuts, run};

fn schedules(scenario: Scenario, seeds: core::ops::Range<u64>) {
    for seed in seeds {
        let outcome = run(&scenario.schedule(seed), Options::default());
        assert_eq!(
            outcome.violation,
            None,
            "replay: cargo xtask sim --seed {seed} --scenario {} --trace",
            scenario.word()
        );
    }
}

#[test]
fn chaos() {
    schedules(Scenario::Chaos, 0..60);
}

#[test]
fn more_chaos() {
    schedules(Scenario::Chaos, 60..120);
}

#[test]
fn churn() {
    schedules(Scenario::Churn, 0..20);
}

#[test]
fn noisy() {
    schedules(Scenario::Noisy, 0..10);
}

#[test]
fn fast() {
    schedules(Scenario::Fast, 0..20);
}

#[test]
fn one_way_cuts() {
    schedules(Scenario::Cuts, 0..20);
}

/// SPEC 6.8.2a: a fenced node waits for one that leaves and does not hear it, whose clients it
/// cannot know.
#[test]
fn who_leaves_behind_a_one_way_cut_answers_alone() {
    let outcome = run(&Scenario::Cuts.schedule(3003), Options::default());
    assert_eq!((outcome.violation, outcome.excused.one_way), (None, 0));
}

#[test]
fn partitions() {
    schedules(Scenario::Partitions, 0..10);
}

#[test]
fn deaf_nodes() {
    schedules(Scenario::Deaf, 0..10);
}

#[test]
fn planned_changes_lose_nothing() {
    schedules(Scenario::Planned, 0..20);
}

/// SPEC 6.2: whoever has no key changes nothing, not even for a packet.
#[test]
fn attackers_change_nothing() {
    for seed in 0..3 {
        for kind in [Attack::Replay, Attack::Corrupt, Attack::Forge] {
            let mut schedule = Scenario::Planned.schedule(seed);
            let nodes = schedule.nodes.len();
            for (index, at_us) in (3_000_000..10_000_000).step_by(100_000).enumerate() {
                let fault = Fault::Attack(kind, 1 + index % nodes, 40);
                schedule.faults.push(Timed { at_us, fault });
            }
            schedule.faults.sort_by_key(|timed| timed.at_us);
            let outcome = run(&schedule, Options::default());
            assert_eq!(outcome.violation, None, "seed {seed}, {kind:?}");
        }
    }
}

/// SPEC 6.11.3.
#[test]
fn restarts() {
    schedules(Scenario::Restarts, 0..15);
}

#[test]
fn planned_restarts_lose_nothing() {
    schedules(Scenario::Rolling, 0..12);
}

/// I3 with links that stay cut, and a node that comes back behind them.
#[test]
fn cuts_that_stay() {
    schedules(Scenario::Standing, 0..25);
}

#[test]
fn stalls_while_another_dies() {
    schedules(Scenario::Stalls, 0..15);
}

/// SPEC 6.9, known limit: machines that a hypervisor stops, their clocks too.
#[test]
fn clocks_that_stand_still() {
    schedules(Scenario::Frozen, 0..15);
}

/// SPEC 6.2: what happens at the bounds.
#[test]
fn little_room_and_small_slices() {
    schedules(Scenario::Bounds, 0..40);
}

#[test]
fn upgrades() {
    schedules(Scenario::Upgrades, 0..40);
}

#[test]
fn a_weight_every_50_ms() {
    for seed in 0..3 {
        let outcome = run(&Scenario::Weights.schedule(seed), Options::default());
        assert_eq!(outcome.violation, None);
        let (served, buckets) = outcome.served;
        assert!(served * 1000 >= buckets * 987, "{served} of {buckets} buckets served");
    }
}

/// Schedules that once failed, reduced to what it took.
#[test]
fn what_failed_once_does_not_again() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("kept");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let schedule = Schedule::from_text(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let violation = run(&schedule, Options::default()).violation;
        assert_eq!(violation, None, "{}", path.display());
        count += 1;
    }
    assert!(count > 0);
}

/// I7: the same schedule gives the same run, also when it comes out of a file.
#[test]
fn a_run_repeats_itself() {
    for (scenario, seed) in [(Scenario::Churn, 7), (Scenario::Partitions, 7), (Scenario::Chaos, 3)]
    {
        let schedule = scenario.schedule(seed);
        let kept = Schedule::from_text(&schedule.to_text().unwrap()).unwrap();
        assert_eq!(schedule, kept);
        let hashes = [schedule, kept].map(|schedule| run(&schedule, Options::default()).hash);
        assert_eq!(hashes[0], hashes[1], "{scenario:?}");
    }
}

#[test]
fn a_file_that_is_no_schedule_says_why() {
    let text = Scenario::Churn.schedule(1).to_text().unwrap();
    for (bad, why) in [
        (text.replace("Boot(4)", "Boot(5)"), "no such node: Boot(5)"),
        (text.replace("paths: 1", "paths: 0"), "1 to 8 paths"),
        (text.replace("heartbeat_us: 100000", "heartbeat_us: 500000"), "five heartbeats"),
        (text.replace("min_members", "members"), "min_members"),
    ] {
        let error = Schedule::from_text(&bad).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

/// I3: every set of one or two one-way cuts, every deaf node and every mute one.
#[test]
fn every_pair_of_cuts_settles() {
    let mut times = Vec::new();
    for nodes in [3, 4] {
        for (number, set) in cuts::all(nodes).iter().enumerate() {
            let settled = cuts::run(nodes, set, number as u64, 10, Options::default());
            assert_eq!(
                settled.violation, None,
                "replay: cargo xtask sim --cuts {nodes} --set {number} --trace"
            );
            times.push(settled.after_ms);
        }
    }
    let worst = times.iter().max().copied().unwrap_or_default();
    assert!(worst <= 4500, "settled after {worst} ms");
}
