//! The way out: R9 (SPEC 6.10).
//!
//! Handing (every packet is diverted to the stage, buckets go to their new owners) -> Lingering
//! (clients that are in the middle of something finish) -> Closing (nobody is answered any more, and
//! in a moment nobody can think so) -> Withdrawing (the kernel is emptied) -> Parting (the last
//! heartbeats) -> Gone.

use core::net::IpAddr;

use nlb_protocol::Bucket;
use nlb_protocol::frame::State;

use super::Engine;
use super::image::image_of_variants;
use super::machine::Event;
use super::restart::Restart;
use crate::notice::Notice;
use crate::time::Time;

/// How often the last heartbeat is said, in case one is lost.
const FAREWELLS: u8 = 3;

/// How far the way out has been gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Leave {
    /// The node stays.
    No,
    /// Its buckets are being handed over.
    Handing { since: Time },
    /// Its buckets are gone; some clients are not.
    Lingering { released: Time, looked: Time },
    /// It answers nobody; copies of what it answered last are still on their way to others.
    Closing { since: Time },
    /// The kernel is being emptied.
    Withdrawing,
    /// The kernel is empty; so many heartbeats say so yet.
    Parting { farewells: u8 },
    /// Nothing is sent any more.
    Gone,
}

impl Leave {
    /// Whether the node has stopped to answer anybody.
    pub(super) const fn is_over(&self) -> bool {
        match self {
            Self::No | Self::Handing { .. } | Self::Lingering { .. } => false,
            Self::Closing { .. } | Self::Withdrawing | Self::Parting { .. } | Self::Gone => true,
        }
    }

    /// Whether only clients are left that have to be let go.
    pub(super) const fn is_closing(&self) -> bool {
        matches!(self, Self::Closing { .. })
    }

    /// Whether the kernel still has to send everything to the stage: it keeps clients of its own
    /// until it is told to flush.
    pub(super) const fn diverts(&self) -> bool {
        match self {
            Self::Handing { .. } | Self::Lingering { .. } | Self::Closing { .. } => true,
            Self::No | Self::Withdrawing | Self::Parting { .. } | Self::Gone => false,
        }
    }
}

impl Engine {
    pub(super) fn begin_leaving(&mut self) {
        let served = matches!(self.state, State::Active | State::Draining | State::Restarting);
        self.restart = Restart::No;
        self.raise(Event::Leave, None);
        self.leave = Leave::Handing { since: self.now };
        if !served {
            self.abandon();
        }
    }

    /// Nobody waits for anybody any more.
    pub(super) fn leave_now(&mut self) {
        if self.state != State::Leaving {
            self.begin_leaving();
        }
        self.abandon();
    }

    /// Gives everything up at once.
    pub(super) fn abandon(&mut self) {
        if self.state == State::Leaving && !self.leave.diverts() {
            return;
        }
        self.give_up_rights();
        self.abandoned = true;
        self.leave = Leave::Withdrawing;
    }

    /// The state that heartbeats say. Who gave up everything at once says so to the end: packets
    /// that others hold may be answered, and no log tells which (SPEC 6.10.7).
    pub(super) fn said_state(&self) -> State {
        if self.abandoned { State::Fenced } else { self.state }
    }

    /// Goes on leaving.
    pub(super) fn step_leave(&mut self) {
        match self.leave {
            Leave::No | Leave::Gone => {}
            Leave::Handing { since } => {
                let bound = self.handing_bound(since);
                // Who has just taken up another process's life does not know yet who is there.
                let listened = self.now.since(self.membership.joining_since);
                let knows = listened >= self.config.timing.heartbeat * 2;
                if self.accepts.is_empty() && self.kernel.diverts() && knows {
                    self.linger();
                } else if self.now >= bound {
                    self.abandon();
                }
            }
            Leave::Lingering { released, .. } => {
                self.look_for_idle();
                let over = self.now >= released + self.config.timing.leave();
                if over || self.clients.is_empty() {
                    self.leave = Leave::Closing { since: self.now };
                }
            }
            Leave::Closing { since } => {
                if self.now.since(since) >= self.config.timing.skew() {
                    self.let_all_go();
                }
                if self.clients.is_empty() && self.log.is_told() {
                    self.abandon_nothing();
                }
            }
            Leave::Withdrawing if self.kernel.is_flushing() => {}
            Leave::Withdrawing if !self.has_nothing_to_say() => {
                self.leave = Leave::Parting { farewells: FAREWELLS };
                self.sender.dirty = true;
            }
            Leave::Withdrawing | Leave::Parting { farewells: 0 } => {
                self.leave = Leave::Gone;
                self.notify(Notice::Left);
            }
            Leave::Parting { .. } => {}
        }
    }

    /// Whether nobody misses this node: it has never spoken, or another machine serves under its id,
    /// and peers would take this one's last words for the end of that one (SPEC 6.3.8).
    fn has_nothing_to_say(&self) -> bool {
        self.abandoned && (self.sender.last_handed().is_none() || self.is_barred())
    }

    /// Every bucket has gone: what is left are clients, all pinned here.
    fn linger(&mut self) {
        if self.view.view.members().is_empty() {
            // Nobody is told whom it kept: if somebody is about to be there, all is doubtful.
            self.abandon();
        } else if self.pins_all() {
            self.leave = Leave::Lingering { released: self.now, looked: self.now };
        }
    }

    /// When handing over has failed: two dead-after after it last progressed.
    fn handing_bound(&self, since: Time) -> Time {
        let progress = self.moving.waits_since().map_or(since, |progress| progress.max(since));
        progress + self.config.timing.dead_after * 2
    }

    /// Whether a leaving node lets a client go that was last seen then.
    pub(super) fn lets_go(&self, seen: Time) -> bool {
        match self.leave {
            Leave::Lingering { released, .. } => {
                self.now.since(seen.max(released)) >= self.config.timing.linger()
            }
            Leave::No
            | Leave::Handing { .. }
            | Leave::Closing { .. }
            | Leave::Withdrawing
            | Leave::Parting { .. }
            | Leave::Gone => false,
        }
    }

    /// The client goes to whom its bucket belongs.
    pub(super) fn let_go(&mut self, bucket: Bucket, client: IpAddr) {
        self.clients.remove(bucket, client);
        self.log.unpin(client);
    }

    /// Looks for idle clients now and then.
    fn look_for_idle(&mut self) {
        let Leave::Lingering { released, looked } = self.leave else { return };
        if self.now >= looked + self.config.timing.heartbeat / 4 {
            self.leave = Leave::Lingering { released, looked: self.now };
            self.moving.look_for_idle();
        }
        self.let_idle_go();
    }

    /// Nobody is left: the kernel is emptied, the log stays as it is for those who read it.
    fn abandon_nothing(&mut self) {
        self.kernel.flush();
        self.leave = Leave::Withdrawing;
    }

    /// A heartbeat went out.
    pub(super) fn note_farewell(&mut self) {
        if let Leave::Parting { farewells } = &mut self.leave {
            *farewells = farewells.saturating_sub(1);
            self.recheck |= *farewells == 0;
        }
    }

    /// Deadlines of leaving.
    pub(super) fn leave_deadlines(&self, note: &mut impl FnMut(Time)) {
        let timing = &self.config.timing;
        match self.leave {
            Leave::Handing { since } => note(self.handing_bound(since)),
            Leave::Lingering { released, looked } => {
                note(released + timing.leave());
                note(looked + timing.heartbeat / 4);
            }
            Leave::Closing { since } => note(since + timing.skew()),
            Leave::No | Leave::Withdrawing | Leave::Parting { .. } | Leave::Gone => {}
        }
    }
}

image_of_variants! {
    Leave {
        0: No(), 1: Handing(since: since), 2: Lingering(released: released, looked: looked),
        3: Closing(since: since), 4: Withdrawing(), 5: Parting(farewells: farewells), 6: Gone(),
    }
}
