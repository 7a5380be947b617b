//! Very many clients move: a weight changes while 100,000 of them (in `cargo xtask figures` a
//! million) are kept, and hundreds talk on.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::report;
use nlb_tests::inject::{Injector, ethernet, ipv4};
use nlb_tests::lab::{CLIENT_MAC, LabOptions, SERVICE4, source4};
use nlb_tests::load::{Load, LoadSpec, Sources, Summary};
use nlb_tests::node::Node;
use nlb_tests::session::{SessionSpec, Sessions};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::stamp::Stamp;
use nlb_tests::wait::{wait_for, wait_until};

/// An IP protocol for experiments (RFC 3692): no server answers it beyond a complaint.
const EXPERIMENT: u8 = 253;
/// The first source of the many.
const FIRST: u32 = 8_000_000;
/// So many are sent at once before the servers are given time.
const BURST: u32 = 250;
/// Clients a second: what the stage of an unoptimised daemon takes.
const RATE: u32 = 8_000;
/// How many sessions and new connections a second go on meanwhile.
const BESIDE: (u32, u32) = (300, 200);

/// `NLB_CLIENTS`, or as many as fit into a test that everybody runs.
fn clients() -> u32 {
    std::env::var("NLB_CLIENTS").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000)
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn many_clients_are_handed_over_and_nobody_notices() {
    let options = LabOptions { lean_watcher: true, ..LabOptions::default() };
    Cluster::test(&options, &ClusterSpec::default(), &[100; 3], |cluster| {
        let count = clients();
        let (before, empty) = memory(cluster)?;
        let begun = Instant::now();
        fill(cluster, count)?;
        let filled = begun.elapsed();
        let (after, kept) = memory(cluster)?;
        let each = (after - before) * 1024 / (kept - empty).max(1);
        report(&format!(
            "{kept} clients kept after {filled:.1?}: {each} bytes of each node's memory for each \
             of its own"
        ));
        hand_over(cluster, kept)
    });
}

/// The memory of all daemons in KiB, and how many clients they keep.
fn memory(cluster: &Cluster) -> Result<(u64, u64)> {
    let (mut kib, mut clients) = (0, 0);
    for node in &cluster.nodes {
        kib += node.resident_kib()?;
        clients += u64::try_from(node.status()?.clients)?;
    }
    Ok((kib, clients))
}

/// The processor time that all daemons have used.
fn processor(cluster: &Cluster) -> Result<Duration> {
    cluster.nodes.iter().map(Node::cpu_time).sum()
}

/// One packet from each of so many clients, until every one of them is kept.
fn fill(cluster: &Cluster, count: u32) -> Result<()> {
    let injector = Injector::new(&cluster.lab.client, "eth0")?;
    let mac = cluster.spec.mac();
    let begun = Instant::now();
    for number in 0..count {
        if let IpAddr::V4(source) = source4(FIRST + number) {
            let packet = ipv4(source, SERVICE4, EXPERIMENT, 0x4000, b"here I am");
            injector.send(&ethernet(mac, CLIENT_MAC, 0x0800, &packet))?;
        }
        if number % BURST == 0 {
            let due = Duration::from_secs(1) * number / RATE;
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }
    // What a busy machine dropped may be missing, but little of it.
    let enough = u64::from(count) * 99 / 100;
    wait_for("the clients to be kept", Duration::from_secs(30), || {
        let (_, kept) = memory(cluster).map_err(|error| error.to_string())?;
        if kept >= enough { Ok(()) } else { Err(format!("{kept} of {count}")) }
    })
}

/// Another process goes on with what the first node's kernel keeps.
fn restart(cluster: &mut Cluster, kept: u64, limit: Duration) -> Result<()> {
    let clients = cluster.nodes[0].status()?.clients;
    let begun = Instant::now();
    cluster.nodes[0].end_for_restart(limit)?;
    let ended = begun.elapsed();
    let node = &mut cluster.nodes[0];
    node.start()?;
    wait_until("a process that goes on", limit, || node.resumed() > 0)?;
    let resumed = begun.elapsed().saturating_sub(ended);
    cluster.wait_settled_within(3, limit)?;
    report(&format!(
        "{kept} clients kept, n1 with {clients} of them restarts: ended within {ended:.2?}, knows \
         its clients {resumed:.2?} after that, all settled after {:.2?}",
        begun.elapsed()
    ));
    Ok(())
}

/// Changes a weight so that a good part of the clients' buckets moves, there and back.
fn hand_over(cluster: &mut Cluster, kept: u64) -> Result<()> {
    let client = cluster.lab.client.clone();
    let spec = SessionSpec { count: BESIDE.0, first: 0, every_ipv6: 3 };
    let sessions = Sessions::start(&client, spec)?;
    let sources = Sources::Fresh { first: 5_000_000 };
    let spec = LoadSpec { rate: BESIDE.1, sources, ..LoadSpec::default() };
    let load = Load::start(&client, &spec)?;
    wait_until("all sessions", Duration::from_secs(10), || {
        sessions.book().talking.len() == BESIDE.0 as usize
    })?;
    let complete = Stamp::now();
    wait_until("load", Duration::from_secs(20), || load.begun() >= 3 * BESIDE.1)?;
    let changed = Stamp::now();
    let limit = Duration::from_secs(60);
    for weight in [400_u16, 100] {
        let (begun, used) = (Instant::now(), processor(cluster)?);
        cluster.nodes[0].ctl(&["set_weight", "nlb0", &weight.to_string()])?;
        for node in &mut cluster.nodes {
            node.wait_status("the new weight", limit, |status| {
                status.converged && status.node("n1").is_some_and(|n1| n1.weight == weight)
            })?;
        }
        let took = begun.elapsed();
        cluster.wait_settled_within(3, limit)?;
        let pins: Vec<usize> =
            cluster.nodes.iter().map(|node| Ok(node.status()?.pins)).collect::<Result<_>>()?;
        let (kib, _) = memory(cluster)?;
        let used = processor(cluster)?.saturating_sub(used);
        report(&format!(
            "{kept} clients kept, weight of n1 to {weight}: handed over within {took:.2?}; pins \
             {pins:?}, {kib} KiB in all daemons, which used {used:.2?} of processor time"
        ));
        let so_far = load.begun();
        wait_until("load", limit, || load.begun() >= so_far + 2 * BESIDE.1)?;
    }
    restart(cluster, kept, limit)?;
    let so_far = load.begun();
    wait_until("load", limit, || load.begun() >= so_far + 2 * BESIDE.1)?;
    let ended = Stamp::now();
    let attempts = load.finish()?;
    let book = sessions.finish()?;
    let (calm, busy): (Vec<_>, Vec<_>) =
        attempts.into_iter().partition(|one| one.begun + one.total < changed);
    let longest = |from: Stamp, to: Stamp| {
        let near = book.silences.iter().filter(|one| one.to >= from && one.from <= to);
        near.map(|one| one.to.since(one.from)).max().unwrap_or_default()
    };
    let (usual, longest) = (longest(complete, changed), longest(changed, ended));
    let (calm, busy) = (Summary::of(&calm), Summary::of(&busy));
    report(&format!(
        "meanwhile: {} of {} sessions broken, longest silence {longest:.0?} (undisturbed \
         {usual:.0?}); new: {busy} (undisturbed {calm})",
        book.breaks.len(),
        BESIDE.0
    ));
    let first = book.breaks.first();
    ensure!(first.is_none(), "{} sessions broke: {first:?}", book.breaks.len());
    ensure!(book.wrong.is_empty(), "{:?}", book.wrong.first());
    for node in &cluster.nodes {
        let fenced = node.status()?.counters.get("fenced").copied();
        ensure!(fenced == Some(0), "{} fenced {fenced:?} times", node.name);
    }
    ensure!(busy.failed == 0 && busy.retransmitted == 0, "new clients disturbed: {busy}");
    cluster.watcher.check().context("on the wire")
}
