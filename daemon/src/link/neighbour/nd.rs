//! Neighbour discovery for IPv6 (RFC 4861, RFC 4862): pure parsing and building, from the IPv6
//! header on.
//!
//! A solicitation behind extension headers is not answered: nobody sends one, and RFC 6980
//! forbids the only kind that mattered (fragments).

use std::net::{IpAddr, Ipv6Addr};

use nlb_protocol::MacAddr;
use pnet_packet::icmpv6::ndp::{
    MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NeighborAdvertFlags,
    NeighborSolicitPacket,
};
use pnet_packet::icmpv6::{Icmpv6Code, Icmpv6Packet, Icmpv6Types, checksum};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::{Ipv6Packet, MutableIpv6Packet};

use super::super::join::{ethernet_group, solicited_node};
use super::{Answers, NeighbourKind, Request, Unanswered};

/// RFC 4861 section 4.6.1.
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

const IPV6_HEADER: usize = 40;
/// Type, code, checksum, reserved or flags, target.
const ND_HEADER: usize = 24;
/// A link-layer address option for Ethernet.
const OPTION: usize = 8;
/// "All nodes" (RFC 4291 section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A solicitation or advertisement with its IPv6 header and one link-layer address option.
pub(super) type Nd = [u8; IPV6_HEADER + ND_HEADER + OPTION];

/// Reads a question, with every check of RFC 4861 section 7.1.1.
pub(super) fn parse(
    payload: &[u8],
    source: MacAddr,
    answers: &Answers,
) -> Result<Request, Unanswered> {
    let ip = Ipv6Packet::new(payload).ok_or(Unanswered::Malformed)?;
    let message = payload
        .get(IPV6_HEADER..IPV6_HEADER + usize::from(ip.get_payload_length()))
        .ok_or(Unanswered::Malformed)?;
    let icmp = Icmpv6Packet::new(message).ok_or(Unanswered::Malformed)?;
    let solicit = NeighborSolicitPacket::new(message).ok_or(Unanswered::Malformed)?;
    let (asker, to) = (ip.get_source(), ip.get_destination());
    let target = solicit.get_target_addr();
    let sound = ip.get_version() == 6
        && ip.get_next_header() == IpNextHeaderProtocols::Icmpv6
        && ip.get_hop_limit() == 255
        && icmp.get_icmpv6_type() == Icmpv6Types::NeighborSolicit
        && icmp.get_icmpv6_code() == Icmpv6Code(0)
        && icmp.get_checksum() == checksum(&icmp, &asker, &to)
        && !target.is_multicast();
    if !sound {
        return Err(Unanswered::Malformed);
    }
    let option = source_option(message.get(ND_HEADER..).unwrap_or_default())?;
    if !answers.v6.contains(&target) {
        return Err(Unanswered::NotOurs);
    }
    let probe = asker.is_unspecified();
    if probe && (to != solicited_node(target) || option.is_some()) {
        return Err(Unanswered::Malformed);
    }
    let asker_mac = option.unwrap_or(source);
    if asker.is_multicast() || asker.is_loopback() || !answers.can_answer(asker_mac) {
        return Err(Unanswered::BadSender);
    }
    let kind = if probe { NeighbourKind::SolicitationProbe } else { NeighbourKind::Solicitation };
    Ok(Request { kind, asker: IpAddr::V6(asker), asker_mac, target: IpAddr::V6(target) })
}

/// The source link-layer address, if the options name one. Unknown options are skipped; one of
/// length zero makes the whole message void.
fn source_option(mut options: &[u8]) -> Result<Option<MacAddr>, Unanswered> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let length = usize::from(units) * 8;
        if length == 0 {
            return Err(Unanswered::Malformed);
        }
        let (option, rest) = options.split_at_checked(length).ok_or(Unanswered::Malformed)?;
        if let (SOURCE_LINK_LAYER, [_, 1, a, b, c, d, e, f]) = (kind, option) {
            found = Some(MacAddr([*a, *b, *c, *d, *e, *f]));
        }
        options = rest;
    }
    if options.is_empty() { Ok(found) } else { Err(Unanswered::Malformed) }
}

/// "`target` is at `cluster`", and which Ethernet address that goes to. Its source is the
/// address itself, as with every kernel; the router flag is not set.
pub(super) fn advertisement(
    cluster: MacAddr,
    target: Ipv6Addr,
    asker_mac: MacAddr,
    asker: Ipv6Addr,
) -> (MacAddr, Nd) {
    let probe = asker.is_unspecified();
    let to = if probe { ALL_NODES } else { asker };
    let mut bytes = message(target, to, (TARGET_LINK_LAYER, cluster));
    if let Some(mut packet) = MutableNeighborAdvertPacket::new(&mut bytes[IPV6_HEADER..]) {
        packet.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
        let solicited = if probe { 0 } else { NeighborAdvertFlags::Solicited };
        packet.set_flags(solicited | NeighborAdvertFlags::Override);
        packet.set_target_addr(target);
    }
    seal(&mut bytes, target, to);
    (if probe { ethernet_group(to) } else { asker_mac }, bytes)
}

/// "Who has `target`?", asked by this host itself.
pub(super) fn solicitation(own_mac: MacAddr, own: Ipv6Addr, target: Ipv6Addr) -> (MacAddr, Nd) {
    let to = solicited_node(target);
    let mut bytes = message(own, to, (SOURCE_LINK_LAYER, own_mac));
    if let Some(mut packet) = MutableNeighborSolicitPacket::new(&mut bytes[IPV6_HEADER..]) {
        packet.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
        packet.set_target_addr(target);
    }
    seal(&mut bytes, own, to);
    (ethernet_group(to), bytes)
}

fn message(from: Ipv6Addr, to: Ipv6Addr, option: (u8, MacAddr)) -> Nd {
    let mut bytes = [0; IPV6_HEADER + ND_HEADER + OPTION];
    // The buffer is longer than the header: there is no other way through.
    if let Some(mut ip) = MutableIpv6Packet::new(&mut bytes) {
        ip.set_version(6);
        ip.set_payload_length(u16::try_from(ND_HEADER + OPTION).unwrap_or_default());
        ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
        ip.set_hop_limit(255);
        ip.set_source(from);
        ip.set_destination(to);
    }
    let at = IPV6_HEADER + ND_HEADER;
    bytes[at] = option.0;
    bytes[at + 1] = 1;
    bytes[at + 2..].copy_from_slice(&option.1.0);
    bytes
}

/// Puts the checksum in.
fn seal(bytes: &mut Nd, from: Ipv6Addr, to: Ipv6Addr) {
    let (_, message) = bytes.split_at_mut(IPV6_HEADER);
    let sum = Icmpv6Packet::new(message).map_or(0, |packet| checksum(&packet, &from, &to));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}
