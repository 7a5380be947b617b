//! Packets made by hand, and any bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use nlb_protocol::ClusterId;
use proptest::prelude::*;

use super::fingerprint::SEEN;
use super::*;

const CLIENT4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const SERVICE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const ROUTER4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
const SERVICE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const UDP: u8 = 17;

fn is_service(address: IpAddr) -> bool {
    address == IpAddr::V4(SERVICE4) || address == IpAddr::V6(SERVICE6)
}

fn read(bytes: &[u8]) -> Result<Classified, Unclassified> {
    classify(bytes, is_service, &Fingerprinter::new(ClusterId(1), 0x1234_5678))
}

fn v4_from(source: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0, 0, 0, 0xab, 0xcd, 0x40, 0, 64, protocol, 0x11, 0x22];
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet.extend(source.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    v4_from(CLIENT4, SERVICE4, protocol, payload)
}

fn v6_from(source: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    packet[4..6].copy_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
    packet.extend(source.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    v6_from(CLIENT6, SERVICE6, next, payload)
}

fn tcp(flags: u8) -> Vec<u8> {
    let mut segment = vec![0x9c, 0x40, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0x60, flags, 0xff, 0xff];
    segment.extend([0xaa, 0xbb, 0, 0, 2, 4, 5, 0xb4]);
    segment
}

#[test]
fn only_the_first_segment_opens() {
    for (flags, opens) in [(0x02, true), (0xc2, true), (0x12, false), (0x10, false), (0x04, false)]
    {
        for packet in [v4(TCP, &tcp(flags)), v6(TCP, &tcp(flags))] {
            let found = read(&packet).unwrap();
            assert_eq!((found.opens, found.protocol), (opens, TCP), "flags {flags:#x}");
            let client = if packet[0] == 0x45 { CLIENT4.into() } else { IpAddr::V6(CLIENT6) };
            assert_eq!(found.client, client);
            assert!(is_service(found.destination));
        }
    }
}

#[test]
fn what_is_no_segment_opens() {
    let echo = [8, 0, 0x12, 0x34, 0, 1, 0, 1];
    assert!(read(&v4(ICMP, &echo)).unwrap().opens);
    assert!(read(&v6(ICMPV6, &[128, 0, 1, 2, 0, 1, 0, 1])).unwrap().opens);
    assert!(read(&v4(UDP, &[0; 8])).unwrap().opens);
    // A protocol that nobody here has heard of, without a byte of payload.
    assert!(read(&v4(253, &[])).unwrap().opens);
    // A redirect is judged by its sender, as in the kernel's rules.
    let redirect = read(&v4(ICMP, &[5, 0, 0, 0, 0, 0, 0, 0])).unwrap();
    assert_eq!((redirect.client, redirect.opens), (CLIENT4.into(), true));
}

#[test]
fn later_fragments_do_not_open() {
    let mut first = v4(UDP, &[1; 64]);
    first[6..8].copy_from_slice(&0x2000_u16.to_be_bytes());
    assert!(read(&first).unwrap().opens);
    // Looks like an ICMP error where one would begin.
    let mut later = v4(ICMP, &[3; 64]);
    later[6..8].copy_from_slice(&8_u16.to_be_bytes());
    let found = read(&later).unwrap();
    assert_eq!((found.opens, found.client), (false, CLIENT4.into()));
    let fragment = |offset: u16, protocol: u8, payload: &[u8]| {
        let [high, low] = (offset << 3 | 1).to_be_bytes();
        let mut bytes = vec![protocol, 0, high, low, 0, 0, 0, 9];
        bytes.extend(payload);
        v6(44, &bytes)
    };
    assert!(read(&fragment(0, UDP, &[1; 64])).unwrap().opens);
    let found = read(&fragment(8, ICMPV6, &[3; 64])).unwrap();
    assert_eq!((found.opens, found.protocol), (false, ICMPV6));
    // The kernel may put a datagram together before the queue: it stays the same packet.
    let whole = read(&v6(UDP, &[1; 64])).unwrap();
    assert_eq!(read(&fragment(0, UDP, &[1; 64])).unwrap().fingerprint, whole.fingerprint);
    assert_ne!(read(&fragment(8, UDP, &[1; 64])).unwrap().fingerprint, whole.fingerprint);
}

#[test]
fn extension_headers_are_stepped_over() {
    // Hop-by-hop, destination options of 16 bytes, authentication of 24 bytes, then TCP.
    let mut payload = vec![60, 0, 0, 0, 0, 0, 0, 0, 51, 1];
    payload.extend([0; 14]);
    payload.extend([TCP, 4]);
    payload.extend([0; 22]);
    payload.extend(tcp(2));
    let found = read(&v6(0, &payload)).unwrap();
    assert_eq!((found.protocol, found.opens), (TCP, true));
    // The fingerprint is of what is behind them.
    assert_eq!(found.fingerprint, read(&v6(TCP, &tcp(2))).unwrap().fingerprint);
    // More of them than anybody sends.
    let many: Vec<u8> = [60, 0, 0, 0, 0, 0, 0, 0].repeat(20);
    assert_eq!(read(&v6(60, &many)), Err(Unclassified::Malformed));
    // One that is longer than the packet.
    assert_eq!(read(&v6(60, &[TCP, 200, 0, 0, 0, 0, 0, 0])), Err(Unclassified::Truncated));
}

/// SPEC 7: a path-MTU error from a router reaches the node that has the client.
#[test]
fn errors_concern_the_client_of_the_quoted_packet() {
    let quoted4 = v4_from(SERVICE4, CLIENT4, TCP, &tcp(0x10));
    let quoted6 = v6_from(SERVICE6, CLIENT6, TCP, &tcp(0x10));
    for kind in [3, 4, 11, 12] {
        // IP header and eight bytes, as RFC 792 has it; and only the IP header.
        for length in [28, 20] {
            let mut error = vec![kind, 4, 0, 0, 0, 0, 5, 0];
            error.extend(&quoted4[..length]);
            let found = read(&v4_from(ROUTER4, SERVICE4, ICMP, &error)).unwrap();
            assert_eq!((found.client, found.opens), (CLIENT4.into(), false));
        }
    }
    for kind in [1, 2, 3, 4] {
        let mut error = vec![kind, 0, 0, 0, 0, 0, 5, 0];
        error.extend(&quoted6);
        let found = read(&v6_from(ROUTER6, SERVICE6, ICMPV6, &error)).unwrap();
        assert_eq!((found.client, found.opens), (CLIENT6.into(), false));
    }
}

#[test]
fn errors_about_others_concern_nobody() {
    let error = |quoted: &[u8]| {
        let mut error = vec![3, 4, 0, 0, 0, 0, 5, 0];
        error.extend(quoted);
        read(&v4_from(ROUTER4, SERVICE4, ICMP, &error))
    };
    let from_elsewhere = v4_from(CLIENT4, SERVICE4, TCP, &tcp(0x10));
    assert_eq!(error(&from_elsewhere), Err(Unclassified::ForeignError));
    let other_family = v6_from(SERVICE6, CLIENT6, TCP, &tcp(0x10));
    assert_eq!(error(&other_family), Err(Unclassified::ForeignError));
    let to_group = v4_from(SERVICE4, Ipv4Addr::new(224, 0, 0, 1), UDP, &[0; 8]);
    assert_eq!(error(&to_group), Err(Unclassified::NoHost));
    assert_eq!(error(&[]), Err(Unclassified::Truncated));
    assert_eq!(error(&v4_from(SERVICE4, CLIENT4, TCP, &[])[..19]), Err(Unclassified::Truncated));
    assert_eq!(error(&[0x55; 40]), Err(Unclassified::Malformed));
}

#[test]
fn what_concerns_no_client() {
    let other = v4_from(CLIENT4, ROUTER4, UDP, &[0; 8]);
    assert_eq!(read(&other), Err(Unclassified::NotService));
    let none = v4_from(Ipv4Addr::UNSPECIFIED, SERVICE4, UDP, &[0; 8]);
    assert_eq!(read(&none), Err(Unclassified::NoHost));
    let own = v4_from(SERVICE4, SERVICE4, UDP, &[0; 8]);
    assert_eq!(read(&own), Err(Unclassified::NoHost));
    let mut short_header = v4(UDP, &[0; 8]);
    short_header[0] = 0x44;
    assert_eq!(read(&short_header), Err(Unclassified::Malformed));
    for length in 0..34 {
        assert_eq!(read(&v4(TCP, &tcp(2))[..length]), Err(Unclassified::Truncated), "{length}");
    }
    for length in 0..54 {
        assert_eq!(read(&v6(TCP, &tcp(2))[..length]), Err(Unclassified::Truncated), "{length}");
    }
}

/// SPEC 6.9, to the bit: these figures change only with the version of the protocol.
#[test]
fn fingerprints_of_record() {
    let of = |packet: &[u8]| read(packet).unwrap().fingerprint;
    assert_eq!(format!("{:016x}", of(&v4(TCP, &tcp(2)))), "c920d6d60d3e979b");
    assert_eq!(format!("{:016x}", of(&v6(TCP, &tcp(2)))), "f8ca70a01487fc92");
    assert_eq!(format!("{:016x}", of(&v4(UDP, &[7; 300]))), "718a1079e5b83662");
}

/// SPEC appendix B: what every implementation has to make of these packets.
#[test]
fn the_vectors() {
    let file = include_str!("../../../../protocol-spec/vectors/packets.json");
    let file: serde_json::Value = serde_json::from_str(file).unwrap();
    let packets = file["packets"].as_array().unwrap();
    assert!(packets.len() >= 16);
    for packet in packets {
        let hex = packet["hex"].as_str().unwrap();
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let found = read(&(0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>()).unwrap();
        let name = &packet["name"];
        assert_eq!(packet["fingerprint"], format!("{:016x}", found.fingerprint), "{name}");
        assert_eq!(packet["client"], found.client.to_string(), "{name}");
        assert_eq!(packet["opens"], found.opens, "{name}");
    }
}

#[test]
fn fingerprints_leave_out_what_may_differ_between_nodes() {
    let packet = v4(TCP, &tcp(2));
    let same = |at: usize| {
        let mut other = packet.clone();
        other[at] ^= 0x55;
        read(&other).map(|found| found.fingerprint) == read(&packet).map(|found| found.fingerprint)
    };
    // TOS, time to live, both checksums.
    for at in [1, 8, 10, 11, 36, 37] {
        assert!(same(at), "byte {at}");
    }
    // Identification, source, ports, sequence number, window, options.
    for at in [4, 5, 12, 20, 23, 24, 27, 34, 43] {
        assert!(!same(at), "byte {at}");
    }
    let mut padded = packet.clone();
    padded.extend([9; 10]);
    assert_eq!(read(&padded), read(&packet));
    let mut hops = v6(UDP, &[1; 20]);
    let before = read(&hops).unwrap();
    // Traffic class, flow label, hop limit, checksum.
    for at in [0, 1, 2, 3, 7, 46, 47] {
        hops[at] = if at == 0 { 0x6f } else { !hops[at] };
    }
    assert_eq!(read(&hops), Ok(before));
}

#[test]
fn more_of_a_packet_changes_nothing() {
    for packet in [v4(UDP, &[5; 900]), v6(UDP, &[5; 900])] {
        let seen = read(&packet[..SEEN]).unwrap();
        for length in [SEEN + 1, 500, packet.len()] {
            assert_eq!(read(&packet[..length]), Ok(seen));
        }
    }
}

#[test]
fn another_seed_or_cluster_makes_other_fingerprints() {
    let packet = v4(TCP, &tcp(2));
    let of = |cluster, seed| {
        let key = Fingerprinter::new(ClusterId(cluster), seed);
        classify(&packet, is_service, &key).unwrap().fingerprint
    };
    assert_ne!(of(1, 1), of(1, 2));
    assert_ne!(of(1, 1), of(2, 1));
    assert_eq!(of(1, 1), of(1, 1));
}

proptest! {
    /// Whatever comes: no panic; and what it is does not hang on bytes that do not count.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let found = read(&bytes);
        let cut = bytes.get(..SEEN).unwrap_or(&bytes);
        prop_assert_eq!(read(cut), found);
        if let Ok(found) = found {
            prop_assert!(is_service(found.destination) && !is_service(found.client));
        }
    }

    /// The same, near a real packet.
    #[test]
    fn nearly_a_packet(
        kind in 0_usize..4,
        at in 0_usize..60,
        value: u8,
        cut in 0_usize..120,
        tail in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut error = vec![3, 4, 0, 0, 0, 0, 5, 0];
        error.extend(v4_from(SERVICE4, CLIENT4, TCP, &tcp(0x10)));
        let mut bytes = match kind {
            0 => v4(TCP, &tcp(2)),
            1 => v6(44, &[60, 0, 0, 1, 0, 0, 0, 1, UDP, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]),
            2 => v4_from(ROUTER4, SERVICE4, ICMP, &error),
            _ => v6(0, &[60, 0, 0, 0, 0, 0, 0, 0, TCP, 0, 0, 0, 0, 0, 0, 0]),
        };
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.truncate(cut);
        bytes.extend(tail);
        if let Ok(found) = read(&bytes) {
            prop_assert!(is_service(found.destination) && !is_service(found.client));
        }
    }
}
