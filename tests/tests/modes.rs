//! The cluster MAC as a multicast address, and as an IGMP group on a snooping switch.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use nlb_protocol::{ClusterId, ClusterMac, MacMode};
use nlb_tests::cluster::Cluster;
use nlb_tests::lab::LabOptions;
use nlb_tests::load::{Load, LoadSpec, Sources, Summary};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::wait_for;
use nlb_tests::wire::{Ledger, Question};

const WEIGHTS: [u16; 3] = [100, 100, 100];

/// TCP from 300 addresses of each family must work, each with one server.
fn serve(cluster: &Cluster) -> Result<()> {
    let sources = Sources::Pool { first: 0, count: 600 };
    let spec = LoadSpec { rate: 400, count: Some(800), sources, ..LoadSpec::default() };
    let sum = Summary::of(&Load::run(&cluster.lab.client, &spec)?);
    ensure!(sum.failed == 0 && sum.retransmitted == 0, "{sum}");
    ensure!(sum.servers.len() == 3, "not every node served: {sum}");
    cluster.watcher.check()
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn multicast_mode_carries_tcp() {
    let spec = ClusterSpec { mode: MacMode::Multicast, ..ClusterSpec::default() };
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        serve(cluster)?;
        let announced = announced(cluster, true);
        ensure!(announced.is_empty(), "needless announcements: {announced:?}");
        Ok(())
    });
}

/// On a bridge that nobody has prepared: it snoops, has a querier, and that is all.
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn igmp_mode_reaches_members_only() {
    let spec = ClusterSpec { mode: MacMode::Igmp, ..ClusterSpec::default() };
    let options = LabOptions { snooping: true, ..LabOptions::default() };
    Cluster::test(&options, &spec, &WEIGHTS, |cluster| {
        wait_for_members(cluster)?;
        let outside = |cluster: &Cluster| {
            cluster.watcher.ledger().to_cluster.get("outsider").copied().unwrap_or(0)
        };
        let before = outside(cluster);
        serve(cluster)?;
        let seen = outside(cluster) - before;
        ensure!(seen == 0, "{seen} frames to the cluster reached a port that is no member");
        {
            let ledger = cluster.watcher.ledger();
            for node in ["n1", "n2", "n3"] {
                ensure!(ledger.to_cluster.get(node).is_some_and(|frames| *frames > 800), "{node}");
                ensure!(ledger.igmp.contains_key(node), "{node} never joined by IGMP");
            }
        }
        wait_for("every answer", Duration::from_secs(5), || {
            served_once(&cluster.watcher.ledger()).map_err(|error| error.to_string())
        })?;
        // Whoever leaves says so, over both families.
        cluster.nodes[2].terminate(Duration::from_secs(10))?;
        wait_for("n3 to be no router", Duration::from_secs(5), || {
            let routers = announced(cluster, false);
            if routers == ["n3", "n3"] { Ok(()) } else { Err(format!("{routers:?}")) }
        })
    });
}

/// Every SYN of each family was answered by one node; the watcher has checked that none was by
/// two.
fn served_once(ledger: &Ledger) -> Result<()> {
    for v6 in [false, true] {
        let of_family = ledger.select(|question, _| {
            matches!(question, Question::Syn(..)) && question.client().is_ipv6() == v6
        });
        let served = of_family.iter().filter(|(_, exchange)| exchange.responders() == 1).count();
        let asked = of_family.len();
        ensure!(asked >= 300 && served == asked, "IPv6 {v6}: {served} of {asked} served once");
    }
    Ok(())
}

/// The ports that have said, and that is their last word, that they have a multicast router
/// (`true`) or have none any more; each once for each family.
fn announced(cluster: &Cluster, router: bool) -> Vec<String> {
    let ledger = cluster.watcher.ledger();
    let said = ledger.multicast_routers.iter().filter(|(_, last)| **last == router);
    said.map(|((port, _), _)| port.clone()).collect()
}

/// Until the bridge has snooped what makes it forward to the nodes and to nobody else: the IGMP
/// reports, and the announcements of both families.
fn wait_for_members(cluster: &Cluster) -> Result<()> {
    let group = ClusterMac::derive(MacMode::Igmp, ClusterId(cluster.spec.id)).group;
    let group = group.map(|group| format!("grp {group} ")).unwrap_or_default();
    wait_for("three members", Duration::from_secs(10), || {
        let list =
            cluster.lab.switch.sh("bridge -d mdb show").map_err(|error| error.to_string())?;
        let joined = list.lines().filter(|line| format!("{line} ").contains(&group)).count();
        // One line for each port, or one line for all: it depends on the tool's version.
        let routers: BTreeSet<&str> = list
            .lines()
            .filter_map(|line| line.split_once("router ports on br0:"))
            .flat_map(|(_, ports)| ports.split_whitespace())
            .filter(|word| word.starts_with("p-"))
            .collect();
        let routers: Vec<&str> = routers.into_iter().collect();
        let announced = announced(cluster, true);
        let both = ["n1", "n1", "n2", "n2", "n3", "n3"];
        if joined == 3 && routers == ["p-n1", "p-n2", "p-n3"] && announced == both {
            Ok(())
        } else {
            Err(format!("announced {announced:?}\n{list}"))
        }
    })
}
