//! Deliberate mistakes, made between the engines and the world, to show that the checkers see.

use nlb_protocol::NodeId;
use nlb_protocol::frame::{Frame, Message, PeerAck, PinEntry, State};

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mutation {
    /// Plans are confirmed before the kernel has them.
    EarlyAck,
    /// The kernel keeps its clients although it was told to flush them.
    IgnoreFlush,
    /// The gate never closes by itself.
    NoLease,
    /// Receivers believe that every peer hears them well: R6 never fences.
    AlwaysHeard,
    /// Heartbeats do not show buckets that are accepted: nobody waits for a release.
    HideAccepts,
    /// Every heartbeat seems to mean the receiver's own view.
    FakeAgreement,
    /// Pin logs do not arrive, and nobody misses them.
    NoPins,
    /// Leaving nodes do not say which packets they answered.
    NoAnswered,
    /// Frames and packets count from when they were read.
    ArrivalNow,
    /// Heartbeats of joining nodes are not heard by other joining nodes.
    DeafToJoining,
    /// Every node has its own clock, and it stands still while the process is stopped.
    StoppedClock,
}

/// What the receiver of a frame believes, for the mistakes that need it.
#[derive(Debug, Clone, Copy)]
pub struct Receiver {
    /// Who receives.
    pub node: NodeId,
    /// Its state.
    pub state: State,
    /// The low half of its incarnation.
    pub incarnation_low: u32,
    /// Its latest heartbeat.
    pub latest: u16,
    /// Its epoch and digest.
    pub view: (nlb_protocol::Epoch, nlb_protocol::Digest),
}

/// What becomes of a frame on its way in; `None`: it is lost.
#[must_use]
pub fn frame(mutation: Option<Mutation>, mut frame: Frame, to: Receiver) -> Option<Frame> {
    match (mutation, &mut frame.message) {
        (Some(Mutation::AlwaysHeard), Message::Heartbeat(says)) => {
            says.peers.retain(|ack| ack.node != to.node);
            says.peers.push(PeerAck {
                node: to.node,
                incarnation_low: to.incarnation_low,
                sequence_low: to.latest,
            });
        }
        (Some(Mutation::HideAccepts), Message::Heartbeat(says)) => {
            says.accepts = nlb_protocol::Buckets::EMPTY;
        }
        (Some(Mutation::FakeAgreement), Message::Heartbeat(says)) => {
            (says.epoch, says.digest) = to.view;
        }
        (Some(Mutation::NoPins), Message::Heartbeat(says)) => {
            says.pin_version = nlb_protocol::PinVersion(0);
        }
        (Some(Mutation::NoPins), Message::PinDelta(_) | Message::PinSnapshot(_)) => return None,
        (Some(Mutation::NoAnswered), Message::PinDelta(delta)) => {
            for entry in &mut delta.entries {
                if matches!(entry, PinEntry::Answered(_)) {
                    *entry = PinEntry::Answered(0);
                }
            }
        }
        (Some(Mutation::DeafToJoining), Message::Heartbeat(says))
            if says.state == State::Joining && to.state == State::Joining =>
        {
            return None;
        }
        _ => {}
    }
    Some(frame)
}
