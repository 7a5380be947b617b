//! Packets for a service, and which of their bytes make the fingerprint (SPEC 6.9). Both are
//! written out here, piece by piece: this crate does not read packets.

use core::net::{Ipv4Addr, Ipv6Addr};

use nlb_protocol::{ClusterId, Fingerprinter};
use serde_json::{Value, json};

use crate::fields::{hex, long};

const CLIENT4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const SERVICE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const ROUTER4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
const SERVICE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// A TCP segment; its checksum is `aa bb`.
fn tcp(flags: u8) -> Vec<u8> {
    let mut segment = vec![0x9c, 0x40, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0x60, flags, 0xff, 0xff];
    segment.extend([0xaa, 0xbb, 0, 0, 2, 4, 5, 0xb4]);
    segment
}

/// An IPv4 packet of identification `ab cd`; `fragment` is the field of that name.
fn v4(from: Ipv4Addr, to: Ipv4Addr, fragment: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = (20 + payload.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0xab, 0xcd]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0x11, 0x22]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

fn v6(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// What is hashed: the eight bytes in front, the addresses, the payload.
fn hashed4(from: Ipv4Addr, protocol: u8, offset: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = offset.to_be_bytes();
    let head = [4, protocol, high, low, 0, 0, 0xab, 0xcd];
    [&head[..], &from.octets(), &SERVICE4.octets(), payload].concat()
}

fn hashed6(from: Ipv6Addr, protocol: u8, offset: u16, id: u32, payload: &[u8]) -> Vec<u8> {
    let [high, low] = offset.to_be_bytes();
    let head = [6, protocol, high, low];
    let addresses = [from.octets(), SERVICE6.octets()].concat();
    [&head[..], &id.to_be_bytes(), &addresses, payload].concat()
}

/// The payload with two bytes set to zero.
fn cleared(payload: &[u8], at: usize) -> Vec<u8> {
    let mut payload = payload.to_vec();
    payload[at..at + 2].fill(0);
    payload
}

struct Packet {
    name: &'static str,
    bytes: Vec<u8>,
    hashed: Vec<u8>,
    opens: bool,
}

fn ipv4() -> Vec<Packet> {
    let whole = |protocol, payload: &[u8]| v4(CLIENT4, SERVICE4, 0x4000, protocol, payload);
    let (syn, ack) = (tcp(0x02), tcp(0x10));
    let echo = [8, 0, 0x12, 0x34, 0, 1, 0, 1];
    let options = {
        let mut packet = whole(UDP, &[7; 12]);
        packet[0] = 0x46;
        packet[3] += 4;
        packet.splice(20..20, [1, 1, 1, 0]);
        packet
    };
    let mut padded = whole(UDP, &[7; 8]);
    padded.extend([9; 18]);
    let error =
        [&[3, 4, 0x12, 0x34, 0, 0, 5, 0], &v4(SERVICE4, CLIENT4, 0, TCP, &ack)[..]].concat();
    let later = v4(CLIENT4, SERVICE4, 8, UDP, &[7; 16]);
    let packet = |name, bytes, hashed, opens| Packet { name, bytes, hashed, opens };
    let of = |protocol, offset, payload: &[u8]| hashed4(CLIENT4, protocol, offset, payload);
    vec![
        packet("IPv4, TCP SYN", whole(TCP, &syn), of(TCP, 0, &cleared(&syn, 16)), true),
        packet("IPv4, TCP ACK", whole(TCP, &ack), of(TCP, 0, &cleared(&ack, 16)), false),
        packet("IPv4, long UDP", whole(UDP, &[7; 300]), of(UDP, 0, &cleared(&[7; 64], 6)), true),
        packet("IPv4, with options", options, of(UDP, 0, &cleared(&[7; 12], 6)), true),
        packet("IPv4, padded", padded, of(UDP, 0, &cleared(&[7; 8], 6)), true),
        packet("IPv4, half a checksum", whole(UDP, &[7; 7]), of(UDP, 0, &[7; 7]), true),
        packet("IPv4, echo request", whole(ICMP, &echo), of(ICMP, 0, &cleared(&echo, 2)), true),
        packet("IPv4, unknown protocol", whole(253, &[]), of(253, 0, &[]), true),
        packet("IPv4, later fragment", later, of(UDP, 8, &[7; 16]), false),
        Packet {
            name: "IPv4, ICMP error",
            bytes: v4(ROUTER4, SERVICE4, 0, ICMP, &error),
            hashed: hashed4(ROUTER4, ICMP, 0, &cleared(&error, 2)[..error.len().min(64)]),
            opens: false,
        },
    ]
}

fn ipv6() -> Vec<Packet> {
    let whole = |next, payload: &[u8]| v6(CLIENT6, SERVICE6, next, payload);
    let (syn, ack) = (tcp(0x02), tcp(0x10));
    let echo = [128, 0, 0x12, 0x34, 0, 1, 0, 1];
    let extended = [&[60, 0, 0, 0, 0, 0, 0, 0, ICMP6, 0, 0, 0, 0, 0, 0, 0], &echo[..]].concat();
    // Destination options of 200 bytes: of the segment, 16 bytes are seen, the checksum is not.
    let far = [&[TCP, 24][..], &[0; 198], &syn].concat();
    let first = [&[UDP, 0, 0, 1, 1, 2, 3, 4], &[7; 16][..]].concat();
    let later = [&[UDP, 0, 0, 0x41, 1, 2, 3, 4], &[7; 16][..]].concat();
    let quoted = v6(SERVICE6, CLIENT6, TCP, &ack);
    let error = [&[2, 0, 0x12, 0x34, 0, 0, 5, 0], &quoted[..]].concat();
    let packet = |name, bytes, hashed, opens| Packet { name, bytes, hashed, opens };
    let of = |protocol, offset, id, payload: &[u8]| hashed6(CLIENT6, protocol, offset, id, payload);
    vec![
        packet("IPv6, TCP SYN", whole(TCP, &syn), of(TCP, 0, 0, &cleared(&syn, 16)), true),
        packet("IPv6, two headers", whole(0, &extended), of(ICMP6, 0, 0, &cleared(&echo, 2)), true),
        packet("IPv6, far behind", whole(60, &far), of(TCP, 0, 0, &syn[..16]), true),
        packet(
            "IPv6, first fragment",
            whole(44, &first),
            of(UDP, 0, 0, &cleared(&[7; 16], 6)),
            true,
        ),
        packet("IPv6, later fragment", whole(44, &later), of(UDP, 8, 0x0102_0304, &[7; 16]), false),
        Packet {
            name: "IPv6, ICMP error",
            bytes: v6(ROUTER6, SERVICE6, ICMP6, &error),
            hashed: hashed6(ROUTER6, ICMP6, 0, 0, &cleared(&error[..64], 2)),
            opens: false,
        },
    ]
}

/// The file.
pub(crate) fn packets() -> Value {
    let (cluster, seed) = (ClusterId(1), 0x1234_5678);
    let fingerprinter = Fingerprinter::new(cluster, seed);
    let of = |packet: &Packet| {
        let v4 = packet.bytes[0] >> 4 == 4;
        json!({
            "name": packet.name,
            "cluster": cluster.0,
            "seed": seed,
            "services": [SERVICE4.to_string(), SERVICE6.to_string()],
            "hex": hex(&packet.bytes),
            "client": if v4 { CLIENT4.to_string() } else { CLIENT6.to_string() },
            "opens": packet.opens,
            "hashed": hex(&packet.hashed),
            "fingerprint": long(fingerprinter.of(&[&packet.hashed])),
        })
    };
    let packets: Vec<Value> = ipv4().iter().chain(&ipv6()).map(of).collect();
    json!({ "packets": packets })
}
