//! The picture of `nlbctl top`, character by character, and what keys and answers do to it.

#[allow(dead_code)] // the other test files use the rest
mod fake;

use nlbctl::top::model::{Key, MAX_EVENTS, Model};
use nlbctl::top::view;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

/// Two answers, a second apart.
fn model() -> Model {
    let mut model = Model::default();
    model.handle_answer(10_000, fake::status(), vec![fake::event(3), fake::event(4)]);
    let mut status = fake::status();
    let cluster = &mut status.clusters[0];
    for (fate, packets, bytes) in [("known", 7, 1000), ("admitted", 3, 200), ("foreign", 5, 600)] {
        cluster.counters.insert(format!("kernel_{fate}_packets"), packets);
        cluster.counters.insert(format!("kernel_{fate}_bytes"), bytes);
    }
    cluster.counters.insert("heartbeats_sent".into(), 30);
    cluster.drops.insert("packet_foreign".into(), 5);
    cluster.drops.insert("replayed".into(), 2);
    model.handle_answer(12_000, status, vec![fake::event(5)]);
    model
}

fn picture(model: &Model, now_ms: u64, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    let draw = |frame: &mut ratatui::Frame<'_>| {
        view::draw(frame, model, now_ms);
    };
    terminal.draw(draw).expect("drawn");
    let buffer = terminal.backend().buffer();
    let row = |y| {
        let row: String = (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect();
        row.trim_end().to_owned()
    };
    (0..height).map(row).collect()
}

#[track_caller]
fn has(picture: &[String], words: &str) {
    assert!(picture.iter().any(|line| line.contains(words)), "{words}:\n{}", picture.join("\n"));
}

#[test]
fn a_cluster_that_is_well() {
    let expected = "
nlb0: all is well   192.0.2.50, 2001:db8::50   epoch 7   seen by n1 (nlbd 0.1.0, up 1 min)
┌ 3 nodes ─────────────────────────────────────────────────────────────────────────────────────────┐
│NODE               STATE      WEIGHT SHARE                                        PINS HEARD      │
│n1 *               active        100 ███████████▎                       33.3 %       0 this node  │
│n2                 active        100 ███████████▎                       33.3 %       0 42 ms ago  │
│n3                 active        100 ███████████▎                       33.3 %       0 43 ms ago  │
└──────────────────────────────────────────────────────────────────────────────────────────────────┘
┌ This node ───────────────────────────────────────────────────────────────────────────────────────┐
│clients 812      pinned 0        held 0      new clients by nft-queue                             │
│packets/s taken 5.0 (600 B)       dropped 2.5 (300 B)       heartbeats/s out 15    in 0           │
│dropped per second, by reason: kernel_foreign 2.5, packet_foreign 2.5, replayed 1.0               │
└──────────────────────────────────────────────────────────────────────────────────────────────────┘
┌ Events (UTC) ────────────────────────────────────────────────────────────────────────────────────┐
│05:46:40.123 nlb0 peer-gone     n3 is silent and counts as dead; it was active                    │
│05:46:40.123 nlb0 peer-gone     n3 is silent and counts as dead; it was active                    │
│05:46:40.123 nlb0 peer-gone     n3 is silent and counts as dead; it was active                    │
│                                                                                                  │
└──────────────────────────────────────────────────────────────────────────────────────────────────┘
 q  quit   p  pause   ↑↓  older, newer events";
    let found = picture(&model(), 12_000, 100, 19);
    assert_eq!(found.join("\n"), expected.trim_start_matches('\n'), "\n{}", found.join("\n"));
}

#[test]
fn a_daemon_that_is_gone_and_comes_back() {
    let mut model = model();
    model.handle_lost("the daemon is gone".to_owned());
    let found = picture(&model, 15_000, 100, 30);
    has(&found, "NO ANSWER: the daemon is gone. Trying again. What is shown is 3 s old.");
    has(&found, "nlb0: unknown");
    has(&found, "packets/s taken -");
    // Another daemon counts from 0 and numbers its events from 1.
    let mut status = fake::status();
    status.daemon.pid = 8;
    model.handle_answer(16_000, status, vec![fake::event(1), fake::event(4)]);
    let found = picture(&model, 16_000, 100, 30);
    has(&found, "nlb0: all is well");
    has(&found, "packets/s taken -");
    has(&found, "-- the daemon was started anew --");
    has(&found, "-- 2 events are missing --");
    assert!(!found.join("").contains("NO ANSWER"));
}

#[test]
fn problems_are_told_and_do_not_crowd_out_the_rest() {
    let mut status = fake::status();
    for index in 1..3 {
        let node = &mut status.clusters[0].nodes[index];
        (node.state, node.hears_us, node.last_heard_ms) = ("fenced".into(), false, 900);
    }
    let mut model = Model::default();
    model.handle_answer(1, status, Vec::new());
    let found = picture(&model, 1, 100, 30);
    has(&found, "nlb0: NOT all is well");
    has(&found, "  ! n2 is fenced");
    has(&found, "  ! and 2 more: nlbctl status");
}

#[test]
fn keys() {
    let mut model = Model::default();
    let mut status = fake::status();
    status.clusters.push(nlb_varlink::Cluster { name: "web".into(), ..Default::default() });
    model.handle_answer(1, status.clone(), (1..=20).map(fake::event).collect());
    assert!(model.handle_key(Key::Right, 5) && model.handle_key(Key::Right, 5));
    assert_eq!(model.cluster().map(|cluster| cluster.name.as_str()), Some("web"));
    has(&picture(&model, 1, 100, 30), "web (2 of 2): ");
    has(&picture(&model, 1, 100, 30), "←→  cluster");
    // It stays chosen, wherever it stands in the next answer.
    status.clusters.swap(0, 1);
    model.handle_answer(2, status, Vec::new());
    assert_eq!(model.cluster().map(|cluster| cluster.name.as_str()), Some("web"));
    assert!(model.handle_key(Key::Left, 5) && model.handle_key(Key::Right, 5));

    for (key, scroll) in
        [(Key::Down, 0), (Key::Up, 1), (Key::PageUp, 6), (Key::PageDown, 1), (Key::PageUp, 6)]
    {
        assert!(model.handle_key(key, 5));
        assert_eq!(model.scroll, scroll, "{key:?}");
    }
    has(&picture(&model, 1, 100, 30), "6 newer ones below");
    assert!(model.handle_key(Key::PageUp, usize::MAX / 2));
    assert_eq!(model.scroll, 19);
    assert!(model.handle_key(Key::Pause, 5) && model.paused);
    has(&picture(&model, 1, 100, 30), "PAUSED");
    assert!(model.handle_key(Key::Pause, 5) && !model.paused);
    assert!(!model.handle_key(Key::Quit, 5));
}

#[test]
fn events_are_bounded_and_what_is_read_stays() {
    let mut model = Model::default();
    let many = MAX_EVENTS as u64 + 50;
    model.handle_answer(1, fake::status(), (1..=many).map(fake::event).collect());
    assert_eq!((model.events.len(), model.last_event()), (MAX_EVENTS, many));
    assert!(model.handle_key(Key::Up, 5));
    model.handle_answer(2, fake::status(), vec![fake::event(many + 1), fake::event(many + 2)]);
    assert_eq!(model.scroll, 3);
}

/// No window is too small or too large, and no model too odd.
#[test]
fn every_size_can_be_drawn() {
    let mut crowd = fake::status();
    let node = crowd.clusters[0].nodes[1].clone();
    crowd.clusters[0].nodes.extend(std::iter::repeat_n(node, 100));
    let mut crowded = Model::default();
    crowded.handle_answer(1, crowd, (1..=9).map(fake::event).collect());
    let mut lost = Model::default();
    lost.handle_lost("no daemon listens".to_owned());
    for model in [&Model::default(), &lost, &crowded, &model()] {
        for width in [1, 39, 40, 60, 80, 300] {
            for height in [1, 9, 10, 12, 24, 100] {
                let found = picture(model, 1, width, height);
                assert_eq!(found.len(), usize::from(height));
            }
        }
    }
    has(&picture(&crowded, 1, 100, 30), "more: nlbctl nodes");
    has(&picture(&lost, 1, 100, 30), "NO ANSWER: no daemon listens. Trying again.");
    has(&picture(&lost, 1, 39, 30), "This window is too small.");
}
