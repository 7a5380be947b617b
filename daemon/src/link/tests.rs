//! Links on the real kernel, between two ends of a wire.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use nlb_protocol::{ClusterId, ClusterMac, MacAddr, MacMode, addr};
use tokio::time::timeout;

use super::*;
use crate::cluster::clock::now;
use crate::testing::{CLIENT_MAC, NODE_MAC, PATIENCE, Pair, eventually, inside, privileged};

const ETHERTYPE: u16 = 0x88b5;
const CLUSTER: ClusterId = ClusterId(7);

fn group() -> MacAddr {
    addr::heartbeat_group(CLUSTER)
}

async fn frame(socket: &HeartbeatSocket, buffer: &mut [u8]) -> Received {
    match timeout(PATIENCE, socket.recv(buffer)).await.unwrap().unwrap() {
        LinkEvent::Frame(frame) => frame,
        LinkEvent::Down => panic!("down"),
    }
}

/// A frame of the client's.
fn say(pair: &Pair, payload: &[u8]) {
    let client = pair.client_interface();
    inside(&pair.client, || async {
        HeartbeatSocket::open(&client, ETHERTYPE, group()).unwrap().send(payload).unwrap();
    });
}

#[test]
fn heartbeats_cross_the_wire_and_nothing_else_is_seen() {
    privileged(|| {
        let pair = Pair::new();
        let (node, client) = (pair.node_interface(), pair.client_interface());
        inside(&pair.node, || async {
            let receiver = HeartbeatSocket::open(&node, ETHERTYPE, group()).unwrap();
            inside(&pair.client, || async {
                let other_group = addr::heartbeat_group(ClusterId(8));
                let stranger = HeartbeatSocket::open(&client, ETHERTYPE, other_group).unwrap();
                stranger.send(b"another cluster").unwrap();
                let stranger = HeartbeatSocket::open(&client, 0x88b6, group()).unwrap();
                stranger.send(b"another ethertype").unwrap();
                let sender = HeartbeatSocket::open(&client, ETHERTYPE, group()).unwrap();
                sender.send(&[1; 1500]).unwrap();
                sender.send(b"short").unwrap();
                assert!(sender.send(&[1; 1501]).is_err());
            });
            let mut buffer = [9; RECEIVE_BUFFER];
            let first = frame(&receiver, &mut buffer).await;
            assert_eq!((first.len, first.source), (1500, CLIENT_MAC));
            let second = frame(&receiver, &mut buffer).await;
            assert_eq!(second.len, 46);
            assert_eq!(&buffer[..5], b"short");
            assert_eq!(&buffer[5..46], [0; 41]);
            assert_eq!(receiver.try_recv(&mut buffer).unwrap(), None);
            let stats = receiver.stats().unwrap();
            assert_eq!((stats.received, stats.dropped), (2, 0));
        });
    });
}

#[test]
fn a_frame_arrives_when_the_kernel_takes_it() {
    privileged(|| {
        let pair = Pair::new();
        let node = pair.node_interface();
        inside(&pair.node, || async {
            let receiver = HeartbeatSocket::open(&node, ETHERTYPE, group()).unwrap();
            let mut buffer = [0; RECEIVE_BUFFER];
            // The kernel begins to stamp a little after the first who asks for it.
            loop {
                say(&pair, b"now");
                let before = now();
                let arrival = frame(&receiver, &mut buffer).await.arrival;
                assert!(before.since(arrival) < Duration::from_secs(2));
                assert!(arrival <= now());
                if arrival < before {
                    break;
                }
            }
        });
    });
}

#[test]
fn a_tagged_frame_of_another_vlan_is_not_seen() {
    privileged(|| {
        let pair = Pair::new();
        let (node, client) = (pair.node_interface(), pair.client_interface());
        inside(&pair.node, || async {
            let receiver = HeartbeatSocket::open(&node, ETHERTYPE, group()).unwrap();
            inside(&pair.client, || async {
                // A frame with a tag, made by hand: this kernel need not know VLANs for it.
                let tagged = |id: u16| {
                    let socket = HeartbeatSocket::open(&client, 0x8100, group()).unwrap();
                    let mut payload = vec![0; 60];
                    payload[..2].copy_from_slice(&id.to_be_bytes());
                    payload[2..4].copy_from_slice(&ETHERTYPE.to_be_bytes());
                    payload[4..].fill(u8::try_from(id).unwrap());
                    socket.send(&payload).unwrap();
                };
                tagged(5);
                // Tag 0 is no VLAN, only a priority.
                tagged(0);
            });
            let mut buffer = [9; RECEIVE_BUFFER];
            frame(&receiver, &mut buffer).await;
            assert_eq!(buffer[0], 0);
            assert_eq!(receiver.try_recv(&mut buffer).unwrap(), None);
        });
    });
}

#[test]
fn an_interface_that_goes_down_is_an_event() {
    privileged(|| {
        let pair = Pair::new();
        let node = pair.node_interface();
        inside(&pair.node, || async {
            let receiver = HeartbeatSocket::open(&node, ETHERTYPE, group()).unwrap();
            let mut buffer = [0; RECEIVE_BUFFER];
            pair.node.ip("link set n0 down").unwrap();
            let event = timeout(PATIENCE, receiver.recv(&mut buffer)).await.unwrap().unwrap();
            assert_eq!(event, LinkEvent::Down);
            let error = receiver.send(b"nowhere").unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::NetworkDown);
            pair.node.ip("link set n0 up").unwrap();
            say(&pair, b"back");
            frame(&receiver, &mut buffer).await;
            receiver.send(b"here").unwrap();
            pair.node.ip("link delete n0").unwrap();
            // The other way to wait: told, then empty, then not told again.
            timeout(PATIENCE, receiver.readable()).await.unwrap().unwrap();
            assert_eq!(receiver.try_recv(&mut buffer).unwrap(), Some(LinkEvent::Down));
            assert_eq!(receiver.try_recv(&mut buffer).unwrap(), None);
            assert!(timeout(Duration::from_millis(50), receiver.readable()).await.is_err());
            assert!(receiver.send(b"gone").is_err());
            assert!(HeartbeatSocket::open(&node, ETHERTYPE, group()).is_err());
        });
    });
}

#[test]
fn memberships_are_the_kernels_own() {
    privileged(|| {
        let pair = Pair::new();
        let interface = pair.node_interface();
        let addresses: [IpAddr; 3] = [
            "fd09::abcd:1234".parse().unwrap(),
            "fd0a::abcd:1234".parse().unwrap(),
            "10.9.0.50".parse().unwrap(),
        ];
        inside(&pair.node, || async {
            let read =
                |file| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
            let igmp = ClusterMac::derive(MacMode::Igmp, CLUSTER);
            let mut joined = Memberships::join(&interface, igmp, &addresses).unwrap();
            // 239.255.0.7 as the kernel prints it, and the group of both IPv6 addresses.
            let group = u32::from_ne_bytes(Ipv4Addr::new(239, 255, 0, 7).octets());
            assert!(read("igmp").contains(&format!("{group:08X}")));
            assert!(read("igmp6").contains("ff0200000000000000000001ffcd1234"));
            assert!(read("dev_mcast").contains("01005e7f0007"));
            joined.set_addresses(&addresses[2..]).unwrap();
            let mld = "ff0200000000000000000001ffcd1234";
            eventually("leaves the MLD group", || !read("igmp6").contains(mld));
            drop(joined);
            let igmp = format!("{group:08X}");
            eventually("leaves the IGMP group", || !read("igmp").contains(&igmp));

            let multicast = ClusterMac::derive(MacMode::Multicast, CLUSTER);
            let joined = Memberships::join(&interface, multicast, &[]).unwrap();
            assert!(read("dev_mcast").contains("034e4c420007"));
            drop(joined);
            let mac = "034e4c420007";
            eventually("gives the MAC back", || !read("dev_mcast").contains(mac));

            let unicast = ClusterMac::derive(MacMode::Unicast, CLUSTER);
            Memberships::join(&interface, unicast, &addresses).unwrap();
            assert_eq!(interface.mac, NODE_MAC);
        });
    });
}

/// SPEC 7: what the socket sends passes the egress hook, which is what renews the lease; and a
/// frame that a rule there drops is an error of the sender.
#[test]
fn a_heartbeat_that_leaves_renews_the_lease() {
    privileged(|| {
        let pair = Pair::new();
        let interface = pair.node_interface();
        let rules = "table netdev gate {
            set lease { type iface_index; flags dynamic,timeout; }
            chain out {
                type filter hook egress device n0 priority 510
                ether type 0x88b5 update @lease { meta oif timeout 10s }
            }
        }";
        pair.node.feed(&["nft", "-f", "-"], rules).unwrap();
        inside(&pair.node, || async {
            let lease = || pair.node.sh("nft list set netdev gate lease").unwrap();
            assert!(!lease().contains("elements"));
            let socket = HeartbeatSocket::open(&interface, ETHERTYPE, group()).unwrap();
            socket.send(b"here").unwrap();
            assert!(lease().contains("n0"), "{}", lease());
            pair.node.sh("nft add rule netdev gate out ether type 0x88b5 drop").unwrap();
            assert!(socket.send(b"not here").is_err());
        });
    });
}
