//! What is announced between two states.

use super::*;

fn state(nodes: &[&str]) -> State {
    let node = |id: &&str| Node { id: (*id).to_owned(), weight: 100, ..Node::default() };
    let nodes = nodes.iter().map(node).collect();
    let cluster = Cluster { name: "nlb0".to_owned(), weight: 100, nodes, ..Cluster::default() };
    State { clusters: vec![cluster], ..State::default() }
}

#[test]
fn objects_come_and_go() {
    let (one, two) = (Tree::build(&state(&["1"])), Tree::build(&state(&["1", "2"])));
    let path = "/org/nlbd1/cluster/nlb0/node/2";
    let nodes = Change::Changed("/org/nlbd1/cluster/nlb0".to_owned(), vec!["Nodes"]);
    assert_eq!(two.since(&one), [nodes.clone(), Change::Added(path.to_owned())]);
    assert_eq!(one.since(&two), [Change::Removed(path.to_owned(), NODE), nodes]);
    assert_eq!(one.since(&one), []);
    // Children go before their parents.
    let gone = Tree::build(&State::default()).since(&one);
    let removed: Vec<_> = gone
        .iter()
        .filter_map(|change| match change {
            Change::Removed(path, interface) => Some((path.as_str(), *interface)),
            _ => None,
        })
        .collect();
    let expected = [("/org/nlbd1/cluster/nlb0/node/1", NODE), ("/org/nlbd1/cluster/nlb0", CLUSTER)];
    assert_eq!(removed, expected);
}

#[test]
fn several_properties_are_one_change_and_moving_ones_are_none() {
    let before = state(&["1"]);
    let mut after = before.clone();
    after.clusters[0].nodes[0].last_heard_ms = Moving(70);
    after.clusters[0].clients = Moving(7);
    assert_eq!(Tree::build(&after).since(&Tree::build(&before)), []);
    assert_eq!(after, before);
    after.clusters[0].nodes[0].weight = 7;
    after.clusters[0].nodes[0].buckets = 70;
    let path = "/org/nlbd1/cluster/nlb0/node/1".to_owned();
    let changed = Change::Changed(path, vec!["Buckets", "Weight"]);
    assert_eq!(Tree::build(&after).since(&Tree::build(&before)), [changed]);
}

#[test]
fn a_check_that_turns_is_announced_and_one_that_runs_is_not() {
    let check = |passes, runs| HealthCheck {
        name: "Tcp".to_owned(),
        passes,
        runs: Moving(runs),
        ..HealthCheck::default()
    };
    let with = |passes, runs, health: &str| {
        let mut state = state(&["1"]);
        state.clusters[0].checks = vec![check(Some(passes), runs), check(None, 0)];
        state.clusters[0].health = health.to_owned();
        Tree::build(&state)
    };
    let well = with(true, 7, "well");
    assert_eq!(with(true, 8, "well").since(&well), []);
    let path = "/org/nlbd1/cluster/nlb0".to_owned();
    let changed = Change::Changed(path.clone(), vec!["FailingChecks", "Health"]);
    assert_eq!(with(false, 8, "ill").since(&well), [changed]);
    let value = |name: &str| well.0[&path].properties[name].value.to_string();
    assert_eq!(value("FailingChecks"), "@as []");
    assert!(value("Checks").contains("passes") && value("Checks").contains("unknown"));
}

#[test]
fn children() {
    let tree = Tree::build(&state(&["1", "2"]));
    assert_eq!(tree.children("/"), Some(vec!["org"]));
    assert_eq!(tree.children("/org/nlbd1"), Some(vec!["cluster"]));
    assert_eq!(tree.children("/org/nlbd1/cluster/nlb0/node"), Some(vec!["1", "2"]));
    assert_eq!(tree.children("/org/nlbd1/cluster/nlb0/node/1"), Some(vec![]));
    for path in ["/org/nlbd", "/org/nlbd1/cluster/nlb", "/x", "/org/nlbd1/cluster/nlb0/node/3"] {
        assert_eq!(tree.children(path), None, "{path}");
    }
}
