//! Nodes that get no processor for a while, but for less than their lease: nobody is lost.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::report;
use nlb_tests::lab::LabOptions;
use nlb_tests::probe::Prober;
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::{wait_for, wait_until};
use nlb_tests::wire::Question;

nlb_tests::on_both_paths!(a_node_that_stops_for_less_than_its_lease_answers_everybody);

const RATE: u32 = 1000;
/// Longer than a verdict stays fresh (100 ms), shorter than the lease (400 ms).
const STOP: Duration = Duration::from_millis(170);
/// Too short to work off what waited: the next stop comes in the middle of it.
const RUN: Duration = Duration::from_millis(2);
const STOPS: u32 = 12;

fn too_late(cluster: &Cluster) -> Result<u64> {
    cluster.nodes.iter().map(nlb_tests::node::Node::too_late).sum()
}

/// New clients ask while n1 is stopped again and again.
fn stop_and_go(cluster: &Cluster, first: u32) -> Result<()> {
    let prober = Prober::start(&cluster.lab.client, RATE, first)?;
    wait_until("probes", Duration::from_secs(5), || prober.sent() >= 100)?;
    for _ in 0..STOPS {
        cluster.nodes[0].signal(Signal::SIGSTOP)?;
        std::thread::sleep(STOP);
        cluster.nodes[0].signal(Signal::SIGCONT)?;
        std::thread::sleep(RUN);
    }
    prober.finish()
}

fn unanswered(cluster: &Cluster) -> usize {
    let ledger = cluster.watcher.ledger();
    let lost = |question: &Question, exchange: &nlb_tests::wire::Exchange| {
        matches!(question, Question::Udp(..)) && exchange.answers.is_empty()
    };
    ledger.select(lost).len()
}

fn a_node_that_stops_for_less_than_its_lease_answers_everybody(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &[100, 100, 100], |cluster| {
        for round in 0..5 {
            let before = too_late(cluster)?;
            cluster.watcher.ledger().exchanges.clear();
            stop_and_go(cluster, 3_000_000 + round * 100_000)?;
            let answered =
                wait_for("every answer", Duration::from_secs(2), || match unanswered(cluster) {
                    0 => Ok(()),
                    lost => Err(format!("{lost} questions got none")),
                });
            cluster.watcher.check()?;
            if too_late(cluster)? == before {
                answered?;
                let asked = cluster.watcher.ledger().exchanges.len();
                report(&format!("{asked} questions across {STOPS} stops: none lost"));
                return Ok(());
            }
            cluster.wait_settled(3)?;
        }
        ensure!(false, "this machine is too busy to stop a process for {STOP:?}");
        Ok(())
    });
}
