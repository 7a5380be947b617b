//! What the driver finds out about the service of this node: how loaded it is, and whether it is
//! well. R6 for a service that is ill (SPEC 6.8.6).

use nlb_protocol::frame::{Health, Load, State};

use super::Engine;
use super::image::{image, image_of_variants};
use crate::notice::FenceCause;
use crate::time::Time;

/// Whether a node whose service is ill goes out of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Withdraw {
    /// No: it only says so.
    Never,
    /// Only while somebody else is there whose service is not.
    #[default]
    WhileOthersAreWell,
    /// Whoever is left.
    Always,
}

/// What is known of this node's service.
#[derive(Debug, Clone, Copy, Default, Hash)]
pub(super) struct Service {
    health: Health,
    withdraw: Withdraw,
    /// Since when it is ill, if it is.
    ill_since: Option<Time>,
}

impl Service {
    pub(super) fn health(&self) -> Health {
        self.health
    }
}

impl Engine {
    /// How loaded this node is now, for the peers whose weights follow theirs.
    pub fn handle_load(&mut self, load: Load) {
        self.load = load;
    }

    /// What the checks of this node's service found, and what is to come of it.
    pub fn handle_health(&mut self, health: Health, withdraw: Withdraw, now: Time) {
        self.advance(now);
        let service = &mut self.service;
        if service.health != health {
            service.health = health;
            self.sender.dirty = true;
        }
        service.withdraw = withdraw;
        service.ill_since = match health {
            Health::Ill => service.ill_since.or(Some(self.now)),
            Health::Unknown | Health::Well => None,
        };
        self.evaluate();
    }

    /// SPEC 6.8.2i: whether the service is ill and somebody else's is not.
    pub(super) fn ill_cause(&self) -> Option<FenceCause> {
        let told = self.ill_told()?;
        let goes = match self.state {
            State::Joining | State::Fenced => true,
            // Whoever becomes ill at the same moment must know before anybody goes.
            State::Active | State::Draining => self.now >= told,
            State::Leaving | State::Restarting => false,
        };
        let withdraws = match self.service.withdraw {
            Withdraw::Never => false,
            Withdraw::WhileOthersAreWell => self.is_another_well(),
            Withdraw::Always => true,
        };
        (goes && withdraws).then_some(FenceCause::Ill)
    }

    /// When everybody was told that the service is ill, if it is.
    fn ill_told(&self) -> Option<Time> {
        self.service.ill_since.map(|since| since + self.config.timing.heartbeat * 2)
    }

    /// When the node may fence for it.
    pub(super) fn ill_deadline(&self) -> Option<Time> {
        self.ill_told()
    }

    fn is_another_well(&self) -> bool {
        self.peers.iter().any(|(_, peer)| {
            peer.says.state == State::Active
                && peer.says.health != Health::Ill
                && peer.hears_us()
                && self.now.since(peer.heard) < self.config.timing.late()
        })
    }
}

image_of_variants! { Withdraw { 0: Never(), 1: WhileOthersAreWell(), 2: Always() } }
image! { Service { health, withdraw, ill_since } }

#[cfg(test)]
mod tests;
