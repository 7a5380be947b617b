//! The bytes on the wire, the times, and a real interface.

use super::*;
use crate::cluster::clock::now;
use crate::link::sys::Membership;
use crate::link::{LinkEvent, Memberships};
use crate::testing::{NODE_MAC, PATIENCE, Pair, inside, privileged};
use nlb_protocol::{ClusterId, ClusterMac, MacMode};
use tokio::time::timeout;

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// RFC 4286 section 3.2 and 5.1, IPv4.
#[test]
fn ipv4_packets_are_these_bytes() {
    #[rustfmt::skip]
    let advertisement = [
        0x46, 0xc0, 0, 32, 0, 0, 0x40, 0, 1, 2, 0x41, 0xac,
        192, 0, 2, 1, 224, 0, 0, 106, 0x94, 4, 0, 0,
        0x30, 20, 0xcf, 0xeb, 0, 0, 0, 0,
    ];
    assert_eq!(ipv4_packet(Message::Advertisement, V4), advertisement);
    #[rustfmt::skip]
    let termination = [
        0x46, 0xc0, 0, 28, 0, 0, 0x40, 0, 1, 2, 0x41, 0xb0,
        192, 0, 2, 1, 224, 0, 0, 106, 0x94, 4, 0, 0,
        0x32, 0, 0xcd, 0xff,
    ];
    assert_eq!(ipv4_packet(Message::Termination, V4), termination);
}

/// RFC 4286 section 3.2 and 5.1, IPv6.
#[test]
fn ipv6_packets_are_these_bytes() {
    #[rustfmt::skip]
    let advertisement = [
        0x60, 0, 0, 0, 0, 16, 0, 1,
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x6a,
        58, 0, 5, 2, 0, 0, 1, 0,
        151, 20, 0x6a, 0xba, 0, 0, 0, 0,
    ];
    assert_eq!(ipv6_packet(Message::Advertisement, V6), advertisement);
    #[rustfmt::skip]
    let termination = [
        0x60, 0, 0, 0, 0, 12, 0, 1,
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x6a,
        58, 0, 5, 2, 0, 0, 1, 0,
        153, 0, 0x68, 0xd2,
    ];
    assert_eq!(ipv6_packet(Message::Termination, V6), termination);
}

#[test]
fn the_interfaces_own_addresses_are_the_sources() {
    privileged(|| {
        let pair = Pair::new();
        let index = pair.node_interface().index;
        let sources = || pair.node.run(|| Sources::of(index)).unwrap();
        // Of lower numbers, and no better for it: service addresses, and those of another link.
        pair.node
            .ip("link set lo up\naddress add 10.9.0.50/32 dev lo scope host\n\
                 link add x0 type veth peer name x1\nlink set x0 up\n\
                 address add 10.8.0.1/24 dev x0\naddress add fe80::8/64 dev x0 nodad")
            .unwrap();
        let own = sources();
        assert_eq!(own.v4, Ipv4Addr::new(10, 9, 0, 1));
        let listed = pair.node.sh("ip -6 address show dev n0 scope link").unwrap();
        assert!(listed.contains(&format!("inet6 {}/64", own.v6.unwrap())), "{own:?} {listed}");
        // Routes are not asked.
        pair.node.sh("ip route add prohibit 224.0.0.0/4").unwrap();
        assert_eq!(sources(), own);
        pair.node.ip("address flush dev n0").unwrap();
        let borrowed = Sources { v4: Ipv4Addr::new(10, 8, 0, 1), v6: None };
        assert_eq!(sources(), borrowed);
        pair.node.ip("link delete x0").unwrap();
        let none = Sources { v4: Ipv4Addr::UNSPECIFIED, v6: None };
        assert_eq!(sources(), none);
    });
}

#[test]
fn three_go_soon_and_then_one_every_twenty_seconds() {
    let sources = Sources { v4: V4, v6: None };
    let mut schedule = Schedule::default();
    let mut now = Time::from_nanos(123_456_789_012);
    let mut step = |schedule: &mut Schedule, sources| {
        assert!(now >= schedule.due);
        schedule.advance(sources, now);
        let wait = schedule.due.since(now);
        now = schedule.due + Duration::from_millis(37);
        wait
    };
    let usual = ADVERTISE_EVERY - JITTER..ADVERTISE_EVERY + JITTER;
    for _ in 0..2 {
        assert_eq!(step(&mut schedule, sources), ADVERTISE_INITIALLY_EVERY);
    }
    let waits: Vec<_> = (0..50).map(|_| step(&mut schedule, sources)).collect();
    assert!(waits.iter().all(|wait| usual.contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait != waits[0]), "no jitter");
    // An address that comes later is made known as quickly.
    let sources = Sources { v6: Some(V6), ..sources };
    for _ in 0..2 {
        assert_eq!(step(&mut schedule, sources), ADVERTISE_INITIALLY_EVERY);
    }
    assert!(usual.contains(&step(&mut schedule, sources)));
}

#[test]
fn both_families_are_announced_on_the_wire_and_taken_back() {
    privileged(|| {
        let pair = Pair::new();
        let (node, client) = (pair.node_interface(), pair.client_interface());
        let Sources { v4: own_v4, v6 } = pair.node.run(|| Sources::of(node.index)).unwrap();
        let own_v6 = v6.unwrap();
        let heard = |ethertype, group: MacAddr| {
            let member = [Membership::Multicast(group)];
            let all = [socket2::SockFilter::new(0x06, 0, 0, 0xffff)];
            PacketSocket::open(client.index, ethertype, 1 << 16, &all, &member).unwrap()
        };
        inside(&pair.client, || async {
            let v4 = heard(IPV4, MacAddr([1, 0, 0x5e, 0, 0, 0x6a]));
            let v6 = heard(IPV6, ethernet_group(ALL_SNOOPERS_V6));
            inside(&pair.node, || async {
                let igmp = ClusterMac::derive(MacMode::Igmp, ClusterId(7));
                let mut joined = Memberships::join(&node, igmp, &[]).unwrap();
                joined.announce(now()).unwrap();
                drop(joined);
            });
            let both = [Message::Advertisement, Message::Termination];
            for (socket, wanted) in [
                (&v4, both.map(|one| ipv4_packet(one, own_v4))),
                (&v6, both.map(|one| ipv6_packet(one, own_v6))),
            ] {
                let mut buffer = [0; 256];
                for wanted in wanted {
                    loop {
                        let event = timeout(PATIENCE, socket.recv(&mut buffer)).await;
                        let Ok(Ok(LinkEvent::Frame(frame))) = event else {
                            panic!("{event:?} instead of {wanted:02x?}");
                        };
                        // The kernel's own reports come between them.
                        if frame.source == NODE_MAC && buffer.starts_with(&wanted) {
                            break;
                        }
                    }
                }
            }
        });
    });
}
