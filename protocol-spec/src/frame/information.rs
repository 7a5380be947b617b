//! The information message: what people want to know of a node (SPEC 4.4).

use super::error::DecodeError;
use super::wire::{Reader, Writer};

/// Bytes of the longest node name: what Linux allows a host name to have.
pub const MAX_NAME: usize = 64;
/// Bytes of the longest software version: room for a version with a build label.
pub const MAX_SOFTWARE: usize = 32;

/// The slow message: what people want to know of a node (SPEC 4.4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Information {
    /// The node's name, at most [`MAX_NAME`] bytes of UTF-8 without control characters.
    pub name: String,
    /// The version of the software, at most [`MAX_SOFTWARE`] bytes of the same.
    pub software: String,
}

impl Information {
    /// Writes the body. Texts are cut to their bounds, at the end of a character.
    pub(super) fn emit(&self, out: &mut Writer<'_>) {
        emit_text(&self.name, MAX_NAME, out);
        emit_text(&self.software, MAX_SOFTWARE, out);
    }

    /// Reads and checks the body.
    pub(super) fn parse(mut body: Reader<'_>) -> Result<Self, DecodeError> {
        let name = parse_text(&mut body, MAX_NAME)?;
        let software = parse_text(&mut body, MAX_SOFTWARE)?;
        body.extensions()?;
        Ok(Self { name, software })
    }
}

fn emit_text(text: &str, max: usize, out: &mut Writer<'_>) {
    let text = &text[..text.floor_char_boundary(max)];
    out.u8(u8::try_from(text.len()).unwrap_or(0)); // at most `max`: never the 0
    out.bytes(text.as_bytes());
}

fn parse_text(body: &mut Reader<'_>, max: usize) -> Result<String, DecodeError> {
    let len = usize::from(body.u8()?);
    if len > max {
        return Err(DecodeError::LongText);
    }
    let text = core::str::from_utf8(body.bytes(len)?).map_err(|_| DecodeError::BadText)?;
    // A name ends up on terminals and in logs.
    if text.chars().any(char::is_control) {
        return Err(DecodeError::BadText);
    }
    Ok(text.to_owned())
}
