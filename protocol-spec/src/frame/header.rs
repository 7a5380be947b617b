//! The header that every frame begins with (SPEC 4.2).

use super::error::DecodeError;
use super::wire::{Reader, Writer};
use super::{MAX_FRAME, MIN_FRAME};
use crate::ids::{ClusterId, Incarnation, NodeId, Sequence};

/// What every frame begins with.
pub const MAGIC: [u8; 2] = *b"NL";
/// The protocol version that this crate speaks.
pub const VERSION: u8 = 1;
/// Bytes of the header.
pub const HEADER_LEN: usize = 32;

/// Who sent a frame, and which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

impl Header {
    /// Writes the header of a frame of this type and total length.
    pub(super) fn emit(&self, kind: u8, length: u16, out: &mut Writer<'_>) {
        out.bytes(&MAGIC);
        out.u8(VERSION);
        out.u8(kind);
        out.u16(self.cluster.0);
        out.u16(length);
        out.u64(self.node.0);
        out.u64(self.incarnation.0);
        out.u64(self.sequence.0);
    }
}

/// The frame within a payload whose tag is still to be verified: padding is cut off.
pub(super) fn framing(payload: &[u8], cluster: ClusterId) -> Result<&[u8], DecodeError> {
    if payload.len() < MIN_FRAME {
        return Err(DecodeError::Truncated);
    }
    if payload.len() > MAX_FRAME {
        return Err(DecodeError::Oversized);
    }
    let mut fields = Reader::new(payload);
    if *fields.array()? != MAGIC {
        return Err(DecodeError::BadMagic);
    }
    if fields.u8()? != VERSION {
        return Err(DecodeError::OtherVersion);
    }
    let _type = fields.u8()?;
    if fields.u16()? != cluster.0 {
        return Err(DecodeError::OtherCluster);
    }
    match usize::from(fields.u16()?) {
        length if length < MIN_FRAME => Err(DecodeError::BadLength),
        length if length > MAX_FRAME => Err(DecodeError::Oversized),
        length => payload.get(..length).ok_or(DecodeError::Truncated),
    }
}

/// The type and the header of a verified frame.
pub(super) fn parse(bytes: &mut Reader<'_>) -> Result<(u8, Header), DecodeError> {
    let [_, _, _, kind] = *bytes.array()?;
    let cluster = ClusterId(bytes.u16()?);
    let _length = bytes.u16()?;
    let header = Header {
        cluster,
        node: NodeId(bytes.u64()?),
        incarnation: Incarnation(bytes.u64()?),
        sequence: Sequence(bytes.u64()?),
    };
    Ok((kind, header))
}
