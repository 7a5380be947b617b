use nlb_engine::manage::NodeView;
use nlb_protocol::frame::{Load, State};
use nlb_protocol::{Incarnation, NodeId, Weight};

use super::*;

fn seconds(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

fn weight(value: u16) -> Weight {
    Weight::new(value).unwrap()
}

fn node(id: u64, state: State, weighs: u16, load: Load) -> NodeView {
    NodeView {
        id: NodeId(id),
        incarnation: Incarnation(1),
        name: String::new(),
        software: String::new(),
        load,
        health: Default::default(),
        state,
        weight: weight(weighs),
        buckets: 0,
        pins: 0,
        local: id == 1,
        hears_us: true,
        last_heard: Duration::ZERO,
        differs: Vec::new(),
    }
}

fn busy(busy: f64) -> Reading {
    Reading { cores: 4, busy: Some(busy), ..Reading::default() }
}

fn rules() -> WeightRules {
    WeightRules { warm_up: Duration::ZERO, ..WeightRules::default() }
}

#[test]
fn what_is_measured() {
    let reading = Reading {
        cores: 4,
        busy: Some(0.5),
        averages: Some([2.0, 80.0, f64::NAN]),
        memory: Some(0.75),
        connections: Some(400),
        command: Some(0.75),
    };
    let load = |source: WeightSource| source.load(&reading);
    assert_eq!(load(WeightSource::Cpu), Some(0.5));
    assert_eq!(load(WeightSource::Memory), Some(0.75));
    let roomy = Reading { memory: Some(0.25), ..reading };
    assert_eq!(WeightSource::Memory.load(&roomy), Some(0.5), "what is shorter counts");
    assert_eq!(load(WeightSource::Connections), Some(0.1));
    assert_eq!(load(WeightSource::Command), Some(0.75));
    assert_eq!(load(WeightSource::LoadAverage), Some(0.5), "nobody waits");
    let waiting = load(WeightSource::LoadAverage5).unwrap();
    assert!((0.6..0.8).contains(&waiting), "18 a core wait: {waiting}");
    assert_eq!(load(WeightSource::LoadAverage15), Some(0.5), "no number says nothing");
    assert_eq!(load(WeightSource::Manual(weight(9))), None);
    assert_eq!(WeightSource::Cpu.load(&Reading::default()), None);
}

#[test]
fn every_source_has_its_own_name_and_number() {
    for source in WeightSource::MEASURED {
        assert_eq!(WeightSource::measured(source.name()), Some(source));
        let same = |other: &&WeightSource| other.measure() == source.measure();
        assert_eq!(WeightSource::MEASURED.iter().filter(same).count(), 1);
        assert_ne!(source.measure(), 0);
    }
    assert_eq!(WeightSource::measured("manual"), None);
    assert_eq!(WeightSource::Manual(weight(1)).measure(), 0);
}

#[test]
fn this_machine_can_be_measured() {
    let mut meter = Meter::new();
    assert_eq!(meter.read(false).memory, None);
    let reading = meter.read(true);
    assert!(reading.cores > 0);
    assert!(reading.averages.is_some_and(|all| all.iter().all(|one| *one >= 0.0)));
    assert!(reading.memory.is_some_and(|part| (0.0..=1.0).contains(&part)));
    assert!(reading.busy.is_some_and(|part| (0.0..=1.0).contains(&part)));
}

#[test]
fn whoever_is_busier_takes_less() {
    let mut weigher = Weigher::new(WeightSource::Cpu, rules());
    let peer = Load { measure: 1, permille: 300 };
    let nodes = |own| {
        [
            node(1, State::Active, own, Load::default()),
            node(2, State::Active, 100, peer),
            // These say nothing that could be compared, or take no part.
            node(3, State::Active, 100, Load { measure: 2, permille: 9 }),
            node(4, State::Fenced, 100, Load { measure: 1, permille: 9 }),
        ]
    };
    let said = weigher.sample(&busy(0.9), seconds(0));
    assert_eq!(said, Load { measure: 1, permille: 900 });
    for second in 0..7 {
        weigher.sample(&busy(0.9), seconds(second));
        assert_eq!(weigher.decide(&nodes(100), seconds(second)), None, "once in an interval");
    }
    weigher.sample(&busy(0.9), seconds(7));
    let first = weigher.decide(&nodes(100), seconds(7)).unwrap();
    assert_eq!(first, weight(158), "the root of 1.0 over 0.4: the other goes half of the way");
    // As long as there is a difference.
    let mut last = first;
    for second in 8..60 {
        weigher.sample(&busy(0.9), seconds(second));
        last = weigher.decide(&nodes(last.get()), seconds(second)).unwrap_or(last);
    }
    assert!(last > first, "{last:?}");
}

/// Told is the load to be expected: a weight that changed is answered for before its clients went.
#[test]
fn a_step_is_not_taken_twice() {
    let mut weigher = Weigher::new(WeightSource::Cpu, rules());
    let nodes = |own| {
        [
            node(1, State::Active, own, Load::default()),
            node(2, State::Active, 100, Load { measure: 1, permille: 400 }),
        ]
    };
    let mut present = 100;
    let mut changes = Vec::new();
    let mut clients = 0.5;
    for second in 0..600 {
        let share = 1.0 / f64::from(present) / (1.0 / f64::from(present) + 0.01);
        clients += (share - clients) / 20.0;
        weigher.sample(&busy(1.2 * clients), seconds(second));
        if let Some(weight) = weigher.decide(&nodes(present), seconds(second)) {
            present = weight.get();
            changes.push((second, present));
        }
    }
    assert!(changes.is_sorted_by(|a, b| a.1 < b.1), "it goes back: {changes:?}");
    // Where 1.2 times the share are the other's 0.4.
    assert!((185..=205).contains(&present), "{changes:?}");
}

/// Clients that never go keep one of two nodes as busy as they do: what a change of weights leaves
/// of the difference is seen, and made up for.
#[test]
fn clients_that_never_go_do_not_make_it_creep() {
    let stay = [0.4, 0.0];
    let mut weighers = [0, 1].map(|_| Weigher::new(WeightSource::Cpu, rules()));
    let (mut weights, mut clients) = ([100; 2], [0.5; 2]);
    let mut shares = Vec::new();
    for second in 0..300 {
        let parts = weights.map(|weight| 1.0 / f64::from(weight));
        let share = parts.map(|part| part / (parts[0] + parts[1]));
        shares.push(share[0]);
        let mut told = [Load::default(); 2];
        for index in 0..2 {
            clients[index] += (share[index] - clients[index]) / 10.0;
            let load = stay[index] + 0.8 * clients[index];
            told[index] = weighers[index].sample(&busy(load), seconds(second));
        }
        let heard = weights;
        for index in 0..2 {
            let other = 1 - index;
            let nodes = [
                node(1, State::Active, heard[index], told[index]),
                node(2, State::Active, heard[other], told[other]),
            ];
            if let Some(weight) = weighers[index].decide(&nodes, seconds(second)) {
                weights[index] = weight.get();
            }
        }
    }
    // Both are at 0.6 where one has a quarter.
    let last = shares[299];
    assert!((0.24..0.27).contains(&last), "{last}: {shares:?}");
    let late = &shares[150..];
    assert!(late.iter().all(|share| (share / last - 1.0).abs() < 0.05), "{shares:?}");
}

#[test]
fn small_differences_and_idle_nodes_change_nothing() {
    for (own, peer) in [(0.51, 500), (0.0, 2), (0.002, 0), (0.96, 950)] {
        let mut weigher = Weigher::new(WeightSource::Cpu, rules());
        let nodes = [
            node(1, State::Active, 100, Load::default()),
            node(2, State::Active, 100, Load { measure: 1, permille: peer }),
        ];
        for second in 0..60 {
            weigher.sample(&busy(own), seconds(second));
            assert_eq!(weigher.decide(&nodes, seconds(second)), None, "{own} beside {peer}");
        }
    }
}

/// Three nodes whose load goes, as after their start, and who hear of each other's late.
#[test]
fn weights_stay_where_nobody_has_anything_to_do() {
    let mut weighers = vec![Weigher::new(WeightSource::Cpu, rules()); 3];
    let mut told = [[Load::default(); 3]; 3];
    let mut weights = [100; 3];
    let mut moved = [0, 0];
    for second in 0..300_u32 {
        let load = 0.005 + 0.3 * (-f64::from(second) / 10.0).exp();
        let quiet = told[0].iter().all(|told| f64::from(told.permille) < QUIET * 1000.0);
        let heard = weights;
        for local in 0..3 {
            told[2][local] = weighers[local].sample(&busy(load), seconds(second.into()));
            let views: Vec<NodeView> = (0..3)
                .map(|of| {
                    node(((of + 3 - local) % 3) as u64 + 1, State::Active, heard[of], told[0][of])
                })
                .collect();
            if let Some(new) = weighers[local].decide(&views, seconds(second.into())) {
                weights[local] = new.get();
                moved[usize::from(quiet)] += 1;
            }
        }
        told.rotate_left(1);
    }
    assert!(moved[0] > 0, "the test is about something");
    assert_eq!(moved[1], 0, "{weights:?}");
}

#[test]
fn the_weight_stays_in_its_range_whatever_is_measured() {
    let mut weigher = Weigher::new(WeightSource::Cpu, rules());
    let mut nodes = [
        node(1, State::Active, 100, Load::default()),
        node(2, State::Active, 100, Load { measure: 1, permille: 0 }),
    ];
    let mut highest = 0;
    for second in 0..2000 {
        let reading = if second % 3 == 0 { f64::NAN } else { 1e300 };
        weigher.sample(&busy(reading), seconds(second));
        highest = weigher.decide(&nodes, seconds(second)).map_or(highest, |w| highest.max(w.get()));
        if highest > 100 {
            nodes[0].weight = weight(highest);
        }
    }
    assert_eq!(highest, RANGE.1);
}

#[test]
fn a_starting_node_warms_up() {
    let rules = WeightRules { warm_up: Duration::from_secs(30), ..WeightRules::default() };
    let mut weigher = Weigher::new(WeightSource::Cpu, rules);
    assert_eq!(weigher.weight().get(), 400, "cold before anybody hears of it");
    let mut weights = Vec::new();
    for second in 0..60 {
        let state = if second < 5 { State::Joining } else { State::Active };
        let nodes = [node(1, state, 100, Load::default())];
        weigher.sample(&busy(0.1), seconds(second));
        if let Some(weight) = weigher.decide(&nodes, seconds(second)) {
            weights.push((second, weight.get()));
        }
    }
    assert!(weights.is_sorted_by(|a, b| a.1 > b.1), "{weights:?}");
    assert_eq!(weights.last().map(|(_, weight)| *weight), Some(100));
    assert_eq!(weights.last().map(|(second, _)| *second), Some(35));
    assert_eq!(weights.len(), 6, "{weights:?}");
    // Fenced: it begins again.
    let fenced = [node(1, State::Fenced, 100, Load::default())];
    assert_eq!(weigher.decide(&fenced, seconds(70)).unwrap().get(), 400);
}

#[test]
fn a_weight_set_by_hand_is_taken_at_once() {
    let mut weigher = Weigher::new(WeightSource::Manual(weight(250)), WeightRules::default());
    assert_eq!(weigher.weight(), weight(250));
    let manual = Some(WeightSource::Manual(weight(7)));
    assert_eq!(weigher.set_source(manual), Some(weight(7)));
    assert_eq!(weigher.set_source(manual), None);
    assert_eq!(weigher.sample(&busy(0.9), seconds(1)), Load::default(), "nothing to compare");
    assert_eq!(weigher.decide(&[node(1, State::Active, 7, Load::default())], seconds(9)), None);
    // What is measured goes on from there, and by hand it stays where it was.
    assert_eq!(weigher.set_source(Some(WeightSource::Cpu)), None);
    assert_eq!(weigher.set_source(None), None);
    assert_eq!(weigher.source(), WeightSource::Manual(weight(7)));
}

#[test]
fn when_a_command_falls_silent_the_weight_falls_back() {
    let mut weigher = Weigher::new(WeightSource::Command, rules());
    let says = |command| Reading { cores: 4, command, ..Reading::default() };
    let nodes = [
        node(1, State::Active, 100, Load::default()),
        node(2, State::Active, 100, Load { measure: 7, permille: 300 }),
    ];
    let mut decided = None;
    for second in 0..8 {
        let said = weigher.sample(&says(Some(0.9)), seconds(second));
        assert_eq!(said, Load { measure: 7, permille: 900 });
        decided = weigher.decide(&nodes, seconds(second)).or(decided);
    }
    assert!(decided.unwrap() > weight(100));
    weigher.fall_back(weight(60));
    assert_eq!(weigher.sample(&says(None), seconds(8)), Load::default(), "nothing to compare");
    assert_eq!(weigher.decide(&nodes, seconds(8)), Some(weight(60)));
    assert_eq!(weigher.decide(&nodes, seconds(19)), None);
    let mut decided = None;
    for second in 20..28 {
        weigher.sample(&says(Some(0.9)), seconds(second));
        decided = weigher.decide(&nodes, seconds(second)).or(decided);
    }
    assert!(decided.unwrap() > weight(60), "it goes on from there");
}

#[test]
fn a_process_that_goes_on_keeps_the_weight_and_is_warm() {
    let mut weigher = Weigher::new(WeightSource::Cpu, WeightRules::default());
    assert_eq!(weigher.weight(), weight(400), "a new one is cold");
    assert_eq!(weigher.go_on(weight(130)), None, "the cluster knows it");
    let nodes = [node(1, State::Restarting, 130, Load::default())];
    assert_eq!(weigher.decide(&nodes, seconds(1)), None);
    let nodes = [node(1, State::Active, 130, Load::default())];
    assert_eq!(weigher.decide(&nodes, seconds(2)), None);
    assert_eq!(weigher.weight(), weight(130));

    let mut weigher = Weigher::new(WeightSource::Manual(weight(250)), rules());
    assert_eq!(weigher.go_on(weight(250)), None);
    assert_eq!(weigher.go_on(weight(130)), Some(weight(250)), "what is configured counts");
}

#[test]
fn shares_are_bounded() {
    let others = [weight(100), weight(100), weight(100)];
    let share = |weight: Weight| {
        let own = 1.0 / f64::from(weight.get());
        own / (own + 0.03) * 100.0
    };
    let bounds = ShareBounds { min_percent: 10, max_percent: 40 };
    assert!((share(bounds.apply(10_000.0, &others)) - 10.0).abs() < 0.5);
    assert!((share(bounds.apply(1.0, &others)) - 40.0).abs() < 0.5);
    assert_eq!(bounds.apply(100.0, &others), weight(100));
    assert_eq!(bounds.apply(5.0, &[]), weight(5), "alone it has everything");
    // Bounds that not everybody can keep give way to equal shares.
    let tight = ShareBounds { min_percent: 50, max_percent: 50 };
    assert_eq!(tight.apply(10_000.0, &others), weight(100));
    assert_eq!(ShareBounds::default().apply(f64::NAN, &others), Weight::DEFAULT);
}
