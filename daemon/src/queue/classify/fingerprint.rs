//! Which bytes of a packet its fingerprint is made of (SPEC 6.9).
//!
//! Every node receives the same frame, but what its kernel shows of it may differ: network cards
//! check or leave out checksums, rules rewrite DSCP and ECN, and the time to live is nobody's
//! business. All of these are left out. What remains tells packets of one sender apart, and a
//! retransmission from its original wherever the sender changes anything (IPv4 identification,
//! TCP time stamps).

use std::net::IpAddr;

use nlb_protocol::Fingerprinter;

use super::ip::Ip;

/// Bytes of a packet, from its IP header on, that count at all.
pub const SEEN: usize = 256;
const _: () = assert!(SEEN <= crate::queue::COPY_RANGE as usize);

/// Bytes of the payload behind all IP headers that are hashed.
const HASHED: usize = 64;

/// The fingerprint: the hash of
///
/// 1. one byte: the IP version, 4 or 6;
/// 2. one byte: the protocol behind all extension headers;
/// 3. two bytes: the fragment offset in units of 8 bytes, zero for a whole packet;
/// 4. four bytes: the identification (IPv4: the field, extended by zeros in front; IPv6: that of
///    the fragment header of a later fragment, zero for any other packet);
/// 5. source and destination, 4 or 16 bytes each;
/// 6. the payload behind all IP headers, as far as the packet's length field and the first
///    [`SEEN`] bytes of the packet reach, at most [`HASHED`] bytes; of a whole packet or first
///    fragment with its two checksum bytes set to zero: 16 and 17 for TCP, 6 and 7 for UDP and
///    UDP-Lite, 2 and 3 for ICMP and `ICMPv6`.
///
/// All numbers are big-endian.
pub(super) fn of(ip: &Ip<'_>, fingerprinter: &Fingerprinter) -> u64 {
    let [offset_high, offset_low] = ip.fragment_offset.to_be_bytes();
    let [a, b, c, d] = ip.identification.to_be_bytes();
    let version = if ip.source.is_ipv4() { 4 } else { 6 };
    let head = [version, ip.protocol, offset_high, offset_low, a, b, c, d];
    let mut payload = [0; HASHED];
    let length = ip.payload.len().min(HASHED);
    payload[..length].copy_from_slice(&ip.payload[..length]);
    if let Some(at) = checksum_at(ip).filter(|at| at + 2 <= length) {
        payload[at..at + 2].fill(0);
    }
    let payload = &payload[..length];
    match (ip.source, ip.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            fingerprinter.of(&[&head, &source.octets(), &destination.octets(), payload])
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            fingerprinter.of(&[&head, &source.octets(), &destination.octets(), payload])
        }
        // No header makes these.
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
    }
}

/// Where the checksum is. A field that is only half there stays as it is.
fn checksum_at(ip: &Ip<'_>) -> Option<usize> {
    match ip.protocol {
        _ if ip.is_later_fragment() => None,
        6 => Some(16),
        17 | 136 => Some(6),
        1 | 58 => Some(2),
        _ => None,
    }
}
