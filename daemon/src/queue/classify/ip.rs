//! The IP header of a packet, of either version, as far as classification needs it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Unclassified;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;

/// A packet with so many IPv6 extension headers is dropped. RFC 8504 lets hosts set such a bound;
/// real packets have two at most.
const EXTENSIONS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;

/// A packet whose header made sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ip<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// Behind all extension headers.
    pub(super) protocol: u8,
    /// The identification of the datagram: of IPv4 always, of IPv6 in a later fragment. (Elsewhere
    /// it is left out, because a kernel that puts datagrams together takes it away.)
    pub(super) identification: u32,
    /// Where the payload stands in the datagram, in units of 8 bytes; not zero: a later fragment.
    pub(super) fragment_offset: u16,
    /// What is there of the payload, without what an Ethernet device added behind the packet.
    pub(super) payload: &'a [u8],
}

impl<'a> Ip<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Unclassified> {
        match bytes.first().ok_or(Unclassified::Truncated)? >> 4 {
            4 => Self::v4(bytes),
            6 => Self::v6(bytes),
            _ => Err(Unclassified::Malformed),
        }
    }

    pub(super) fn is_later_fragment(&self) -> bool {
        self.fragment_offset != 0
    }

    fn v4(bytes: &'a [u8]) -> Result<Self, Unclassified> {
        let header: &[u8; IPV4_HEADER] = bytes.first_chunk().ok_or(Unclassified::Truncated)?;
        let length = usize::from(header[0] & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        // Zero: a packet that the kernel put together out of several, beyond 64 KB.
        let total = if total == 0 { bytes.len() } else { total };
        if length < IPV4_HEADER || total < length {
            return Err(Unclassified::Malformed);
        }
        let seen = bytes.get(..total).unwrap_or(bytes);
        let (source, destination) = addresses(bytes)?;
        Ok(Self {
            source,
            destination,
            protocol: header[9],
            identification: u32::from(u16::from_be_bytes([header[4], header[5]])),
            fragment_offset: u16::from_be_bytes([header[6], header[7]]) & 0x1fff,
            payload: seen.get(length..).ok_or(Unclassified::Truncated)?,
        })
    }

    fn v6(bytes: &'a [u8]) -> Result<Self, Unclassified> {
        let header: &[u8; IPV6_HEADER] = bytes.first_chunk().ok_or(Unclassified::Truncated)?;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        // Zero: a jumbogram, or a packet put together by the kernel beyond 64 KB.
        let total = if length == 0 { bytes.len() } else { IPV6_HEADER + length };
        let seen = bytes.get(..total).unwrap_or(bytes);
        let (source, destination) = addresses(bytes)?;
        let mut ip = Self {
            source,
            destination,
            protocol: header[6],
            identification: 0,
            fragment_offset: 0,
            payload: seen.get(IPV6_HEADER..).ok_or(Unclassified::Truncated)?,
        };
        for _ in 0..EXTENSIONS {
            if !ip.enter_extension()? {
                return Ok(ip);
            }
        }
        Err(Unclassified::Malformed)
    }

    /// Steps over one extension header. `false`: the next header is none.
    fn enter_extension(&mut self) -> Result<bool, Unclassified> {
        let units = match self.protocol {
            HOP_BY_HOP | ROUTING | DESTINATION | MOBILITY => (usize::from(self.byte(1)?) + 1) * 8,
            AUTHENTICATION => (usize::from(self.byte(1)?) + 2) * 4,
            FRAGMENT => {
                let header: &[u8; 8] = self.payload.first_chunk().ok_or(Unclassified::Truncated)?;
                self.fragment_offset = u16::from_be_bytes([header[2], header[3]]) >> 3;
                if self.is_later_fragment() {
                    let [.., a, b, c, d] = *header;
                    self.identification = u32::from_be_bytes([a, b, c, d]);
                }
                8
            }
            _ => return Ok(false),
        };
        self.protocol = self.byte(0)?;
        self.payload = self.payload.get(units..).ok_or(Unclassified::Truncated)?;
        // What follows in a later fragment is the middle of something, not a header.
        Ok(!self.is_later_fragment())
    }

    fn byte(&self, at: usize) -> Result<u8, Unclassified> {
        self.payload.get(at).copied().ok_or(Unclassified::Truncated)
    }
}

/// Source and destination of a packet of which no more than its fixed header need be there.
pub(super) fn addresses(bytes: &[u8]) -> Result<(IpAddr, IpAddr), Unclassified> {
    match bytes.first().ok_or(Unclassified::Truncated)? >> 4 {
        4 => Ok((v4_at(bytes, 12)?, v4_at(bytes, 16)?)),
        6 => Ok((v6_at(bytes, 8)?, v6_at(bytes, 24)?)),
        _ => Err(Unclassified::Malformed),
    }
}

fn v4_at(bytes: &[u8], at: usize) -> Result<IpAddr, Unclassified> {
    let octets: &[u8; 4] =
        bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(Unclassified::Truncated)?;
    Ok(IpAddr::V4(Ipv4Addr::from(*octets)))
}

fn v6_at(bytes: &[u8], at: usize) -> Result<IpAddr, Unclassified> {
    let octets: &[u8; 16] =
        bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(Unclassified::Truncated)?;
    Ok(IpAddr::V6(Ipv6Addr::from(*octets)))
}
