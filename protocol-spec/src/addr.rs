//! Ethernet addresses: the shared cluster MAC in its three modes and the heartbeat group.

use core::fmt;

use crate::ids::ClusterId;

/// The ethertype of the protocol unless configured otherwise: IEEE 802 local experimental 1.
pub const DEFAULT_ETHERTYPE: u16 = 0x88b5;

/// A 48-bit Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// How the cluster MAC reaches every node (SPEC 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MacMode {
    /// A locally administered unicast address that no node ever sends from: switches flood it.
    #[default]
    Unicast,
    /// A multicast address outside the IP range: switches flood it.
    Multicast,
    /// An IPv4 multicast address with a real IGMP join: snooping switches send it to members.
    Igmp,
}

/// The shared address of a cluster, and for [`MacMode::Igmp`] the group that is joined for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterMac {
    /// The address that clients are told.
    pub mac: MacAddr,
    /// The IPv4 group to join, in `Igmp` mode only.
    pub group: Option<core::net::Ipv4Addr>,
}

impl ClusterMac {
    /// The address derived from the cluster id (SPEC 2.2).
    #[must_use]
    pub const fn derive(mode: MacMode, cluster: ClusterId) -> Self {
        let [high, low] = cluster.0.to_be_bytes();
        match mode {
            MacMode::Unicast => {
                Self { mac: MacAddr([0x02, 0x4e, 0x4c, 0x42, high, low]), group: None }
            }
            MacMode::Multicast => {
                Self { mac: MacAddr([0x03, 0x4e, 0x4c, 0x42, high, low]), group: None }
            }
            MacMode::Igmp => Self {
                mac: MacAddr([0x01, 0x00, 0x5e, 0x7f, high, low]),
                group: Some(core::net::Ipv4Addr::new(239, 255, high, low)),
            },
        }
    }
}

/// The multicast address that the heartbeats of a cluster go to (SPEC 2.3).
#[must_use]
pub const fn heartbeat_group(cluster: ClusterId) -> MacAddr {
    let [high, low] = cluster.0.to_be_bytes();
    MacAddr([0x03, 0x4e, 0x4c, 0x48, high, low])
}
