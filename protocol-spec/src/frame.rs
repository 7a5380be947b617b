//! Frames: what the Ethernet payload of the protocol holds, encoded and decoded (SPEC 4).

use core::net::IpAddr;
use core::time::Duration;

use crate::auth::KeyRing;
use crate::buckets::Buckets;
use crate::ids::{ClusterId, Digest, Epoch, Incarnation, NodeId, PinVersion, Sequence, Weight};

/// The longest Ethernet payload that is ever sent.
pub const MAX_FRAME: usize = 1500;

/// Who sent a frame, and which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The cluster that the frame belongs to.
    pub cluster: ClusterId,
    /// The sender.
    pub node: NodeId,
    /// The sender's life.
    pub incarnation: Incarnation,
    /// Rises strictly with every frame of the incarnation, whatever its type.
    pub sequence: Sequence,
}

/// What a node says of itself (SPEC 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Listens, owns nothing, wants to become active.
    Joining,
    /// In the view: takes its share.
    Active,
    /// Owns no bucket, keeps its pinned clients (R10).
    Draining,
    /// Has given up every right and says why in its log (R6, R7).
    Fenced,
    /// Hands everything over and will be gone (R9).
    Leaving,
    /// Will be back under the same incarnation within the hold time (R11).
    Restarting,
}

/// One peer that the sender of a heartbeat hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAck {
    /// The peer.
    pub node: NodeId,
    /// The low 32 bits of the peer's incarnation.
    pub incarnation_low: u32,
    /// The low 16 bits of the sequence number of the last heartbeat heard of it.
    pub sequence_low: u16,
}

/// The message that carries everything two nodes must agree on (SPEC 4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The sender's state.
    pub state: State,
    /// The sender's weight.
    pub weight: Weight,
    /// With `Restarting`: how long peers keep the node. Milliseconds on the wire.
    pub hold: Duration,
    /// The epoch of the view that the sender has put into effect.
    pub epoch: Epoch,
    /// The digest of that view.
    pub digest: Digest,
    /// How far the sender's own pin log has come.
    pub pin_version: PinVersion,
    /// The hash seed in use. Sealed with the cluster key on the wire (SPEC 5.5).
    pub seed: u32,
    /// The buckets whose new clients the sender accepts NOW.
    pub accepts: Buckets,
    /// Everyone the sender hears, in rising order of the ids, at most `MAX_PEERS`.
    pub peers: Vec<PeerAck>,
}

/// The slow message: what people want to know of a node (SPEC 4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Information {
    /// The node's name, at most 64 bytes of UTF-8.
    pub name: String,
    /// The version of the software, at most 32 bytes of UTF-8.
    pub software: String,
}

/// One change of a pin log. Each takes one [`PinVersion`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinEntry {
    /// The client stays with the sender although its bucket goes to another node.
    Pin(IpAddr),
    /// The client no longer stays with the sender.
    Unpin(IpAddr),
    /// The sender answered this packet itself: nobody may admit a held copy of it (R12).
    Answered(u64),
}

/// A run of changes of the sender's pin log (SPEC 4.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinDelta {
    /// The version that the first entry makes; entry `i` makes `first + i`.
    pub first: PinVersion,
    /// The changes, oldest first.
    pub entries: Vec<PinEntry>,
}

/// A part of a whole pin log, for a receiver that came late or fell behind (SPEC 4.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinSnapshot {
    /// The version that the whole snapshot stands for.
    pub version: PinVersion,
    /// Which part this is, from 0.
    pub part: u16,
    /// How many parts there are, at least 1.
    pub parts: u16,
    /// The clients pinned at that version that fall into this part.
    pub clients: Vec<IpAddr>,
}

/// Asks a node for the part of its pin log that the sender lacks (SPEC 4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinRequest {
    /// Whose log is wanted.
    pub owner: NodeId,
    /// The life of the owner that the sender knows.
    pub owner_incarnation: Incarnation,
    /// What the sender has already; zero: nothing.
    pub after: PinVersion,
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Type 1.
    Heartbeat(Heartbeat),
    /// Type 2.
    Information(Information),
    /// Type 3.
    PinDelta(PinDelta),
    /// Type 4.
    PinSnapshot(PinSnapshot),
    /// Type 5.
    PinRequest(PinRequest),
}

/// A whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Who and which.
    pub header: Header,
    /// What.
    pub message: Message,
}

/// Why a received payload is no frame for us. One drop counter each (SPEC 4.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Shorter than its header, or than the length it names.
    #[error("truncated")]
    Truncated,
    // The remaining reasons are added with the codec.
}

impl Frame {
    /// Writes the authenticated frame into `out` and returns its length.
    #[must_use]
    pub fn encode(&self, _keys: &KeyRing, _out: &mut [u8; MAX_FRAME]) -> usize {
        unimplemented!()
    }

    /// Reads, verifies and checks a payload that came from the wire (padding allowed behind it).
    ///
    /// # Errors
    /// The first reason for which the payload is no frame of `cluster`; nothing of it may be used.
    pub fn decode(
        _payload: &[u8],
        _cluster: ClusterId,
        _keys: &KeyRing,
    ) -> Result<Self, DecodeError> {
        unimplemented!()
    }
}
