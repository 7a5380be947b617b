//! A node that is killed, hangs, or loses its cable under load: who answers its clients, and when.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::{report, runs, spread};
use nlb_tests::lab::{LabOptions, server_mac};
use nlb_tests::load::{Attempt, Load, LoadSpec, Sources, Summary};
use nlb_tests::probe::Prober;
use nlb_tests::spec::ClusterSpec;
use nlb_tests::stamp::Stamp;
use nlb_tests::wait::wait_until;
use nlb_tests::wire::{Exchange, Question};

nlb_tests::on_both_paths!(
    a_killed_node_is_replaced_and_its_waiting_clients_are_answered,
    a_stopped_node_is_fenced_by_its_kernel_and_comes_back,
    the_fast_profile_takes_over_in_a_tenth_of_a_second,
);

const WEIGHTS: [u16; 3] = [100, 100, 100];
const MEMBERS: [(usize, u16); 3] = [(1, 100), (2, 100), (3, 100)];
/// The victim's index and number.
const VICTIM: (usize, usize) = (0, 1);
/// Frames in flight and a busy machine, when a limit is a matter of milliseconds.
const SLACK: Duration = Duration::from_millis(60);

/// How a node is lost.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Loss {
    Killed,
    Stopped,
}

/// What was seen when the victim was lost.
#[derive(Debug)]
struct Takeover {
    /// From the loss until every client was served at once.
    complete: Duration,
    /// From the loss until the first of the victim's clients was answered by another.
    first: Duration,
    /// How long after the loss the victim itself still answered.
    lingered: Duration,
    /// Clients of the victim whose first SYN came after its lease and before the takeover, by
    /// how long they waited beyond the takeover.
    held: Vec<Duration>,
    /// Attempts that began after the loss.
    after: Vec<Attempt>,
}

fn a_killed_node_is_replaced_and_its_waiting_clients_are_answered(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        let mut times = Vec::new();
        for run in 0..runs(1) {
            let seen = lose(cluster, Loss::Killed, u32::try_from(run)?)?;
            check(cluster, &seen, Duration::from_millis(1200))?;
            times.push(seen.complete);
            cluster.nodes[VICTIM.0].start()?;
            cluster.wait_settled(3)?;
        }
        report(&format!("takeover after SIGKILL, offload {offload}: {}", spread(&times)));
        Ok(())
    });
}

fn a_stopped_node_is_fenced_by_its_kernel_and_comes_back(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        let mut times = Vec::new();
        for run in 0..runs(1) {
            let seen = lose(cluster, Loss::Stopped, u32::try_from(run)?)?;
            check(cluster, &seen, Duration::from_millis(1200))?;
            times.push(seen.complete);
            // It wakes under load, with what waited in its queue, and must not answer any of it.
            let load = Load::start(&cluster.lab.client, &pool(run))?;
            cluster.nodes[VICTIM.0].signal(Signal::SIGCONT)?;
            cluster.wait_settled(3)?;
            let sum = Summary::of(&load.finish()?);
            report(&format!("while a stopped node comes back, offload {offload}: {sum}"));
            cluster.watcher.check()?;
        }
        report(&format!("takeover after SIGSTOP, offload {offload}: {}", spread(&times)));
        Ok(())
    });
}

fn the_fast_profile_takes_over_in_a_tenth_of_a_second(offload: bool) {
    let spec = ClusterSpec::fast().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        let (mut times, mut disturbed) = (Vec::new(), 0);
        while times.len() < runs(5) {
            let before = survivors_fenced(cluster)?;
            let run = u32::try_from(times.len() + disturbed)?;
            let seen = lose(cluster, Loss::Killed, run)?;
            if survivors_fenced(cluster)? == before {
                // One run may be unlucky by some scheduling delays, but none by as much as the
                // default profile needs.
                check(cluster, &seen, Duration::from_millis(300))?;
                times.push(seen.complete);
            } else {
                // Two processors run the whole laboratory. A daemon that got none of them for 35
                // ms was rightly fenced by itself or by its peers: nobody was answered twice, but
                // how long a takeover takes was not measured.
                disturbed += 1;
                cluster.watcher.check()?;
                ensure!(disturbed <= times.len() + 3, "this machine is too busy for 50 ms");
            }
            cluster.nodes[VICTIM.0].start()?;
            cluster.wait_settled(3)?;
        }
        report(&format!(
            "takeover, fast profile, offload {offload}: {}; {disturbed} more were disturbed",
            spread(&times)
        ));
        times.sort();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        ensure!(median <= Duration::from_millis(100), "takeover times {times:?}");
        Ok(())
    });
}

/// How often the other nodes have fenced themselves so far, or lost each other.
fn survivors_fenced(cluster: &Cluster) -> Result<usize> {
    let mut count = 0;
    for node in &cluster.nodes[1..] {
        count += usize::try_from(*node.status()?.counters.get("fenced").context("fenced")?)?;
        let lost = |line: &&str| {
            let victim = line.contains("n1 is") || line.contains("0001 is");
            line.contains("counts as dead") && !victim
        };
        count += node.log().lines().filter(lost).count();
    }
    Ok(count)
}

/// Sources that come again and again, so that every node keeps clients of them.
fn pool(run: usize) -> LoadSpec {
    let sources = Sources::Pool { first: 0, count: 600 };
    LoadSpec { rate: 100, sources, seed: run as u64, ..LoadSpec::default() }
}

/// Loses the victim while new clients connect, old ones come again, and probes measure.
fn lose(cluster: &mut Cluster, loss: Loss, run: u32) -> Result<Takeover> {
    let client = cluster.lab.client.clone();
    let before = survivors_late(cluster)?;
    // No client of one run was ever seen in another.
    let (fresh, probes) = (100_000 + run * 10_000, 1_000_000 + run * 10_000);
    let known = Load::start(&client, &pool(run as usize))?;
    let spec = LoadSpec { sources: Sources::Fresh { first: fresh }, ..LoadSpec::default() };
    let load = Load::start(&client, &spec)?;
    let prober = Prober::start(&client, 500, probes)?;
    let limit = Duration::from_secs(5);
    wait_until("load", limit, || load.begun() >= 100 && prober.sent() >= 100)?;

    let lost = Stamp::now();
    match loss {
        Loss::Killed => cluster.nodes[VICTIM.0].kill()?,
        Loss::Stopped => cluster.nodes[VICTIM.0].signal(Signal::SIGSTOP)?,
    }
    // Until now it may have sent heartbeats.
    let gone = Stamp::now();
    // Long enough that SYNs retransmitted once are over too.
    let rest = cluster.spec.dead_after() * 2 + Duration::from_millis(500);
    wait_until("the time after", limit, || Stamp::now().since(lost) > rest)?;
    prober.finish()?;
    let mut attempts = load.finish()?;
    drop(known.finish()?);
    attempts.retain(|attempt| attempt.begun > lost);
    let late = survivors_late(cluster)? - before;
    measure(cluster, lost, gone, attempts, late)
}

fn survivors_late(cluster: &Cluster) -> Result<u64> {
    cluster.nodes[1..].iter().map(nlb_tests::node::Node::too_late).sum()
}

fn measure(
    cluster: &Cluster,
    lost: Stamp,
    gone: Stamp,
    after: Vec<Attempt>,
    late: u64,
) -> Result<Takeover> {
    let victim = server_mac(VICTIM.1);
    let ledger = cluster.watcher.ledger();
    let theirs = |question: &Question, exchange: &Exchange| {
        exchange.asked.first().is_some_and(|first| *first > lost)
            && cluster.owner(question.client(), &MEMBERS) == Some(VICTIM.1)
    };
    let probes = ledger.select(|question, exchange| {
        matches!(question, Question::Udp(..)) && theirs(question, exchange)
    });
    ensure!(probes.len() > 20, "only {} probes of the victim's clients", probes.len());
    // Whatever was asked later was served at once: no probe lost, none late.
    let (mut complete, mut first) = (lost, None);
    let mut unanswered = Vec::new();
    for (_, exchange) in &probes {
        let asked = exchange.asked.first().copied().unwrap_or_default();
        match exchange.answers.first() {
            None => unanswered.push(asked),
            Some((node, at)) if *node != victim => {
                first = Some(first.map_or(*at, |first: Stamp| first.min(*at)));
                if at.since(asked) > SLACK {
                    complete = complete.max(*at);
                }
            }
            Some(_) => {}
        }
    }
    let first = first.context("nobody answered the victim's clients")?;
    // Long after others of the victim's clients were answered none may be lost, unless a survivor
    // got no processor for longer than its lease.
    let served = first.max(complete);
    let stray = unanswered.iter().filter(|asked| **asked > served).count();
    if stray > 0 {
        report(&format!("{stray} datagrams lost after the takeover; {late} times too late"));
    }
    ensure!(stray == 0 || late > 0, "{stray} datagrams were lost after the takeover");
    let before = unanswered.into_iter().filter(|asked| *asked <= served);
    let complete = before.fold(served, Stamp::max);
    // Only first answers: its TCP may repeat a SYN-ACK of a connection that it took before.
    let lingered = ledger
        .exchanges
        .values()
        .filter_map(|exchange| exchange.answers.first())
        .filter(|(node, at)| *node == victim && *at > lost)
        .map(|(_, at)| at.since(lost))
        .max()
        .unwrap_or_default();
    // SYNs that came when the victim's rights were certainly over, for a survivor that took its
    // last heartbeat late too, and before the takeover. The fast profile leaves no time for any.
    let dead_after = cluster.spec.dead_after();
    let from = gone + dead_after * 6 / 10 + SLACK;
    let held = ledger
        .select(|question, exchange| {
            matches!(question, Question::Syn(..))
                && theirs(question, exchange)
                && exchange.asked.first().is_some_and(|asked| *asked > from && *asked < first)
        })
        .into_iter()
        .map(|(_, exchange)| {
            exchange.answers.first().map_or(Duration::MAX, |(_, at)| at.since(complete))
        })
        .collect();
    Ok(Takeover { complete: complete.since(lost), first: first.since(lost), lingered, held, after })
}

fn check(cluster: &Cluster, seen: &Takeover, limit: Duration) -> Result<()> {
    let lease = cluster.spec.dead_after() * 4 / 10;
    let sum = Summary::of(&seen.after);
    println!(
        "first answer {:.0?} after the loss, all after {:.0?}; the victim answered for {:.0?}; \
         {} held SYNs; new clients: {sum}",
        seen.first,
        seen.complete,
        seen.lingered,
        seen.held.len()
    );
    ensure!(seen.complete <= limit, "the takeover took {:?}", seen.complete);
    let lingered = seen.lingered;
    ensure!(lingered <= lease + SLACK, "the victim answered for {lingered:?}, lease {lease:?}");
    ensure!(sum.failed == 0, "new clients failed: {sum}");
    let late = seen.held.iter().filter(|late| **late > SLACK).count();
    let long = cluster.spec.dead_after() > SLACK * 4;
    ensure!(!long || !seen.held.is_empty(), "no SYN came that was to be held");
    ensure!(late == 0, "{late} of {} SYNs were answered late: {:?}", seen.held.len(), seen.held);
    cluster.watcher.check()
}
