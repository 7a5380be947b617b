//! The applier on the real kernel, each test in a network namespace of its own.

use core::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nlb_engine::KernelPlan;
use nlb_protocol::{Bucket, Buckets};

use super::task::CHECK_INTERVAL;
use crate::kernel::testing::{
    Applier, Wire, frame, heartbeat, in_namespace, ip, nft, packet, plan, rules, until,
};
use crate::kernel::{ClusterRules, Interface, KernelEvent, netlink, watch};

mod heirs;
mod overrun;

const MODULE: &str = "kernel::applier::tests";

fn filter_in_kernel() -> Buckets {
    let listing = nft(&["list", "set", "inet", "nlb", "filter.nlb0"], "").unwrap();
    let marks = listing.split(|c: char| !c.is_ascii_alphanumeric());
    marks
        .filter_map(|word| word.strip_prefix("0x"))
        .map(|hex| Bucket::new(u16::from_str_radix(hex, 16).unwrap()).unwrap())
        .collect()
}

#[test]
fn plans_are_applied_and_the_end_leaves_nothing() {
    in_namespace(&format!("{MODULE}::plans_are_applied_and_the_end_leaves_nothing"), async || {
        // An earlier life left something of another shape behind.
        nft(&["-f", "-"], "add table inet nlb\nadd chain inet nlb stage.old\n").unwrap();
        let mut applier = Applier::start().await;
        applier.set(rules("nlb0", 1), plan(1, 0..10));
        let (before, took) = applier.applied(1).await;
        assert_eq!(before, []);
        println!("first: {took:?}");
        assert_eq!(filter_in_kernel(), plan(1, 0..10).filter);
        assert!(!nft(&["list", "ruleset"], "").unwrap().contains("stage.old"));
        for (generation, filter) in [
            (2, 5..4000_u16),
            (3, 6..4000),
            (4, 100..700),
            (5, 0..4096),
            (6, 341..4096),
            (7, 341..342),
        ] {
            let took = applier.apply(plan(generation, filter.clone())).await;
            println!("generation {generation}: {took:?}");
            assert_eq!(filter_in_kernel(), plan(0, filter).filter);
        }
        applier.apply(KernelPlan { divert: true, ..plan(8, []) }).await;
        assert!(nft(&["list", "ruleset"], "").unwrap().contains("all to the queue"));
        applier.handle.shutdown().await;
        assert_eq!(nft(&["list", "ruleset"], "").unwrap(), "");
    });
}

/// An applier with one cluster in force, and the rules as they are then.
async fn with_cluster(plan: KernelPlan) -> (Applier, String) {
    let mut applier = Applier::start().await;
    let generation = plan.generation.0;
    applier.set(rules("nlb0", 1), plan);
    applier.applied(generation).await;
    let listing = tables();
    (applier, listing)
}

/// Our tables, without the elements of their sets.
fn tables() -> String {
    let table = |family, name| nft(&["-t", "list", "table", family, name], "").unwrap();
    table("netdev", "nlb_gate") + &table("inet", "nlb") + &table("arp", "nlb")
}

fn sorted(listing: &str) -> Vec<&str> {
    let mut lines: Vec<_> = listing.lines().collect();
    lines.sort_unstable();
    lines
}

fn clients(count: u32) -> Vec<IpAddr> {
    (0..count).map(|n| IpAddr::from((0x0a00_0000 + n).to_be_bytes())).collect()
}

fn iptables(arguments: &str) {
    let status = Command::new("iptables").args(arguments.split_whitespace()).status().unwrap();
    assert!(status.success(), "iptables {arguments}");
}

#[test]
fn plans_that_were_overtaken_hand_on_what_they_had_to_do() {
    let name = "plans_that_were_overtaken_hand_on_what_they_had_to_do";
    in_namespace(&format!("{MODULE}::{name}"), async || {
        let all = clients(5000);
        let (mut applier, _) =
            with_cluster(KernelPlan { remember: all.clone(), ..plan(1, [1]) }).await;
        assert_eq!(applier.clients().await, all, "more than one batch");
        // Nothing is taken up between these: the applier runs on this thread.
        let absent = "192.0.2.77".parse().unwrap();
        let forget = [&all[..10], &[absent, all[0]], &all[2000..]].concat();
        applier.handle.submit("nlb0", KernelPlan { forget, ..plan(2, [2]) });
        applier.handle.submit("nlb0", plan(3, [3]));
        let remember = vec![all[9], "2001:db8::7".parse().unwrap()];
        applier.handle.submit("nlb0", KernelPlan { remember: remember.clone(), ..plan(4, [4]) });
        let (before, took) = applier.applied(4).await;
        println!("forget 3000: {took:?}");
        assert_eq!(before, []);
        assert_eq!(
            applier.clients().await,
            [&all[9..2000], &remember[1..]].concat(),
            "in more than one batch"
        );
        assert_eq!(filter_in_kernel(), plan(0, [4]).filter);

        applier.handle.submit("nlb0", KernelPlan { flush: true, ..plan(5, []) });
        applier.handle.submit("nlb0", KernelPlan { remember: vec![all[1]], ..plan(6, []) });
        let (_, took) = applier.applied(6).await;
        println!("flush 5000: {took:?}");
        assert_eq!(applier.clients().await, [all[1]]);
    });
}

/// The kernel says of each element that it takes out that it does. Emptying a set, it goes through
/// all of them in one call, and heartbeats wait meanwhile.
#[test]
fn forgetting_everybody_is_the_same_work_however_many_they_are() {
    let name = "forgetting_everybody_is_the_same_work_however_many_they_are";
    in_namespace(&format!("{MODULE}::{name}"), async || {
        let (mut applier, _) =
            with_cluster(KernelPlan { remember: clients(5000), ..plan(1, []) }).await;
        let reports = netlink::open(watch::GROUP).unwrap();
        applier.apply(KernelPlan { flush: true, reopen: true, ..plan(2, [3]) }).await;
        assert_eq!(applier.clients().await, [] as [IpAddr; 0]);
        let (mut buffer, mut elements) = (vec![0; netlink::DATAGRAM], 0);
        let mut ended = false;
        while !ended {
            let length = netlink::receive(&reports, &mut buffer).await.unwrap();
            for message in netlink::messages(&buffer[..length]) {
                elements += u32::from(message.nft() == Some(netlink::message::DELSETELEM));
                ended |= message.nft() == Some(netlink::message::NEWGEN);
            }
        }
        assert_eq!(elements, 0);
        // The next look at the rules does not take the new sets for somebody else's doing.
        let quiet = tokio::time::timeout(2 * CHECK_INTERVAL, applier.events.recv()).await;
        assert!(quiet.is_err(), "{quiet:?}");
    });
}

#[test]
fn a_renewed_client_has_its_whole_time_again() {
    let name = "a_renewed_client_has_its_whole_time_again";
    in_namespace(&format!("{MODULE}::{name}"), async || {
        let client: IpAddr = "2001:db8::7".parse().unwrap();
        let (mut applier, _) =
            with_cluster(KernelPlan { remember: vec![client], ..plan(1, []) }).await;
        let mut lookup = crate::kernel::Lookup::open().unwrap();
        let whole = rules("nlb0", 1).sticky_timeout;
        let mut left = whole;
        while left + core::time::Duration::from_millis(20) > whole {
            left = lookup.left("nlb0", client).await.unwrap().unwrap();
        }
        applier.apply(KernelPlan { renew: vec![client], ..plan(2, []) }).await;
        assert!(lookup.left("nlb0", client).await.unwrap().unwrap() > left);
        assert_eq!(applier.clients().await, [client]);
        let other = "2001:db8::8".parse().unwrap();
        assert_eq!(lookup.left("nlb0", other).await.unwrap(), None);
    });
}

#[test]
fn a_forgotten_client_that_goes_on_sending_stays_forgotten() {
    let name = "a_forgotten_client_that_goes_on_sending_stays_forgotten";
    in_namespace(&format!("{MODULE}::{name}"), async || {
        let client: IpAddr = "198.51.100.7".parse().unwrap();
        let (mut applier, _) =
            with_cluster(KernelPlan { remember: vec![client], ..plan(1, []) }).await;
        let wire = Wire::open("peer0");
        let payload = packet(client, "192.0.2.50".parse().unwrap(), 17, 0, &[0; 8]);
        let datagram = frame(rules("nlb0", 1).mac, rules("x", 1).mac, 0x0800, &payload);
        let (from, payload) = (Default::default(), heartbeat(rules("nlb0", 1).id));
        let heartbeat = frame(rules("nlb0", 1).mac, from, 0x88b5, &payload);
        let own = Wire::open("lan0");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // A thread of this one is in its network namespace too.
        let sender = std::thread::spawn(move || {
            let mut sent = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                if sent.is_multiple_of(1000) {
                    own.send(&heartbeat);
                }
                wire.send(&datagram);
                sent += 1;
            }
            sent
        });
        for round in 0..20 {
            let generation = 2 + 2 * round;
            let forgetting = if round % 2 == 0 {
                KernelPlan { forget: vec![client], ..plan(generation, []) }
            } else {
                KernelPlan { flush: true, ..plan(generation, []) }
            };
            applier.apply(forgetting).await;
            assert_eq!(applier.clients().await, [] as [IpAddr; 0]);
            let again = KernelPlan { remember: vec![client], ..plan(generation + 1, []) };
            applier.apply(again).await;
            assert_eq!(applier.clients().await, [client]);
        }
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap();
        println!("{sent} packets");
        // Taking them out rewrote rules. The next look at the rules must not take that for
        // somebody else's doing.
        let quiet = tokio::time::timeout(2 * CHECK_INTERVAL, applier.events.recv()).await;
        assert!(quiet.is_err(), "{quiet:?}");
    });
}

#[test]
fn rules_that_somebody_flushed_come_back() {
    in_namespace(&format!("{MODULE}::rules_that_somebody_flushed_come_back"), async || {
        let kept = clients(3);
        let (mut applier, listing) =
            with_cluster(KernelPlan { remember: kept.clone(), ..plan(1, [7]) }).await;
        for (what, loses) in [
            ("flush ruleset", true),
            ("delete table inet nlb", true),
            ("delete table netdev nlb_gate", false),
            ("flush chain inet nlb stage.nlb0", false),
            ("flush set inet nlb sticky4.nlb0", true),
            ("add element inet nlb filter.nlb0 { 8 }", false),
            ("flush table inet nlb", false),
            ("insert rule inet nlb stage.nlb0 accept", false),
        ] {
            nft(&["-f", "-"], &format!("{what}\n")).unwrap();
            let mut lost = false;
            let took = loop {
                match applier.next().await {
                    KernelEvent::StickyLost { cluster } if cluster == "nlb0" => lost = true,
                    KernelEvent::Repaired { took, .. } => break took,
                    event => panic!("{what}: {event:?}"),
                }
            };
            println!("{what}: repaired after {took:?}");
            assert_eq!(lost, loses, "{what}");
            assert_eq!(tables(), listing, "{what}");
            assert_eq!(filter_in_kernel(), plan(0, [7]).filter, "{what}");
            assert_eq!(applier.clients().await, if loses { vec![] } else { kept.clone() });
            if loses {
                let next = KernelPlan { remember: kept.clone(), ..plan(1, [7]) };
                applier.apply(next).await;
            }
        }
        if nft(&["list", "table", "ip", "raw"], "").is_ok() {
            let raw = || nft(&["list", "table", "ip", "raw"], "").unwrap();
            let before = raw();
            for what in ["-t raw -F", "-t raw -D PREROUTING -j NLBD"] {
                iptables(what);
                until(what, || raw() == before).await;
            }
            iptables("-t raw -I PREROUTING -s 10.9.8.7 -j ACCEPT");
            let first = || raw().find("jump NLBD") < raw().find("10.9.8.7");
            until("the jump to be the first rule", first).await;
            iptables("-t raw -D PREROUTING -s 10.9.8.7 -j ACCEPT");
            assert_eq!(raw(), before);
        }
        applier.handle.shutdown().await;
        assert_eq!(nft(&["list", "ruleset"], "").unwrap(), "");
    });
}

#[test]
fn clusters_come_and_go_and_other_peoples_rules_stay() {
    let name = "clusters_come_and_go_and_other_peoples_rules_stay";
    in_namespace(&format!("{MODULE}::{name}"), async || {
        iptables("-t raw -A PREROUTING -s 10.9.8.7 -j ACCEPT");
        let mine = "add table inet mine\nadd chain inet mine c\nadd rule inet mine c accept\n";
        nft(&["-f", "-"], mine).unwrap();
        let without = nft(&["list", "ruleset"], "").unwrap();
        let (mut applier, _) = with_cluster(plan(1, [1])).await;
        let one = nft(&["list", "table", "inet", "nlb"], "").unwrap();
        let second = ClusterRules { queue: 2, ..rules("other", 2) };
        applier.set(second.clone(), plan(9, [1]));
        applier.applied(9).await;
        applier.handle.remove_cluster("other");
        let same = || nft(&["list", "table", "inet", "nlb"], "").unwrap() == one;
        until("the second cluster to be gone", same).await;
        // Removed and back before anything was done: the old one's clients are gone.
        let remember = clients(2);
        applier.handle.submit("nlb0", KernelPlan { remember, ..plan(2, [1]) });
        applier.applied(2).await;
        applier.handle.remove_cluster("nlb0");
        applier.set(rules("nlb0", 1), plan(3, [1]));
        applier.applied(3).await;
        assert_eq!(applier.clients().await, [] as [IpAddr; 0]);
        applier.handle.remove_cluster("nlb0");
        let gone = || nft(&["list", "table", "inet", "nlb"], "").is_err();
        until("the last cluster to be gone", gone).await;
        applier.handle.shutdown().await;
        assert_eq!(nft(&["list", "ruleset"], "").unwrap(), without);
    });
}

#[test]
fn an_interface_that_goes_and_comes_back() {
    in_namespace(&format!("{MODULE}::an_interface_that_goes_and_comes_back"), async || {
        let (mut applier, listing) = with_cluster(plan(1, [1])).await;
        ip("link delete lan0");
        applier.apply(plan(2, [2])).await;
        assert!(!nft(&["list", "ruleset"], "").unwrap().contains("lan0"));
        ip("link add lan0 index 9 type veth peer name peer0");
        let interfaces = vec![Interface::new("lan0", 9).unwrap()];
        applier.set(ClusterRules { interfaces, ..rules("nlb0", 1) }, plan(3, [1]));
        applier.applied(3).await;
        assert_eq!(sorted(&tables()), sorted(&listing.replace(".7.lan0", ".9.lan0")));
    });
}

#[test]
fn what_stands_in_the_way_is_said_and_then_cleared_away() {
    let name = "what_stands_in_the_way_is_said_and_then_cleared_away";
    in_namespace(&format!("{MODULE}::{name}"), async || {
        let (mut applier, _) = with_cluster(plan(1, [1])).await;
        // A set of our name and another type: ours cannot be added.
        let other = "delete table inet nlb
            add table inet nlb
            add set inet nlb filter.nlb0 { type ipv4_addr; }\n";
        nft(&["-f", "-"], other).unwrap();
        let mut failures = 0;
        loop {
            match applier.next().await {
                KernelEvent::Failed { reason, .. } => {
                    failures += 1;
                    assert!(reason.to_string().contains("filter.nlb0"), "{reason}");
                }
                KernelEvent::Repaired { .. } => break,
                _ => {}
            }
        }
        assert!(failures >= 1);
        applier.apply(plan(2, [2])).await;
        assert_eq!(filter_in_kernel(), plan(0, [2]).filter);
    });
}

#[test]
fn rules_that_cannot_be_written_are_refused_and_the_rest_goes_on() {
    let name = "rules_that_cannot_be_written_are_refused_and_the_rest_goes_on";
    in_namespace(&format!("{MODULE}::{name}"), async || {
        let (mut applier, before) = with_cluster(plan(1, [1])).await;
        let lease = core::time::Duration::ZERO;
        applier.set(ClusterRules { lease, ..rules("nlb0", 1) }, plan(2, [2]));
        let event = applier.next().await;
        assert!(matches!(event, KernelEvent::Failed { .. }), "{event:?}");
        assert_eq!(tables(), before);
        applier.apply(plan(3, [3])).await;
    });
}
