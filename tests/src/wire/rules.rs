//! What no frame on the segment may ever do.

use std::net::IpAddr;

use nlb_protocol::MacAddr;

use super::frame::{Frame, Payload, Segment};

/// What the rules must know of the cluster.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The cluster MAC.
    pub mac: MacAddr,
    /// The service addresses.
    pub addresses: Vec<IpAddr>,
}

impl Subject {
    /// Whether this is a service address.
    #[must_use]
    pub fn serves(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// What `frame`, as it came from a host, does wrong (SPEC 2.2, 2.4).
    #[must_use]
    pub fn violation(&self, frame: &Frame) -> Option<&'static str> {
        if frame.source == self.mac {
            return Some("the cluster MAC is the source of a frame");
        }
        match frame.payload {
            Payload::Arp { operation, sender, target } => {
                let claimed = |(mac, address): (MacAddr, _)| {
                    self.serves(IpAddr::V4(address)) && mac != self.mac
                };
                if claimed(sender) {
                    return Some("an ARP frame binds a service address to a real MAC");
                }
                if operation == 2 && claimed(target) {
                    return Some("an ARP reply speaks to a service address at a real MAC");
                }
                None
            }
            Payload::Ip {
                source,
                segment: Segment::Neighbour { advertisement, target, link },
                ..
            } => {
                let target = IpAddr::V6(target);
                let real = link.is_some_and(|link| link != self.mac);
                if advertisement && self.serves(target) && real {
                    return Some("an advertisement binds a service address to a real MAC");
                }
                if !advertisement && self.serves(source) && real {
                    return Some("a solicitation binds a service address to a real MAC");
                }
                if !advertisement && source.is_unspecified() && self.serves(target) {
                    return Some("duplicate address detection for a service address");
                }
                None
            }
            _ => None,
        }
    }
}
