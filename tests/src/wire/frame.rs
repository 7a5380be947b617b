//! One Ethernet frame, read as far as the rules and the ledger look.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nlb_protocol::MacAddr;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// An ARP request (1) or reply (2).
    Arp {
        /// The operation.
        operation: u16,
        /// Who says so, and the address claimed.
        sender: (MacAddr, Ipv4Addr),
        /// About whom.
        target: (MacAddr, Ipv4Addr),
    },
    /// An IP packet.
    Ip {
        /// From.
        source: IpAddr,
        /// To.
        destination: IpAddr,
        /// What it holds.
        segment: Segment,
    },
    /// A frame of the cluster protocol, of this type: 1 is a heartbeat.
    Cluster(u8),
    /// Another ethertype, or an IP packet cut short.
    Other(u16),
}

/// What an IP packet holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// A TCP segment.
    Tcp {
        /// From.
        source: u16,
        /// To.
        destination: u16,
        /// Sequence number.
        sequence: u32,
        /// Acknowledgement number.
        acknowledged: u32,
        /// SYN 2, RST 4, ACK 16.
        flags: u8,
        /// Bytes of data.
        length: u16,
        /// What the sender has received twice, from and to: a D-SACK (RFC 2883).
        twice: Option<(u32, u32)>,
    },
    /// A UDP datagram (or its first fragment).
    Udp {
        /// From.
        source: u16,
        /// To.
        destination: u16,
        /// The first two bytes of the data: the id of a DNS message.
        id: u16,
    },
    /// An echo request (`reply` false) or reply.
    Echo {
        /// Which of the two.
        reply: bool,
        /// The identifier.
        id: u16,
        /// The sequence number.
        sequence: u16,
    },
    /// Too big: v4 3/4, v6 2.
    TooBig,
    /// A neighbour solicitation or advertisement.
    Neighbour {
        /// Whether it advertises.
        advertisement: bool,
        /// Whose link address.
        target: Ipv6Addr,
        /// The link-layer address option, source or target.
        link: Option<MacAddr>,
    },
    /// An IGMP message of this type.
    Igmp(u8),
    /// A message of Multicast Router Discovery: an advertisement or a termination.
    MulticastRouter {
        /// Which of the two.
        advertisement: bool,
    },
    /// A fragment that is not the first.
    LaterFragment,
    /// Anything else.
    Other,
}

/// A frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Ethernet source.
    pub source: MacAddr,
    /// Ethernet destination.
    pub destination: MacAddr,
    /// What it carries.
    pub payload: Payload,
}

impl Frame {
    /// Reads a frame. What cannot be read is `Other`; only a frame without a whole Ethernet
    /// header is `None`.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (destination, source) = (mac(bytes, 0)?, mac(bytes, 6)?);
        let kind = u16_at(bytes, 12)?;
        let body = &bytes[14..];
        let payload = match kind {
            0x0806 => arp(body),
            0x0800 => ipv4(body),
            0x86dd => ipv6(body),
            // Magic and version, then the type (SPEC 4.2).
            0x88b5 => body.get(3).map(|kind| Payload::Cluster(*kind)),
            _ => None,
        };
        Some(Self { source, destination, payload: payload.unwrap_or(Payload::Other(kind)) })
    }
}

fn arp(body: &[u8]) -> Option<Payload> {
    Some(Payload::Arp {
        operation: u16_at(body, 6)?,
        sender: (mac(body, 8)?, ipv4_at(body, 14)?),
        target: (mac(body, 18)?, ipv4_at(body, 24)?),
    })
}

fn ipv4(body: &[u8]) -> Option<Payload> {
    let header = usize::from(body.first()? & 15) * 4;
    let (source, destination) = (ipv4_at(body, 12)?.into(), ipv4_at(body, 16)?.into());
    let rest = body.get(header..)?;
    let later = u16_at(body, 6)? & 0x1fff != 0;
    let segment = match body.get(9)? {
        _ if later => Segment::LaterFragment,
        1 => icmp4(rest)?,
        2 => match *rest.first()? {
            kind @ (0x30 | 0x32) => Segment::MulticastRouter { advertisement: kind == 0x30 },
            kind => Segment::Igmp(kind),
        },
        protocol => {
            transport(*protocol, rest, usize::from(u16_at(body, 2)?).saturating_sub(header))?
        }
    };
    Some(Payload::Ip { source, destination, segment })
}

fn ipv6(body: &[u8]) -> Option<Payload> {
    let (source, destination) = (ipv6_at(body, 8)?.into(), ipv6_at(body, 24)?.into());
    let (mut protocol, mut rest) = (*body.get(6)?, body.get(40..)?);
    let mut length = usize::from(u16_at(body, 4)?);
    let mut later = false;
    // Hop-by-hop options (MLD has them) and fragments; nothing else occurs here.
    while matches!(protocol, 0 | 44) {
        let header = if protocol == 0 { 8 + usize::from(*rest.get(1)?) * 8 } else { 8 };
        later |= protocol == 44 && u16_at(rest, 2)? & 0xfff8 != 0;
        (protocol, rest) = (*rest.first()?, rest.get(header..)?);
        length = length.saturating_sub(header);
    }
    let segment = match protocol {
        _ if later => Segment::LaterFragment,
        58 => icmp6(rest)?,
        _ => transport(protocol, rest, length)?,
    };
    Some(Payload::Ip { source, destination, segment })
}

/// What a packet of `length` bytes behind its IP headers holds; `rest` may be cut short.
fn transport(protocol: u8, rest: &[u8], length: usize) -> Option<Segment> {
    let (source, destination) = match protocol {
        6 | 17 => (u16_at(rest, 0)?, u16_at(rest, 2)?),
        _ => return Some(Segment::Other),
    };
    Some(if protocol == 6 {
        let (sequence, acknowledged) = (u32_at(rest, 4)?, u32_at(rest, 8)?);
        let header = usize::from(rest.get(12)? >> 4) * 4;
        let length = u16::try_from(length.saturating_sub(header)).unwrap_or(u16::MAX);
        let flags = *rest.get(13)?;
        let options = rest.get(20..header).unwrap_or_default();
        let twice = twice(options, acknowledged);
        Segment::Tcp { source, destination, sequence, acknowledged, flags, length, twice }
    } else {
        Segment::Udp { source, destination, id: u16_at(rest, 8).unwrap_or(0) }
    })
}

/// The first block of a selective acknowledgement (RFC 2018), if all of it is acknowledged anyway:
/// then it has come twice (RFC 2883).
fn twice(mut options: &[u8], acknowledged: u32) -> Option<(u32, u32)> {
    loop {
        let length = match *options {
            [0, ..] | [] => return None,
            [1, ..] => 1,
            [5, ..] => {
                let block = (u32_at(options, 2)?, u32_at(options, 6)?);
                let below = acknowledged.wrapping_sub(block.1) < 1 << 31;
                return below.then_some(block);
            }
            [_, length, ..] => usize::from(length).max(2),
            [_] => return None,
        };
        options = options.get(length..)?;
    }
}

fn icmp4(rest: &[u8]) -> Option<Segment> {
    Some(match (rest.first()?, rest.get(1)?) {
        (kind @ (0 | 8), _) => {
            Segment::Echo { reply: *kind == 0, id: u16_at(rest, 4)?, sequence: u16_at(rest, 6)? }
        }
        (3, 4) => Segment::TooBig,
        _ => Segment::Other,
    })
}

fn icmp6(rest: &[u8]) -> Option<Segment> {
    let kind = *rest.first()?;
    Some(match kind {
        2 => Segment::TooBig,
        128 | 129 => {
            Segment::Echo { reply: kind == 129, id: u16_at(rest, 4)?, sequence: u16_at(rest, 6)? }
        }
        151 | 153 => Segment::MulticastRouter { advertisement: kind == 151 },
        135 | 136 => {
            let wanted = if kind == 135 { 1 } else { 2 };
            let mut options = rest.get(24..)?;
            let mut link = None;
            while let [option, length, ..] = *options {
                if option == wanted {
                    link = mac(options, 2);
                }
                options = options.get(usize::from(length.max(1)) * 8..).unwrap_or(&[]);
            }
            Segment::Neighbour { advertisement: kind == 136, target: ipv6_at(rest, 8)?, link }
        }
        _ => Segment::Other,
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn mac(bytes: &[u8], at: usize) -> Option<MacAddr> {
    array(bytes, at).map(MacAddr)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

fn ipv4_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    array::<4>(bytes, at).map(Ipv4Addr::from)
}

fn ipv6_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    array::<16>(bytes, at).map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests;
