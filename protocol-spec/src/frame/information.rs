//! The information message: what people want to know of a node (SPEC 4.4).

use super::error::DecodeError;
use super::settings::{SETTINGS, Settings};
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
    /// How loaded the node is.
    pub load: Load,
    /// What all nodes must be configured with alike; earlier software does not say it.
    pub settings: Option<Settings>,
}

/// How loaded a node is, by the measure that its weight follows (SPEC 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Load {
    /// What is measured. Loads can be compared where this is the same and not 0, which says that
    /// nothing is.
    pub measure: u8,
    /// How much of it, in thousandths.
    pub permille: u16,
}

impl Information {
    /// Writes the body. Texts are cut to their bounds, at the end of a character.
    pub(super) fn emit(&self, out: &mut Writer<'_>) {
        emit_text(&self.name, MAX_NAME, out);
        emit_text(&self.software, MAX_SOFTWARE, out);
        out.u8(self.load.measure);
        out.u16(self.load.permille);
        if let Some(settings) = &self.settings {
            settings.emit(out);
        }
    }

    /// Reads and checks the body.
    pub(super) fn parse(mut body: Reader<'_>) -> Result<Self, DecodeError> {
        let name = parse_text(&mut body, MAX_NAME)?;
        let software = parse_text(&mut body, MAX_SOFTWARE)?;
        let load = Load { measure: body.u8()?, permille: body.u16()? };
        let mut settings = None;
        body.extensions(|kind, value| {
            if kind == SETTINGS && settings.is_none() {
                settings = Settings::parse(value);
            }
        })?;
        Ok(Self { name, software, load, settings })
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
