//! A cluster's sockets on the real kernel. The tests stand where the opener's thread would.

use std::time::Duration;

use nlb_protocol::{ClusterId, ClusterMac, MacMode, addr};
use tokio::time::timeout;

use super::super::opener::Bench;
use super::*;
use crate::link::LinkEvent;
use crate::testing::{PATIENCE, Pair, eventually, inside, privileged};

const CLUSTER: ClusterId = ClusterId(7);

fn settings() -> LinkSettings {
    LinkSettings {
        ethertype: 0x88b5,
        group: addr::heartbeat_group(CLUSTER),
        mac: ClusterMac::derive(MacMode::Unicast, CLUSTER),
    }
}

fn links() -> (Links, Bench) {
    let (opener, bench) = Opener::new();
    (Links::new(settings(), vec!["10.9.0.50".parse().unwrap()], opener), bench)
}

/// Carries out what is ordered, as the thread does.
async fn work(links: &mut Links, bench: &mut Bench, drops: &mut Drops) -> Option<String> {
    let done = bench.next().await.carry_out();
    bench.tell(done).await;
    take_in(links, drops).await
}

async fn take_in(links: &mut Links, drops: &mut Drops) -> Option<String> {
    while links.done.is_none() {
        timeout(PATIENCE, links.readable()).await.unwrap();
    }
    links.take_in(drops)
}

async fn hears(socket: &HeartbeatSocket) -> bool {
    let mut buffer = [0; crate::link::RECEIVE_BUFFER];
    let heard = timeout(Duration::from_millis(500), socket.recv(&mut buffer)).await;
    matches!(heard, Ok(Ok(LinkEvent::Frame(_))))
}

#[test]
fn whoever_holds_interfaces_up_holds_up_no_heartbeat() {
    privileged(|| {
        let pair = Pair::new();
        let (first, second) = (pair.node_interface(), pair.client_interface());
        let gone = Interface { name: "n1".into(), index: InterfaceIndex(4711), ..second };
        inside(&pair.node, || async {
            let mut drops = Drops::default();
            let (mut links, mut bench) = links();
            links.set_interfaces(vec![first.clone()], true);
            links.open(&mut drops);
            assert_eq!(work(&mut links, &mut bench, &mut drops).await, None);
            assert!(links.send(b"one", &mut drops));
            // Another one comes, and whoever opens it waits in the kernel.
            links.set_interfaces(vec![first.clone(), gone.clone()], true);
            links.open(&mut drops);
            let order = bench.next().await;
            assert_eq!((order.open.len(), order.join.len()), (1, 0));
            assert!(links.is_opening());
            assert!(timeout(Duration::from_millis(20), links.readable()).await.is_err());
            assert!(links.send(b"two", &mut drops));
            // What changes meanwhile is done next, and not before the gate stands.
            links.set_addresses(vec!["10.9.0.51".parse().unwrap()], &mut drops);
            links.set_interfaces(vec![first.clone()], true);
            bench.tell(order.carry_out()).await;
            assert_eq!(take_in(&mut links, &mut drops).await, None, "it is not wanted any more");
            assert!(!links.is_opening());
            links.open(&mut drops);
            let order = bench.next().await;
            assert_eq!((order.open.len(), order.join.len()), (0, 1));
            bench.tell(order.carry_out()).await;
            assert_eq!(take_in(&mut links, &mut drops).await, None);
            assert!(links.send(b"three", &mut drops));
            // One that cannot be used is complained about once.
            links.set_interfaces(vec![first, gone], true);
            links.open(&mut drops);
            let complaint = work(&mut links, &mut bench, &mut drops).await.unwrap();
            assert!(complaint.starts_with("n1 cannot be used: "), "{complaint}");
            eventually("a second try", || links.is_due());
            links.open(&mut drops);
            assert_eq!(work(&mut links, &mut bench, &mut drops).await, None);
            assert_eq!(links.interfaces().count(), 1);
        });
    });
}

#[test]
fn an_interface_made_anew_under_the_same_number_is_heard_again() {
    privileged(|| {
        let pair = Pair::new();
        let interface = pair.node_interface();
        let anew = format!(
            "link delete n0\n\
             link add n0 index {} address {} type veth peer name c0 netns {}\n\
             link set n0 up\n",
            interface.index.0,
            interface.mac,
            pair.client.path().display()
        );
        inside(&pair.node, || async {
            let mut drops = Drops::default();
            let (mut links, mut bench) = links();
            links.set_interfaces(vec![interface], false);
            links.open(&mut drops);
            assert_eq!(work(&mut links, &mut bench, &mut drops).await, None);
            assert!(links.send(b"one", &mut drops));
            pair.node.ip(&anew).unwrap();
            pair.client.ip("link set c0 up\n").unwrap();
            assert!(!links.send(b"two", &mut drops), "it leaves, and nothing would come back");
            eventually("another try", || links.is_due());
            links.open(&mut drops);
            assert_eq!(work(&mut links, &mut bench, &mut drops).await, None);
            assert!(links.send(b"three", &mut drops));
            let peer = pair.client_interface();
            let LinkSettings { ethertype, group, .. } = settings();
            inside(&pair.client, || async {
                HeartbeatSocket::open(&peer, ethertype, group).unwrap().send(b"peer").unwrap();
            });
            assert!(hears(links.heartbeats().next().unwrap()).await);
        });
    });
}

#[test]
fn a_frame_that_is_too_long_is_told_of_once() {
    let mut told = TooLong::default();
    assert!(told.refused(900));
    assert!(!told.refused(900));
    assert!(!told.refused(700));
    // Shorter ones leave all the time.
    told.left(600);
    assert!(!told.refused(700));
    told.left(700);
    assert!(told.refused(900));
}
