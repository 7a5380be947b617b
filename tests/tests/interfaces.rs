//! Several interfaces in one cluster: two switches, each a path of its own for heartbeats and
//! clients (SPEC 2.5). Nobody fences while one path works; the other's gate opens and closes by
//! itself.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use nlb_protocol::MacMode;
use nlb_tests::cluster::Cluster;
use nlb_tests::cut::{self, Cut};
use nlb_tests::lab::{LabOptions, SECOND, second_mac};
use nlb_tests::load::{Attempt, Load, LoadSpec, Sources, Summary};
use nlb_tests::netns::Namespace;
use nlb_tests::probe::Prober;
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::{wait_for, wait_until};
use nlb_tests::wire::Question;

nlb_tests::on_both_paths!(one_path_may_fail_while_the_other_serves);

const WEIGHTS: [u16; 3] = [100, 100, 100];
const MEMBERS: [(usize, u16); 3] = [(1, 100), (2, 100), (3, 100)];
const LIMIT: Duration = Duration::from_secs(15);

fn lab(snooping: bool) -> LabOptions {
    LabOptions { second: true, snooping, ..LabOptions::default() }
}

/// Clients from source `first` on. No client of one part of a test is seen in another.
fn load(cluster: &Cluster, first: u32) -> Result<Load> {
    let sources = Sources::Fresh { first };
    Load::start(&cluster.lab.client, &LoadSpec { rate: 150, sources, ..LoadSpec::default() })
}

fn undisturbed(what: &str, attempts: &[Attempt], retried: usize) -> Result<()> {
    let sum = Summary::of(attempts);
    println!("{what}: {sum}");
    ensure!(sum.attempts >= 100, "{what}: {sum}");
    ensure!(sum.failed == 0 && sum.retransmitted <= retried, "{what}: {sum}");
    Ok(())
}

/// New clients behind both switches are served, by every node.
fn serve(cluster: &Cluster, first: u32) -> Result<()> {
    for (what, first) in [("first switch", first), ("second switch", SECOND + first)] {
        let spec = LoadSpec {
            rate: 300,
            count: Some(150),
            sources: Sources::Fresh { first },
            ..LoadSpec::default()
        };
        let attempts = Load::run(&cluster.lab.client, &spec)?;
        undisturbed(what, &attempts, 0)?;
        let servers = Summary::of(&attempts).servers;
        ensure!(servers.len() == 3, "{what}: {servers:?}");
    }
    cluster.watcher.check()
}

/// Whether n1 takes cluster traffic in on this interface.
fn is_open(cluster: &Cluster, interface: &str) -> Result<bool> {
    let list = cluster.lab.servers[0].sh("nft list set netdev nlb_gate lease.nlb0")?;
    Ok(list.contains(&format!("\"{interface}\" ")))
}

fn wait_gate(cluster: &Cluster, interface: &str, open: bool) -> Result<()> {
    let what = format!("the gate on {interface}, open {open}");
    wait_for(&what, LIMIT, || match is_open(cluster, interface) {
        Ok(is) if is == open => Ok(()),
        Ok(is) => Err(format!("open {is}")),
        Err(error) => Err(format!("{error:#}")),
    })
}

/// How often nodes fenced themselves so far, and how often they were late.
fn fenced(cluster: &Cluster) -> Result<(u64, u64)> {
    let mut count = (0, 0);
    for node in &cluster.nodes {
        count.0 += node.status()?.counters.get("fenced").context("fenced")?;
        count.1 += node.too_late()?;
    }
    Ok(count)
}

/// Whom a fault on the second switch leaves there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Every node is reached there.
    All,
    /// n1 is not.
    ButFirst,
    /// Nobody is.
    Nobody,
}

/// Something happens at the second switch, and is put right again. The clients behind the first
/// one must notice nothing, those behind the second one what cannot be helped.
fn fault(
    cluster: &mut Cluster,
    what: &str,
    round: u32,
    left: Left,
    mut act: impl FnMut(&Cluster, bool) -> Result<()>,
) -> Result<()> {
    let before = fenced(cluster)?;
    let first = 100_000 + round * 10_000;
    let steady = load(cluster, first)?;
    act(cluster, true)?;
    if left == Left::ButFirst {
        wait_gate(cluster, "eth1", false)?;
    }
    cluster.watcher.ledger().exchanges.clear();
    let prober = Prober::start(&cluster.lab.client, 100, SECOND + first)?;
    // Longer than dead-after: whoever depended on the path that is gone counts as dead by then.
    let (so_far, more) = (steady.begun(), 250);
    wait_until("load", LIMIT, || steady.begun() >= so_far + more)?;
    prober.finish()?;
    if left != Left::Nobody {
        wait_for("answers at the second switch", LIMIT, || answered(cluster, left))?;
    }
    act(cluster, false)?;
    wait_gate(cluster, "eth1", true)?;
    cluster.wait_settled(3)?;
    serve(cluster, first + 5_000)?;
    let after = fenced(cluster)?;
    // When a hook goes with its interface, the kernel may throw away what waits for a verdict.
    let retried = match what {
        _ if after != before => usize::MAX,
        "interface renamed" | "interface removed" => 3,
        _ => 0,
    };
    undisturbed(&format!("{what}, first switch"), &steady.finish()?, retried)?;
    ensure!(before.0 == after.0, "{what}: nodes fenced: {before:?}, {after:?}");
    Ok(())
}

/// Whether every question at the second switch was answered that could be.
fn answered(cluster: &Cluster, left: Left) -> Result<(), String> {
    let ledger = cluster.watcher.ledger();
    let probes = ledger.select(|question, _| {
        let owner = cluster.owner(question.client(), &MEMBERS);
        matches!(question, Question::Udp(..)) && (left == Left::All || owner != Some(1))
    });
    let lost = probes.iter().filter(|(_, exchange)| exchange.answers.is_empty()).count();
    if probes.len() >= 50 && lost == 0 {
        Ok(())
    } else {
        Err(format!("{lost} of {} questions got none", probes.len()))
    }
}

fn one_path_may_fail_while_the_other_serves(offload: bool) {
    let spec = ClusterSpec::default().offload(offload).on_both_switches();
    Cluster::test(&lab(false), &spec, &WEIGHTS, |cluster| {
        serve(cluster, 0)?;
        fault(cluster, "cable pulled", 1, Left::ButFirst, |cluster, cut| {
            cluster.lab.set_port("n1-b", !cut)
        })?;
        fault(cluster, "switch down", 2, Left::Nobody, |cluster, cut| {
            cluster.lab.set_second_switch(!cut)
        })?;
        let deaf = [Cut::heartbeats_to("n1-b")];
        fault(cluster, "one-way loss to n1", 3, Left::All, |cluster, lost| {
            cut::set(&cluster.lab.switch, if lost { &deaf } else { &[] })
        })?;
        let mute = ["n2-b", "n3-b"].map(|port| Cut::heartbeats(second_mac(1), port));
        fault(cluster, "one-way loss from n1", 4, Left::All, |cluster, lost| {
            cut::set(&cluster.lab.switch, if lost { &mute } else { &[] })
        })
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn an_interface_goes_and_comes_while_the_other_serves() {
    let spec = ClusterSpec::default().on_both_switches();
    let spare = Namespace::new("spare").expect("a namespace");
    Cluster::test(&lab(false), &spec, &WEIGHTS, |cluster| {
        fault(cluster, "interface renamed", 1, Left::ButFirst, |cluster, gone| {
            let (from, to) = if gone { ("eth1", "other1") } else { ("other1", "eth1") };
            cluster.lab.servers[0].ip(&format!("link set {from} name {to}"))
        })?;
        fault(cluster, "interface removed", 2, Left::ButFirst, |cluster, gone| {
            cluster.lab.move_second(1, &spare, gone)
        })
    });
}

/// A port of a bridge hears nothing, and what it sends arrives: such a node must fall silent, not
/// have everybody else fence.
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn an_interface_that_becomes_a_port_of_a_bridge() {
    Cluster::test(&lab(false), &ClusterSpec::default(), &WEIGHTS, |cluster| {
        let before = fenced(cluster)?;
        let n1 = cluster.lab.servers[0].clone();
        // The kernel would answer for the service on the bridge, which is in no cluster.
        n1.ip("link add bridge0 type bridge\nlink set bridge0 up\nlink set eth0 master bridge0")?;
        for node in &mut cluster.nodes[1..] {
            node.wait_status("n1 is gone", LIMIT, |status| {
                status.converged && status.node("n1").is_none()
            })?;
        }
        cluster.nodes[0].wait_log("eth0 cannot be used: it is a port of bridge0", LIMIT)?;
        let refused = cluster.nodes[0].nlbctl(&["addif", "eth0"])?;
        let said = String::from_utf8_lossy(&refused.stderr);
        ensure!(!refused.status.success() && said.contains("port of bridge0"), "{said}");
        let (rate, count, sources) = (300, Some(150), Sources::Fresh { first: 0 });
        let spec = LoadSpec { rate, count, sources, ..LoadSpec::default() };
        undisturbed("two nodes", &Load::run(&cluster.lab.client, &spec)?, 0)?;
        n1.ip("link set eth0 nomaster\nlink delete bridge0")?;
        cluster.wait_settled(3)?;
        let after = fenced(cluster)?;
        // n1 itself had to, once.
        ensure!(after.0 <= before.0 + 1, "others fenced: {before:?}, {after:?}");
        Ok(())
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn igmp_mode_works_on_two_switches_that_snoop() {
    let spec = ClusterSpec { mode: MacMode::Igmp, ..ClusterSpec::default() }.on_both_switches();
    Cluster::test(&lab(true), &spec, &WEIGHTS, |cluster| {
        wait_for("announcements on both switches", LIMIT, || {
            let ledger = cluster.watcher.ledger();
            let ports: Vec<&str> =
                ledger.multicast_routers.keys().map(|(port, _)| port.as_str()).collect();
            let both = ports.iter().filter(|port| port.ends_with("-b")).count();
            if ports.len() == 12 && both == 6 { Ok(()) } else { Err(format!("{ports:?}")) }
        })?;
        serve(cluster, 0)?;
        let outside = cluster.watcher.ledger().to_cluster.get("outsider").copied();
        ensure!(outside.is_none(), "{outside:?} frames reached a port that is no member");
        fault(cluster, "cable pulled", 1, Left::ButFirst, |cluster, cut| {
            cluster.lab.set_port("n1-b", !cut)
        })
    });
}

/// What a neighbour on `hot1` knows of an address after it has asked for it.
fn asked(outsider: &Namespace, address: &str) -> Result<String> {
    outsider.ip("neigh flush dev hot1")?;
    outsider.output(&["ping", "-c", "1", "-W", "1", address])?;
    outsider.sh(&format!("ip neigh show {address} dev hot1"))
}

/// The interface is new and nobody has set it up: what it says for the service with the rule, for
/// its own address, and for the service without the rule.
fn hot_plug(server: &Namespace, outsider: &Namespace) -> Result<[String; 3]> {
    server.ip(&format!(
        "link add hot0 type veth peer name hot1 netns {}\n\
         addr add 198.51.100.1/24 dev hot0\nlink set hot0 up",
        outsider.path().display()
    ))?;
    outsider.ip("addr add 198.51.100.2/24 dev hot1\nlink set hot1 up\n\
         route add 192.0.2.50/32 dev hot1 src 198.51.100.2")?;
    let with = asked(outsider, "192.0.2.50")?;
    let own = asked(outsider, "198.51.100.1")?;
    server.sh("nft flush chain arp nlb out.nlb0")?;
    let without = asked(outsider, "192.0.2.50")?;
    server.ip("link del hot0")?;
    Ok([with, own, without])
}

/// SPEC 2.4.4 for an interface that nobody had the time to set up.
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn an_interface_that_has_just_appeared_says_nothing_for_the_service() {
    let lab = LabOptions { servers: 1, ..LabOptions::default() };
    let outsider = Namespace::new("other-segment").expect("a namespace");
    Cluster::test(&lab, &ClusterSpec::default(), &[100], |cluster| {
        // The moment before the daemon sees it, as long as one likes.
        cluster.nodes[0].signal(Signal::SIGSTOP)?;
        let seen = hot_plug(&cluster.lab.servers[0], &outsider);
        cluster.nodes[0].signal(Signal::SIGCONT)?;
        let [with, own, without] = seen?;
        ensure!(!with.contains("lladdr"), "answered: {with}");
        ensure!(own.contains("lladdr"), "the segment does not work: {own}");
        ensure!(without.contains("lladdr"), "nothing was to be seen here: {without}");
        cluster.wait_settled(1).map(drop)
    });
}
