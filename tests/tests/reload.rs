//! The configuration changes under a cluster that serves: what did not change is not interrupted,
//! and the daemon says what did.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use nlb_tests::cluster::{Cluster, write_private};
use nlb_tests::lab::LabOptions;
use nlb_tests::service::{DNS, ECHO, HTTP, TALK};
use nlb_tests::session::{SessionSpec, Sessions};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::wait_until;

/// Clients that stay connected.
const SESSIONS: u32 = 60;
/// For whatever must come soon.
const LIMIT: Duration = Duration::from_secs(15);
/// A key beside that of every test.
const OTHER_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Replaces a part of a node's configuration.
fn edit(cluster: &Cluster, index: usize, from: &str, to: &str) -> Result<()> {
    let node = &cluster.nodes[index];
    let text = std::fs::read_to_string(node.config())?;
    ensure!(text.contains(from), "{from:?} is not in the configuration:\n{text}");
    node.configure(&text.replacen(from, to, 1))
}

/// Reloads a node, which must say just this.
fn reload(cluster: &Cluster, index: usize, says: &[&str]) -> Result<()> {
    let said = cluster.nodes[index].ctl(&["reload"])?;
    let changes: Vec<&str> = said.lines().skip(1).collect();
    ensure!(changes == says, "reload says {said:?}");
    Ok(())
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn sessions_survive_whatever_a_running_cluster_can_take_up() {
    let spec = ClusterSpec::default();
    let options = LabOptions { lean_watcher: true, ..LabOptions::default() };
    Cluster::test(&options, &spec, &[100, 100], |cluster| {
        let talk = SessionSpec { count: SESSIONS, first: 0, every_ipv6: 3 };
        let sessions = Sessions::start(&cluster.lab.client, talk)?;
        let all = || sessions.book().talking.len() == SESSIONS as usize;
        wait_until("all sessions", LIMIT, all)?;

        reload(cluster, 0, &[])?;
        edit(cluster, 0, "Manual(100)", "Manual(300)")?;
        reload(cluster, 0, &["nlb0: weight Manual(100) -> Manual(300)"])?;
        cluster.nodes[1].wait_status("the new weight", LIMIT, |status| {
            status.node("n1").is_some_and(|node| node.weight == 300)
        })?;
        cluster.wait_settled(2)?;

        let ports = format!("[Tcp({HTTP}), Tcp({TALK}), Udp({ECHO}), Udp({DNS})]");
        for index in 0..2 {
            edit(cluster, index, "            mode:", &format!("ports: {ports},\nmode:"))?;
            reload(cluster, index, &[&format!("nlb0: ports all -> {ports}")])?;
        }
        for index in 0..2 {
            let (from, to) = ("\"192.0.2.50\",", "\"192.0.2.50\", \"192.0.2.60\",");
            edit(cluster, index, from, to)?;
            reload(cluster, index, &["nlb0: addresses +192.0.2.60"])?;
            ensure!(cluster.nodes[index].status()?.addresses.len() == 3);
        }
        new_key(cluster)?;
        a_bad_file_changes_nothing(cluster)?;
        by_signal(cluster)?;

        cluster.wait_settled(2)?;
        wait_until("everybody to talk", LIMIT, all)?;
        let book = sessions.finish()?;
        ensure!(book.wrong.is_empty(), "wrong answers: {:?}", book.wrong.first());
        ensure!(book.breaks.is_empty(), "sessions broke: {:?}", book.breaks.first());
        for node in &cluster.nodes[..2] {
            let status = node.status()?;
            ensure!(status.counters.get("overlaps") == Some(&0), "{status:?}");
        }
        Ok(())
    });
}

/// A key comes in, signs, and the old one goes, one node after the other.
fn new_key(cluster: &mut Cluster) -> Result<()> {
    let file = cluster.lab.folder().join("nlb0.key");
    let old = std::fs::read_to_string(&file)?;
    let old = old.trim();
    let steps = [
        (format!("{old}\n{OTHER_KEY}\n"), "nlb0: keys changed (1 -> 2)"),
        (format!("{OTHER_KEY}\n{old}\n"), "nlb0: keys changed (2 -> 2)"),
        (format!("{OTHER_KEY}\n"), "nlb0: keys changed (2 -> 1)"),
    ];
    for (text, said) in steps {
        write_private(&file, &text)?;
        for index in 0..2 {
            reload(cluster, index, &[said])?;
        }
    }
    cluster.wait_settled(2).map(drop)
}

fn a_bad_file_changes_nothing(cluster: &mut Cluster) -> Result<()> {
    let node = &cluster.nodes[0];
    let before = node.status()?;
    let good = std::fs::read_to_string(node.config())?;
    let bad = good.replacen("Manual(300)", "Manual(0)", 1);
    let line = bad.lines().position(|line| line.contains("Manual(0)")).context("line")? + 1;
    node.configure(&bad)?;
    let output = node.nlbctl(&["reload"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let place = format!("{}:{line}:", node.config().display());
    ensure!(!output.status.success() && said.contains(&place), "{said}");
    node.configure(&good)?;
    reload(cluster, 0, &[])?;
    ensure!(cluster.nodes[0].status()?.epoch == before.epoch, "something was taken over");
    Ok(())
}

/// SIGHUP does the same; what changed stands in the log, a restart with its reason.
fn by_signal(cluster: &mut Cluster) -> Result<()> {
    edit(cluster, 0, "Manual(300)", "Manual(100)")?;
    cluster.nodes[0].signal(Signal::SIGHUP)?;
    cluster.nodes[0].wait_log("reload: nlb0: weight Manual(300) -> Manual(100)", LIMIT)?;
    edit(cluster, 0, "clusters:", "clusters: [")?;
    cluster.nodes[0].signal(Signal::SIGHUP)?;
    cluster.nodes[0].wait_log("the configuration was not reloaded", LIMIT)?;
    edit(cluster, 0, "clusters: [", "clusters:")
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn clusters_come_go_and_restart_beside_one_that_does_not_notice() {
    let spec = ClusterSpec::default();
    Cluster::test(&LabOptions::default(), &spec, &[100], |cluster| {
        let node = &cluster.nodes[0];
        let before = node.status()?;
        let own = std::fs::read_to_string(node.config())?;
        let with = |fields: &str| {
            let other = format!(
                "\"nlb1\": (interfaces: [\"eth0\"], addresses: [\"192.0.2.70\"], insecure: true, \
                 {fields}),\n    }},\n)\n"
            );
            own.replacen("    },\n)\n", &other, 1)
        };
        node.configure(&with("id: 8"))?;
        reload(cluster, 0, &["nlb1: started"])?;
        node.configure(&with("id: 9"))?;
        let said = node.ctl(&["reload"])?;
        ensure!(said.contains("nlb1: restarted because of id 8 -> 9, mac "), "{said}");
        node.configure(&own)?;
        reload(cluster, 0, &["nlb1: left, it is not configured any more"])?;
        let after = node.status()?;
        ensure!(after.epoch == before.epoch && after.active(), "nlb0 noticed: {after:?}");
        ensure!(after.counters.get("fenced") == before.counters.get("fenced"));
        Ok(())
    });
}
