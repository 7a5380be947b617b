//! Whether the nodes are configured alike, as far as they must be (SPEC 4.4.1).
//!
//! Nothing follows from it but words for people: what a node does depends on its own settings.

use std::collections::BTreeMap;

use nlb_protocol::addr::MacAddr;
use nlb_protocol::frame::Settings;
use nlb_protocol::{Incarnation, NodeId};

use super::Engine;
use super::image::{Image, Input, image};
use crate::manage::Difference;
use crate::notice::Notice;

/// What this node is configured with, and what the others say that they are.
#[derive(Debug, Clone, Default)]
pub(super) struct Alike {
    /// `None`: the driver did not say; nothing is told or compared then.
    own: Option<Settings>,
    /// Of peers only: at most as many as there may be of those.
    peers: BTreeMap<NodeId, (Incarnation, Settings)>,
}

impl Alike {
    pub(super) fn own(&self) -> Option<Settings> {
        self.own
    }

    /// In what a peer's settings differ from this node's.
    pub(super) fn differences(&self, node: NodeId, life: Incarnation) -> Vec<Difference> {
        let told = self.peers.get(&node).filter(|(incarnation, _)| *incarnation == life);
        match (self.own, told) {
            (Some(own), Some((_, settings))) => Difference::between(&own, settings),
            _ => Vec::new(),
        }
    }
}

impl Engine {
    /// What this node is configured with, as far as all nodes must be configured alike: at the
    /// start, and when it changes.
    pub fn handle_settings(&mut self, own: Settings) {
        if self.alike.own.replace(own) == Some(own) {
            return;
        }
        self.sender.information_wanted = true;
        let told = self.alike.peers.iter().filter(|(node, _)| self.peers.contains(**node));
        let told: Vec<_> = told.map(|(node, (_, there))| (*node, *there)).collect();
        for (node, there) in told {
            self.notify(Notice::PeerSettings { node, here: own, there });
        }
    }

    /// A peer said what it is configured with.
    pub(super) fn note_settings(
        &mut self,
        node: NodeId,
        life: Incarnation,
        there: Option<Settings>,
    ) {
        let peers = &self.peers;
        self.alike.peers.retain(|node, _| peers.contains(*node));
        let before = match there {
            Some(there) => self.alike.peers.insert(node, (life, there)),
            None => self.alike.peers.remove(&node),
        };
        let (Some(here), Some(there)) = (self.alike.own, there) else { return };
        let before = before.filter(|(incarnation, _)| *incarnation == life);
        let new = match before {
            Some((_, before)) => before != there,
            // That a node is like this one when it comes is no news.
            None => here != there,
        };
        if new {
            self.notify(Notice::PeerSettings { node, here, there });
        }
    }
}

impl Image for MacAddr {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.0);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        let bytes: Vec<u8> = (0..6).map(|_| u8::take(input)).collect::<Option<_>>()?;
        bytes.try_into().ok().map(Self)
    }
}

image! { Settings { heartbeat_ms, dead_after_ms, mode, mac, addresses, ports, keys } }
image! { Alike { own, peers } }

#[cfg(test)]
mod tests;
