//! Clients that are silent for longer than `sticky_idle_s`: who has an open connection stays with
//! its node whatever becomes of its bucket, everybody else is let go (SPEC 6.7.6).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::report;
use nlb_tests::lab::{LabOptions, source4, source6};
use nlb_tests::probe;
use nlb_tests::quiet::Conversation;
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::wait_until;

nlb_tests::on_both_paths!(an_open_connection_outlives_the_idle_time);

const IDLE: Duration = Duration::from_secs(4);
/// Whoever is idle is let go within a quarter of the time more; the rest is for a busy machine.
const LET_GO: Duration = Duration::from_secs(16);
const LIMIT: Duration = Duration::from_secs(15);
/// n1 has many clients first, and few when it is heavy.
const LIGHT: [(usize, u16); 3] = [(1, 100), (2, 100), (3, 100)];
const HEAVY: [(usize, u16); 3] = [(1, 800), (2, 100), (3, 100)];
/// Clients of each kind.
const EACH: usize = 4;

/// Clients of n1, of both families in turn, whose buckets go to another when n1 is heavy, or not.
fn clients(cluster: &Cluster, first: u32, moves: bool) -> Vec<IpAddr> {
    let ours = |source: &IpAddr| {
        let stays = cluster.owner(*source, &HEAVY) == Some(1);
        cluster.owner(*source, &LIGHT) == Some(1) && stays != moves
    };
    let four = (first..).map(source4).filter(ours).take(EACH / 2);
    four.chain((first..).map(source6).filter(ours).take(EACH / 2)).collect()
}

/// Each asks one datagram, which this server must answer.
fn ask(cluster: &Cluster, clients: &[IpAddr], server: Option<usize>) -> Result<()> {
    for client in clients {
        let wanted = server.or_else(|| cluster.owner(*client, &HEAVY)).context("no owner")?;
        let answer = probe::ask(&cluster.lab.client, *client, 40)?;
        let name = answer.split(' ').next().unwrap_or_default();
        ensure!(name == format!("n{wanted}"), "{client}: {answer:?} instead of n{wanted}");
    }
    Ok(())
}

/// Waits until n1 keeps so many clients, of which so many are pinned; gives the time.
fn wait_kept(cluster: &mut Cluster, clients: usize, pins: usize) -> Result<Duration> {
    let begun = Instant::now();
    let what = format!("{clients} clients and {pins} pins");
    cluster.nodes[0]
        .wait_status(&what, LET_GO, |status| (status.clients, status.pins) == (clients, pins))?;
    Ok(begun.elapsed())
}

fn an_open_connection_outlives_the_idle_time(offload: bool) {
    // A node that is fenced on a busy machine keeps nobody: slow heartbeats make that unlikely.
    let spec = ClusterSpec {
        timing: Some((200, 2000)),
        sticky_idle_s: Some(u32::try_from(IDLE.as_secs()).unwrap_or(0)),
        ..ClusterSpec::default().offload(offload)
    };
    Cluster::test(&LabOptions::default(), &spec, &[100; 3], |cluster| {
        let outcome = outlives(cluster, offload);
        let fenced: Vec<_> =
            cluster.nodes.iter().map(|node| node.too_late().unwrap_or_default()).collect();
        outcome.with_context(|| format!("nodes were late or fenced {fenced:?} times"))
    });
}

fn outlives(cluster: &mut Cluster, offload: bool) -> Result<()> {
    let (moved, stayed) = (clients(cluster, 0, true), clients(cluster, 0, false));
    let namespace = cluster.lab.client.clone();
    let open = |client: &IpAddr| Conversation::open(&namespace, *client);
    let mut talks: Vec<_> = moved.iter().chain(&stayed).map(open).collect::<Result<_>>()?;
    ensure!(talks.iter().all(|talk| talk.server == "n1"), "{talks:?}");
    let connected = Instant::now();
    let silent = clients(cluster, 100_000, true);
    let asked = Instant::now();
    ask(cluster, &silent, Some(1))?;
    wait_kept(cluster, talks.len() + silent.len(), 0)?;

    // All of them are idle for as long; those who are connected are kept.
    wait_kept(cluster, talks.len(), 0)?;
    ensure!(asked.elapsed() >= IDLE, "clients were let go after {:?}", asked.elapsed());
    report(&format!("idle {IDLE:?}, offload {offload}: let go after {:.1?}", asked.elapsed()));

    // Now their buckets move, while a few have just asked: all of these are pinned to n1.
    let late = clients(cluster, 200_000, true);
    ask(cluster, &late, Some(1))?;
    cluster.nodes[0].ctl(&["set_weight", "nlb0", &HEAVY[0].1.to_string()])?;
    for node in &mut cluster.nodes {
        node.wait_status("the new weight", LIMIT, |status| {
            status.node("n1").is_some_and(|n1| n1.weight == HEAVY[0].1)
        })?;
    }
    cluster.wait_settled(3)?;
    ask(cluster, &late, Some(1)).context("just pinned")?;
    let pinned = wait_kept(cluster, talks.len(), moved.len())?;
    report(&format!("idle {IDLE:?}, offload {offload}: unpinned after {pinned:.1?}"));
    ask(cluster, &late, None).context("pinned before and let go")?;
    ask(cluster, &silent, None).context("let go before the change")?;

    wait_until("the idle time twice over", LET_GO, || connected.elapsed() > IDLE * 3)?;
    for talk in &mut talks {
        talk.ask()?;
    }
    // It was the connection that kept them.
    drop(talks);
    wait_kept(cluster, 0, 0)?;
    ask(cluster, &moved, None).context("after the connection")?;
    ask(cluster, &stayed, Some(1)).context("after the connection")
}
