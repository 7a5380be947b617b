//! ARP over Ethernet for IPv4 (RFC 826, RFC 5227): pure parsing and building, from the network
//! header on.

use std::net::{IpAddr, Ipv4Addr};

use nlb_protocol::MacAddr;
use pnet_packet::arp::{
    ArpHardwareTypes, ArpOperation, ArpOperations, ArpPacket, MutableArpPacket,
};
use pnet_packet::ethernet::EtherTypes;

use super::{Answers, NeighbourKind, Request, Unanswered};

/// The broadcast address.
pub(super) const EVERYBODY: MacAddr = MacAddr([0xff; 6]);

/// An ARP packet, padded to the shortest Ethernet payload.
pub(super) type Arp = [u8; 46];

/// Reads a question. The Ethernet source is not looked at: the answer goes to the sender
/// hardware address, as every ARP answer does (a router may ask from its shared address with a
/// frame from its own).
pub(super) fn parse(
    payload: &[u8],
    _source: MacAddr,
    answers: &Answers,
) -> Result<Request, Unanswered> {
    let packet = ArpPacket::new(payload).ok_or(Unanswered::Malformed)?;
    let plain = packet.get_hardware_type() == ArpHardwareTypes::Ethernet
        && packet.get_protocol_type() == EtherTypes::Ipv4
        && packet.get_hw_addr_len() == 6
        && packet.get_proto_addr_len() == 4
        && packet.get_operation() == ArpOperations::Request;
    if !plain {
        return Err(Unanswered::Malformed);
    }
    let target = packet.get_target_proto_addr();
    if !answers.v4.contains(&target) {
        return Err(Unanswered::NotOurs);
    }
    let asker = packet.get_sender_proto_addr();
    let asker_mac = MacAddr(packet.get_sender_hw_addr().octets());
    let no_host = asker.is_multicast() || asker.is_broadcast() || asker.is_loopback();
    if no_host || !answers.can_answer(asker_mac) {
        return Err(Unanswered::BadSender);
    }
    let kind = if asker.is_unspecified() {
        NeighbourKind::ArpProbe
    } else if asker == target {
        NeighbourKind::ArpClaim
    } else {
        NeighbourKind::ArpRequest
    };
    Ok(Request { kind, asker: IpAddr::V4(asker), asker_mac, target: IpAddr::V4(target) })
}

/// "`target` is at `cluster`."
pub(super) fn reply(
    cluster: MacAddr,
    target: Ipv4Addr,
    asker_mac: MacAddr,
    asker: Ipv4Addr,
) -> Arp {
    build(ArpOperations::Reply, (cluster, target), (asker_mac, asker))
}

/// "`address` is at `cluster`", to everybody (RFC 5227 section 2.3).
pub(super) fn announcement(cluster: MacAddr, address: Ipv4Addr) -> Arp {
    build(ArpOperations::Request, (cluster, address), (MacAddr::default(), address))
}

/// "Who has `target`?", asked by this host itself.
pub(super) fn request(own_mac: MacAddr, own: Ipv4Addr, target: Ipv4Addr) -> Arp {
    build(ArpOperations::Request, (own_mac, own), (MacAddr::default(), target))
}

fn build(operation: ArpOperation, sender: (MacAddr, Ipv4Addr), target: (MacAddr, Ipv4Addr)) -> Arp {
    let mut bytes = [0; 46];
    // The buffer is longer than an ARP packet: there is no other way through.
    if let Some(mut packet) = MutableArpPacket::new(&mut bytes) {
        packet.set_hardware_type(ArpHardwareTypes::Ethernet);
        packet.set_protocol_type(EtherTypes::Ipv4);
        packet.set_hw_addr_len(6);
        packet.set_proto_addr_len(4);
        packet.set_operation(operation);
        packet.set_sender_hw_addr(sender.0.0.into());
        packet.set_sender_proto_addr(sender.1);
        packet.set_target_hw_addr(target.0.0.into());
        packet.set_target_proto_addr(target.1);
    }
    bytes
}
