//! Clients whose packets the kernel drops by itself for a while, because a peer keeps them
//! (SPEC 6.9, "Refusals").
//!
//! The stage refuses a packet, the kernel remembers the client from that very packet on. It must
//! let go of it before anything can come of the client's packets here; the engine knows who may
//! be remembered and has the kernel forget everybody as soon as that would hurt.

use core::net::IpAddr;
use core::time::Duration;

use nlb_protocol::NodeId;
use nlb_protocol::frame::State;

use super::Engine;
use super::addresses::AddressSet;
use super::image::image;
use super::replica::Changes;
use crate::config::Limits;
use crate::time::Time;

/// Who may be in the kernel's set.
#[derive(Debug, Clone, Hash, Default)]
pub(super) struct Refused {
    /// Refused since `turned`.
    young: AddressSet,
    /// Refused before.
    old: AddressSet,
    turned: Time,
    /// Peers that are about to lose their clients, whose clients nobody is refused for.
    ending: Vec<NodeId>,
}

impl Refused {
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    fn contains(&self, client: IpAddr) -> bool {
        self.young.contains(client) || self.old.contains(client)
    }

    /// Nobody is; gives who was.
    fn clear(&mut self) -> [AddressSet; 2] {
        [core::mem::take(&mut self.young), core::mem::take(&mut self.old)]
    }

    /// Time passes: an entry of the kernel lasts no longer than `life`. Gives who was refused before
    /// that.
    fn turn(&mut self, now: Time, life: Duration) -> [AddressSet; 2] {
        let age = now.since(self.turned);
        if age < life {
            return [AddressSet::default(), AddressSet::default()];
        }
        self.turned = now;
        let young = core::mem::take(&mut self.young);
        if age >= life * 2 {
            return [young, core::mem::take(&mut self.old)];
        }
        [core::mem::replace(&mut self.old, young), AddressSet::default()]
    }

    /// Takes a client up, if there is room.
    fn insert(&mut self, client: IpAddr) -> bool {
        let room = self.young.len() < Limits::REFUSED / 2;
        if room {
            self.young.insert(client, ());
        }
        room
    }
}

impl Engine {
    /// Whether the kernel may drop the packets of this client by itself from now on: a peer keeps
    /// it and is not about to let it go. If so, that is remembered.
    pub(super) fn refuse(&mut self, client: IpAddr) -> bool {
        let lasting = self.keeper(client).is_some_and(|node| !self.is_ending(node));
        if !self.config.offload || self.leave.diverts() || !lasting {
            return false;
        }
        // The verdict takes effect a frame delay after it was decided at the latest (SPEC 7.2).
        let life = self.config.refusal() + self.config.timing.dead_after;
        let over = self.refused.turn(self.now, life);
        over.into_iter().for_each(|set| self.waiting.discard(set));
        self.refused.insert(client)
    }

    /// Whether a peer may be about to lose its clients: packets of theirs must reach the stage.
    fn is_ending(&self, node: NodeId) -> bool {
        self.peers.get(node).is_none_or(|peer| {
            peer.says.state == State::Leaving
                || self.now.since(peer.heard) >= self.config.timing.late()
        })
    }

    /// Looks for peers that have begun to end.
    pub(super) fn watch_keepers(&mut self) {
        let ending: Vec<NodeId> =
            self.peers.iter().map(|(node, _)| node).filter(|node| self.is_ending(*node)).collect();
        if ending.iter().any(|node| !self.refused.ending.contains(node)) {
            self.reopen();
        }
        self.refused.ending = ending;
    }

    /// A peer's pins are others: whoever is not kept by it any more must reach the stage.
    pub(super) fn reopen_unpinned(&mut self, changes: &Changes) {
        let mut ended = changes.unpinned.iter().chain(&changes.lost);
        if ended.any(|client| self.refused.contains(*client)) {
            self.reopen();
        }
    }

    /// Every client's packets must reach the stage.
    pub(super) fn reopen(&mut self) {
        if !self.refused.is_empty() {
            let over = self.refused.clear();
            over.into_iter().for_each(|set| self.waiting.discard(set));
            self.kernel.reopen();
        }
    }
}

image! { Refused { young, old, turned, ending } }

#[cfg(test)]
mod tests;
