//! Interfaces that are up and that no cluster can be served on all the same: what comes for them
//! goes elsewhere, or past our rules. A node that served there would name nobody whom it hears, or
//! drop whoever is new.

use std::fmt;
use std::path::Path;

use nlb_protocol::frame::MAX_FRAME;

use super::LinkState;
use crate::link::InterfaceIndex;

/// Why an interface cannot serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// It is a port of something, which takes every frame from it.
    Port {
        /// Of what.
        of: InterfaceIndex,
    },
    /// Frames of the cluster do not fit: some heartbeats would leave, and longer ones never.
    Narrow {
        /// The longest payload that it takes.
        mtu: u32,
    },
    /// It is a bridge, and the hooks of IP see a packet at its port and not at the bridge itself:
    /// whoever is new there cannot be asked about (SPEC 7.2.5).
    Filtered,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { of } => {
                let name = nix::net::if_::if_indextoname(of.0).unwrap_or_default();
                let name = name.to_string_lossy();
                write!(f, "it is a port of {name}, which takes its frames; name that instead")
            }
            Self::Narrow { mtu } => {
                write!(
                    f,
                    "its mtu is {mtu}, and frames of the cluster have up to {MAX_FRAME} bytes"
                )
            }
            Self::Filtered => f.write_str(
                "it is a bridge, and br_netfilter shows its packets to nftables before the bridge \
                 has them: sysctl -w net.bridge.bridge-nf-call-iptables=0 \
                 net.bridge.bridge-nf-call-ip6tables=0",
            ),
        }
    }
}

impl LinkState {
    /// What keeps a cluster from being served on this link, as it is now.
    #[must_use]
    pub fn obstacle(&self) -> Option<Obstacle> {
        self.obstacle_under(Path::new("/proc/sys/net/bridge"))
    }

    fn obstacle_under(&self, settings: &Path) -> Option<Obstacle> {
        if let Some(of) = self.port_of {
            return Some(Obstacle::Port { of });
        }
        if usize::try_from(self.mtu).is_ok_and(|mtu| mtu < MAX_FRAME) {
            return Some(Obstacle::Narrow { mtu: self.mtu });
        }
        let calls = |name: &str| {
            std::fs::read_to_string(settings.join(name)).is_ok_and(|value| value.trim() != "0")
        };
        let bridge = self.bridge?;
        let filtered = bridge.calls_iptables
            || calls("bridge-nf-call-iptables")
            || calls("bridge-nf-call-ip6tables");
        // Both settings mean nothing where the module is not loaded.
        (filtered && settings.is_dir()).then_some(Obstacle::Filtered)
    }
}

#[cfg(test)]
mod tests;
