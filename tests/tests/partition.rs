//! Servers that do not hear each other and meet again, and a cluster of which little is left
//! (SPEC 6.8.2, 6.11.1).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nlb_protocol::MacAddr;
use nlb_tests::cluster::Cluster;
use nlb_tests::cut::{self, Cut};
use nlb_tests::figures::report;
use nlb_tests::lab::{CLIENT_MAC, LabOptions, source4, source6};
use nlb_tests::probe::{self, Prober};
use nlb_tests::quiet::Conversation;
use nlb_tests::spec::ClusterSpec;
use nlb_tests::stamp::Stamp;
use nlb_tests::wait::wait_until;

nlb_tests::on_both_paths!(
    both_halves_serve_and_merge_when_they_meet,
    connections_of_a_half_go_on_when_it_meets_the_other,
);

const LIMIT: Duration = Duration::from_secs(20);
/// The halves: the first two servers, and the other two.
const HALVES: [[usize; 2]; 2] = [[1, 2], [3, 4]];

/// Waits until each of these servers says that they, and no others, serve everybody.
fn wait_served_by(cluster: &mut Cluster, servers: &[usize]) -> Result<()> {
    let names: BTreeSet<String> = servers.iter().map(|server| format!("n{server}")).collect();
    for server in servers {
        cluster.nodes[server - 1].wait_status("the half serves", LIMIT, |status| {
            let active = status.nodes.iter().filter(|node| node.active());
            let buckets: usize = active.clone().map(|node| node.buckets).sum();
            let active: BTreeSet<String> = active.map(|node| node.name.clone()).collect();
            status.converged && active == names && buckets == 4096
        })?;
    }
    Ok(())
}

fn highest_epoch(cluster: &Cluster) -> Result<u64> {
    let epochs: Vec<u64> =
        cluster.nodes.iter().map(|node| Ok(node.status()?.epoch)).collect::<Result<_>>()?;
    epochs.into_iter().max().context("no node")
}

/// Whoever saw that the other half served the same counted it and logged with whom. Of two nodes
/// the one that gives way at once may have shown the other nothing.
fn check_overlaps_are_told(cluster: &Cluster) -> Result<()> {
    let mut told = 0;
    for (half, other) in [(HALVES[0], HALVES[1]), (HALVES[1], HALVES[0])] {
        let words = other.map(|other| format!("n{other} and this node both accepted"));
        for server in half {
            let node = &cluster.nodes[server - 1];
            let log = node.log();
            let of_halves = |line: &&str| words.iter().any(|words| line.contains(words));
            let lines = log.lines().filter(of_halves).count();
            let counted = *node.status()?.counters.get("overlaps").context("no counter")?;
            let all = log.lines().filter(|line| line.contains("and this node both accepted"));
            let all = u64::try_from(all.count())?;
            ensure!(counted == all, "n{server} logged {all} overlaps and counted {counted}");
            told += lines;
        }
    }
    ensure!(told > 0, "nobody says that the other half served the same");
    Ok(())
}

/// Only heartbeats are lost between the halves, so that clients reach both: each half serves
/// everybody, and every client is answered twice, until the first heartbeats come through.
fn both_halves_serve_and_merge_when_they_meet(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &[100; 4], |cluster| {
        let before = highest_epoch(cluster)?;
        let prober = Prober::start(&cluster.lab.client, 200, 6_000_000)?;
        wait_until("probes", LIMIT, || prober.sent() >= 200)?;
        let cut_at = Stamp::now();
        cut::set(&cluster.lab.switch, &Cut::halves(&HALVES[0], 4))?;
        for half in &HALVES {
            wait_served_by(cluster, half)?;
        }
        let (apart, sent) = (Stamp::now(), prober.sent());
        wait_until("probes", LIMIT, || prober.sent() >= sent + 400)?;
        let epoch = highest_epoch(cluster)?;
        ensure!(epoch > before, "epoch {before} before the cut, {epoch} after it");

        let healed = Stamp::now();
        cut::set(&cluster.lab.switch, &[])?;
        let merged = cluster.wait_settled(4)?;
        let settled = Stamp::now();
        let sent = prober.sent();
        wait_until("probes", LIMIT, || prober.sent() >= sent + 400)?;
        prober.finish()?;
        ensure!(merged.iter().all(|status| status.epoch > epoch), "epoch {epoch}: {merged:?}");
        check_overlaps_are_told(cluster)?;
        let until = healed + cluster.spec.dead_after();
        cluster.watcher.ledger().partitions.push((cut_at, until));
        let last = check_answers(cluster, apart, healed)?;
        report(&format!(
            "partition, offload {offload}: settled {:.0?} after they met; answered twice until \
             {:.0?} after",
            settled.since(healed),
            last.since(healed)
        ));
        Ok(())
    });
}

/// Between these instants each half answers everybody, once: gives the last instant at which a
/// question was asked that two nodes answered.
fn check_answers(cluster: &Cluster, apart: Stamp, healed: Stamp) -> Result<Stamp> {
    let half = |mac: MacAddr| {
        let number = cluster.number_of(mac);
        HALVES.iter().position(|half| number.is_some_and(|number| half.contains(&number)))
    };
    let ledger = cluster.watcher.ledger();
    let (mut both, mut asked, mut last) = (0, 0, healed);
    for (question, exchange) in ledger.select(|_, exchange| !exchange.asked.is_empty()) {
        let nodes: BTreeSet<MacAddr> = exchange.answers.iter().map(|(node, _)| *node).collect();
        let halves: BTreeSet<_> = nodes.iter().map(|node| half(*node)).collect();
        // Within a half the promise holds at any time.
        ensure!(nodes.len() == halves.len(), "{question:?} was answered by {nodes:?}");
        let at = exchange.asked[0];
        if nodes.len() > 1 {
            last = last.max(at);
        }
        if apart < at && at < healed {
            asked += 1;
            both += usize::from(nodes.len() == 2);
        }
    }
    // A busy machine may lose a few; that both served is what is to be seen.
    println!("{both} of {asked} questions were answered by both halves");
    ensure!(asked >= 300 && both * 10 >= asked * 9, "both answered {both} of {asked} questions");
    Ok(last)
}

/// A switch falls in two: the clients are on one side. When it is whole again, whoever is connected
/// stays with its node, although the table now gives many of them to the other half, which served
/// the same buckets.
fn connections_of_a_half_go_on_when_it_meets_the_other(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &[100; 4], |cluster| {
        let mut cuts = Cut::halves(&HALVES[0], 4);
        cuts.extend(HALVES[1].map(|server| Cut::all(CLIENT_MAC, &format!("n{server}"))));
        let cut_at = Stamp::now();
        cut::set(&cluster.lab.switch, &cuts)?;
        for half in &HALVES {
            wait_served_by(cluster, half)?;
        }
        let sources = (0..CONNECTED).map(|index| {
            let make = if index % 2 == 0 { source4 } else { source6 };
            make(7_000_000 + index)
        });
        let namespace = cluster.lab.client.clone();
        let open = |client: IpAddr| Conversation::open(&namespace, client);
        let mut talks: Vec<_> = sources.map(open).collect::<Result<_>>()?;
        let ours = |talk: &Conversation| ["n1", "n2"].contains(&talk.server.as_str());
        ensure!(talks.iter().all(ours), "a server that is cut off from the client answers it");
        let members = [(1, 100), (2, 100), (3, 100), (4, 100)];
        let others = talks
            .iter()
            .filter(|talk| cluster.owner(talk.client, &members).is_some_and(|owner| owner > 2));
        let others = others.count();
        ensure!(others > 20, "only {others} of the clients belong to the other half");

        let healed = Stamp::now();
        cut::set(&cluster.lab.switch, &[])?;
        cluster.wait_settled(4)?;
        cluster.watcher.ledger().partitions.push((cut_at, healed + cluster.spec.dead_after()));
        for talk in &mut talks {
            talk.ask()?;
        }
        report(&format!(
            "partition healed, offload {offload}: {} connections went on, {others} of them with a \
             node that does not own their bucket",
            talks.len()
        ));
        check_overlaps_are_told(cluster)
    });
}

/// Clients that are connected across the healing.
const CONNECTED: u32 = 80;

/// With `min_members` the smaller half does not serve, and says so.
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_group_that_is_too_small_does_not_serve() {
    let extra = "            min_members: 2,\n".to_owned();
    let spec = ClusterSpec { extra, ..ClusterSpec::default() };
    Cluster::test(&LabOptions::default(), &spec, &[100; 3], |cluster| {
        // Every node has neighbours that answer it: n3 is not deaf, it is too few.
        for number in 1..=30 {
            probe::ask(&cluster.lab.client, source4(number), 40)?;
        }
        cut::set(&cluster.lab.switch, &Cut::halves(&[3], 3))?;
        cluster.nodes[2].wait_status("n3 does not serve", LIMIT, |status| {
            status.state == "fenced" && status.buckets_accepted == 0
        })?;
        wait_served_by(cluster, &[1, 2])?;
        let said = cluster.nodes[2].nlbctl(&["status"])?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        ensure!(said.contains("fewer nodes than min_members"), "nlbctl status: {said}");
        let prober = Prober::start(&cluster.lab.client, 200, 6_500_000)?;
        wait_until("probes", LIMIT, || prober.sent() >= 400)?;
        cut::set(&cluster.lab.switch, &[])?;
        cluster.wait_settled(3)?;
        prober.finish()?;
        // The two halves never both served: nothing overlapped.
        for node in &cluster.nodes {
            let status = node.status()?;
            ensure!(status.counters.get("overlaps") == Some(&0), "{status:?}");
        }
        Ok(())
    });
}

/// Nobody sends anything by himself. What is left of the cluster asks the neighbours whether its
/// receiver works, and serves alone when one of them answers, not before.
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn the_last_node_serves_when_a_neighbour_answers_it() {
    let spec = ClusterSpec::default();
    // No third one: a kernel asks for routers, now and then, and whoever hears that is not deaf.
    let options = LabOptions { servers: 2, ..LabOptions::default() };
    Cluster::test(&options, &spec, &[100; 2], |cluster| {
        // Neighbours that it knows.
        for number in 1..=2 {
            probe::ask(&cluster.lab.client, source4(number), 40)?;
        }
        power_off(cluster, 2)?;
        wait_served_by(cluster, &[1])?;
        let answer = probe::ask(&cluster.lab.client, source4(10), 40)?;
        ensure!(answer.starts_with("n1 "), "{answer}");

        // The same with nobody who could answer.
        cluster.lab.set_port("n2", true)?;
        cluster.nodes[1].start()?;
        cluster.wait_settled(2)?;
        for port in ["client", "outsider"] {
            cluster.lab.set_port(port, false)?;
        }
        power_off(cluster, 2)?;
        let status = cluster.nodes[0].wait_status("n1 does not serve", LIMIT, |status| {
            status.state == "fenced" && status.buckets_accepted == 0
        })?;
        let cause = status.rest.get("cause").and_then(|cause| cause.as_str()).unwrap_or_default();
        ensure!(!cause.is_empty(), "{status:?}");
        println!("cause: {cause}");
        for port in ["client", "outsider"] {
            cluster.lab.set_port(port, true)?;
        }
        wait_served_by(cluster, &[1])?;
        let answer = probe::ask(&cluster.lab.client, source6(10), 40)?;
        ensure!(answer.starts_with("n1 "), "{answer}");
        // The other comes back, and puts its server in order when it ends.
        cluster.lab.set_port("n2", true)?;
        cluster.nodes[1].start()?;
        cluster.wait_settled(2).map(drop)
    });
}

/// The server says nothing any more, and nobody hears that it went.
fn power_off(cluster: &mut Cluster, number: usize) -> Result<()> {
    cluster.lab.set_port(&format!("n{number}"), false)?;
    cluster.nodes[number - 1].kill()
}
