use core::time::Duration;

use nlb_protocol::addr::MacAddr;
use nlb_protocol::frame::Settings;

use crate::engine::tests::Segment;
use crate::manage::Difference;
use crate::notice::Notice;

const SECOND: Duration = Duration::from_secs(1);

fn settings() -> Settings {
    Settings {
        heartbeat_ms: 100,
        dead_after_ms: 1000,
        mode: 1,
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        addresses: 7,
        ports: 8,
        keys: 9,
    }
}

fn differences(segment: &mut Segment, index: usize) -> Vec<Vec<Difference>> {
    let now = segment.now;
    segment.node(index).snapshot(now).nodes.into_iter().map(|node| node.differs).collect()
}

fn told(segment: &mut Segment) -> Vec<(usize, u64, usize)> {
    let of = |(index, notice): (usize, Notice)| match notice {
        Notice::PeerSettings { node, here, there } => {
            Some((index, node.0, Difference::between(&here, &there).len()))
        }
        _ => None,
    };
    core::mem::take(&mut segment.notices).into_iter().filter_map(of).collect()
}

// SPEC 4.4.1
#[test]
fn who_is_configured_otherwise_is_named_everywhere() {
    let mut segment = Segment::new(3);
    let odd = Settings { dead_after_ms: 2000, addresses: 9, ..settings() };
    for (index, settings) in [settings(), settings(), odd].into_iter().enumerate() {
        segment.node(index).handle_settings(settings);
    }
    segment.run(SECOND * 3);
    let here = [Difference::DeadAfter { here_ms: 1000, there_ms: 2000 }, Difference::Addresses];
    assert_eq!(differences(&mut segment, 0), [vec![], vec![], here.to_vec()]);
    let there = [Difference::DeadAfter { here_ms: 2000, there_ms: 1000 }, Difference::Addresses];
    assert_eq!(differences(&mut segment, 2), [there.to_vec(), there.to_vec(), vec![]]);
    let mut said = told(&mut segment);
    said.sort_unstable();
    assert_eq!(said, [(0, 3, 2), (1, 3, 2), (2, 1, 2), (2, 2, 2)], "each once");
    // It is put right: said at once, not with the next regular information.
    segment.node(2).handle_settings(settings());
    segment.run(Duration::from_millis(250));
    assert_eq!(differences(&mut segment, 0), [vec![], vec![], vec![]]);
    let mut said = told(&mut segment);
    said.sort_unstable();
    assert_eq!(said, [(0, 3, 0), (1, 3, 0), (2, 1, 0), (2, 2, 0)]);
    segment.run(SECOND * 3);
    assert_eq!(told(&mut segment), [], "nothing is said twice");
}

#[test]
fn nodes_that_say_nothing_are_like_everybody() {
    let mut segment = Segment::new(2);
    segment.node(0).handle_settings(settings());
    segment.run(SECOND * 3);
    assert_eq!(differences(&mut segment, 0), [vec![], vec![]]);
    assert_eq!(differences(&mut segment, 1), [vec![], vec![]]);
    assert_eq!(told(&mut segment), []);
}

#[test]
fn a_new_life_is_asked_anew() {
    let mut segment = Segment::new(2);
    segment.node(0).handle_settings(settings());
    segment.node(1).handle_settings(Settings { ports: 0, ..settings() });
    segment.run(SECOND * 3);
    assert_eq!(differences(&mut segment, 0)[1], [Difference::Ports]);
    segment.nodes.pop();
    let mut config = super::super::tests::config(2);
    config.incarnation = nlb_protocol::Incarnation(77);
    let now = segment.now;
    segment.nodes.push(Some(crate::Engine::new(config, now)));
    segment.run(SECOND * 3);
    assert_eq!(differences(&mut segment, 0)[1], [], "it says nothing: an earlier software");
}

#[test]
fn another_mode_says_enough_of_the_mac() {
    let other = Settings { mode: 2, mac: MacAddr([3, 0, 0, 0, 0, 1]), ..settings() };
    assert_eq!(Difference::between(&settings(), &other), [Difference::Mode { here: 1, there: 2 }]);
    let mac = MacAddr([2, 0, 0, 0, 0, 9]);
    let other = Settings { mac, heartbeat_ms: 50, keys: 0, ..settings() };
    let expected = [
        Difference::Heartbeat { here_ms: 100, there_ms: 50 },
        Difference::Mac { here: settings().mac, there: mac },
        Difference::Keys,
    ];
    assert_eq!(Difference::between(&settings(), &other), expected);
}
