//! What the daemon sets up on the host: the link that carries the service addresses, the
//! addresses, and the two ARP settings of the real interfaces (SPEC 2.4). All of it is put back.
//! And who is connected to those addresses.
//!
//! The module speaks rtnetlink through one wrapper ([`Netlink`]), so that no other part of the
//! daemon sees that crate's types. Nothing here knows of clusters beyond names and addresses.

mod error;
mod install;
mod link;
mod near;
mod netlink;
mod obstacle;
mod record;
mod sockets;
mod sysctl;
mod watch;

pub use error::HostError;
pub use install::{Installed, Installer, ServiceLink, Wanted};
pub use link::{BridgeState, LinkState};
pub use near::near;
pub use netlink::{Netlink, ProbeTargets};
pub use obstacle::Obstacle;
pub use sockets::{connected, connections};
pub use watch::{LinkChange, LinkWatch};

#[cfg(test)]
mod tests;
