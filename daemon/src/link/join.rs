//! The memberships that bring cluster traffic and neighbour solicitations to this interface.
//!
//! Three kinds, each for a party of its own: an IGMP or MLD report for switches that snoop, the
//! filter of the network card, and the filter of the host's own stack. Switches that snoop and
//! look at the IP address instead of the group's MAC need `mrd` beside these.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use nlb_engine::Time;
use nlb_protocol::{ClusterMac, MacAddr};
use socket2::{Domain, InterfaceIndexOrAddress, Socket};

use super::mrd::Announcer;
use super::socket::PacketSocket;
use super::sys::Membership;
use super::{Interface, InterfaceIndex};
use crate::inet;

/// Everything that one cluster joins on one interface. Dropping it leaves.
#[derive(Debug)]
pub struct Memberships {
    index: InterfaceIndex,
    /// Holds the cluster MAC in the filter of the network card; receives nothing.
    _mac: PacketSocket,
    /// Holds the IGMP membership, in `Igmp` mode only.
    _igmp: Option<Socket>,
    /// Announces the node to switches that forward by IP address, in `Igmp` mode only.
    announcer: Option<Announcer>,
    /// Holds the MLD memberships of the solicited-node groups.
    mld: Option<Socket>,
    groups: BTreeSet<Ipv6Addr>,
}

impl Memberships {
    /// Joins on `interface`: the cluster MAC (SPEC 2.2), with a real IGMP membership where it has
    /// a group, and the solicited-node group of every IPv6 service address (RFC 4291 section
    /// 2.7.1), with a real MLD membership, as RFC 4861 section 7.2.1 asks of every holder.
    ///
    /// # Errors
    /// Those of the system calls; with IPv6 disabled on the interface `EADDRNOTAVAIL` or `ENODEV`.
    pub fn join(
        interface: &Interface,
        cluster: ClusterMac,
        addresses: &[IpAddr],
    ) -> io::Result<Self> {
        let member = if cluster.mac.0[0] & 1 == 1 {
            Membership::Multicast(cluster.mac)
        } else {
            Membership::Unicast(cluster.mac)
        };
        let mac = PacketSocket::open(interface.index, 0, 0, &PacketSocket::nothing(), &[member])?;
        let igmp = cluster
            .group
            .map(|group| {
                let socket = inet::udp(Domain::IPV4)?;
                let on = InterfaceIndexOrAddress::Index(interface.index.0);
                socket.join_multicast_v4_n(&group, &on).map(|()| socket)
            })
            .transpose()?;
        let announcer = cluster.group.map(|_| Announcer::open(interface)).transpose()?;
        let mut joined = Self {
            index: interface.index,
            _mac: mac,
            _igmp: igmp,
            announcer,
            mld: None,
            groups: BTreeSet::new(),
        };
        joined.set_addresses(addresses)?;
        Ok(joined)
    }

    /// Announces the node to the switches of the segment, in `Igmp` mode (SPEC 2.5), if that is
    /// due. Taken back when this is dropped.
    ///
    /// # Errors
    /// As [`HeartbeatSocket::send`](super::HeartbeatSocket::send); the next time is soon enough.
    pub fn announce(&mut self, now: Time) -> io::Result<()> {
        self.announcer.as_mut().map_or(Ok(()), |announcer| announcer.announce(now))
    }

    /// Joins and leaves so that the solicited-node groups are those of `addresses`.
    ///
    /// # Errors
    /// As [`Self::join`]; what was joined before the error stays joined.
    pub fn set_addresses(&mut self, addresses: &[IpAddr]) -> io::Result<()> {
        let wanted: BTreeSet<Ipv6Addr> = addresses
            .iter()
            .filter_map(|address| match address {
                IpAddr::V6(address) => Some(solicited_node(*address)),
                IpAddr::V4(_) => None,
            })
            .collect();
        if wanted.is_empty() {
            self.mld = None;
            self.groups.clear();
            return Ok(());
        }
        let socket = match self.mld.take() {
            Some(socket) => socket,
            None => inet::udp(Domain::IPV6)?,
        };
        let mut changed = Ok(());
        for group in wanted.difference(&self.groups.clone()) {
            changed = socket.join_multicast_v6(group, self.index.0);
            if changed.is_err() {
                break;
            }
            self.groups.insert(*group);
        }
        let surplus: Vec<Ipv6Addr> = self.groups.difference(&wanted).copied().collect();
        for group in surplus {
            // Fails only where the interface is gone, and the membership with it.
            let _ = socket.leave_multicast_v6(&group, self.index.0);
            self.groups.remove(&group);
        }
        self.mld = Some(socket);
        changed
    }
}

/// The group that solicitations for `address` are sent to.
#[must_use]
pub(super) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// The Ethernet address of an IPv6 group (RFC 2464 section 7).
#[must_use]
pub(super) fn ethernet_group(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}
