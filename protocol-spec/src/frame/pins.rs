//! The messages of the pin log: changes, whole logs in parts, requests (SPEC 4.5 to 4.7).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::MAX_FRAME;
use super::error::DecodeError;
use super::header::HEADER_LEN;
use super::wire::{Reader, Writer};
use crate::auth::TAG_LEN;
use crate::ids::{Incarnation, NodeId, PinVersion};

/// Bytes of a delta's body before its entries.
const DELTA_FIXED: usize = 10;
/// Bytes of a snapshot part's body before its clients.
const SNAPSHOT_FIXED: usize = 14;
/// Bytes of the longest entry: kind and IPv6 address.
const MAX_ENTRY: usize = 17;
/// Bytes for the entries of one delta.
const DELTA_ROOM: usize = MAX_FRAME - HEADER_LEN - TAG_LEN - DELTA_FIXED;
/// Bytes for the clients of one snapshot part.
const SNAPSHOT_ROOM: usize = MAX_FRAME - HEADER_LEN - TAG_LEN - SNAPSHOT_FIXED;

/// So many entries fit into one delta whatever they are. More may fit: [`PinDelta::fitting`].
pub const MAX_DELTA_ENTRIES: usize = DELTA_ROOM / MAX_ENTRY;
/// So many clients fit into one snapshot part whatever they are. More may fit:
/// [`PinSnapshot::fitting`].
pub const MAX_SNAPSHOT_CLIENTS: usize = SNAPSHOT_ROOM / MAX_ENTRY;

const PIN_V4: u8 = 1;
const PIN_V6: u8 = 2;
const UNPIN_V4: u8 = 3;
const UNPIN_V6: u8 = 4;
const ANSWERED: u8 = 5;

/// One change of a pin log. Each takes one [`PinVersion`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PinEntry {
    /// The client stays with the sender although its bucket goes to another node.
    Pin(IpAddr),
    /// The client no longer stays with the sender.
    Unpin(IpAddr),
    /// The sender answered this packet itself: nobody may admit a held copy of it (R12).
    Answered(u64),
}

impl PinEntry {
    /// Bytes of the entry on the wire.
    const fn wire_len(&self) -> usize {
        match self {
            Self::Pin(client) | Self::Unpin(client) => client_len(client),
            Self::Answered(_) => 9,
        }
    }

    fn emit(&self, out: &mut Writer<'_>) {
        match self {
            Self::Pin(client) => emit_client(PIN_V4, PIN_V6, client, out),
            Self::Unpin(client) => emit_client(UNPIN_V4, UNPIN_V6, client, out),
            Self::Answered(fingerprint) => {
                out.u8(ANSWERED);
                out.u64(*fingerprint);
            }
        }
    }

    fn parse(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match body.u8()? {
            PIN_V4 => Ok(Self::Pin(parse_v4(body)?)),
            PIN_V6 => Ok(Self::Pin(parse_v6(body)?)),
            UNPIN_V4 => Ok(Self::Unpin(parse_v4(body)?)),
            UNPIN_V6 => Ok(Self::Unpin(parse_v6(body)?)),
            ANSWERED => Ok(Self::Answered(body.u64()?)),
            _ => Err(DecodeError::BadPinKind),
        }
    }
}

/// A run of changes of the sender's pin log (SPEC 4.5).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PinDelta {
    /// The version that the first entry makes; entry `i` makes `first + i`.
    pub first: PinVersion,
    /// The changes, oldest first. At least one, and no more than [`Self::fitting`] allows.
    pub entries: Vec<PinEntry>,
}

impl PinDelta {
    /// How many of `entries`, from the first, one delta holds.
    #[must_use]
    pub fn fitting(entries: &[PinEntry]) -> usize {
        fitting(entries.iter().map(PinEntry::wire_len), DELTA_ROOM)
    }

    /// The version that the last entry makes; `None` without entries or past the last version.
    #[must_use]
    pub fn last(&self) -> Option<PinVersion> {
        let steps = u64::try_from(self.entries.len()).ok()?.checked_sub(1)?;
        self.first.0.checked_add(steps).map(PinVersion)
    }

    /// Writes the body. Entries that do not fit are left out: a gap that receivers repair.
    pub(super) fn emit(&self, out: &mut Writer<'_>) {
        let entries = &self.entries[..Self::fitting(&self.entries)];
        out.u64(self.first.0);
        out.u16(count(entries.len()));
        for entry in entries {
            entry.emit(out);
        }
    }

    /// Reads and checks the body.
    pub(super) fn parse(mut body: Reader<'_>) -> Result<Self, DecodeError> {
        let first = PinVersion(body.u64()?);
        let count = body.u16()?;
        if count == 0 {
            return Err(DecodeError::NoEntries);
        }
        if first.0 == 0 || first.0.checked_add(u64::from(count) - 1).is_none() {
            return Err(DecodeError::BadPinVersion);
        }
        // No capacity from the count: a short body ends the loop before much is allocated.
        let entries =
            (0..count).map(|_| PinEntry::parse(&mut body)).collect::<Result<Vec<_>, _>>()?;
        body.end()?;
        Ok(Self { first, entries })
    }
}

/// A part of a whole pin log, for a receiver that came late or fell behind (SPEC 4.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PinSnapshot {
    /// The version that the whole snapshot stands for.
    pub version: PinVersion,
    /// Which part this is, from 0.
    pub part: u16,
    /// How many parts there are, at least 1.
    pub parts: u16,
    /// The clients pinned at that version that fall into this part, no more than
    /// [`Self::fitting`] allows.
    pub clients: Vec<IpAddr>,
}

impl PinSnapshot {
    /// How many of `clients`, from the first, one part holds.
    #[must_use]
    pub fn fitting(clients: &[IpAddr]) -> usize {
        fitting(clients.iter().map(client_len), SNAPSHOT_ROOM)
    }

    /// Writes the body. Clients that do not fit are left out.
    pub(super) fn emit(&self, out: &mut Writer<'_>) {
        let clients = &self.clients[..Self::fitting(&self.clients)];
        out.u64(self.version.0);
        out.u16(self.part);
        out.u16(self.parts);
        out.u16(count(clients.len()));
        for client in clients {
            emit_client(PIN_V4, PIN_V6, client, out);
        }
    }

    /// Reads and checks the body.
    pub(super) fn parse(mut body: Reader<'_>) -> Result<Self, DecodeError> {
        let version = PinVersion(body.u64()?);
        let part = body.u16()?;
        let parts = body.u16()?;
        let count = body.u16()?;
        if part >= parts {
            return Err(DecodeError::BadPart);
        }
        let clients = (0..count)
            .map(|_| match body.u8()? {
                PIN_V4 => parse_v4(&mut body),
                PIN_V6 => parse_v6(&mut body),
                _ => Err(DecodeError::BadPinKind),
            })
            .collect::<Result<Vec<_>, _>>()?;
        body.end()?;
        Ok(Self { version, part, parts, clients })
    }
}

/// Asks a node for the part of its pin log that the sender lacks (SPEC 4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PinRequest {
    /// Whose log is wanted.
    pub owner: NodeId,
    /// The life of the owner that the sender knows.
    pub owner_incarnation: Incarnation,
    /// What the sender has already; zero: nothing.
    pub after: PinVersion,
}

impl PinRequest {
    /// Writes the body.
    pub(super) fn emit(&self, out: &mut Writer<'_>) {
        out.u64(self.owner.0);
        out.u64(self.owner_incarnation.0);
        out.u64(self.after.0);
    }

    /// Reads and checks the body.
    pub(super) fn parse(mut body: Reader<'_>) -> Result<Self, DecodeError> {
        let request = Self {
            owner: NodeId(body.u64()?),
            owner_incarnation: Incarnation(body.u64()?),
            after: PinVersion(body.u64()?),
        };
        if request.owner_incarnation.0 == 0 {
            return Err(DecodeError::ZeroIncarnation);
        }
        body.end()?;
        Ok(request)
    }
}

/// How many items of these lengths, from the first, fit into `room`.
fn fitting(lengths: impl Iterator<Item = usize>, room: usize) -> usize {
    lengths
        .scan(0, |sum, len| {
            *sum += len;
            Some(*sum)
        })
        .take_while(|sum| *sum <= room)
        .count()
}

/// What fits into a frame is far below the bound of the field.
fn count(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

const fn client_len(client: &IpAddr) -> usize {
    match client {
        IpAddr::V4(_) => 5,
        IpAddr::V6(_) => MAX_ENTRY,
    }
}

fn emit_client(kind_v4: u8, kind_v6: u8, client: &IpAddr, out: &mut Writer<'_>) {
    match client {
        IpAddr::V4(client) => {
            out.u8(kind_v4);
            out.bytes(&client.octets());
        }
        IpAddr::V6(client) => {
            out.u8(kind_v6);
            out.bytes(&client.octets());
        }
    }
}

fn parse_v4(body: &mut Reader<'_>) -> Result<IpAddr, DecodeError> {
    body.array::<4>().map(|octets| Ipv4Addr::from(*octets).into())
}

fn parse_v6(body: &mut Reader<'_>) -> Result<IpAddr, DecodeError> {
    body.array::<16>().map(|octets| Ipv6Addr::from(*octets).into())
}
