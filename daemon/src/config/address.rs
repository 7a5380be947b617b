//! Which addresses can be service addresses, and which can be cluster MACs.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nlb_protocol::{ClusterId, ClusterMac, MacAddr, MacMode};

/// A service address: a unicast host address of either family. The error says what is allowed.
pub(super) fn service(text: &str) -> Result<IpAddr, &'static str> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return match address {
            IpAddr::V4(v4) => service_v4(v4),
            IpAddr::V6(v6) => service_v6(v6),
        };
    }
    if text.split_once('/').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok()) {
        return Err("the address alone, without a prefix length");
    }
    if text.split_once('%').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok()) {
        return Err("an address without a zone (link-local addresses cannot be balanced)");
    }
    if mac(text).is_some() {
        return Err("an IPv4 or IPv6 address; an Ethernet address goes into `mac`");
    }
    Err("an IPv4 or IPv6 unicast address like \"192.0.2.50\" or \"2001:db8::50\"")
}

fn service_v4(address: Ipv4Addr) -> Result<IpAddr, &'static str> {
    let first = address.octets()[0];
    if address.is_multicast() || address.is_broadcast() {
        return Err("a unicast address, not multicast or broadcast");
    }
    if first == 0 || first == 127 || first >= 240 {
        return Err("a unicast host address, not 0.0.0.0/8, 127.0.0.0/8 or 240.0.0.0/4");
    }
    Ok(IpAddr::V4(address))
}

fn service_v6(address: Ipv6Addr) -> Result<IpAddr, &'static str> {
    if address.is_multicast() {
        return Err("a unicast address, not multicast");
    }
    if address.is_unspecified() || address.is_loopback() {
        return Err("a unicast host address, not :: or ::1");
    }
    if address.to_ipv4_mapped().is_some() {
        return Err("an IPv4 address written as such, like \"192.0.2.50\"");
    }
    if address.is_unicast_link_local() {
        return Err("a global or unique local address (link-local ones cannot be balanced)");
    }
    Ok(IpAddr::V6(address))
}

/// An Ethernet address in the usual notation.
#[must_use]
pub(super) fn mac(text: &str) -> Option<MacAddr> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2)?;
        // `from_str_radix` would take a sign.
        *byte = u8::from_str_radix(part, 16).ok().filter(|_| !part.starts_with('+'))?;
    }
    parts.next().is_none().then_some(MacAddr(bytes))
}

/// The cluster MAC that a configured address makes, or what is allowed in this mode (SPEC 2.2).
pub(super) fn cluster_mac(
    mode: MacMode,
    id: ClusterId,
    configured: Option<MacAddr>,
) -> Result<ClusterMac, &'static str> {
    let Some(mac) = configured else { return Ok(ClusterMac::derive(mode, id)) };
    let bytes = mac.0;
    match mode {
        MacMode::Unicast if bytes[0] & 3 == 2 => Ok(ClusterMac { mac, group: None }),
        MacMode::Unicast => {
            Err("for mode Unicast: a locally administered unicast address, first byte x2, x6, xa \
                 or xe")
        }
        MacMode::Multicast if bytes[0] & 3 == 3 && bytes[..2] != [0x33, 0x33] => {
            Ok(ClusterMac { mac, group: None })
        }
        MacMode::Multicast => {
            Err("for mode Multicast: a locally administered multicast address, first byte x3, x7, \
                 xb or xf, not 33:33")
        }
        MacMode::Igmp if bytes[..3] == [0x01, 0x00, 0x5e] && (1..0x80).contains(&bytes[3]) => {
            // 239.255.0.0/16 as for derived addresses; the MAC carries 23 bits of the group.
            let second = if bytes[3] == 0x7f { 255 } else { bytes[3] };
            let group = Ipv4Addr::new(239, second, bytes[4], bytes[5]);
            Ok(ClusterMac { mac, group: Some(group) })
        }
        MacMode::Igmp => Err("for mode Igmp: 01:00:5e:xx:xx:xx with xx from 01 to 7f after 5e"),
    }
}
