//! Cables that are pulled and nodes that hear nothing: the others serve on, nobody answers twice.

use std::time::Duration;

use anyhow::{Result, ensure};
use nlb_tests::cluster::Cluster;
use nlb_tests::cut::{self, Cut};
use nlb_tests::figures::report;
use nlb_tests::lab::LabOptions;
use nlb_tests::load::{Load, LoadSpec, Sources, Summary};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::stamp::Stamp;
use nlb_tests::wait::wait_until;

nlb_tests::on_both_paths!(
    a_pulled_cable_is_as_good_as_a_crash,
    a_deaf_node_serves_nobody,
    one_side_of_a_one_way_cut_serves_everybody,
);

const WEIGHTS: [u16; 3] = [100, 100, 100];

/// Cuts, waits until these nodes (by index) have every bucket, serves for a while, and heals.
fn cut(
    cluster: &mut Cluster,
    what: &str,
    left: &[usize],
    cut: impl Fn(&Cluster, bool) -> Result<()>,
) -> Result<()> {
    let sources = Sources::Fresh { first: 4_000_000 };
    let load = LoadSpec { sources, ..LoadSpec::default() };
    let load = Load::start(&cluster.lab.client, &load)?;
    let limit = Duration::from_secs(20);
    wait_until("load", limit, || load.begun() >= 100)?;
    let begun = Stamp::now();
    cut(cluster, true)?;
    for index in left {
        cluster.nodes[*index].wait_status("the others serve no more", limit, |status| {
            let active = status.nodes.iter().filter(|node| node.active());
            let ours: usize = active.clone().map(|node| node.buckets).sum();
            status.converged && active.count() == left.len() && ours == 4096
        })?;
    }
    let settled = Stamp::now();
    let so_far = load.begun();
    wait_until("load", limit, || load.begun() >= so_far + 200)?;
    let healed = Stamp::now();
    cut(cluster, false)?;
    cluster.wait_settled(3)?;
    let so_far = load.begun();
    wait_until("load", limit, || load.begun() >= so_far + 200)?;
    let attempts = load.finish()?;
    cluster.watcher.check()?;
    let sum = |from: Stamp, to: Stamp| {
        let part: Vec<_> = attempts
            .iter()
            .filter(|attempt| attempt.begun >= from && attempt.begun < to)
            .cloned()
            .collect();
        Summary::of(&part)
    };
    let cut_off = sum(settled, healed);
    let after = sum(healed, Stamp(u64::MAX));
    report(&format!("{what}: settled after {:.2?}", settled.since(begun)));
    println!("{what}: cut off: {cut_off}\n{what}: healed: {after}");
    ensure!(cut_off.failed == 0 && cut_off.retransmitted == 0, "while it is cut off: {cut_off}");
    ensure!(after.failed == 0, "when it is back: {after}");
    ensure!(after.servers.get("n1").is_some_and(|count| *count > 20), "it is not back: {after}");
    Ok(())
}

fn a_pulled_cable_is_as_good_as_a_crash(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        cut(cluster, "cable pulled", &[1, 2], |cluster, cut| cluster.lab.set_port("n1", !cut))
    });
}

/// Loses frames inside the switch, or none any more.
fn lose(cluster: &Cluster, what: Cut, lost: bool) -> Result<()> {
    cut::set(&cluster.lab.switch, if lost { std::slice::from_ref(&what) } else { &[] })
}

/// The others hear its heartbeats, it hears nothing at all. It must not believe itself the last
/// one alive, nor make the others fence themselves for long (SPEC 6.8).
fn a_deaf_node_serves_nobody(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        cut(cluster, "deaf node", &[1, 2], |cluster, cut| lose(cluster, Cut::deaf("n1"), cut))
    });
}

/// Only heartbeats do not reach n1. Clients do, so that its receiver works for all that it knows:
/// it serves alone, and the others, which it does not name, do not (SPEC 6.8).
fn one_side_of_a_one_way_cut_serves_everybody(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        cut(cluster, "one-way cut", &[0], |cluster, cut| {
            lose(cluster, Cut::heartbeats_to("n1"), cut)
        })
    });
}
