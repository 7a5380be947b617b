//! The settings that must be the same on all nodes of a cluster, as a node tells them (SPEC 4.4.1).
//!
//! Nothing is decided by them: whoever finds that a peer's are others tells a person.

use core::net::IpAddr;
use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::error::DecodeError;
use super::wire::{Reader, Writer};
use crate::addr::{MacAddr, MacMode};

/// The type of the extension that holds them.
pub(super) const SETTINGS: u8 = 1;
/// Bytes of its value. A longer one comes from later software, which says more behind these.
const LEN: u8 = 28;

/// Separates this digest from all others.
const ADDRESSES_LABEL: &[u8] = b"nlbd addresses 1";
/// Separates this digest from all others.
const PORTS_LABEL: &[u8] = b"nlbd ports 1";

/// What a node says of its configuration, as far as all nodes must be configured alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Between two heartbeats, in milliseconds.
    pub heartbeat_ms: u32,
    /// A silent peer is dead after so many milliseconds.
    pub dead_after_ms: u32,
    /// How the cluster MAC reaches every node: the code of a [`MacMode`], or one of later software.
    pub mode: u8,
    /// The cluster MAC.
    pub mac: MacAddr,
    /// Names the set of service addresses ([`Self::digest_of_addresses`]).
    pub addresses: u32,
    /// Names the set of ports ([`Self::digest_of_ports`]).
    pub ports: u32,
    /// Names the keys in their order ([`KeyRing::name`](crate::auth::KeyRing::name)).
    pub keys: u32,
}

/// A port that is balanced: the protocol's number (TCP 6, UDP 17), and the port's.
pub type ProtocolPort = (u8, u16);

impl Settings {
    /// Names a set of service addresses, whatever their order.
    #[must_use]
    pub fn digest_of_addresses(addresses: &[IpAddr]) -> u32 {
        let mut hash = Sha256::new_with_prefix(ADDRESSES_LABEL);
        for address in addresses.iter().collect::<BTreeSet<_>>() {
            match address {
                IpAddr::V4(address) => {
                    hash.update([4]);
                    hash.update(address.octets());
                }
                IpAddr::V6(address) => {
                    hash.update([16]);
                    hash.update(address.octets());
                }
            }
        }
        word(hash)
    }

    /// Names a set of ports, whatever their order; none: everything is balanced.
    #[must_use]
    pub fn digest_of_ports(ports: &[ProtocolPort]) -> u32 {
        let mut hash = Sha256::new_with_prefix(PORTS_LABEL);
        for (protocol, port) in ports.iter().collect::<BTreeSet<_>>() {
            hash.update([*protocol]);
            hash.update(port.to_be_bytes());
        }
        word(hash)
    }

    pub(super) fn emit(&self, out: &mut Writer<'_>) {
        out.u8(SETTINGS);
        out.u8(LEN);
        out.u32(self.heartbeat_ms);
        out.u32(self.dead_after_ms);
        out.u8(self.mode);
        out.u8(0);
        out.bytes(&self.mac.0);
        out.u32(self.addresses);
        out.u32(self.ports);
        out.u32(self.keys);
    }

    /// Reads the value of the extension; `None`: it is shorter, and as one that is not known.
    pub(super) fn parse(mut value: Reader<'_>) -> Option<Self> {
        let mut read = || -> Result<Self, DecodeError> {
            let (heartbeat_ms, dead_after_ms) = (value.u32()?, value.u32()?);
            let mode = value.u8()?;
            let _reserved = value.u8()?;
            let mac = MacAddr(*value.array()?);
            let (addresses, ports, keys) = (value.u32()?, value.u32()?, value.u32()?);
            Ok(Self { heartbeat_ms, dead_after_ms, mode, mac, addresses, ports, keys })
        };
        read().ok()
    }
}

/// The first four bytes of a digest as a big-endian number.
fn word(hash: Sha256) -> u32 {
    let [a, b, c, d, ..] = hash.finalize().0;
    u32::from_be_bytes([a, b, c, d])
}

impl MacMode {
    /// The mode's number on the wire (SPEC 4.4.1).
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unicast => 1,
            Self::Multicast => 2,
            Self::Igmp => 3,
        }
    }

    /// The mode of this number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Unicast),
            2 => Some(Self::Multicast),
            3 => Some(Self::Igmp),
            _ => None,
        }
    }
}
