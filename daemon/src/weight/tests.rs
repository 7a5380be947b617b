use super::*;

fn seconds(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

fn weight(value: u16) -> Weight {
    Weight::new(value).unwrap()
}

const INTERVAL: Duration = Duration::from_secs(7);

#[test]
fn the_formula() {
    let load = |one| Some(Load { one, five: 0.0, fifteen: 4.0, cores: 4 });
    assert_eq!(WeightSource::LoadAverage.initial(load(0.0)).get(), 100);
    assert_eq!(WeightSource::LoadAverage.initial(load(4.0)).get(), 200);
    assert_eq!(WeightSource::LoadAverage.initial(load(36.0)).get(), 1000);
    assert_eq!(WeightSource::LoadAverage5.initial(load(36.0)).get(), 100);
    assert_eq!(WeightSource::LoadAverage15.initial(load(0.0)).get(), 200);
    assert_eq!(WeightSource::LoadAverage.initial(load(1e12)).get(), 65535);
    assert_eq!(WeightSource::LoadAverage.initial(load(-3.0)).get(), 100);
    assert_eq!(WeightSource::LoadAverage.initial(load(f64::NAN)), Weight::DEFAULT);
    assert_eq!(WeightSource::Manual(weight(7)).initial(None).get(), 7);
}

#[test]
fn small_changes_are_none() {
    let mut damper = Damper::new(INTERVAL, weight(100));
    for second in 0..100 {
        let load = if second % 2 == 0 { 0.0 } else { 0.2 };
        assert_eq!(damper.sample(load, seconds(second)), None);
    }
}

#[test]
fn changes_at_most_once_per_interval() {
    let mut damper = Damper::new(INTERVAL, weight(100));
    let mut changes = Vec::new();
    for second in 0..60 {
        // A load that rises and never rests.
        if damper.sample(second as f64, seconds(second)).is_some() {
            changes.push(second);
        }
    }
    assert!(changes.len() >= 4, "{changes:?}");
    assert!(changes.windows(2).all(|pair| pair[1] - pair[0] >= 7), "{changes:?}");
}

#[test]
fn one_spike_is_smoothed() {
    let mut damper = Damper::new(Duration::ZERO, weight(100));
    assert_eq!(damper.sample(0.0, seconds(0)), None);
    // A quarter of the way: 100 × (1 + 0.5).
    assert_eq!(damper.sample(2.0, seconds(1)), Some(weight(150)));
    assert_eq!(damper.sample(f64::INFINITY, seconds(2)), None);
}

/// Share drives load drives weight: nodes of different strength under one demand. The load
/// averages lag by a minute, as the kernel's do.
fn closed_loop(strengths: &[f64], demand: f64, hours: u64) -> (Vec<u16>, u64) {
    let mut loads = vec![0.0; strengths.len()];
    let mut dampers = vec![Damper::new(INTERVAL, weight(100)); strengths.len()];
    let mut last_change = 0;
    for second in 0..hours * 3600 {
        let total: f64 = dampers.iter().map(|d| 1.0 / f64::from(d.weight().get())).sum();
        for ((load, damper), strength) in loads.iter_mut().zip(&mut dampers).zip(strengths) {
            let share = 1.0 / f64::from(damper.weight().get()) / total;
            let instant = demand * share / strength;
            *load += (instant - *load) / 60.0;
            if damper.sample(*load, seconds(second)).is_some() {
                last_change = second;
            }
        }
    }
    (dampers.iter().map(|d| d.weight().get()).collect(), last_change)
}

#[test]
fn the_closed_loop_settles() {
    for strengths in [vec![1.0, 1.0], vec![1.0, 2.0], vec![1.0, 1.0, 4.0], vec![1.0; 8]] {
        for demand in [0.1, 1.0, 3.0, 10.0, 100.0, 1000.0] {
            let (weights, last_change) = closed_loop(&strengths, demand, 2);
            assert!(last_change < 1200, "{strengths:?} {demand}: {weights:?}, {last_change} s");
        }
    }
    // The stronger node ends up with more.
    let (weights, _) = closed_loop(&[1.0, 4.0], 4.0, 1);
    assert!(weights[0] > weights[1], "{weights:?}");
}

#[test]
fn sources_change_hands() {
    let load = Load { one: 3.0, five: 0.0, fifteen: 0.0, cores: 1 };
    let mut weigher = Weigher::new(WeightSource::LoadAverage, INTERVAL, weight(100));
    assert_eq!(weigher.sample(load, seconds(0)), Some(weight(400)));
    // Manual without a weight keeps the present one.
    assert_eq!(weigher.set_source(None), None);
    assert_eq!(weigher.source(), WeightSource::Manual(weight(400)));
    assert_eq!(weigher.sample(load, seconds(100)), None);
    assert_eq!(weigher.set_source(Some(WeightSource::Manual(weight(9)))), Some(weight(9)));
    assert_eq!(weigher.weight(), weight(9));
    assert_eq!(weigher.set_source(Some(WeightSource::LoadAverage)), None);
    assert_eq!(weigher.sample(load, seconds(101)), Some(weight(400)));
}

#[test]
fn the_load_can_be_read() {
    let load = read_load().unwrap();
    assert!(load.cores >= 1 && load.one >= 0.0 && load.fifteen.is_finite());
}
