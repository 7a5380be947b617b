//! Deliberate mistakes around the engines, to show that the search finds what they break.

use nlb_engine::Engine;
use nlb_protocol::frame::{Frame, Message, PinEntry};
use nlb_protocol::{Buckets, PinVersion};

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mutation {
    /// Every heartbeat seems to mean the receiver's own view (R4: nobody is waited for).
    FakeAgreement,
    /// Heartbeats do not show buckets that are accepted (R4: no release is waited for).
    HideAccepts,
    /// Pin logs do not arrive, and nobody misses them (R5).
    NoPins,
    /// And the kernel forgets its clients with their buckets: a table without a memory (R5).
    NoMemory,
    /// Leaving nodes do not say which packets they answered (R9).
    NoAnswered,
    /// The kernel keeps its clients although it was told to flush them (R6).
    IgnoreFlush,
    /// The gate never closes by itself (the lease).
    NoLease,
    /// Frames and packets count from when they were read (R6).
    ArrivalNow,
}

impl Mutation {
    /// What becomes of a frame on its way into `engine`; `None`: it is lost.
    #[must_use]
    pub fn frame(self, mut frame: Frame, engine: &Engine) -> Option<Frame> {
        match (self, &mut frame.message) {
            (Self::FakeAgreement, Message::Heartbeat(says)) => {
                (says.epoch, says.digest) = engine.view();
            }
            (Self::HideAccepts, Message::Heartbeat(says)) => says.accepts = Buckets::EMPTY,
            (Self::NoPins | Self::NoMemory, Message::Heartbeat(says)) => {
                says.pin_version = PinVersion(0);
            }
            (Self::NoPins | Self::NoMemory, Message::PinDelta(_) | Message::PinSnapshot(_)) => {
                return None;
            }
            (Self::NoAnswered, Message::PinDelta(delta)) => {
                for entry in &mut delta.entries {
                    if matches!(entry, PinEntry::Answered(_)) {
                        *entry = PinEntry::Answered(0);
                    }
                }
            }
            _ => {}
        }
        Some(frame)
    }
}
