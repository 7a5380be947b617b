//! The cluster MAC as a multicast address, and as an IGMP group on a snooping switch.

use std::time::Duration;

use anyhow::{Result, ensure};
use nlb_protocol::{ClusterId, ClusterMac, MacMode};
use nlb_tests::cluster::Cluster;
use nlb_tests::lab::LabOptions;
use nlb_tests::load::{Load, LoadSpec, Sources, Summary};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::wait_for;

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
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| serve(cluster));
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn igmp_mode_reaches_members_only() {
    let spec = ClusterSpec { mode: MacMode::Igmp, ..ClusterSpec::default() };
    let options = LabOptions { snooping: true, ..LabOptions::default() };
    Cluster::test(&options, &spec, &WEIGHTS, |cluster| {
        follow_joins(cluster)?;
        let outside = |cluster: &Cluster| {
            cluster.watcher.ledger().to_cluster.get("outsider").copied().unwrap_or(0)
        };
        let before = outside(cluster);
        serve(cluster)?;
        let seen = outside(cluster) - before;
        ensure!(seen == 0, "{seen} frames to the cluster reached a port that is no member");
        let ledger = cluster.watcher.ledger();
        for node in ["n1", "n2", "n3"] {
            ensure!(ledger.to_cluster.get(node).is_some_and(|frames| *frames > 800), "{node}");
            ensure!(ledger.igmp.contains_key(node), "{node} never joined by IGMP");
        }
        Ok(())
    });
}

/// A switch that snoops on IGMP forwards frames to a group's MAC to the ports that joined. The
/// Linux bridge looks at the IP address instead, which is the service's unicast address here, and
/// forwards such a frame to the ports of multicast routers only. So the ports that have really
/// joined (the bridge's own list, from the IGMP reports it snooped) are made router ports: then it
/// forwards as that switch does.
fn follow_joins(cluster: &Cluster) -> Result<()> {
    let group = ClusterMac::derive(MacMode::Igmp, ClusterId(cluster.spec.id)).group;
    let group = group.map(|group| format!("grp {group} ")).unwrap_or_default();
    let switch = &cluster.lab.switch;
    wait_for("three members", Duration::from_secs(10), || {
        let list = switch.sh("bridge mdb show").map_err(|error| error.to_string())?;
        let joined: Vec<&str> = list
            .lines()
            .filter(|line| format!("{line} ").contains(&group))
            .filter_map(|line| line.split_whitespace().skip_while(|word| *word != "port").nth(1))
            .collect();
        if joined.len() != 3 {
            return Err(list);
        }
        for port in joined {
            let router = format!("bridge link set dev {port} mcast_router 2");
            switch.sh(&router).map_err(|error| error.to_string())?;
        }
        Ok(())
    })
}
