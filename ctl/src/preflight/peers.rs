//! What the daemon knows of the other nodes: their versions, and whether their keys are ours.

use std::collections::BTreeMap;

use nlb_varlink::{Cluster, Status};

use super::Finding;
use crate::key::BRING;

/// Judges what the daemon says, if it runs.
pub(super) fn findings(status: Option<&Status>) -> Vec<Finding> {
    let Some(status) = status else {
        let todo = "versions and keys of other nodes are looked at when it runs";
        return vec![Finding::warn("daemon", "does not run here, or cannot be asked", todo)];
    };
    if status.clusters.is_empty() {
        let found = format!("nlbd {} runs and serves no cluster", status.daemon.version);
        return vec![Finding::ok("daemon", found)];
    }
    status.clusters.iter().flat_map(cluster).collect()
}

fn cluster(cluster: &Cluster) -> Vec<Finding> {
    let topic = cluster.name.as_str();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in &cluster.nodes {
        let name = if node.name.is_empty() { &node.id } else { &node.name };
        versions.entry(&node.software).or_default().push(name);
    }
    let mut findings = Vec::new();
    let count = cluster.nodes.len();
    findings.push(match versions.len() {
        0 | 1 => {
            let version = versions.keys().next().copied().unwrap_or("unknown");
            Finding::ok(topic, format!("{count} nodes are seen, all run {version}"))
        }
        _ => {
            let list = versions.iter().map(|(version, nodes)| {
                let version = if version.is_empty() { "unknown" } else { version };
                format!("{version} on {}", nodes.join(", "))
            });
            let found =
                format!("nodes run different versions: {}", list.collect::<Vec<_>>().join("; "));
            Finding::warn(topic, found, "that is right while you update, one after the other")
        }
    });
    for stranger in &cluster.strangers {
        let found = format!("frames from {} are {}", stranger.mac, stranger.text);
        let todo = match stranger.kind.as_str() {
            "other-key" => format!(
                "give all servers the same key: {BRING}\n\
                 (nothing proves that address: anybody on the segment can write it)"
            ),
            _ => "bring all servers to one version of nlbd".to_owned(),
        };
        findings.push(Finding::fail(topic, found, todo));
    }
    for unused in &cluster.unused_interfaces {
        let todo = "correct the interfaces in /etc/nlbd, or bring it up";
        findings.push(Finding::fail(topic, unused.text.clone(), todo));
    }
    let wrong = cluster.drops.get("bad_tag").copied().unwrap_or(0);
    let told = cluster.strangers.iter().any(|stranger| stranger.kind == "other-key");
    match (cluster.insecure, wrong) {
        (true, _) => findings.push(Finding::warn(
            topic,
            "runs without a key",
            "anybody on the segment can join or disturb it: make a key with nlbctl addif, or give key_file",
        )),
        (false, 0) => findings.push(Finding::ok(topic, "no frame under another key was seen")),
        (false, _) if told => {}
        (false, wrong) => findings.push(Finding::warn(
            topic,
            format!("{wrong} frames under another key were dropped, none lately"),
            "compare on all servers: sha256sum /etc/nlbd/*.key (and give them all the same)",
        )),
    }
    for node in cluster.nodes.iter().filter(|node| !node.differs.is_empty()) {
        let name = if node.name.is_empty() { &node.id } else { &node.name };
        findings.push(Finding::fail(
            topic,
            format!("{name} is configured otherwise: {}", node.differs.join("; ")),
            "give all servers the same timers, mode, addresses, ports and keys in /etc/nlbd",
        ));
    }
    let deaf: Vec<_> = cluster
        .nodes
        .iter()
        .filter(|node| !node.local && !node.hears_us)
        .map(|n| n.name.as_str())
        .collect();
    if !deaf.is_empty() {
        findings.push(Finding::fail(
            topic,
            format!("not heard by {}", deaf.join(", ")),
            "does the switch flood the group of the heartbeats between all ports of the servers?",
        ));
    }
    findings
}
