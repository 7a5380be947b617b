//! Frames: what the Ethernet payload of the protocol holds, encoded and decoded (SPEC 4).
//!
//! Decoding never panics, allocates no more than the frame has bytes for, and believes nothing
//! before the tag is verified. Encoding never panics either: what exceeds a bound is left out, as
//! each message says; a message that breaks its own rules (unsorted peers, no entries) is written
//! as it is, and receivers refuse it.

mod error;
mod header;
mod heartbeat;
mod information;
mod pins;
mod settings;
mod wire;

use self::wire::{Reader, Writer};
use crate::auth::{KeyRing, TAG_LEN};
use crate::ids::ClusterId;

pub use self::error::DecodeError;
pub use self::header::{HEADER_LEN, Header, MAGIC, VERSION};
pub use self::heartbeat::{Health, Heartbeat, MAX_HEARTBEAT, PeerAck, State};
pub use self::information::{Information, Load, MAX_NAME, MAX_SOFTWARE};
pub use self::pins::{
    MAX_DELTA_ENTRIES, MAX_SNAPSHOT_CLIENTS, PinDelta, PinEntry, PinRequest, PinSnapshot, PinWant,
};
pub use self::settings::{ProtocolPort, Settings};

/// The longest Ethernet payload that is ever sent.
pub const MAX_FRAME: usize = 1500;
/// The shortest frame: header and tag.
pub const MIN_FRAME: usize = HEADER_LEN + TAG_LEN;

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
// Nearly every frame is a heartbeat: a box would cost an allocation for each.
#[allow(clippy::large_enum_variant)]
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

impl Message {
    /// The message's type on the wire.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Heartbeat(_) => 1,
            Self::Information(_) => 2,
            Self::PinDelta(_) => 3,
            Self::PinSnapshot(_) => 4,
            Self::PinRequest(_) => 5,
        }
    }
}

/// A whole frame.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Who and which.
    pub header: Header,
    /// What.
    pub message: Message,
}

impl Frame {
    /// Writes the authenticated frame into `out` and returns its length. What `out` held before
    /// does not matter; bytes behind the length are left as they were.
    #[must_use]
    pub fn encode(&self, keys: &KeyRing, out: &mut [u8; MAX_FRAME]) -> usize {
        let (head, rest) = out.split_at_mut(HEADER_LEN);
        let body_room = rest.len() - TAG_LEN;
        let mut body = Writer::new(&mut rest[..body_room]);
        match &self.message {
            Message::Heartbeat(message) => message.emit(&self.header, keys, &mut body),
            Message::Information(message) => message.emit(&mut body),
            Message::PinDelta(message) => message.emit(&mut body),
            Message::PinSnapshot(message) => message.emit(&mut body),
            Message::PinRequest(message) => message.emit(&mut body),
        }
        let signed = HEADER_LEN + body.len();
        let length = signed + TAG_LEN;
        // At most MAX_FRAME, so it fits the field.
        let field = u16::try_from(length).unwrap_or(0);
        self.header.emit(self.message.code(), field, &mut Writer::new(head));
        let tag = keys.sign(&out[..signed]);
        out[signed..length].copy_from_slice(&tag);
        length
    }

    /// Reads, verifies and checks a payload that came from the wire (padding allowed behind it).
    ///
    /// # Errors
    /// The first reason for which the payload is no frame of `cluster`; nothing of it may be used.
    pub fn decode(payload: &[u8], cluster: ClusterId, keys: &KeyRing) -> Result<Self, DecodeError> {
        let frame = header::framing(payload, cluster)?;
        let (signed, tag) = frame.split_last_chunk().ok_or(DecodeError::Truncated)?;
        let key = keys.verify(signed, tag).ok_or(DecodeError::BadTag)?;
        let mut body = Reader::new(signed);
        let (kind, header) = header::parse(&mut body)?;
        if !(1..=5).contains(&kind) {
            return Err(DecodeError::UnknownType);
        }
        if header.incarnation.0 == 0 {
            return Err(DecodeError::ZeroIncarnation);
        }
        if header.sequence.0 == 0 {
            return Err(DecodeError::ZeroSequence);
        }
        let message = match kind {
            1 => Heartbeat::parse(body, &header, keys, key).map(Message::Heartbeat),
            2 => Information::parse(body).map(Message::Information),
            3 => PinDelta::parse(body).map(Message::PinDelta),
            4 => PinSnapshot::parse(body).map(Message::PinSnapshot),
            5 => PinRequest::parse(body).map(Message::PinRequest),
            _ => Err(DecodeError::UnknownType),
        }?;
        Ok(Self { header, message })
    }
}
