//! The applier on the real kernel, each test in a network namespace of its own.

use core::time::Duration;

use nlb_engine::{Generation, KernelPlan};
use nlb_protocol::{Bucket, Buckets, ClusterId, MacAddr};
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::kernel::spec::Interface;
use crate::kernel::testing::{in_namespace, ip, nft};

const MODULE: &str = "kernel::applier::tests";
/// Long enough for a busy machine; nothing waits so long.
const PATIENCE: Duration = Duration::from_secs(10);

fn rules(cluster: &str, number: u16) -> ClusterRules {
    ClusterRules {
        cluster: cluster.to_owned(),
        id: ClusterId(number),
        interfaces: vec![Interface::new("lan0", 7).unwrap()],
        mac: MacAddr([0x02, 0x4e, 0x4c, 0x42, 0x00, 0x01]),
        ethertype: 0x88b5,
        addresses: vec!["192.0.2.50".parse().unwrap(), "2001:db8::50".parse().unwrap()],
        ports: Vec::new(),
        lease: Duration::from_millis(400),
        sticky_timeout: Duration::from_secs(1800),
        sticky_limit: 1 << 20,
        queue: number,
    }
}

fn plan(generation: u64, filter: impl IntoIterator<Item = u16>) -> KernelPlan {
    KernelPlan {
        generation: Generation(generation),
        filter: filter.into_iter().map(|index| Bucket::new(index).unwrap()).collect(),
        divert: false,
        seed: 0x1234,
        flush: false,
        forget: Vec::new(),
        remember: Vec::new(),
    }
}

async fn start() -> (KernelHandle, Receiver<KernelEvent>) {
    ip("link add lan0 index 7 type veth peer name peer0");
    ip("link set lan0 up");
    ip("link set peer0 up");
    Kernel::start(crate::kernel::probe().await.unwrap()).unwrap()
}

async fn next(events: &mut Receiver<KernelEvent>) -> KernelEvent {
    tokio::time::timeout(PATIENCE, events.recv()).await.expect("an event").expect("an applier")
}

/// The events up to the one of this generation; how long its batch took.
async fn applied(events: &mut Receiver<KernelEvent>, wanted: u64) -> (Vec<KernelEvent>, Duration) {
    let mut before = Vec::new();
    loop {
        match next(events).await {
            KernelEvent::Applied { generation: Generation(number), took, .. }
                if number == wanted =>
            {
                return (before, took);
            }
            event => before.push(event),
        }
    }
}

fn filter_in_kernel() -> Buckets {
    let listing = nft(&["list", "set", "inet", "nlb", "filter.nlb0"], "").unwrap();
    let marks = listing.split(|c: char| !c.is_ascii_alphanumeric());
    marks
        .filter_map(|word| word.strip_prefix("0x"))
        .map(|hex| Bucket::new(u16::from_str_radix(hex, 16).unwrap()).unwrap())
        .collect()
}

async fn list(handle: &KernelHandle, events: &mut Receiver<KernelEvent>) -> Vec<IpAddr> {
    handle.list_sticky("nlb0");
    loop {
        if let KernelEvent::StickyListed { clients, .. } = next(events).await {
            let mut clients: Vec<_> = clients
                .into_iter()
                .map(|(client, left)| {
                    assert!(left > Duration::from_secs(1700) && left <= Duration::from_secs(1800));
                    client
                })
                .collect();
            clients.sort();
            return clients;
        }
    }
}

#[test]
fn plans_are_applied_and_the_end_leaves_nothing() {
    in_namespace(&format!("{MODULE}::plans_are_applied_and_the_end_leaves_nothing"), async || {
        // An earlier life left something of another shape behind.
        nft(&["-f", "-"], "add table inet nlb\nadd chain inet nlb stage.old\n").unwrap();
        let (handle, mut events) = start().await;
        handle.set_cluster(rules("nlb0", 1), plan(1, 0..10));
        let (before, took) = applied(&mut events, 1).await;
        assert_eq!(before, []);
        println!("first: {took:?}");
        assert_eq!(filter_in_kernel(), plan(1, 0..10).filter);
        assert!(!nft(&["list", "ruleset"], "").unwrap().contains("stage.old"));
        for (generation, filter) in [(2, 5..4000_u16), (3, 6..4000), (4, 100..700), (5, 0..4096)] {
            handle.submit("nlb0", plan(generation, filter.clone()));
            let (before, took) = applied(&mut events, generation).await;
            println!("generation {generation}: {took:?}");
            assert_eq!(before, []);
            assert_eq!(filter_in_kernel(), plan(0, filter).filter);
        }
        handle.submit("nlb0", KernelPlan { divert: true, ..plan(6, []) });
        applied(&mut events, 6).await;
        assert!(nft(&["list", "ruleset"], "").unwrap().contains("all to the queue"));
        handle.shutdown().await;
        assert_eq!(nft(&["list", "ruleset"], "").unwrap(), "");
    });
}
