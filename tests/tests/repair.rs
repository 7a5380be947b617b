//! What somebody flushed is put back; what the daemon set up is taken down again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::report;
use nlb_tests::lab::LabOptions;
use nlb_tests::load::{Load, LoadSpec, Sources, Summary};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::{wait_for, wait_until};

nlb_tests::on_both_paths!(flushed_rules_are_back_within_a_second);

const WEIGHTS: [u16; 3] = [100, 100, 100];

fn flushed_rules_are_back_within_a_second(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        let sources = Sources::Pool { first: 0, count: 600 };
        let load = LoadSpec { rate: 200, sources, ..LoadSpec::default() };
        let load = Load::start(&cluster.lab.client, &load)?;
        wait_until("load", Duration::from_secs(5), || load.begun() >= 200)?;
        let server = cluster.lab.servers[1].clone();
        let before = rules(cluster, 1)?;
        for _ in 0..3 {
            server.sh("nft flush ruleset")?;
            let flushed = Instant::now();
            wait_for("the rules", Duration::from_secs(3), || {
                let now = rules(cluster, 1).map_err(|error| error.to_string())?;
                if now == before { Ok(()) } else { Err(now.join("\n")) }
            })?;
            let took = flushed.elapsed();
            report(&format!("nft flush ruleset repaired in {took:.0?}, offload {offload}"));
            ensure!(took < Duration::from_secs(1), "the repair took {took:?}");
            cluster.wait_settled(3)?;
        }
        let so_far = load.begun();
        wait_until("load", Duration::from_secs(5), || load.begun() >= so_far + 200)?;
        let sum = Summary::of(&load.finish()?);
        println!("while rules were flushed: {sum}");
        cluster.watcher.check()?;
        // Everybody is served again, by all three.
        let spec = LoadSpec { rate: 400, count: Some(400), ..LoadSpec::default() };
        let sum = Summary::of(&Load::run(&cluster.lab.client, &spec)?);
        ensure!(sum.failed == 0 && sum.servers.len() == 3, "{sum}");
        Ok(())
    });
}

/// The chains and rules of a server, without the elements of sets and without counters.
/// Every set and chain, each in one piece, in an order that does not tell when it was made.
fn rules(cluster: &Cluster, index: usize) -> Result<Vec<String>> {
    let text = cluster.lab.servers[index].sh("nft -s -t list ruleset")?;
    let (mut table, mut pieces) = ("", Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !matches!(*line, "" | "}")) {
        if line.starts_with("table ") {
            table = line;
        } else if line.ends_with('{') {
            pieces.push(format!("{table} {line}"));
        } else if let Some(piece) = pieces.last_mut() {
            *piece += &format!("\n{line}");
        }
    }
    pieces.sort_unstable();
    Ok(pieces)
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_killed_daemon_leaves_nothing_doubled_when_it_is_back() {
    Cluster::test(&LabOptions::default(), &ClusterSpec::default(), &WEIGHTS, |cluster| {
        let addresses = |cluster: &Cluster| cluster.lab.servers[0].sh("ip -o addr show");
        let before = (rules(cluster, 0)?, addresses(cluster)?);
        for _ in 0..2 {
            cluster.nodes[0].kill()?;
            cluster.nodes[0].start()?;
            cluster.wait_settled(3)?;
            wait_for("the same rules", Duration::from_secs(3), || {
                let now = rules(cluster, 0).map_err(|error| error.to_string())?;
                if now == before.0 { Ok(()) } else { Err(now.join("\n")) }
            })?;
            let now = addresses(cluster)?;
            ensure!(now == before.1, "addresses were\n{}now\n{now}", before.1);
        }
        // Ending puts back what the first daemon found, although the second took over from it.
        Ok(())
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_daemon_that_ends_leaves_nothing() {
    Cluster::test(&LabOptions::default(), &ClusterSpec::default(), &WEIGHTS, |cluster| {
        // By SIGTERM, by SIGINT, and while the rules are flushed: always as it was before.
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            cluster.nodes[2].signal(signal)?;
            let status = cluster.nodes[2].wait_end(Duration::from_secs(6))?;
            ensure!(status.success(), "{signal}: {status}");
            cluster.check_restored(2)?;
            cluster.nodes[2].start()?;
            cluster.wait_settled(3)?;
        }
        cluster.lab.servers[2].sh("nft flush ruleset")?;
        cluster.nodes[2].terminate(Duration::from_secs(6))?;
        cluster.check_restored(2)
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn rules_of_others_are_not_touched() {
    let spec = ClusterSpec::default();
    let mut cluster = match Cluster::new(&LabOptions::default(), &spec) {
        Ok(cluster) => cluster,
        Err(error) => panic!("{error:?}"),
    };
    let outcome = (|| -> Result<()> {
        let foreign = "table inet firewall { chain input { type filter hook input priority 0; \
                       tcp dport 9999 drop; }; }";
        let server = cluster.lab.servers[0].clone();
        server.feed(&["nft", "-f", "-"], foreign)?;
        let before = server.sh("nft list table inet firewall")?;
        cluster.start(&WEIGHTS)?;
        ensure!(server.sh("nft list table inet firewall")? == before, "changed while running");
        cluster.nodes[0].terminate(Duration::from_secs(6))?;
        ensure!(server.sh("nft list table inet firewall")? == before, "changed on exit");
        server.sh("nft delete table inet firewall")?;
        cluster.check_restored(0)
    })();
    if let Err(error) = outcome {
        panic!("{error:?}");
    }
}
