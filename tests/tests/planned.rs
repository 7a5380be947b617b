//! Planned changes under load: leave, SIGTERM, join, another weight. Nobody may notice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::{report, runs};
use nlb_tests::lab::LabOptions;
use nlb_tests::load::{Attempt, Load, LoadSpec, Sources, Summary};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::stamp::Stamp;
use nlb_tests::wait::wait_until;
use nlb_tests::wire::Question;

nlb_tests::on_both_paths!(
    a_node_leaves_and_nobody_waits,
    a_node_is_terminated_and_nobody_waits,
    a_node_joins_and_nobody_is_answered_twice,
    weights_change_and_nobody_waits,
);

const WEIGHTS: [u16; 3] = [100, 100, 100];
/// A leaving node may take so long: its hand-over is bounded by twice dead-after.
const LEAVE_LIMIT: Duration = Duration::from_secs(6);
/// Attempts a second.
const RATE: u32 = 200;

fn a_node_leaves_and_nobody_waits(offload: bool) {
    depart(offload, "leave", |cluster| {
        cluster.nodes[0].ctl(&["leave", "nlb0"])?;
        Ok(())
    });
}

fn a_node_is_terminated_and_nobody_waits(offload: bool) {
    depart(offload, "SIGTERM", |cluster| {
        let status = cluster.nodes[0].terminate(LEAVE_LIMIT)?;
        ensure!(status.success(), "the daemon ended with {status}");
        cluster.check_restored(0)
    });
}

/// Lets n1 depart under load; new clients only, then clients that come again and again.
fn depart(offload: bool, how: &str, go: impl Fn(&mut Cluster) -> Result<()>) {
    let spec = ClusterSpec::default().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        for run in 0..runs(2) {
            let base = 1_000_000 + u32::try_from(run)? * 10_000;
            let sources = if run % 2 == 0 {
                Sources::Fresh { first: base }
            } else {
                Sources::Pool { first: base, count: 600 }
            };
            let begun = Stamp::now();
            let (calm, busy) = under_load(cluster, sources, |cluster| {
                go(cluster)?;
                wait_gone(cluster)
            })?;
            report(&format!(
                "{how}, offload {offload}, {sources:?}: undisturbed {calm}; meanwhile {busy}"
            ));
            ensure!(busy.failed == 0 && busy.retransmitted == 0, "{how} disturbed: {busy}");
            check_asked_once(cluster, begun)?;
            if cluster.nodes[0].runs() {
                // `leave` leaves the cluster; the daemon may run on without it.
                cluster.nodes[0].terminate(LEAVE_LIMIT)?;
            }
            cluster.check_restored(0)?;
            cluster.nodes[0].start()?;
            cluster.wait_settled(3)?;
        }
        Ok(())
    });
}

/// Waits until the other two agree that n1 is gone.
fn wait_gone(cluster: &mut Cluster) -> Result<()> {
    for index in 1..3 {
        cluster.nodes[index].wait_status("n1 is gone", LEAVE_LIMIT, |status| {
            let others = status.nodes.iter().filter(|node| node.name != "n1");
            status.converged && others.map(|node| node.buckets).sum::<usize>() == 4096
        })?;
    }
    Ok(())
}

/// Runs `change` in the middle of a load. Gives the attempts before it, and those from then on.
fn under_load(
    cluster: &mut Cluster,
    sources: Sources,
    change: impl FnOnce(&mut Cluster) -> Result<()>,
) -> Result<(Summary, Summary)> {
    let client = cluster.lab.client.clone();
    let load = Load::start(&client, &LoadSpec { rate: RATE, sources, ..LoadSpec::default() })?;
    let limit = Duration::from_secs(10);
    wait_until("load before", limit, || load.begun() >= 2 * RATE)?;
    let changed = Stamp::now();
    change(cluster)?;
    let so_far = load.begun();
    wait_until("load after", limit, || load.begun() >= so_far + 2 * RATE)?;
    let (calm, busy): (Vec<Attempt>, Vec<Attempt>) =
        load.finish()?.into_iter().partition(|attempt| attempt.begun + attempt.total < changed);
    Ok((Summary::of(&calm), Summary::of(&busy)))
}

/// No client had to ask twice, seen from the wire.
fn check_asked_once(cluster: &Cluster, since: Stamp) -> Result<()> {
    let ledger = cluster.watcher.ledger();
    let again = ledger.select(|question, exchange| {
        matches!(question, Question::Syn(..))
            && exchange.asked.len() > 1
            && exchange.asked.first().is_some_and(|first| *first >= since)
    });
    ensure!(again.is_empty(), "{} SYNs were sent again: {:?}", again.len(), again.first());
    Ok(())
}

fn a_node_joins_and_nobody_is_answered_twice(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    let options = LabOptions { servers: 3, ..LabOptions::default() };
    Cluster::test(&options, &spec, &WEIGHTS[..2], |cluster| {
        let sources = Sources::Fresh { first: 2_000_000 };
        let (calm, busy) = under_load(cluster, sources, |cluster| {
            cluster.start_node(2, WEIGHTS[2])?;
            cluster.wait_settled(3).map(drop)
        })?;
        report(&format!("join, offload {offload}: undisturbed {calm}; meanwhile {busy}"));
        cluster.watcher.check()?;
        ensure!(busy.failed == 0, "new clients failed while a node joined: {busy}");
        ensure!(busy.servers.get("n3").is_some_and(|count| *count > 50), "{busy}");
        Ok(())
    });
}

fn weights_change_and_nobody_waits(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        let begun = Stamp::now();
        let sources = Sources::Fresh { first: 3_000_000 };
        let (calm, busy) = under_load(cluster, sources, |cluster| {
            for weight in ["200", "50", "100", "300"] {
                cluster.nodes[1].ctl(&["set_weight", "nlb0", weight])?;
                let number: u16 = weight.parse()?;
                let limit = Duration::from_secs(5);
                for node in &mut cluster.nodes {
                    node.wait_status("the new weight", limit, |status| {
                        status.node("n2").is_some_and(|node| node.weight == number)
                    })?;
                }
                cluster.wait_settled(3)?;
            }
            Ok(())
        })?;
        report(&format!("weights, offload {offload}: undisturbed {calm}; meanwhile {busy}"));
        ensure!(busy.failed == 0 && busy.retransmitted == 0, "disturbed: {busy}");
        check_asked_once(cluster, begun)?;
        let shares = cluster.wait_settled(3)?;
        let n2 = shares.first().and_then(|status| status.node("n2")).context("n2")?.buckets;
        // 1/300 of 1/100 + 1/100 + 1/300: a seventh.
        ensure!(n2.abs_diff(4096 / 7) <= 1, "n2 has {n2} buckets");
        Ok(())
    });
}
