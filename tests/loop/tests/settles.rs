//! The closed loop settles, serves better than equal shares, and does not swing.

use nlb_loop::stats::{mean, swing, within};
use nlb_loop::{Arrivals, Law, Run, Setting, run};
use nlbd::weight::WeightSource;

/// A swing is a series that repeats itself at more than this: see `stats::swing`.
const SWINGS: f64 = 0.5;

fn under(load: f64, arrivals: Arrivals, law: Law) -> Run {
    let cores = vec![1.0, 2.0, 4.0];
    let load = vec![(0, load)];
    run(&Setting { cores, load, arrivals, law, length: 240, from: 60, seed: 11 })
}

fn strays(outcome: &Run) -> f64 {
    outcome.shares.iter().map(|all| within(&all[60..], 0.05)).fold(1.0, f64::min)
}

#[test]
fn shares_follow_what_the_servers_can_do() {
    for load in [0.3, 0.6, 0.8] {
        let outcome = under(load, Arrivals::Poisson, Law::Daemon(WeightSource::Cpu));
        for (shares, wanted) in outcome.shares.iter().zip([1.0 / 7.0, 2.0 / 7.0, 4.0 / 7.0]) {
            let share = mean(&shares[60..]);
            assert!((share / wanted - 1.0).abs() < 0.1, "{load}: {share} instead of {wanted}");
        }
        assert!(strays(&outcome) > 0.9, "{load}: within 5 % for {}", strays(&outcome));
        let swings = outcome.shares.iter().map(|all| swing(&all[60..])).fold(0.0, f64::max);
        assert!(swings < SWINGS, "{load}: swings by {swings}");
    }
}

#[test]
fn everybody_is_answered_sooner_than_by_equal_shares() {
    for arrivals in [Arrivals::Poisson, Arrivals::Bursts, Arrivals::Heavy] {
        for load in [0.3, 0.9] {
            let equal = under(load, arrivals, Law::Equal).latency_ms(99.0);
            for source in [WeightSource::Cpu, WeightSource::LoadAverage] {
                let weighed = under(load, arrivals, Law::Daemon(source)).latency_ms(99.0);
                assert!(weighed < equal, "{arrivals:?} {load} {source:?}: {weighed} {equal}");
            }
        }
    }
}

#[test]
fn the_original_strays() {
    let original = under(0.6, Arrivals::Poisson, Law::Original);
    assert!(strays(&original) < 0.5, "within 5 % for {}", strays(&original));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let law = Law::Daemon(WeightSource::Cpu);
    let (first, second) = (under(0.5, Arrivals::Heavy, law), under(0.5, Arrivals::Heavy, law));
    assert_eq!(first.shares, second.shares);
    assert_eq!(first.latencies, second.latencies);
}
