//! What a cluster costs when nothing happens.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::report;
use nlb_tests::lab::LabOptions;
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::wait_until;

/// How long is measured.
const SPAN: Duration = Duration::from_secs(5);

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn an_idle_cluster_costs_little() {
    let spec = ClusterSpec::default();
    Cluster::test(&LabOptions::default(), &spec, &[100, 100, 100], |cluster| {
        let begun = Instant::now();
        let frames = cluster.watcher.ledger().frames;
        let before: Vec<Duration> =
            cluster.nodes.iter().map(nlb_tests::node::Node::cpu_time).collect::<Result<_>>()?;
        wait_until("the time to pass", SPAN * 2, || begun.elapsed() >= SPAN)?;
        let frames = cluster.watcher.ledger().frames - frames;
        let seconds = begun.elapsed().as_secs_f64();
        for (node, before) in cluster.nodes.iter().zip(before) {
            let used = node.cpu_time()?.saturating_sub(before).as_secs_f64();
            let resident = node.resident_kib()? / 1024;
            let percent = 100.0 * used / seconds;
            report(&format!("idle {}: {percent:.1} % of a processor, {resident} MiB", node.name));
            ensure!(percent < 15.0, "{} uses {percent:.1} % of a processor", node.name);
            ensure!(resident < 100, "{} takes {resident} MiB", node.name);
        }
        for node in &cluster.nodes {
            let status = node.status()?;
            ensure!(status.drops_for("rules_repaired") == 0, "{} repairs nothing", node.name);
            ensure!(status.counters.get("fenced") == Some(&0), "{} fenced itself", node.name);
        }
        // Ten heartbeats a second of each node, and an information message now and then.
        let rate = f64::from(u32::try_from(frames)?) / seconds;
        report(&format!("idle: {rate:.0} frames a second on the segment"));
        ensure!(rate < 50.0, "{rate:.0} frames a second");
        Ok(())
    });
}
