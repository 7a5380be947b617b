//! Servers that are not set up alike, or not as they were meant: other settings, another key, an
//! interface that is not there. A person reads of it wherever he looks.

use std::time::Duration;

use anyhow::{Result, ensure};
use nlb_tests::cluster::{Cluster, write_private};
use nlb_tests::lab::{LabOptions, server_mac};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(20);
const OTHER_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Replaces a part of a node's configuration and has it taken up; gives what that said.
fn reload(cluster: &Cluster, index: usize, from: &str, to: &str) -> Result<String> {
    let node = &cluster.nodes[index];
    let text = std::fs::read_to_string(node.config())?;
    ensure!(text.contains(from), "{from:?} is not in the configuration:\n{text}");
    node.configure(&text.replacen(from, to, 1))?;
    node.ctl(&["reload"])
}

/// Waits until a node says all this in its status, with the exit code for "not well".
fn wait_words(cluster: &Cluster, index: usize, words: &[&str]) -> Result<String> {
    wait_for(&format!("{words:?}"), LIMIT, || {
        let output =
            cluster.nodes[index].nlbctl(&["status"]).map_err(|error| format!("{error:#}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = words.iter().all(|words| text.contains(words));
        if all && output.status.code() == Some(5) { Ok(text) } else { Err(text) }
    })
}

fn wait_well(cluster: &mut Cluster) -> Result<()> {
    cluster.wait_settled(cluster.nodes.iter().filter(|node| node.runs()).count())?;
    for index in 0..cluster.nodes.len() {
        wait_for("all is well", LIMIT, || {
            let output =
                cluster.nodes[index].nlbctl(&["status"]).map_err(|error| format!("{error:#}"))?;
            if output.status.success() { Ok(()) } else { Err(format!("{output:?}")) }
        })?;
    }
    Ok(())
}

fn preflight(cluster: &Cluster, index: usize) -> Result<String> {
    let output = cluster.nodes[index].nlbctl(&["preflight"])?;
    ensure!(output.status.code() == Some(5), "preflight finds nothing: {output:?}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn times(log: &str, words: &str) -> usize {
    log.matches(words).count()
}

fn options(servers: usize) -> LabOptions {
    LabOptions { servers, ..LabOptions::default() }
}

// SPEC 4.4.1
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn who_is_configured_otherwise_is_named() {
    Cluster::test(&options(3), &ClusterSpec::default(), &[100, 100, 100], |cluster| {
        wait_well(cluster)?;
        let slow = "            dead_after_ms: 2000,\n            mode:";
        reload(cluster, 2, "            mode:", slow)?;
        let there = "n3 is configured otherwise: dead_after_ms 2000 there, 1000 here";
        for index in 0..2 {
            let text = wait_words(cluster, index, &["NOT all is well", there])?;
            ensure!(times(&text, "configured otherwise") == 1, "{text}");
            ensure!(preflight(cluster, index)?.contains(&format!("fail  nlb0: {there}")));
        }
        wait_words(
            cluster,
            2,
            &["n1 is configured otherwise: dead_after_ms 1000 there, 2000 here"],
        )?;
        let metrics = cluster.nodes[0].ctl(&["metrics"])?;
        ensure!(metrics.contains("nlbd_peers_differing{cluster=\"nlb0\"} 1"), "{metrics}");
        reload(cluster, 2, slow, "            mode:")?;
        wait_well(cluster)?;
        // What a running cluster takes up is told too.
        reload(cluster, 2, "\"192.0.2.50\",", "\"192.0.2.50\", \"192.0.2.60\",")?;
        wait_words(cluster, 0, &["n3 is configured otherwise: other service addresses"])?;
        reload(cluster, 2, "\"192.0.2.50\", \"192.0.2.60\",", "\"192.0.2.50\",")?;
        wait_well(cluster)?;
        let log = cluster.nodes[0].log();
        ensure!(times(&log, there) == 1, "{log}");
        let events = cluster.nodes[0].ctl(&["events"])?;
        ensure!(events.contains("n3 is configured like this node again"), "{events}");
        Ok(())
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn another_key_is_named() {
    Cluster::test(&options(2), &ClusterSpec::default(), &[100, 100], |cluster| {
        wait_well(cluster)?;
        let key = cluster.lab.folder().join("other.key");
        write_private(&key, &format!("{OTHER_KEY}\n"))?;
        let (right, wrong) = ("nlb0.key", "other.key");
        reload(cluster, 1, right, wrong)?;
        for index in 0..2 {
            let other = server_mac(2 - index);
            let words = format!("frames from {other} are signed with another key, or forged");
            wait_words(
                cluster,
                index,
                &["NOT all is well", &words, "nothing proves that address"],
            )?;
            ensure!(preflight(cluster, index)?.contains(&format!("fail  nlb0: {words}")));
        }
        std::thread::sleep(Duration::from_secs(5));
        for node in &cluster.nodes {
            let log = node.log();
            ensure!(times(&log, "signed with another key") == 1, "{log}");
        }
        reload(cluster, 1, wrong, right)?;
        cluster.wait_settled(2).map(drop)
    });
}

// SPEC 5.1
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_step_of_a_key_rotation_waits_for_the_one_before_it() {
    Cluster::test(&options(2), &ClusterSpec::default(), &[100, 100], |cluster| {
        wait_well(cluster)?;
        let file = cluster.lab.folder().join("nlb0.key");
        let path = file.to_string_lossy().into_owned();
        let rotate = |cluster: &Cluster, more: &[&str]| {
            cluster.nodes[0].nlbctl(&[&["key", "rotate", "--file", &path], more].concat())
        };
        // Both read one file; n2 does so when it is told to.
        for step in 1..=2 {
            let output = rotate(cluster, &[])?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            ensure!(said.contains(&format!("Step {step} of 3")), "{output:?}");
            let differs = |name| format!("{name} is configured otherwise: other keys, or in");
            wait_words(cluster, 0, &["NOT all is well", &differs("n2")])?;
            wait_words(cluster, 1, &["NOT all is well", &differs("n1")])?;
            let before = std::fs::read_to_string(&file)?;
            let output = rotate(cluster, &[])?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let words = "not all servers have the same keys in the same order as this one: n2;";
            ensure!(said.contains(words) && output.status.code() == Some(1), "{output:?}");
            ensure!(std::fs::read_to_string(&file)? == before, "the file was changed");
            if step == 1 {
                cluster.nodes[1].ctl(&["reload"])?;
                wait_well(cluster)?;
            }
        }
        // Whoever goes on all the same does not hear n2, which hears n1: it heals.
        let output = rotate(cluster, &["--force"])?;
        ensure!(output.status.success(), "{output:?}");
        let words = format!("frames from {} are signed with another key", server_mac(2));
        wait_words(cluster, 0, &[&words])?;
        cluster.nodes[1].ctl(&["reload"])?;
        cluster.wait_settled(2)?;
        for node in &cluster.nodes {
            let status = node.status()?;
            ensure!(status.counters.get("overlaps") == Some(&0), "{status:?}");
        }
        Ok(())
    });
}

/// Neither hears the other then, so that only who listens for it knows.
// SPEC 2.1
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn another_ethertype_is_named_by_preflight() {
    Cluster::test(&options(3), &ClusterSpec::default(), &[100, 100, 100], |cluster| {
        wait_well(cluster)?;
        let link = || cluster.lab.servers[0].sh("ip -d link show eth0");
        let before = link()?;
        let output = cluster.nodes[0].nlbctl(&["preflight"])?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(text.contains("ok    eth0: no server with another ethertype was heard"), "{text}");
        let other = "            ethertype: 0x88b6,\n            mode:";
        reload(cluster, 2, "            mode:", other)?;
        let words = |who: &str, there: &str, here: &str| {
            format!(
                "fail  eth0: {who}: heartbeats of nlb0 under ethertype {there}; this server uses \
                 {here}"
            )
        };
        let third = words(&server_mac(3).to_string(), "0x88b6", "0x88b5");
        let text = preflight(cluster, 0)?;
        ensure!(text.contains(&third), "{text}");
        let two = format!("{}, {}", server_mac(1), server_mac(2));
        let text = preflight(cluster, 2)?;
        ensure!(text.contains(&words(&two, "0x88b5", "0x88b6")), "{text}");
        // Nothing of it stays on the host.
        let after = link()?;
        ensure!(after == before, "{before}{after}");
        reload(cluster, 2, other, "            mode:")?;
        wait_well(cluster)
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn an_interface_that_is_not_there_is_named() {
    Cluster::test(&options(2), &ClusterSpec::default(), &[100, 100], |cluster| {
        wait_well(cluster)?;
        let note = "nlb0: eht0: no such interface now; it is waited for. Did you mean eth0?";
        let said = reload(cluster, 0, "[\"eth0\"]", "[\"eht0\"]")?;
        ensure!(said.contains(note), "{said}");
        let checked = cluster.nodes[0].ctl(&["check-config"])?;
        ensure!(checked.contains(&format!("warning: {note}")), "{checked}");
        wait_words(cluster, 0, &["! eht0: no such interface, for ", "did you mean eth0?"])?;
        ensure!(preflight(cluster, 0)?.contains("eht0: no such interface now"));
        ensure!(cluster.nodes[0].ctl(&["reload"])?.contains(note), "said again while it is so");
        let metrics = cluster.nodes[0].ctl(&["metrics"])?;
        let absent = "nlbd_interfaces_unused{cluster=\"nlb0\",trouble=\"absent\"} 1";
        ensure!(metrics.contains(absent), "{metrics}");
        reload(cluster, 0, "[\"eht0\"]", "[\"eth0\"]")?;
        wait_well(cluster)?;
        // One that is there and does not work.
        cluster.lab.set_port("n1", false)?;
        wait_words(cluster, 0, &["! eth0 has no carrier, for "])?;
        cluster.lab.set_port("n1", true)?;
        wait_for("its end", LIMIT, || {
            let output =
                cluster.nodes[0].nlbctl(&["status"]).map_err(|error| format!("{error:#}"))?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if text.contains("carrier") { Err(text) } else { Ok(()) }
        })?;
        // Whoever adds one means one that is there.
        let said = cluster.nodes[0].nlbctl(&["addif", "ethO", "--cluster", "nlb0"])?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        ensure!(said.contains("interface: found ethO; allowed: eth0"), "{said}");
        cluster.wait_settled(2).map(drop)
    });
}
