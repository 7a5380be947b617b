//! What the driver says about a cluster: everything in its rules that no plan of the engine
//! changes.

use core::net::IpAddr;
use core::time::Duration;

use nlb_protocol::{ClusterId, MacAddr, NodeId};

use crate::config::{MAX_ADDRESSES, MAX_CLUSTER_NAME, MAX_INTERFACES, MAX_PORTS, Port};

/// The longest name of an interface: Linux's `IFNAMSIZ` without the closing zero.
const MAX_INTERFACE_NAME: usize = 15;

/// An interface that a cluster is served on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interface {
    name: String,
    index: u32,
}

impl Interface {
    /// The interface of this name, which has this index now.
    ///
    /// # Errors
    /// When the name could not stand in a rule: empty, too long, or with a character that nft
    /// reads in its own way.
    pub fn new(name: &str, index: u32) -> Result<Self, SpecError> {
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '*' | '/');
        if name.is_empty() || name.len() > MAX_INTERFACE_NAME || !name.chars().all(plain) {
            return Err(SpecError::InterfaceName { name: name.to_owned() });
        }
        Ok(Self { name: name.to_owned(), index })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its index.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }
}

/// One cluster, as the kernel's rules know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRules {
    /// The cluster's name: part of the name of every set and chain of it.
    pub cluster: String,
    /// The cluster's id: heartbeats that open the gate carry it.
    pub id: ClusterId,
    /// This node's id: so do they.
    pub node: NodeId,
    /// The interfaces that it is served on. One that has gone is left out until it is back.
    pub interfaces: Vec<Interface>,
    /// The cluster MAC.
    pub mac: MacAddr,
    /// The ethertype of the heartbeats.
    pub ethertype: u16,
    /// The service addresses.
    pub addresses: Vec<IpAddr>,
    /// The ports that are served; empty: everything. ICMP is served either way.
    pub ports: Vec<Port>,
    /// How long the gate stays open after a heartbeat left (`Timing::lease`).
    pub lease: Duration,
    /// How long the kernel keeps a client that sends nothing.
    pub sticky_timeout: Duration,
    /// The most clients that the kernel keeps, of each family (`Limits::sticky`).
    pub sticky_limit: u32,
    /// How long the kernel drops by itself what a client of another node sends
    /// (`Config::refusal`).
    pub foreign_timeout: Duration,
    /// The most such clients, of each family (`Limits::REFUSED`).
    pub foreign_limit: u32,
    /// Whether the kernel has nftables for ARP (`Capabilities::arp`).
    pub arp: bool,
    /// The number of the netfilter queue. No two clusters of a host may have the same.
    pub queue: u16,
}

impl ClusterRules {
    /// Whether rules can be made of it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), SpecError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        if self.cluster.is_empty()
            || self.cluster.len() > MAX_CLUSTER_NAME
            || !self.cluster.chars().all(plain)
        {
            return Err(SpecError::ClusterName { name: self.cluster.clone() });
        }
        let bounds = [
            ("interfaces", self.interfaces.len(), MAX_INTERFACES),
            ("addresses", self.addresses.len(), MAX_ADDRESSES),
            ("ports", self.ports.len(), MAX_PORTS),
        ];
        for (what, count, most) in bounds {
            if count > most {
                return Err(SpecError::TooMany { what, count, most });
            }
        }
        if self.lease.as_millis() == 0 {
            return Err(SpecError::NoTime { what: "lease" });
        }
        if self.sticky_timeout.as_millis() == 0 {
            return Err(SpecError::NoTime { what: "sticky timeout" });
        }
        if self.foreign_timeout.as_millis() == 0 {
            return Err(SpecError::NoTime { what: "foreign timeout" });
        }
        Ok(())
    }
}

/// Why no rules can be made of a [`ClusterRules`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The name of a cluster cannot stand in a rule.
    #[error("{name:?} cannot name a cluster: 1 to {MAX_CLUSTER_NAME} of a-z, 0-9, '_' and '-' can")]
    ClusterName {
        /// The name.
        name: String,
    },
    /// The name of an interface cannot stand in a rule.
    #[error("the interface name {name:?} cannot stand in an nftables rule")]
    InterfaceName {
        /// The name.
        name: String,
    },
    /// More than the rules are made for.
    #[error("{count} {what}, at most {most} are possible")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// A time below one millisecond.
    #[error("the {what} must be at least one millisecond")]
    NoTime {
        /// Which.
        what: &'static str,
    },
}
