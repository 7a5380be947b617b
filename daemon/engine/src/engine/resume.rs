//! What a process writes down, and how the next one goes on with it: R11 (SPEC 6.11.3).
//!
//! The clients are in the kernel and the log begins anew far above the old one, so what is written
//! down is small. It may be older than the process's last moment: everything in it is such that
//! an older value only makes the next process more careful.

use core::net::IpAddr;
use core::time::Duration;

use nlb_protocol::frame::{PeerAck, State};
use nlb_protocol::ids::MAX_PEERS;
use nlb_protocol::{Epoch, Incarnation, PinVersion, Sequence, Weight};

use super::Engine;
use super::drain::{Drain, Draining};
use super::kernel::Kernel;
use super::machine;
use super::peers::Peer;
use super::restart::Restart;
use crate::config::Config;
use crate::time::Time;

/// Numbers that are skipped: more frames than a node sends between two heartbeats (I5), and few
/// enough that 16 bits still tell an acknowledgement of the old process from one of the new.
const SKIPPED_NUMBERS: u64 = 8192;
/// Versions that are skipped: more changes than a log can have between two heartbeats.
const SKIPPED_VERSIONS: u64 = 1 << 32;

/// What one process leaves to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The rights, if there are any that the next process can take up.
    pub life: Option<Life>,
    /// The drain that is wanted, and until when.
    pub drain: Option<Drain>,
    /// Peers that restart, as they were last heard, and until when they are kept.
    pub away: Vec<(PeerAck, Time)>,
}

/// A life that can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Its number.
    pub incarnation: Incarnation,
    /// The highest number that was used.
    pub sequence: Sequence,
    /// The highest epoch that was seen.
    pub epoch: Epoch,
    /// How far the pin log had come.
    pub pin_version: PinVersion,
    /// The hash seed.
    pub seed: u32,
    /// The weight.
    pub weight: Weight,
    /// When the rights end, if nothing is sent.
    pub until: Time,
    /// Whether peers were told: then `until` is not counted from what they acknowledged.
    pub planned: bool,
    /// The node was alone, and had a sign that its receiver works (SPEC 6.8.2d).
    pub witnessed: bool,
}

impl Engine {
    /// A node that goes on with what another process left. `clients`: whom the kernel keeps,
    /// each with the idle time left ([`Finding::left`](crate::Finding)). When it comes too
    /// late, it fences and begins anew by itself.
    #[must_use]
    pub fn resume(
        config: Config,
        saved: &Saved,
        clients: &[(IpAddr, Duration)],
        now: Time,
    ) -> Self {
        let mut engine = Self::new(config, now);
        let lives_on = saved.life.is_some();
        engine.drain = saved.drain.and_then(|drain| Draining::resume(drain, lives_on, now));
        engine.away.clone_from(&saved.away);
        let Some(life) = saved.life else { return engine };
        engine.config.incarnation = life.incarnation;
        engine.state = State::Restarting;
        engine.restart = Restart::Resumed { until: life.until };
        engine.seed = life.seed;
        engine.weight = life.weight;
        engine.view.see(life.epoch);
        if life.witnessed {
            engine.membership.go_on_alone(now);
        }
        engine.kernel = Kernel::resumed();
        // What peers acknowledged of the old process is as old as it can be; after a planned
        // restart they have all the time that a new acquaintance has.
        let heard =
            if life.planned { now } else { life.until.before(engine.config.timing.rights()) };
        engine.sender.resume(Sequence(life.sequence.0.saturating_add(SKIPPED_NUMBERS)), heard);
        engine.log.resume(PinVersion(life.pin_version.0.saturating_add(SKIPPED_VERSIONS)));
        let full = engine.config.kernel_idle();
        for (client, left) in clients.iter().take(engine.config.limits.sticky) {
            let bucket = engine.bucket(*client);
            engine.clients.insert(bucket, *client, now.before(full.saturating_sub(*left)));
            engine.log.pin(*client);
        }
        engine
    }

    /// What is to be written down now: before a heartbeat is sent, and when it has left.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let drain = self.drain.as_ref().and_then(Draining::wish);
        Saved { life: self.life(), drain, away: self.kept_away().collect() }
    }

    /// Who restarts, and until when it is kept.
    pub(super) fn kept_away(&self) -> impl Iterator<Item = (PeerAck, Time)> + '_ {
        let heard = self.peers.iter().filter(|(_, peer)| peer.says.state == State::Restarting);
        let heard = heard.map(|(node, peer)| (peer.named(node), self.death(peer)));
        heard.chain(self.still_away())
    }

    fn life(&self) -> Option<Life> {
        let goes_on = match self.state {
            State::Active | State::Draining | State::Restarting => self.config.offload,
            State::Joining | State::Fenced | State::Leaving => false,
        };
        let (until, planned) = match self.restart {
            Restart::Held { until } => (until, true),
            Restart::No
            | Restart::Handing { .. }
            | Restart::Saying { .. }
            | Restart::Resumed { .. } => (self.known_alive()? + self.config.timing.rights(), false),
        };
        goes_on.then(|| Life {
            incarnation: self.config.incarnation,
            sequence: self.sender.latest(),
            epoch: self.view.highest(),
            pin_version: self.log.version(),
            seed: self.seed,
            weight: self.weight,
            until,
            planned,
            witnessed: self.membership.witnessed,
        })
    }

    /// The time up to which everybody certainly heard this node.
    fn known_alive(&self) -> Option<Time> {
        let left = self.sender.last_left()?;
        let counts =
            |peer: &super::peers::Peer| machine::counts(peer.says.state) && self.is_fresh(peer);
        let asked = self.peers.iter().filter(|(_, peer)| counts(peer));
        let heard = asked.map(|(_, peer)| self.sender.sent_at(peer.acked?));
        heard.chain([Some(left)]).min().flatten()
    }

    /// Until when the kernel may go on alone, once everything for it is said: the process ends.
    #[must_use]
    pub fn held(&self) -> Option<Time> {
        match self.restart {
            Restart::Held { until } => Some(until),
            Restart::No
            | Restart::Handing { .. }
            | Restart::Saying { .. }
            | Restart::Resumed { .. } => None,
        }
    }

    /// Peers that the process before this one knew to restart, and that did not come back yet.
    fn still_away(&self) -> impl Iterator<Item = (PeerAck, Time)> + '_ {
        let missing = |ack: &PeerAck| !self.peers.contains(ack.node);
        self.away.iter().copied().filter(move |(ack, until)| *until > self.now && missing(ack))
    }

    /// Whether one of them may still come back.
    pub(super) fn waits_for_return(&self) -> bool {
        self.still_away().next().is_some()
    }

    /// Whom the node names in its heartbeats: those that it hears, and those that are away, so
    /// that whoever joins waits for them too. Not whoever is back from the dead, once: if its clock
    /// stood still with it, it does not know that it was dead.
    pub(super) fn named_peers(&self) -> Vec<PeerAck> {
        let heard = self.peers.iter().filter(|(_, peer)| !self.is_back(peer));
        let heard = heard.map(|(node, peer)| peer.named(node));
        let mut named: Vec<PeerAck> =
            heard.chain(self.still_away().map(|(ack, _)| ack)).take(MAX_PEERS).collect();
        named.sort_by_key(|ack| ack.node);
        named
    }

    /// Whether a peer was dead, in the life in which it is heard now, and no heartbeat has left
    /// since.
    fn is_back(&self, peer: &Peer) -> bool {
        let since = |back| self.sender.last_handed().is_none_or(|at| at <= back);
        peer.back.is_some_and(since)
    }

    /// Whether somebody is back who was not told yet.
    pub(super) fn is_anybody_back(&self) -> bool {
        self.peers.iter().any(|(_, peer)| self.is_back(peer))
    }
}
