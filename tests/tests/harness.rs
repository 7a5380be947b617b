//! The laboratory itself, without a daemon: it must see what the other tests rely on it to see.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use nlb_protocol::{ClusterId, ClusterMac, MacMode};
use nlb_tests::inject::{Injector, ethernet};
use nlb_tests::lab::{Lab, LabOptions, SERVICE4, SERVICE6, server_mac, source4, source6};
use nlb_tests::load::{Load, LoadSpec, Sources, Summary};
use nlb_tests::netns::Namespace;
use nlb_tests::probe::{Prober, ask, ping, who_has};
use nlb_tests::service::Services;
use nlb_tests::session::{SessionSpec, Sessions};
use nlb_tests::wait::{wait_for, wait_until};
use nlb_tests::wire::rules::Subject;
use nlb_tests::wire::{Question, Watcher};

/// A segment where server 1 alone has the service address, as any host has an address.
fn plain() -> Result<(Services, Watcher, Lab)> {
    let lab = Lab::new(&LabOptions { servers: 2, ..LabOptions::default() })?;
    let addresses = vec![SERVICE4.into(), SERVICE6.into()];
    let mac = ClusterMac::derive(MacMode::Unicast, ClusterId(7)).mac;
    let watcher = Watcher::start(&lab.switch, Subject { mac, addresses }, &["client"])?;
    lab.servers[0]
        .ip(&format!("addr add {SERVICE4}/32 dev lo\naddr add {SERVICE6}/128 dev lo nodad\n"))?;
    let real = server_mac(1);
    lab.client.ip(&format!(
        "neigh add {SERVICE4} lladdr {real} dev eth0 nud permanent\n\
         neigh add {SERVICE6} lladdr {real} dev eth0 nud permanent"
    ))?;
    let services = Services::start(&lab.servers[0], "n1")?;
    Ok((services, watcher, lab))
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn the_watcher_counts_every_question_and_its_answer() -> Result<()> {
    let (_services, watcher, lab) = plain()?;
    lab.servers[0].set_sysctl("net/ipv4/conf/eth0/arp_announce", "2")?;
    let sources = Sources::Pool { first: 0, count: 600 };
    let spec = LoadSpec { rate: 400, count: Some(800), sources, ..LoadSpec::default() };
    let attempts = Load::run(&lab.client, &spec)?;
    let sum = Summary::of(&attempts);
    ensure!(sum.failed == 0 && sum.retransmitted == 0, "{sum}");
    ensure!(sum.servers.get("n1") == Some(&800), "{sum}");
    let sources: Vec<IpAddr> = (0..50).flat_map(|i| [source4(i), source6(i)]).collect();
    ping(&lab.client, &sources, 77, 1)?;
    let prober = Prober::start(&lab.client, 500, 5000)?;
    wait_until("200 probes", Duration::from_secs(5), || prober.sent() >= 200)?;
    prober.finish()?;
    ensure!(ask(&lab.client, source4(3), 10)? == "n1 10");
    wait_for("the answers", Duration::from_secs(3), || {
        let ledger = watcher.ledger();
        let odd = ledger.select(|_, e| (e.asked.len(), e.answers.len()) != (1, 1));
        if ledger.exchanges.len() >= 1101 && odd.is_empty() {
            return Ok(());
        }
        Err(format!("{} of {}: {:?}", odd.len(), ledger.exchanges.len(), odd.first()))
    })?;
    let ledger = watcher.ledger();
    let pings = ledger.select(|question, _| matches!(question, Question::Ping(..))).len();
    let syns = ledger.select(|question, _| matches!(question, Question::Syn(..))).len();
    ensure!((syns, pings) == (800, 100), "{syns} {pings}");
    ensure!(ledger.violated == 0, "{:?}", ledger.violations);
    Ok(())
}

/// Not by how long it took: a client that gets no processor is late too.
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_load_knows_whose_question_was_repeated() -> Result<()> {
    let (_services, watcher, lab) = plain()?;
    let spec = LoadSpec { rate: 100, count: Some(10), ..LoadSpec::default() };
    let sum = Summary::of(&Load::run(&lab.client, &spec)?);
    ensure!((sum.attempts, sum.failed, sum.retransmitted) == (10, 0, 0), "{sum}");
    let deaf = "table inet deaf { chain input { type filter hook input priority 0; tcp flags syn \
                drop; }; }";
    lab.servers[0].feed(&["nft", "-f", "-"], deaf)?;
    let asked = || watcher.ledger().exchanges.len();
    let before = asked();
    let load = Load::start(&lab.client, &spec)?;
    wait_until("questions that are lost", Duration::from_secs(5), || asked() >= before + 10)?;
    lab.servers[0].sh("nft delete table inet deaf")?;
    let sum = Summary::of(&load.finish()?);
    ensure!((sum.attempts, sum.failed, sum.retransmitted) == (10, 0, 10), "{sum}");
    Ok(())
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn the_watcher_sees_two_nodes_answer() -> Result<()> {
    let (_services, watcher, lab) = plain()?;
    // A multicast MAC reaches both servers, and a ping is answered whatever MAC it came to.
    lab.servers[1].ip(&format!("addr add {SERVICE4}/32 dev lo"))?;
    for server in &lab.servers {
        server.ip("link set eth0 promisc on")?;
    }
    lab.client.ip(&format!("neigh replace {SERVICE4} lladdr 03:00:00:00:00:07 dev eth0"))?;
    ping(&lab.client, &[source4(1)], 78, 1)?;
    wait_until("two answers", Duration::from_secs(3), || watcher.ledger().doubled().len() == 1)?;
    ensure!(watcher.check().is_err(), "the watcher lets a doubled answer pass");
    Ok(())
}

/// A server's kernel takes frames to this MAC, as if it were its own.
fn accept(server: &Namespace, mac: &str) -> Result<()> {
    let rule = format!("ether daddr {mac} meta pkttype set host");
    let chain = "type filter hook ingress device eth0 priority 0";
    let table = format!("table netdev shared {{ chain take {{ {chain}; {rule}; }}; }}");
    server.feed(&["nft", "-f", "-"], &table).map(drop)
}

/// What a node does wrong that takes the packets of a client which is connected to another.
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn the_watcher_sees_a_session_that_two_nodes_take() -> Result<()> {
    let (_services, watcher, lab) = plain()?;
    // Nobody sends from this MAC, so that the bridge floods it.
    let shared = "02:00:00:00:00:07";
    lab.servers[1].ip(&format!("addr add {SERVICE4}/32 dev lo"))?;
    lab.client.ip(&format!("neigh replace {SERVICE4} lladdr {shared} dev eth0"))?;
    for server in &lab.servers {
        server.set_sysctl("net/ipv4/conf/eth0/arp_announce", "2")?;
    }
    accept(&lab.servers[0], shared)?;
    let spec = SessionSpec { count: 4, first: 0, every_ipv6: 0 };
    let sessions = Sessions::start(&lab.client, spec)?;
    let limit = Duration::from_secs(5);
    wait_until("sessions", limit, || sessions.book().answers > 100)?;
    watcher.check()?;
    ensure!(watcher.ledger().segments.repeated.is_empty(), "segments were sent again");
    accept(&lab.servers[1], shared)?;
    wait_until("doubled answers", limit, || watcher.ledger().segments.doubled_count > 0)?;
    ensure!(watcher.check().is_err(), "the watcher lets a doubled answer pass");
    wait_until("broken sessions", limit, || sessions.book().breaks.len() >= 4)?;
    let book = sessions.finish()?;
    ensure!(book.breaks.iter().all(|one| one.server == "n1"), "{book:?}");
    Ok(())
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn the_watcher_sees_what_no_frame_may_do() -> Result<()> {
    let (_services, watcher, lab) = plain()?;
    ensure!(watcher.check().is_ok());
    // The kernel's own answer to an ARP request names its own MAC: what the daemon must prevent.
    who_has(&lab.client, source4(1), SERVICE4.into())?;
    wait_until("an ARP answer", Duration::from_secs(3), || watcher.ledger().violated == 1)?;
    // The same by neighbour discovery: the solicited host has the address.
    lab.servers[0].ip(&format!("addr add {SERVICE6}/128 dev eth0 nodad"))?;
    lab.client.ip(&format!("neigh del {SERVICE6} dev eth0"))?;
    let _ = ask(&lab.client, source6(1), 10);
    wait_until("an advertisement", Duration::from_secs(3), || watcher.ledger().violated >= 2)?;
    // The cluster MAC as a source.
    let before = watcher.ledger().violated;
    let mac = ClusterMac::derive(MacMode::Unicast, ClusterId(7)).mac;
    let frame = ethernet(server_mac(2), mac, 0x88b5, &[0; 46]);
    Injector::new(&lab.servers[0], "eth0")?.send(&frame)?;
    wait_until("a frame", Duration::from_secs(3), || watcher.ledger().violated > before)?;
    ensure!(lab.learned()?.contains(&mac.to_string()), "the bridge learns no MAC");
    Ok(())
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_namespace_ends_with_its_processes() -> Result<()> {
    let namespace = Namespace::new("short")?;
    let mut child = {
        let mut command = std::process::Command::new("sleep");
        command.arg("1000");
        namespace.spawn(command)?
    };
    ensure!(namespace.processes()? == [child.id()]);
    drop(namespace);
    let status = child.wait()?;
    ensure!(!status.success(), "the process lived on");
    Ok(())
}
