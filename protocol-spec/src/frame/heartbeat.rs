//! The heartbeat: everything that two nodes must agree on (SPEC 4.3).

use core::time::Duration;

use super::MAX_FRAME;
use super::error::DecodeError;
use super::header::{HEADER_LEN, Header};
use super::wire::{Reader, Writer};
use crate::auth::{KeyIndex, KeyRing, TAG_LEN};
use crate::buckets::{self, Buckets};
use crate::ids::{Digest, Epoch, MAX_PEERS, NodeId, PinVersion, Weight};

/// Bytes of a heartbeat's body before the bitmap.
const FIXED_LEN: usize = 36;
/// Bytes of one acknowledged peer.
const PEER_LEN: usize = 14;
/// Bytes of the longest heartbeat without extensions.
pub const MAX_HEARTBEAT: usize =
    HEADER_LEN + FIXED_LEN + buckets::WIRE_LEN + MAX_PEERS * PEER_LEN + TAG_LEN;

const _: () = assert!(MAX_HEARTBEAT <= MAX_FRAME, "a heartbeat names every peer in one frame");

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

impl State {
    /// Every state, in the order of their codes.
    pub const ALL: [Self; 6] = [
        Self::Joining,
        Self::Active,
        Self::Draining,
        Self::Fenced,
        Self::Leaving,
        Self::Restarting,
    ];

    /// The state's code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Joining => 1,
            Self::Active => 2,
            Self::Draining => 3,
            Self::Fenced => 4,
            Self::Leaving => 5,
            Self::Restarting => 6,
        }
    }

    /// The state of a code, if version 1 knows it.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// What a node finds when it checks its own service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Health {
    /// It does not look, or has not yet found anything.
    #[default]
    Unknown,
    /// The service does what it should.
    Well,
    /// It does not.
    Ill,
}

impl Health {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Well => 1,
            Self::Ill => 2,
        }
    }

    /// What a code says; one of a later software says nothing.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Well,
            2 => Self::Ill,
            _ => Self::Unknown,
        }
    }
}

/// One peer that the sender of a heartbeat hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAck {
    /// The peer.
    pub node: NodeId,
    /// The low 32 bits of the peer's incarnation.
    pub incarnation_low: u32,
    /// The low 16 bits of the sequence number of the last heartbeat heard of it.
    pub sequence_low: u16,
}

/// The message that carries everything two nodes must agree on (SPEC 4.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// The sender's state.
    pub state: State,
    /// The sender's weight.
    pub weight: Weight,
    /// With `Restarting`: how long peers keep the node; otherwise how long the node still keeps
    /// those that restart. Milliseconds on the wire, at most [`MAX_HOLD`](Self::MAX_HOLD).
    pub hold: Duration,
    /// The epoch of the view that the sender has put into effect.
    pub epoch: Epoch,
    /// The digest of that view.
    pub digest: Digest,
    /// How far the sender's own pin log has come.
    pub pin_version: PinVersion,
    /// The hash seed in use. Sealed with the cluster key on the wire (SPEC 5.5).
    pub seed: u32,
    /// What the sender finds when it checks its service (SPEC 6.8.6).
    pub health: Health,
    /// The buckets whose new clients the sender accepts NOW.
    pub accepts: Buckets,
    /// Everyone the sender hears, in rising order of the ids, at most `MAX_PEERS`.
    pub peers: Vec<PeerAck>,
}

impl Heartbeat {
    /// The longest hold time that the wire carries.
    pub const MAX_HOLD: Duration = Duration::from_millis(u16::MAX as u64);

    /// Writes the body. A longer hold becomes the longest; peers beyond `MAX_PEERS` are left out.
    pub(super) fn emit(&self, header: &Header, keys: &KeyRing, out: &mut Writer<'_>) {
        let peers = &self.peers[..self.peers.len().min(MAX_PEERS)];
        out.u64(self.epoch.0);
        out.u64(self.digest.0);
        out.u64(self.pin_version.0);
        out.u16(self.weight.get());
        out.u16(u16::try_from(self.hold.as_millis()).unwrap_or(u16::MAX));
        out.u8(self.state.code());
        out.u8(u8::try_from(peers.len()).unwrap_or(0)); // at most MAX_PEERS: never the 0
        out.u32(keys.seal_seed(KeyRing::SIGNING, header, self.seed));
        out.u8(self.health.code());
        out.u8(0);
        out.bytes(&self.accepts.to_wire());
        for peer in peers {
            out.u64(peer.node.0);
            out.u32(peer.incarnation_low);
            out.u16(peer.sequence_low);
        }
    }

    /// Reads and checks the body of a frame that `key` verified.
    pub(super) fn parse(
        mut body: Reader<'_>,
        header: &Header,
        keys: &KeyRing,
        key: KeyIndex,
    ) -> Result<Self, DecodeError> {
        let epoch = Epoch(body.u64()?);
        let digest = Digest(body.u64()?);
        let pin_version = PinVersion(body.u64()?);
        let weight = body.u16()?;
        let hold = Duration::from_millis(body.u16()?.into());
        let state = body.u8()?;
        let count = usize::from(body.u8()?);
        let seed = keys.seal_seed(key, header, body.u32()?);
        let health = Health::from_code(body.u8()?);
        let _reserved = body.u8()?;
        let accepts = Buckets::from_wire(body.array()?);
        let state = State::from_code(state).ok_or(DecodeError::BadState)?;
        let weight = Weight::new(weight).ok_or(DecodeError::ZeroWeight)?;
        if count > MAX_PEERS {
            return Err(DecodeError::TooManyPeers);
        }
        let peers = parse_peers(&mut body, count)?;
        if !peers.is_sorted_by(|a, b| a.node < b.node) {
            return Err(DecodeError::UnsortedPeers);
        }
        if peers.iter().any(|peer| peer.node == header.node) {
            return Err(DecodeError::OwnIdAmongPeers);
        }
        body.extensions(|_type, _value| {})?;
        Ok(Self { state, weight, hold, epoch, digest, pin_version, seed, health, accepts, peers })
    }
}

fn parse_peers(body: &mut Reader<'_>, count: usize) -> Result<Vec<PeerAck>, DecodeError> {
    let mut peers = Vec::with_capacity(count);
    for _ in 0..count {
        peers.push(PeerAck {
            node: NodeId(body.u64()?),
            incarnation_low: body.u32()?,
            sequence_low: body.u16()?,
        });
    }
    Ok(peers)
}
