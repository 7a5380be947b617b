//! What was sent when, and what may be sent now (SPEC 6.12).

use core::time::Duration;
use std::collections::VecDeque;

use nlb_protocol::Sequence;

use super::image::image;
use crate::config::Timing;
use crate::time::Time;

/// Heartbeats because something changed, beyond the regular ones: so many at once ...
pub(super) const TRIGGER_BURST: u32 = 16;
/// ... and so many per heartbeat interval for ever.
pub(super) const TRIGGERS_PER_HEARTBEAT: u32 = 4;
/// Pin messages (deltas, snapshot parts, requests): so many at once, which fit the buffer of a
/// receiver that is busy ...
pub(super) const PIN_BURST: u32 = 64;
/// ... and one in so long for ever, however long the heartbeats are: 2000 frames or 3 MB in a
/// second, with which a million clients of IPv6 are told in a few seconds.
pub(super) const PIN_PERIOD: Duration = Duration::from_micros(500);
/// An information message every so many heartbeats.
pub(super) const INFORMATION_EVERY: u32 = 10;
/// Heartbeats whose sending time is remembered. At most `5 * dead_after / heartbeat + 16` leave
/// within dead-after, so this is enough for a dead-after of 800 heartbeats.
const SENT_MEMORY: usize = 4096;

/// The most frames that a node sends within so many heartbeat intervals, whatever happens (I5).
#[must_use]
pub fn frames_bound(heartbeats: u32, heartbeat: Duration) -> usize {
    // Regular heartbeats, as many information messages at most, and what the allowances give.
    let regular = (2 + TRIGGERS_PER_HEARTBEAT as usize) * (heartbeats as usize + 1);
    let pins = (heartbeat * heartbeats).as_micros() / PIN_PERIOD.as_micros();
    let pins = usize::try_from(pins).unwrap_or(usize::MAX);
    TRIGGER_BURST as usize + PIN_BURST as usize + regular + pins + 1
}

/// Tokens that come back with time.
#[derive(Debug, Clone, Hash)]
struct Allowance {
    tokens: u32,
    burst: u32,
    period: Duration,
    since: Time,
}

impl Allowance {
    fn new(burst: u32, period: Duration, now: Time) -> Self {
        Self { tokens: burst, burst, period: period.max(Duration::from_nanos(1)), since: now }
    }

    fn refill(&mut self, now: Time) {
        let earned = now.since(self.since).as_nanos() / self.period.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if self.tokens.saturating_add(earned) >= self.burst {
            self.tokens = self.burst;
            self.since = now;
        } else {
            self.tokens += earned;
            self.since = self.since + self.period * earned;
        }
    }

    fn take(&mut self, now: Time) -> bool {
        self.refill(now);
        let granted = self.tokens > 0;
        self.tokens -= u32::from(granted);
        granted
    }

    /// When there will be a token.
    fn next(&self) -> Time {
        if self.tokens > 0 { self.since } else { self.since + self.period }
    }
}

/// The sending side of a node.
#[derive(Debug, Clone, Hash)]
pub(super) struct Sender {
    timing: Timing,
    sequence: u64,
    /// The number from which this process counts.
    begun: u64,
    /// Heartbeats in the order they were handed out, with the time.
    handed: VecDeque<(Sequence, Time)>,
    /// When the latest heartbeat was handed out.
    last_handed: Option<Time>,
    /// When the latest heartbeat that has certainly left was handed out.
    last_left: Option<Time>,
    triggers: Allowance,
    pins: Allowance,
    /// Something in the heartbeat changed.
    pub(super) dirty: bool,
    heartbeats_to_information: u32,
    /// When the information message was last handed out.
    informed: Option<Time>,
    /// Somebody new is there: tell the name soon.
    pub(super) information_wanted: bool,
}

impl Sender {
    pub(super) fn new(timing: Timing, now: Time) -> Self {
        let triggers =
            Allowance::new(TRIGGER_BURST, timing.heartbeat / TRIGGERS_PER_HEARTBEAT, now);
        let pins = Allowance::new(PIN_BURST, PIN_PERIOD, now);
        Self {
            timing,
            sequence: 0,
            begun: 0,
            handed: VecDeque::new(),
            last_handed: None,
            last_left: None,
            triggers,
            pins,
            dirty: false,
            heartbeats_to_information: 1,
            informed: None,
            information_wanted: false,
        }
    }

    /// Goes on behind `sequence`. Whatever is acknowledged up to there was sent at `heard`.
    pub(super) fn resume(&mut self, sequence: Sequence, heard: Time) {
        (self.sequence, self.begun) = (sequence.0, sequence.0);
        self.handed.push_back((Sequence(0), heard));
    }

    /// The lowest number that this process uses.
    pub(super) fn first(&self) -> Sequence {
        Sequence(self.begun.saturating_add(1))
    }

    /// The highest number that was used.
    pub(super) fn latest(&self) -> Sequence {
        Sequence(self.sequence)
    }

    /// The number for the next frame.
    pub(super) fn number(&mut self) -> Sequence {
        self.sequence += 1;
        Sequence(self.sequence)
    }

    /// Whether a heartbeat is due that is sent whatever happens.
    pub(super) fn is_regular_due(&self, now: Time) -> bool {
        self.last_handed.is_none_or(|last| now >= last + self.timing.heartbeat)
    }

    /// Whether a heartbeat may leave now because of a change.
    pub(super) fn trigger_due(&mut self, now: Time) -> bool {
        let rested = self.last_handed.is_some_and(|last| now >= last + self.timing.min_gap());
        self.dirty && rested && self.triggers.take(now)
    }

    /// When the next heartbeat is due.
    pub(super) fn heartbeat_at(&self) -> Option<Time> {
        let last = self.last_handed?;
        let regular = last + self.timing.heartbeat;
        let triggered = (last + self.timing.min_gap()).max(self.triggers.next());
        Some(if self.dirty { regular.min(triggered) } else { regular })
    }

    /// A heartbeat goes out.
    pub(super) fn heartbeat_handed(&mut self, sequence: Sequence, now: Time) {
        if self.last_handed.is_some_and(|last| now >= last + self.timing.heartbeat * 2) {
            // It renews what nobody may know of if it is lost: another frame is a sign too.
            self.information_wanted = true;
        }
        self.last_handed = Some(now);
        self.dirty = false;
        self.heartbeats_to_information = self.heartbeats_to_information.saturating_sub(1);
        self.handed.push_back((sequence, now));
        let memory = self.timing.dead_after * 2;
        while self.handed.len() > SENT_MEMORY
            || self.handed.front().is_some_and(|(_, at)| now.since(*at) > memory)
        {
            self.handed.pop_front();
        }
    }

    /// A frame has left. If it is a heartbeat: when it was handed out.
    pub(super) fn left(&mut self, sequence: Sequence) -> Option<Time> {
        let index = self.handed.binary_search_by_key(&sequence, |(number, _)| *number).ok()?;
        let (_, at) = self.handed[index];
        self.last_left = Some(self.last_left.map_or(at, |last| last.max(at)));
        Some(at)
    }

    /// When the latest heartbeat left; `None` before the first.
    pub(super) fn last_left(&self) -> Option<Time> {
        self.last_left
    }

    /// When the latest heartbeat was handed out.
    pub(super) fn last_handed(&self) -> Option<Time> {
        self.last_handed
    }

    /// Which heartbeat an acknowledgement of `low` (its low 16 bits) means.
    pub(super) fn acknowledged(&self, low: u16) -> Sequence {
        let back = Sequence(self.sequence).low16().wrapping_sub(low);
        Sequence(self.sequence.saturating_sub(u64::from(back)))
    }

    /// When a heartbeat was handed out; `None` if that is longer ago than the memory.
    pub(super) fn sent_at(&self, sequence: Sequence) -> Option<Time> {
        let index = self.handed.partition_point(|(number, _)| *number <= sequence);
        self.handed.get(index.checked_sub(1)?).map(|(_, at)| *at)
    }

    /// Whether a pin message may leave now.
    pub(super) fn pin_allowed(&mut self, now: Time) -> bool {
        self.pins.take(now)
    }

    /// When a pin message may leave.
    pub(super) fn pin_at(&self) -> Time {
        self.pins.next()
    }

    /// Whether the information message is due. At most one per heartbeat interval, whoever
    /// appears how often.
    pub(super) fn information_due(&mut self, now: Time) -> bool {
        let rested = self.informed.is_none_or(|at| now >= at + self.timing.heartbeat);
        let wanted = self.heartbeats_to_information == 0 || self.information_wanted;
        let due = rested && wanted && self.last_handed.is_some();
        if due {
            self.heartbeats_to_information = INFORMATION_EVERY;
            self.information_wanted = false;
            self.informed = Some(now);
        }
        due
    }
}

image! { Allowance { tokens, burst, period, since } }
image! {
    Sender {
        timing, sequence, begun, handed, last_handed, last_left, triggers, pins, dirty,
        heartbeats_to_information, informed, information_wanted,
    }
}

#[cfg(test)]
mod tests;
