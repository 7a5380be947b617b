//! A planned restart: R11 (SPEC 6.11.3), and what its peers do.
//!
//! Handing (buckets go to their new owners, as when draining) -> Saying (`restarting`, until every
//! peer has acknowledged it) -> Held (nothing is sent any more; the kernel goes on). The next
//! process begins as Resumed, as does one that comes quickly after a crash (`resume`).

use core::time::Duration;

use nlb_protocol::frame::{Heartbeat, State};
use nlb_protocol::ids::MAX_PEERS;

use super::Engine;
use super::image::image_of_variants;
use super::machine::Event;
use super::membership::Unheard;
use super::peers::Peer;
use crate::manage::CommandError;
use crate::time::Time;

/// How often `restarting` is said at least: not everybody who hears it is heard.
const SAID: u8 = 3;

/// How far a restart has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Restart {
    /// None.
    No,
    /// The node drains.
    Handing { since: Time, hold: Duration },
    /// Peers are told until when they keep the node; so many heartbeats say so yet, at least.
    Saying { since: Time, deadline: Time, more: u8 },
    /// They know; the kernel may answer until then.
    Held { until: Time },
    /// This process goes on with what another left. Until its first heartbeat its rights last
    /// until then.
    Resumed { until: Time },
}

/// Who does not know yet that this node restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Nobody,
    /// Peers that restart themselves, and nobody who would tell them.
    Away,
    Somebody,
}

impl Restart {
    /// Whether this process is about to end.
    pub(super) const fn is_going(&self) -> bool {
        match self {
            Self::Handing { .. } | Self::Saying { .. } | Self::Held { .. } => true,
            Self::No | Self::Resumed { .. } => false,
        }
    }
}

impl Engine {
    /// The next process shall go on with what this one has. A node that keeps nobody leaves.
    pub(super) fn begin_restart(&mut self, hold: Duration) -> Result<(), CommandError> {
        let (least, most) = (self.config.timing.dead_after * 2, Heartbeat::MAX_HOLD);
        if hold < least || hold > most {
            return Err(CommandError::Hold { least, most });
        }
        match self.state {
            State::Active | State::Draining | State::Restarting if self.config.offload => {
                self.restart = Restart::Handing { since: self.now, hold };
                self.raise(Event::Drain, None);
            }
            _ => self.begin_leaving(),
        }
        Ok(())
    }

    /// Goes on with a restart.
    pub(super) fn step_restart(&mut self) {
        match self.restart {
            Restart::No | Restart::Held { .. } | Restart::Resumed { .. } => {}
            Restart::Handing { since, hold } => {
                let waited = self.now.since(since) >= self.config.timing.dead_after * 2;
                if self.shown().is_empty() && (self.view.converged || waited) {
                    self.begin_saying(hold);
                } else if self.now.since(since) >= self.config.timing.dead_after * 4 {
                    self.begin_leaving();
                }
            }
            Restart::Saying { since, deadline, more } => {
                let hold = deadline.since(since);
                match self.who_misses_restart() {
                    Missing::Nobody if more > 0 => {}
                    Missing::Nobody => {
                        let margin = self.config.timing.hold_margin(hold);
                        self.restart = Restart::Held { until: deadline.before(margin) };
                    }
                    // They will be back.
                    Missing::Away if self.now.since(since) < hold / 2 => {}
                    Missing::Somebody if self.now.since(since) < self.config.timing.dead_after => {}
                    // Whoever does not know takes this node for dead before its kernel ends.
                    Missing::Away | Missing::Somebody => self.begin_leaving(),
                }
            }
        }
    }

    fn begin_saying(&mut self, hold: Duration) {
        self.membership.forget_said();
        self.restart = Restart::Saying { since: self.now, deadline: self.now + hold, more: SAID };
        self.raise(Event::Restart, None);
    }

    /// A heartbeat went out.
    pub(super) fn note_restart_said(&mut self) {
        if let Restart::Saying { more, .. } = &mut self.restart {
            *more = more.saturating_sub(1);
            self.sender.dirty |= *more > 0;
            self.recheck |= *more == 0;
        }
    }

    /// Who has not acknowledged a heartbeat that says `restarting`.
    fn who_misses_restart(&self) -> Missing {
        let Some((_, said)) = self.membership.said else { return Missing::Somebody };
        // Nobody answers when something of the log is asked for later.
        let knows = |peer: &Peer| {
            peer.acked.is_some_and(|acked| acked >= said) && peer.holds >= self.log.version()
        };
        // A fenced node that does not hear this one cannot join while others name it.
        let asked = |peer: &Peer| match peer.says.state {
            State::Leaving => false,
            State::Fenced => peer.hears_us(),
            State::Joining | State::Active | State::Draining | State::Restarting => true,
        };
        let away = |peer: &Peer| peer.says.state == State::Restarting && !self.is_fresh(peer);
        let mut missing =
            self.peers.iter().filter(|(_, peer)| asked(peer) && !knows(peer)).peekable();
        if missing.peek().is_none() {
            return Missing::Nobody;
        }
        if !missing.all(|(_, peer)| away(peer)) {
            return Missing::Somebody;
        }
        // An active peer will name this node to those that come back.
        let tells = |peer: &Peer| peer.says.state == State::Active && self.is_fresh(peer);
        let told = self.peers.iter().any(|(_, peer)| tells(peer) && knows(peer));
        if told { Missing::Nobody } else { Missing::Away }
    }

    /// How long peers shall keep this node from now on; before and after that, how long it keeps
    /// those that restart.
    pub(super) fn hold_now(&self) -> Duration {
        match self.restart {
            Restart::Saying { deadline, .. } => deadline.since(self.now),
            // It has no hold of its own any more, and peers would read it as one.
            Restart::Resumed { .. } => Duration::ZERO,
            Restart::No | Restart::Handing { .. } | Restart::Held { .. } => {
                let last = self.kept_away().map(|(_, until)| until.since(self.now)).max();
                last.unwrap_or_default()
            }
        }
    }

    /// When a peer that stays silent is dead: one that restarts said so itself.
    pub(super) fn death(&self, peer: &Peer) -> Time {
        let silent = peer.seen + self.config.timing.dead_after;
        match peer.says.state {
            State::Restarting => silent.max(peer.heard + peer.says.hold),
            State::Joining | State::Active | State::Draining | State::Fenced | State::Leaving => {
                silent
            }
        }
    }

    /// These are named no more. Where nobody is left who would know that they are dead, those
    /// that restart may still come back, for as long as those that named them said. Each who
    /// passes that on adds the way of a frame, and the kernel of such a node ends earlier by more
    /// than that (hold margin): what is no longer is nothing, so no name goes round for ever.
    pub(super) fn note_away(&mut self, lost: &[Unheard]) {
        let decides = |peer: &Peer| {
            matches!(peer.says.state, State::Active | State::Draining) && self.is_fresh(peer)
        };
        if lost.is_empty() || self.peers.iter().any(|(_, peer)| decides(peer)) {
            return;
        }
        let least = self.now + self.config.timing.frame_delay();
        let held = lost.iter().filter(|unheard| unheard.until > least);
        let away: Vec<_> = held.map(|unheard| (unheard.ack, unheard.until)).collect();
        self.away.retain(|(ack, until)| {
            *until > self.now && away.iter().all(|(other, _)| other.node != ack.node)
        });
        self.away.extend(away);
        self.away.truncate(MAX_PEERS);
    }

    /// Deadlines of restarting.
    pub(super) fn restart_deadlines(&self, note: &mut impl FnMut(Time)) {
        let dead_after = self.config.timing.dead_after;
        match self.restart {
            Restart::Handing { since, .. } => {
                note(since + dead_after * 2);
                note(since + dead_after * 4);
            }
            Restart::Saying { since, deadline, .. } => {
                note(since + dead_after);
                note(since + deadline.since(since) / 2);
            }
            Restart::Resumed { until } => note(until),
            Restart::No | Restart::Held { .. } => {}
        }
        self.away.iter().for_each(|(_, until)| note(*until));
    }
}

image_of_variants! {
    Restart {
        0: No(), 1: Handing(since: since, hold: hold),
        2: Saying(since: since, deadline: deadline, more: more),
        3: Held(until: until), 4: Resumed(until: until),
    }
}

#[cfg(test)]
mod tests;
