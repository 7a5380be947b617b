//! The daemon restarts, as planned or after a crash: its clients do not notice (SPEC 6.11.3).

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::report;
use nlb_tests::lab::LabOptions;
use nlb_tests::load::{Load, LoadSpec, Sources, Summary};
use nlb_tests::node::Node;
use nlb_tests::session::{SessionSpec, Sessions};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::stamp::Stamp;
use nlb_tests::wait::wait_until;

const WEIGHTS: [u16; 3] = [100, 100, 100];
/// Clients that stay connected.
const SESSIONS: u32 = 60;
/// New connections a second.
const RATE: u32 = 100;
/// What handing over and ending may take.
const END: Duration = Duration::from_secs(8);
const SOON: Duration = Duration::from_secs(10);

/// What clients saw of a change: how many sessions broke, the longest silence, new connections.
fn disturbed(
    cluster: &mut Cluster,
    what: &str,
    change: impl FnOnce(&mut Cluster) -> Result<()>,
) -> Result<(usize, Summary)> {
    let client = &cluster.lab.client;
    let spec = SessionSpec { count: SESSIONS, first: 0, every_ipv6: 3 };
    let sessions = Sessions::start(client, spec)?;
    let sources = Sources::Fresh { first: 5_000_000 };
    let load = Load::start(client, &LoadSpec { rate: RATE, sources, ..LoadSpec::default() })?;
    wait_until("all sessions", SOON, || sessions.book().talking.len() == SESSIONS as usize)?;
    let rest = |load: &Load| {
        let so_far = load.begun();
        wait_until("load", SOON, || load.begun() >= so_far + 2 * RATE)
    };
    rest(&load)?;
    let changed = Stamp::now();
    change(cluster)?;
    rest(&load)?;
    let attempts = load.finish()?;
    let busy: Vec<_> =
        attempts.into_iter().filter(|one| one.begun + one.total >= changed).collect();
    let book = sessions.finish()?;
    let silences = book.silences.iter().filter(|one| one.to >= changed);
    let longest = silences.map(|one| one.to.since(one.from)).max().unwrap_or_default();
    let (broken, summary) = (book.breaks.len(), Summary::of(&busy));
    report(&format!(
        "{what}: {broken} of {SESSIONS} sessions broken, longest silence {longest:.0?}; new: \
         {summary}"
    ));
    ensure!(book.wrong.is_empty(), "wrong answers: {:?}", book.wrong);
    cluster.watcher.check()?;
    Ok((broken, summary))
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_planned_restart_is_not_noticed() {
    Cluster::test(&LabOptions::default(), &ClusterSpec::default(), &WEIGHTS, |cluster| {
        let before = cluster.nodes[0].status()?;
        let (broken, new) = disturbed(cluster, "planned restart", |cluster| {
            cluster.nodes[0].end_for_restart(END)?;
            // Others keep it for longer than a dead node.
            let restarting = |cluster: &Cluster| {
                let seen = cluster.nodes[1].status();
                seen.is_ok_and(|seen| seen.node("n1").is_some_and(|n1| n1.state == "restarting"))
            };
            ensure!(restarting(cluster), "n2 does not know that n1 restarts");
            std::thread::sleep(2 * Duration::from_secs(1));
            ensure!(restarting(cluster), "n2 gave n1 up");
            cluster.nodes[0].start()?;
            cluster.wait_settled(3).map(drop)
        })?;
        ensure!(broken == 0, "{broken} sessions broke");
        ensure!(new.failed == 0 && new.retransmitted == 0, "new connections were disturbed: {new}");
        let after = cluster.nodes[0].status()?;
        ensure!(before.node("n1").is_some() && after.node("n1").is_some());
        cluster.nodes[0].wait_log("goes on with an earlier process", SOON)?;
        let log = cluster.nodes[0].log();
        ensure!(!log.contains("somebody changed"), "its own doing is taken for somebody's: {log}");
        // A later end without a word is an end: nothing stays.
        cluster.nodes[0].terminate(END)?;
        cluster.check_restored(0)
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_crash_that_is_repaired_at_once_breaks_nobody() {
    // On a busy machine a process may take long to start: these rights last for that long.
    let spec = ClusterSpec { timing: Some((200, 2000)), ..ClusterSpec::default() };
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        let (broken, new) = disturbed(cluster, "kill -9 and start", |cluster| {
            cluster.nodes[0].kill()?;
            cluster.nodes[0].start()?;
            cluster.nodes[0].wait_log("goes on with an earlier process", SOON)?;
            cluster.wait_settled(3).map(drop)
        })?;
        ensure!(broken == 0, "{broken} sessions broke");
        ensure!(new.failed == 0, "new connections failed: {new}");
        Ok(())
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_node_that_does_not_come_back_is_replaced() {
    Cluster::test(&LabOptions::default(), &ClusterSpec::default(), &WEIGHTS, |cluster| {
        cluster.nodes[0].ctl(&["restart-hold", "--hold", "3"])?;
        cluster.nodes[0].terminate(END)?;
        for index in 1..3 {
            let gone = |status: &nlb_tests::status::ClusterStatus| {
                status.converged && status.node("n1").is_none()
            };
            cluster.nodes[index].wait_status("n1 is gone", SOON, gone)?;
        }
        // It begins anew, and serves again.
        cluster.nodes[0].start()?;
        cluster.wait_settled(3)?;
        let log = cluster.nodes[0].log();
        ensure!(!log.contains("goes on with an earlier process"), "{log}");
        cluster.watcher.check()
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn two_nodes_restart_at_once_and_nobody_notices() {
    Cluster::test(&LabOptions::default(), &ClusterSpec::default(), &WEIGHTS, |cluster| {
        let (broken, new) = disturbed(cluster, "two planned restarts at once", |cluster| {
            for node in &cluster.nodes[..2] {
                node.ctl(&["restart-hold"])?;
            }
            for node in &cluster.nodes[..2] {
                node.signal(Signal::SIGTERM)?;
            }
            for node in &mut cluster.nodes[..2] {
                let status = node.wait_end(END)?;
                ensure!(status.success(), "the daemon ended with {status}");
            }
            for node in &mut cluster.nodes[..2] {
                node.start()?;
            }
            cluster.wait_settled(3)?;
            let resumed: Vec<usize> = cluster.nodes[..2].iter().map(Node::resumed).collect();
            ensure!(resumed == [1, 1], "{resumed:?}");
            Ok(())
        })?;
        ensure!(broken == 0, "{broken} sessions broke");
        ensure!(new.failed == 0 && new.retransmitted == 0, "new connections were disturbed: {new}");
        Ok(())
    });
}

/// A weight set by hand lasts until the daemon ends: the next process tells the others so, although
/// it goes on with the life of the one that had it.
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn after_a_restart_the_configured_weight_counts() {
    Cluster::test(&LabOptions::default(), &ClusterSpec::default(), &WEIGHTS, |cluster| {
        let weighs = |cluster: &mut Cluster, weight: u16| {
            cluster.nodes[1].wait_status("n1's weight", SOON, |status| {
                status.converged && status.node("n1").is_some_and(|n1| n1.weight == weight)
            })
        };
        cluster.nodes[0].ctl(&["set_weight", "nlb0", "300"])?;
        weighs(cluster, 300)?;
        cluster.nodes[0].end_for_restart(END)?;
        cluster.nodes[0].start()?;
        cluster.wait_settled(3)?;
        ensure!(cluster.nodes[0].resumed() == 1, "it begins anew");
        weighs(cluster, 100)?;
        cluster.watcher.check()
    });
}

/// The address of a cluster that has another name now must not meet the rules that the old one left:
/// the gate of a cluster that nobody goes on with stays closed.
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_cluster_that_is_renamed_across_a_restart_is_served() {
    Cluster::test(&LabOptions::default(), &ClusterSpec::default(), &WEIGHTS, |cluster| {
        let node = &mut cluster.nodes[0];
        let rules = |node: &Node| node.namespace.sh("nft list ruleset");
        node.end_for_restart(END)?;
        ensure!(rules(node)?.contains("in.nlb0."), "a restart keeps the rules");
        let text = std::fs::read_to_string(node.config())?;
        node.configure(&text.replacen("\"nlb0\"", "\"web\"", 1))?;
        node.start()?;
        cluster.wait_settled(3)?;
        let left = rules(&cluster.nodes[0])?;
        ensure!(left.contains("in.web.") && !left.contains("nlb0"), "{left}");
        let resumed = cluster.nodes[0].resumed();
        ensure!(resumed == 0, "it went on with the life of another cluster");
        let load =
            Load::start(&cluster.lab.client, &LoadSpec { rate: RATE, ..LoadSpec::default() })?;
        wait_until("load", SOON, || load.begun() >= 3 * RATE)?;
        let summary = Summary::of(&load.finish()?);
        report(&format!("after a restart as another cluster: {summary}"));
        ensure!(summary.failed == 0 && summary.retransmitted == 0, "not everybody was answered");
        Ok(())
    });
}

/// SPEC 6.11.3a: a kernel that keeps no clients can keep none meanwhile.
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn without_offload_a_restart_is_an_end_and_a_beginning() {
    let spec = ClusterSpec::default().offload(false);
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        let (_, new) = disturbed(cluster, "restart without offload", |cluster| {
            cluster.nodes[0].end_for_restart(END)?;
            cluster.check_restored(0)?;
            cluster.nodes[0].start()?;
            cluster.wait_settled(3)?;
            ensure!(cluster.nodes[0].resumed() == 0, "nothing was left to go on with");
            Ok(())
        })?;
        ensure!(new.failed == 0 && new.retransmitted == 0, "new connections were disturbed: {new}");
        Ok(())
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_second_signal_hurries_the_end() {
    // A peer that does not answer any more is waited for, but not by whoever is in a hurry.
    let spec = ClusterSpec { timing: Some((200, 2000)), ..ClusterSpec::default() };
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        cluster.nodes[1].signal(Signal::SIGSTOP)?;
        cluster.nodes[0].signal(Signal::SIGTERM)?;
        cluster.nodes[2].wait_status("n1 leaves", SOON, |status| {
            status.node("n1").is_some_and(|n1| n1.state == "leaving")
        })?;
        let hurried = Stamp::now();
        cluster.nodes[0].signal(Signal::SIGTERM)?;
        let status = cluster.nodes[0].wait_end(END)?;
        let took = Stamp::now().since(hurried);
        cluster.nodes[1].signal(Signal::SIGCONT)?;
        report(&format!("a second SIGTERM: ended {took:.0?} later"));
        ensure!(status.success(), "the daemon ended with {status}");
        ensure!(took < Duration::from_secs(2), "it took {took:?}");
        cluster.check_restored(0)?;
        cluster.nodes[0].start()?;
        cluster.wait_settled_within(3, Duration::from_secs(40)).map(drop)
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn an_end_while_starting_leaves_nothing() {
    Cluster::test(&LabOptions::default(), &ClusterSpec::default(), &WEIGHTS, |cluster| {
        // From before it can know of the signal to after it has begun to serve.
        for delay in [0, 2, 5, 10, 20, 40, 60, 80, 120, 200, 400] {
            let kept = delay % 20 == 0;
            if kept {
                cluster.nodes[0].end_for_restart(END)?;
            } else {
                ensure!(cluster.nodes[0].terminate(END)?.success(), "a plain end");
            }
            cluster.nodes[0].start()?;
            std::thread::sleep(Duration::from_millis(delay));
            let status = cluster.nodes[0].terminate(END)?;
            // Whoever is told before it listens dies of the signal, and has done nothing.
            let at_once = status.signal() == Some(Signal::SIGTERM as i32);
            ensure!(status.success() || at_once, "after {delay} ms it ended with {status}");
            if !(kept && at_once) {
                cluster.check_restored(0).with_context(|| format!("after {delay} ms"))?;
            }
            cluster.nodes[0].start()?;
            cluster.wait_settled(3)?;
        }
        Ok(())
    });
}
