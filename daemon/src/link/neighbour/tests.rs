//! ARP and neighbour discovery: the pure parts on bytes, the whole on the real kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::timeout;

use super::*;
use crate::cluster::clock::now;
use crate::link::Memberships;
use crate::testing::{CLIENT_MAC, Pair, inside, privileged};
use nlb_protocol::{ClusterId, ClusterMac, MacMode};

const CLUSTER: MacAddr = MacAddr([0x02, 0x4e, 0x4c, 0x42, 0, 7]);
const ASKER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x99]);
const V4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 50);
const V6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 0x50);
const FROM4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const FROM6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2);

fn answers() -> Answers {
    Answers::new(CLUSTER, &[IpAddr::V4(V4), IpAddr::V6(V6)])
}

fn parse_arp(bytes: &[u8]) -> Result<Request, Unanswered> {
    arp::parse(bytes, ASKER, &answers())
}

fn parse_nd(bytes: &[u8]) -> Result<Request, Unanswered> {
    nd::parse(bytes, ASKER, &answers())
}

#[test]
fn arp_questions_are_told_apart() {
    let request = |from| parse_arp(&arp::request(ASKER, from, V4)).unwrap();
    let asked = request(FROM4);
    assert_eq!(asked.kind, NeighbourKind::ArpRequest);
    assert_eq!((asked.asker, asked.asker_mac), (IpAddr::V4(FROM4), ASKER));
    assert_eq!(asked.target, IpAddr::V4(V4));
    assert_eq!(request(Ipv4Addr::UNSPECIFIED).kind, NeighbourKind::ArpProbe);
    assert_eq!(request(V4).kind, NeighbourKind::ArpClaim);
}

#[test]
fn arp_that_is_not_to_be_answered() {
    let ask = |mac, from, target| parse_arp(&arp::request(mac, from, target));
    let other = Ipv4Addr::new(10, 9, 0, 51);
    assert_eq!(ask(ASKER, FROM4, other), Err(Unanswered::NotOurs));
    let group = MacAddr([1, 0, 0x5e, 0, 0, 1]);
    assert_eq!(ask(group, FROM4, V4), Err(Unanswered::BadSender));
    assert_eq!(ask(MacAddr::default(), FROM4, V4), Err(Unanswered::BadSender));
    // What another node of the cluster announces is no claim.
    assert_eq!(ask(CLUSTER, V4, V4), Err(Unanswered::BadSender));
    assert_eq!(ask(ASKER, Ipv4Addr::BROADCAST, V4), Err(Unanswered::BadSender));
    let reply = arp::reply(ASKER, V4, ASKER, FROM4);
    assert_eq!(parse_arp(&reply), Err(Unanswered::Malformed));
    for short in 0..28 {
        let request = arp::request(ASKER, FROM4, V4);
        assert_eq!(parse_arp(&request[..short]), Err(Unanswered::Malformed));
    }
}

#[test]
fn an_arp_reply_is_to_the_byte() {
    let reply = arp::reply(CLUSTER, V4, ASKER, FROM4);
    let expected: [u8; 28] = [
        0, 1, 8, 0, 6, 4, 0, 2, // Ethernet, IPv4, reply
        0x02, 0x4e, 0x4c, 0x42, 0, 7, 10, 9, 0, 50, // the cluster MAC has the address
        0x02, 0, 0, 0, 0, 0x99, 10, 9, 0, 2,
    ];
    assert_eq!(reply[..28], expected);
    assert_eq!(reply[28..], [0; 18]);
}

#[test]
fn solicitations_are_told_apart() {
    let (to, asked) = nd::solicitation(ASKER, FROM6, V6);
    assert_eq!(to, MacAddr([0x33, 0x33, 0xff, 0, 0, 0x50]));
    let request = parse_nd(&asked).unwrap();
    assert_eq!(request.kind, NeighbourKind::Solicitation);
    assert_eq!((request.asker, request.asker_mac), (IpAddr::V6(FROM6), ASKER));
    // A probe has no option: the message ends before it.
    let probe = without_option(nd::solicitation(ASKER, Ipv6Addr::UNSPECIFIED, V6).1);
    let request = parse_nd(&probe).unwrap();
    assert_eq!(request.kind, NeighbourKind::SolicitationProbe);
    assert!(request.asker.is_unspecified());
    // And one with the option is void.
    let bad = nd::solicitation(ASKER, Ipv6Addr::UNSPECIFIED, V6).1;
    assert_eq!(parse_nd(&bad), Err(Unanswered::Malformed));
}

#[test]
fn solicitations_that_are_not_to_be_answered() {
    let good = nd::solicitation(ASKER, FROM6, V6).1;
    for (at, value) in [(0, 0x40), (6, 6), (7, 254), (40, 136), (41, 1), (42, good[42] ^ 1)] {
        let mut bad = good;
        bad[at] = value;
        assert_eq!(parse_nd(&bad), Err(Unanswered::Malformed), "byte {at}");
    }
    for short in 0..good.len() {
        assert_eq!(parse_nd(&good[..short]), Err(Unanswered::Malformed), "{short} bytes");
    }
    let other = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 0x51);
    let asked = nd::solicitation(ASKER, FROM6, other).1;
    assert_eq!(parse_nd(&asked), Err(Unanswered::NotOurs));
    let asked = nd::solicitation(CLUSTER, FROM6, V6).1;
    assert_eq!(parse_nd(&asked), Err(Unanswered::BadSender));
}

#[test]
fn an_advertisement_is_solicited_or_for_everybody() {
    let (to, solicited) = nd::advertisement(CLUSTER, V6, ASKER, FROM6);
    assert_eq!(to, ASKER);
    // Hop limit, type, flags solicited and override, target, option with the cluster MAC.
    assert_eq!(solicited[7], 255);
    assert_eq!(solicited[40], 136);
    assert_eq!(solicited[44], 0x60);
    assert_eq!(solicited[8..24], V6.octets());
    assert_eq!(solicited[24..40], FROM6.octets());
    assert_eq!(solicited[48..64], V6.octets());
    assert_eq!(solicited[64..], [2, 1, 0x02, 0x4e, 0x4c, 0x42, 0, 7]);
    let (to, all) = nd::advertisement(CLUSTER, V6, ASKER, Ipv6Addr::UNSPECIFIED);
    assert_eq!(to, MacAddr([0x33, 0x33, 0, 0, 0, 1]));
    assert_eq!(all[44], 0x20);
    assert_eq!(all[24..40], Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets());
}

fn without_option(bytes: nd::Nd) -> Vec<u8> {
    let mut bytes = bytes[..64].to_vec();
    bytes[4..6].copy_from_slice(&24_u16.to_be_bytes());
    bytes[42..44].fill(0);
    let packet = pnet_packet::icmpv6::Icmpv6Packet::new(&bytes[40..]).unwrap();
    let from = Ipv6Addr::from(*bytes[8..].first_chunk::<16>().unwrap());
    let to = Ipv6Addr::from(*bytes[24..].first_chunk::<16>().unwrap());
    let sum = pnet_packet::icmpv6::checksum(&packet, &from, &to);
    bytes[42..44].copy_from_slice(&sum.to_be_bytes());
    bytes
}

proptest! {
    /// No bytes make a parser panic, and whatever it takes for a question is about our address.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for request in [parse_arp(&bytes), parse_nd(&bytes)].into_iter().flatten() {
            prop_assert!(request.target == IpAddr::V4(V4) || request.target == IpAddr::V6(V6));
        }
    }

    /// The same, near a real question.
    #[test]
    fn nearly_a_question(
        at in 0_usize..72,
        value: u8,
        length in 0_usize..=72,
        tail in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut asked = nd::solicitation(ASKER, FROM6, V6).1.to_vec();
        asked[at] = value;
        asked.truncate(length);
        asked.extend(tail);
        if let Ok(request) = parse_nd(&asked) {
            prop_assert!(answers().can_answer(request.asker_mac));
        }
        if let Ok(request) = parse_arp(&asked) {
            prop_assert!(answers().can_answer(request.asker_mac));
        }
    }
}

/// Answers every question on the node until `done`, and returns the kinds that were asked.
async fn serve(socket: &NeighbourSocket, done: &AtomicBool) -> Vec<NeighbourKind> {
    let mut kinds = Vec::new();
    while !done.load(Ordering::Acquire) {
        let Ok(event) = timeout(Duration::from_millis(20), socket.recv()).await else { continue };
        if let NeighbourEvent::Request(request) = event.unwrap() {
            assert!(socket.answer(&request, now()).unwrap());
            kinds.push(request.kind);
        }
    }
    kinds
}

/// Lets the node answer while `asking` runs.
fn while_serving(pair: &Pair, asking: impl FnOnce()) -> Vec<NeighbourKind> {
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let interface = pair.node_interface();
    let done = AtomicBool::new(false);
    let (opened, open) = std::sync::mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            inside(&pair.node, || async {
                let addresses = [IpAddr::V4(V4), IpAddr::V6(V6)];
                let mac = ClusterMac::derive(MacMode::Unicast, ClusterId(7));
                let _joined = Memberships::join(&interface, mac, &addresses).unwrap();
                let socket = NeighbourSocket::open(&interface, mac.mac, &addresses).unwrap();
                opened.send(()).unwrap();
                serve(&socket, &done).await
            })
        });
        open.recv().unwrap();
        let finish = Done(&done);
        asking();
        drop(finish);
        server.join().unwrap()
    })
}

/// Waits until `ip` says something of an address on the client.
fn wait_for(pair: &Pair, line: &str, wanted: &str) {
    for _ in 0..200 {
        let said = pair.client.sh(line).unwrap();
        if said.contains(wanted) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{line}: never {wanted:?}, but {}", pair.client.sh(line).unwrap());
}

/// What the gate does for a node that may serve.
const GATE: &str = "table netdev gate {
    chain in {
        type filter hook ingress device n0 priority -510;
        ether daddr 02:4e:4c:42:00:07 meta pkttype set host;
    }
}";

fn nft(pair: &Pair, rules: &str) {
    pair.node.feed(&["nft", "-f", "-"], rules).unwrap();
}

#[test]
fn clients_learn_the_cluster_mac_and_keep_it() {
    privileged(|| {
        let pair = Pair::new();
        nft(&pair, GATE);
        let kinds = while_serving(&pair, || {
            for address in ["10.9.0.50", "fd09::50"] {
                // Nobody answers the ping; the address behind it is what counts.
                let _ = pair.client.sh(&format!("ping -c 1 -W 1 {address}"));
                let learned = format!("lladdr {CLUSTER}");
                wait_for(&pair, &format!("ip neigh show {address}"), &learned);
                // The cache is checked by questions sent to the cluster MAC alone.
                let probe = format!("neigh change {address} lladdr {CLUSTER} dev c0 nud probe");
                pair.client.ip(&probe).unwrap();
                wait_for(&pair, &format!("ip neigh show {address}"), "REACHABLE");
            }
        });
        let count = |kind| kinds.iter().filter(|one| **one == kind).count();
        assert!(count(NeighbourKind::ArpRequest) >= 2, "{kinds:?}");
        assert!(count(NeighbourKind::Solicitation) >= 2, "{kinds:?}");
    });
}

#[test]
fn a_host_that_wants_the_address_is_told_that_it_is_in_use() {
    privileged(|| {
        let pair = Pair::new();
        pair.client.set_sysctl("net/ipv6/conf/c0/accept_dad", "1").unwrap();
        let kinds = while_serving(&pair, || {
            pair.client.ip("address add fd09::50/64 dev c0").unwrap();
            wait_for(&pair, "ip -6 address show dev c0", "dadfailed");
            let client = pair.client_interface();
            inside(&pair.client, || async {
                let asker = NeighbourSocket::open(&client, CLIENT_MAC, &[]).unwrap();
                assert_eq!(asker.probe(&[], &[IpAddr::V4(V4)]), 1);
                // A claim is answered once, then not for ten seconds: see `serve`.
                assert_eq!(asker.probe(&[IpAddr::V4(V4)], &[IpAddr::V4(V4)]), 1);
            });
            std::thread::sleep(Duration::from_millis(200));
        });
        assert!(kinds.contains(&NeighbourKind::SolicitationProbe), "{kinds:?}");
        assert!(kinds.contains(&NeighbourKind::ArpProbe), "{kinds:?}");
        assert!(kinds.contains(&NeighbourKind::ArpClaim), "{kinds:?}");
    });
}

/// Nodes that start on a wire with nobody else on it are each other's witnesses.
#[test]
fn where_no_neighbour_is_known_the_service_is_asked_for() {
    privileged(|| {
        let pair = Pair::new();
        let kinds = while_serving(&pair, || {
            let client = pair.client_interface();
            inside(&pair.client, || async {
                let asker = NeighbourSocket::open(&client, CLIENT_MAC, &[IpAddr::V4(V4)]).unwrap();
                assert_eq!(asker.probe(&[IpAddr::V4(Ipv4Addr::new(10, 9, 0, 9))], &[]), 1);
            });
            std::thread::sleep(Duration::from_millis(200));
        });
        assert!(kinds.contains(&NeighbourKind::ArpProbe), "{kinds:?}");
    });
}

#[test]
fn a_claim_is_answered_once_in_ten_seconds() {
    privileged(|| {
        let pair = Pair::new();
        let interface = pair.node_interface();
        inside(&pair.node, || async {
            let addresses = [IpAddr::V4(V4)];
            let socket = NeighbourSocket::open(&interface, CLUSTER, &addresses).unwrap();
            let kind = NeighbourKind::ArpClaim;
            let (asker, target) = (IpAddr::V4(V4), IpAddr::V4(V4));
            let claim = Request { kind, asker, asker_mac: ASKER, target };
            let start = now();
            assert!(socket.answer(&claim, start).unwrap());
            assert!(!socket.answer(&claim, start + Duration::from_secs(9)).unwrap());
            assert!(socket.answer(&claim, start + Duration::from_secs(10)).unwrap());
        });
    });
}

#[test]
fn probes_bring_frames_back() {
    privileged(|| {
        let pair = Pair::new();
        let interface = pair.node_interface();
        pair.node.ip("route add default via 10.9.0.2").unwrap();
        pair.node.ip("route add default via fd09::2").unwrap();
        inside(&pair.node, || async {
            let netlink = crate::host::Netlink::connect().unwrap();
            let probe = netlink.probe_targets(interface.index).await.unwrap();
            assert_eq!(probe.targets[..2], [IpAddr::V4(FROM4), IpAddr::V6(FROM6)]);
            let before = netlink.rx_packets(interface.index).await.unwrap().unwrap();
            let socket = NeighbourSocket::open(&interface, CLUSTER, &[]).unwrap();
            // With an own address or without: an answer comes either way.
            let sent = socket.probe(&probe.own, &probe.targets) + socket.probe(&[], &probe.targets);
            assert!(sent >= 3);
            for _ in 0..100 {
                if netlink.rx_packets(interface.index).await.unwrap().unwrap() >= before + 3 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("no answer");
        });
    });
}

/// Which of the two addresses are still answered when a cache is checked, with `rules` in place.
fn checked_caches(rules: &str) -> [bool; 2] {
    let pair = Pair::new();
    let mut answered = [false; 2];
    nft(&pair, GATE);
    nft(&pair, rules);
    while_serving(&pair, || {
        for (address, answered) in ["10.9.0.50", "fd09::50"].into_iter().zip(&mut answered) {
            let entry = format!("neigh replace {address} lladdr {CLUSTER} dev c0 nud probe");
            pair.client.ip(&entry).unwrap();
            for _ in 0..250 {
                let now = pair.client.sh(&format!("ip neigh show {address}")).unwrap();
                *answered = now.contains("REACHABLE");
                if *answered || now.contains("FAILED") {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    answered
}

/// SPEC 7: the stage's ingress chain must let solicitations pass, or nobody hears those that are
/// sent to the cluster MAC. What comes later, in the prerouting chains, hides nothing.
#[test]
fn ingress_rules_come_before_the_socket_and_prerouting_behind() {
    privileged(|| {
        let dropped = checked_caches(
            "table inet stage {
                chain in {
                    type filter hook ingress device n0 priority -500
                    ether daddr 02:4e:4c:42:00:07 drop
                }
             }",
        );
        // The family `inet` sees no ARP.
        assert_eq!(dropped, [true, false]);
        let let_through = checked_caches(
            "table inet stage {
                chain in {
                    type filter hook ingress device n0 priority -500
                    icmpv6 type nd-neighbor-solicit accept
                    ether daddr 02:4e:4c:42:00:07 drop
                }
                chain pre {
                    type filter hook prerouting priority -300
                    icmpv6 type nd-neighbor-solicit drop
                }
             }",
        );
        assert_eq!(let_through, [true, true]);
    });
}
