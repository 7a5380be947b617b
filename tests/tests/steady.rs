//! Three nodes in peace: shares, affinity, one answer to every question.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nlb_protocol::NodeId;
use nlb_protocol::ids::BUCKETS;
use nlb_tests::cluster::{Cluster, table};
use nlb_tests::figures::report;
use nlb_tests::lab::{LabOptions, SERVICE4, SERVICE6, source4, source6};
use nlb_tests::load::{Load, LoadSpec, Sources, Summary};
use nlb_tests::probe::{ping, who_has};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::stamp::Stamp;
use nlb_tests::wait::wait_for;
use nlb_tests::wire::Question;

nlb_tests::on_both_paths!(every_client_has_one_server, every_asker_gets_one_neighbour_answer);

const WEIGHTS: [u16; 3] = [100, 100, 200];
const MEMBERS: [(usize, u16); 3] = [(1, 100), (2, 100), (3, 200)];
/// Source addresses of each family.
const SOURCES: u32 = 600;
/// Connections of each family.
const CONNECTIONS: u32 = 2000;

fn every_client_has_one_server(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        check_shares_shown(cluster)?;
        let begun = Stamp::now();
        let sources = Sources::Pool { first: 0, count: 2 * SOURCES };
        let count = Some(2 * CONNECTIONS);
        let load = LoadSpec { rate: 500, count, sources, ..LoadSpec::default() };
        let attempts = Load::run(&cluster.lab.client, &load)?;
        let sum = Summary::of(&attempts);
        report(&format!("3 nodes in peace, offload {offload}: {sum}"));
        ensure!(sum.failed == 0 && sum.retransmitted == 0, "{sum}");

        // Exact by table: every connection was served by the node that the table names.
        for attempt in &attempts {
            let owner = cluster.owner(attempt.source, &MEMBERS).context("no owner")?;
            let server = attempt.server.as_deref().unwrap_or("none");
            ensure!(server == format!("n{owner}"), "{} was served by {server}", attempt.source);
        }
        check_sample(&sum)?;

        let sources: Vec<IpAddr> =
            (0..SOURCES).flat_map(|index| [source4(2 * index), source6(2 * index + 1)]).collect();
        ping(&cluster.lab.client, &sources, 7001, 1)?;
        check_answers(cluster, (2 * CONNECTIONS) as usize, sources.len())?;

        // One node for every source, whatever it asked.
        let nodes = cluster.watcher.ledger().nodes_of_clients(begun);
        for (client, nodes) in &nodes {
            let owner = cluster.owner(*client, &MEMBERS);
            let seen: Vec<_> = nodes.iter().map(|mac| cluster.number_of(*mac)).collect();
            ensure!(seen == [owner], "{client} of {owner:?} was answered by {seen:?}");
        }
        Ok(())
    });
}

/// Status must show the table's shares, to the bucket.
fn check_shares_shown(cluster: &mut Cluster) -> Result<()> {
    let table = table(&MEMBERS);
    for status in cluster.wait_settled(3)? {
        for id in 1..=3 {
            let shown = status.node(&format!("n{id}")).context("a node is missing")?.buckets;
            let share = table.share(NodeId(id));
            ensure!(shown == share, "n{id} has {shown} buckets, by table {share}");
            // And the table's shares are those of the weights: 2:2:1.
            let parts = if id == 3 { 1 } else { 2 };
            ensure!(share.abs_diff(BUCKETS * parts / 5) <= 1, "n{id}: {share} of {BUCKETS}");
        }
    }
    Ok(())
}

/// The sample must lie within the shares: four standard deviations of 1200 sources.
fn check_sample(sum: &Summary) -> Result<()> {
    for (server, part) in [("n1", 0.4), ("n2", 0.4), ("n3", 0.2_f64)] {
        let seen = sum.servers.get(server).copied().unwrap_or(0);
        let seen = f64::from(u32::try_from(seen)?) / f64::from(2 * CONNECTIONS);
        let deviation = (part * (1.0 - part) / f64::from(2 * SOURCES)).sqrt();
        ensure!((seen - part).abs() < 4.0 * deviation, "{server} took {seen:.3}, not {part}");
    }
    Ok(())
}

/// On the wire at the client's port, every SYN and every ping was seen once and answered once.
fn check_answers(cluster: &Cluster, syns: usize, pings: usize) -> Result<()> {
    wait_for("every answer", Duration::from_secs(5), || {
        let ledger = cluster.watcher.ledger();
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (question, exchange) in &ledger.exchanges {
            let kind = match question {
                Question::Syn(..) => "syn",
                Question::Ping(..) => "ping",
                Question::Udp(..) => "udp",
            };
            *seen.entry(kind).or_default() += 1;
            if (exchange.asked.len(), exchange.answers.len()) != (1, 1) {
                return Err(format!("{question:?}: {exchange:?}"));
            }
        }
        let counts = (seen.get("syn").copied(), seen.get("ping").copied());
        if counts == (Some(syns), Some(pings)) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
}

fn every_asker_gets_one_neighbour_answer(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        let (client, mac) = (cluster.lab.client.clone(), cluster.spec.mac().to_string());
        let before: u64 = cluster.watcher.ledger().neighbour_answers.values().sum();
        // Three clients ask who has the address; each gets one answer.
        for source in [source4(10), source4(11), source4(12)] {
            who_has(&client, source, SERVICE4.into())?;
        }
        wait_for("three answers", Duration::from_secs(3), || {
            let answers: u64 = cluster.watcher.ledger().neighbour_answers.values().sum();
            if answers - before == 3 { Ok(()) } else { Err(format!("{}", answers - before)) }
        })?;
        // The kernel's own resolution, and its unicast probes to the cluster MAC.
        for (address, source) in
            [(IpAddr::from(SERVICE4), source4(0)), (SERVICE6.into(), source6(1))]
        {
            for _ in 0..3 {
                client.ip("neigh flush dev eth0")?;
                ping(&client, &[source], 7002, 1)?;
                wait_for("a neighbour entry", Duration::from_secs(3), || {
                    let entry = client.sh(&format!("ip neigh show {address} dev eth0"));
                    let entry = entry.map_err(|error| error.to_string())?;
                    if entry.contains(&mac) { Ok(()) } else { Err(entry) }
                })?;
            }
            // Stale at once: the next packets make the kernel probe the MAC that it knows.
            client.ip(&format!("neigh change {address} dev eth0 nud probe"))?;
            wait_for("a confirmed entry", Duration::from_secs(5), || {
                let entry = client.sh(&format!("ip neigh show {address} dev eth0"));
                let entry = entry.map_err(|error| error.to_string())?;
                if entry.contains("REACHABLE") { Ok(()) } else { Err(entry) }
            })?;
        }
        Ok(())
    });
}
