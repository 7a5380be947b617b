//! Frames on the wire: heartbeats, ARP and neighbour discovery, multicast memberships, and announcements
//! to switches that snoop.
//!
//! Every socket here asks for one ethertype on one interface and has its filter in place before
//! it is bound, so it never receives a frame that it did not ask for. All are driven by the task
//! that owns the cluster. Nothing here decides anything about the cluster.

mod clock;
mod filter;
mod heartbeat;
mod join;
mod mrd;
mod neighbour;
mod socket;
pub(crate) mod sys;

pub use clock::Clocks;
pub use heartbeat::{HeartbeatSocket, RECEIVE_BUFFER};
pub use join::Memberships;
pub use neighbour::{NeighbourEvent, NeighbourKind, NeighbourSocket, Request, Unanswered};
pub use socket::{LinkEvent, Received};
pub use sys::PacketStats;

use nlb_protocol::MacAddr;

/// The kernel's number of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceIndex(pub u32);

/// An Ethernet interface as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name, for messages only.
    pub name: String,
    /// Its number: what sockets are bound to.
    pub index: InterfaceIndex,
    /// Its own address, the source of every frame that leaves.
    pub mac: MacAddr,
    /// Whether it has a carrier. Without one the kernel takes frames, lets them pass the egress
    /// hook, and throws them away.
    pub carrier: bool,
}

impl Interface {
    /// Whether sockets that were opened for `other` are good for this one.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.name, self.index, self.mac) == (&other.name, other.index, other.mac)
    }
}

#[cfg(test)]
mod tests;
