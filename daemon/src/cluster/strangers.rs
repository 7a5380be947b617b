//! Who sends frames of this cluster that cannot be taken: under another key, or of another version
//! of the protocol. Servers that were given two keys look like that, and both halves answer for the
//! service address.
//!
//! The Ethernet source of such a frame is all that is known of its sender, and nothing proves it:
//! whoever is on the segment can write any. So a few are kept, for people, and nothing else follows
//! from them. The cluster's task owns it.

use std::time::Duration;

use nlb_engine::Time;
use nlb_protocol::MacAddr;
use nlb_protocol::frame::DecodeError;

use crate::manage::{Stranger, StrangerKind};

/// Senders that are kept: enough for a cluster that was set up with two keys to be seen as that.
const MOST: usize = 4;

/// Frames before a sender is told of: one may have been damaged on its way.
const FRAMES: u64 = 3;

/// A sender that was not heard for so long is told of no more. Six of the longest heartbeats.
const TOLD_FOR: Duration = Duration::from_secs(60);

/// Between two words in the log, whoever sends: addresses cost nothing.
const SAY_EVERY: Duration = Duration::from_secs(600);

struct Sender {
    mac: MacAddr,
    kind: StrangerKind,
    first: Time,
    last: Time,
    frames: u64,
}

/// The senders that are kept.
#[derive(Default)]
pub(super) struct Strangers {
    senders: Vec<Sender>,
    said: Option<Time>,
}

impl Strangers {
    /// Takes in a frame that could not be taken. Gives what the log is to say of it.
    pub(super) fn note(
        &mut self,
        reason: DecodeError,
        mac: MacAddr,
        now: Time,
    ) -> Option<(&'static str, String)> {
        let kind = match reason {
            DecodeError::BadTag => StrangerKind::OtherKey,
            DecodeError::OtherVersion => StrangerKind::OtherVersion,
            _ => return None,
        };
        let sender = self.senders.iter_mut().find(|it| it.mac == mac && it.kind == kind);
        let sender = match sender {
            Some(sender) => sender,
            None => {
                self.senders.retain(|it| now.since(it.last) < TOLD_FOR);
                if self.senders.len() >= MOST {
                    return None;
                }
                self.senders.push(Sender { mac, kind, first: now, last: now, frames: 0 });
                self.senders.last_mut()?
            }
        };
        if now.since(sender.last) >= TOLD_FOR {
            (sender.first, sender.frames) = (now, 0);
        }
        sender.last = now;
        sender.frames = sender.frames.saturating_add(1);
        let due = self.said.is_none_or(|said| now.since(said) >= SAY_EVERY);
        if sender.frames != FRAMES || !due {
            return None;
        }
        self.said = Some(now);
        let what = kind.words();
        Some((kind.name(), format!("frames from {mac} are {what} (that address is not proven)")))
    }

    /// Those that are told of now.
    pub(super) fn now(&self, now: Time) -> Vec<Stranger> {
        let told = |it: &&Sender| it.frames >= FRAMES && now.since(it.last) < TOLD_FOR;
        let stranger = |it: &Sender| Stranger {
            mac: it.mac,
            kind: it.kind,
            since: now.since(it.first),
            last: now.since(it.last),
            frames: it.frames,
        };
        self.senders.iter().filter(told).map(stranger).collect()
    }
}

#[cfg(test)]
mod tests;
