//! What a link is, as rtnetlink tells it.

use netlink_packet_route::link::{InfoBridge, InfoData, InfoPortKind, LinkInfo};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use nlb_protocol::MacAddr;

use crate::link::{Interface, InterfaceIndex};

/// A link as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkState {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: InterfaceIndex,
    /// Its address, if it is an Ethernet link.
    pub mac: Option<MacAddr>,
    /// Whether the administrator wants it up.
    pub up: bool,
    /// Whether it has a carrier.
    pub running: bool,
    /// The longest payload of a frame that it takes.
    pub mtu: u32,
    /// What it is a port of, if that takes its frames: a bridge, a bond. A VRF does not.
    pub port_of: Option<InterfaceIndex>,
    /// What there is to know of it as a bridge, if it is one.
    pub bridge: Option<BridgeState>,
}

/// A bridge as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BridgeState {
    /// Whether it wants its ports' packets seen by iptables and nftables, whatever the host's
    /// setting says.
    pub calls_iptables: bool,
}

impl LinkState {
    /// As sockets take it; `None` if it is no Ethernet link.
    #[must_use]
    pub fn interface(&self) -> Option<Interface> {
        let Self { name, index, running: carrier, .. } = self.clone();
        self.mac.map(|mac| Interface { name, index, mac, carrier })
    }

    /// A link that is up and well.
    #[cfg(test)]
    pub(crate) fn well(name: &str, index: u32) -> Self {
        Self {
            name: name.to_owned(),
            index: InterfaceIndex(index),
            mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
            up: true,
            running: true,
            mtu: 1500,
            port_of: None,
            bridge: None,
        }
    }

    pub(super) fn of(message: &LinkMessage) -> Self {
        let flags = message.header.flags;
        let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
        let mut state = Self {
            name: String::new(),
            index: InterfaceIndex(message.header.index),
            mac: None,
            up: flags.contains(LinkFlags::Up),
            running: flags.contains(LinkFlags::LowerUp),
            mtu: u32::MAX,
            port_of: None,
            bridge: None,
        };
        let mut is_vrf = false;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => state.name.clone_from(name),
                LinkAttribute::Address(bytes) if ethernet => {
                    state.mac = bytes.first_chunk().map(|mac| MacAddr(*mac));
                }
                LinkAttribute::Mtu(mtu) => state.mtu = *mtu,
                LinkAttribute::Controller(index) => {
                    state.port_of = Some(InterfaceIndex(*index));
                }
                LinkAttribute::LinkInfo(infos) => {
                    is_vrf = infos.contains(&LinkInfo::PortKind(InfoPortKind::Vrf));
                    state.bridge = BridgeState::of(infos);
                }
                _ => {}
            }
        }
        state.port_of = state.port_of.filter(|_| !is_vrf);
        state
    }
}

impl BridgeState {
    fn of(infos: &[LinkInfo]) -> Option<Self> {
        let data = infos.iter().find_map(|info| match info {
            LinkInfo::Data(InfoData::Bridge(data)) => Some(data),
            _ => None,
        })?;
        let calls = |one: &InfoBridge| {
            matches!(one, InfoBridge::NfCallIpTables(true) | InfoBridge::NfCallIp6Tables(true))
        };
        Some(Self { calls_iptables: data.iter().any(calls) })
    }
}
