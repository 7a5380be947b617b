//! What a packet for the service is to the engine: whom it concerns, whether it can begin
//! something, and its fingerprint (SPEC 6.9). Pure; nothing here panics on any input.
//!
//! The bytes are those that the queue copied, from the IP header on. Only the first
//! [`SEEN`](fingerprint::SEEN) count, so that nodes which copy more come to the same result.

pub mod fingerprint;
mod ip;

use std::net::IpAddr;

use nlb_engine::{ClientPacket, PacketId};
use nlb_protocol::Fingerprinter;

use ip::Ip;

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classified {
    /// Whom it concerns: its source, or for an ICMP error the destination of the packet quoted
    /// inside, which went from the service to the client.
    pub client: IpAddr,
    /// The service address that it is sent to.
    pub destination: IpAddr,
    /// The protocol behind all IPv6 extension headers.
    pub protocol: u8,
    /// See [`ClientPacket::opens`].
    pub opens: bool,
    /// See [`ClientPacket::fingerprint`].
    pub fingerprint: u64,
}

impl Classified {
    /// As the engine takes it.
    #[must_use]
    pub fn packet(&self, id: PacketId) -> ClientPacket {
        ClientPacket { id, client: self.client, opens: self.opens, fingerprint: self.fingerprint }
    }
}

/// Why a packet concerns no client. All are dropped, one counter each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unclassified {
    /// It ends before what must be known of it.
    #[error("truncated")]
    Truncated,
    /// It is neither IPv4 nor IPv6, or its header contradicts itself.
    #[error("malformed")]
    Malformed,
    /// It is for another address.
    #[error("not for a service address")]
    NotService,
    /// Its source is no host's address, or is a service address itself.
    #[error("not from a host")]
    NoHost,
    /// An ICMP error about a packet that no service address sent.
    #[error("error about a foreign packet")]
    ForeignError,
}

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const TCP_FLAGS_AT: usize = 13;
const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;
/// Where the quoted packet begins in every ICMP error of both versions.
const QUOTED_AT: usize = 8;

/// Classifies the packet that begins with `bytes`. `is_service` tells the addresses of the
/// service.
///
/// # Errors
/// When it concerns no client.
pub fn classify(
    bytes: &[u8],
    is_service: impl Fn(IpAddr) -> bool,
    fingerprinter: &Fingerprinter,
) -> Result<Classified, Unclassified> {
    let bytes = bytes.get(..fingerprint::SEEN).unwrap_or(bytes);
    let ip = Ip::parse(bytes)?;
    if !is_service(ip.destination) {
        return Err(Unclassified::NotService);
    }
    if no_host(ip.source) || is_service(ip.source) {
        return Err(Unclassified::NoHost);
    }
    let error = !ip.is_later_fragment() && is_error(&ip)?;
    let client = if error { quoted_client(&ip, is_service)? } else { ip.source };
    let opens = match ip.protocol {
        _ if error || ip.is_later_fragment() => false,
        TCP => {
            let flags = *ip.payload.get(TCP_FLAGS_AT).ok_or(Unclassified::Truncated)?;
            flags & (TCP_SYN | TCP_ACK) == TCP_SYN
        }
        _ => true,
    };
    Ok(Classified {
        client,
        destination: ip.destination,
        protocol: ip.protocol,
        opens,
        fingerprint: fingerprint::of(&ip, fingerprinter),
    })
}

/// Destination unreachable, source quench, time exceeded and parameter problem of RFC 792, the
/// four errors of RFC 4443 section 3: those that the kernel's rules send here whatever their
/// source (SPEC 7). Other types are ordinary packets.
fn is_error(ip: &Ip<'_>) -> Result<bool, Unclassified> {
    let types: &[u8] = match (ip.protocol, ip.source) {
        (ICMP, IpAddr::V4(_)) => &[3, 4, 11, 12],
        (ICMPV6, IpAddr::V6(_)) => &[1, 2, 3, 4],
        _ => return Ok(false),
    };
    let kind = ip.payload.first().ok_or(Unclassified::Truncated)?;
    Ok(types.contains(kind))
}

/// The host that the quoted packet went to. The quotation may end anywhere behind the addresses.
fn quoted_client(ip: &Ip<'_>, is_service: impl Fn(IpAddr) -> bool) -> Result<IpAddr, Unclassified> {
    let quoted = ip.payload.get(QUOTED_AT..).ok_or(Unclassified::Truncated)?;
    let (source, destination) = ip::addresses(quoted)?;
    // An error about a packet of the other family is nonsense, and so is one whose quoted packet
    // is not from the very address that the error was sent to (RFC 1122 section 3.2.2).
    if source != ip.destination || !is_service(source) {
        return Err(Unclassified::ForeignError);
    }
    if no_host(destination) || is_service(destination) {
        return Err(Unclassified::NoHost);
    }
    Ok(destination)
}

fn no_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_unspecified() || address.is_multicast() || address.is_broadcast()
        }
        IpAddr::V6(address) => address.is_unspecified() || address.is_multicast(),
    }
}

#[cfg(test)]
mod tests;
