//! The messages of the pin log: changes, parts of the whole set, and what a peer holds or lacks
//! (SPEC 4.5 to 4.7).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::MAX_FRAME;
use super::error::DecodeError;
use super::header::HEADER_LEN;
use super::wire::{Reader, Writer};
use crate::auth::TAG_LEN;
use crate::ids::{Incarnation, NodeId, PinVersion};

/// Bytes of a delta's body before its entries.
const DELTA_FIXED: usize = 10;
/// Bytes of a snapshot part's body besides its clients, at most: two versions, two IPv6 addresses
/// with their kinds, the count.
const SNAPSHOT_FIXED: usize = 16 + 2 * 17 + 2;
/// Bytes for the entries of one delta.
const DELTA_ROOM: usize = MAX_FRAME - HEADER_LEN - TAG_LEN - DELTA_FIXED;
/// Bytes for the clients of one snapshot part.
const SNAPSHOT_ROOM: usize = MAX_FRAME - HEADER_LEN - TAG_LEN - SNAPSHOT_FIXED;

/// The most entries of one delta: the shortest, an address for the second time, has one byte.
/// [`PinDelta::fitting`] tells how many fit of given ones.
pub const MAX_DELTA_ENTRIES: usize = DELTA_ROOM;
/// The most clients of one snapshot part: they differ, so each but the first of either family has
/// two bytes. [`PinSnapshot::fitting`] tells how many fit of given ones.
pub const MAX_SNAPSHOT_CLIENTS: usize = SNAPSHOT_ROOM / 2 + 1;

/// Low bits of a kind byte; the others count the bytes that an address shares with the last one.
const KIND_BITS: u32 = 3;
const NONE: u8 = 0;
const PIN_V4: u8 = 1;
const PIN_V6: u8 = 2;
const UNPIN_V4: u8 = 3;
const UNPIN_V6: u8 = 4;
const ANSWERED: u8 = 5;
const DELTAS: u8 = 6;

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
    /// Bytes of the entry on the wire behind those before it.
    fn wire_len(&self, last: &mut Last) -> usize {
        match self {
            Self::Pin(client) | Self::Unpin(client) => last.len(client),
            Self::Answered(_) => 9,
        }
    }

    fn emit(&self, last: &mut Last, out: &mut Writer<'_>) {
        match self {
            Self::Pin(client) => last.emit(PIN_V4, PIN_V6, client, out),
            Self::Unpin(client) => last.emit(UNPIN_V4, UNPIN_V6, client, out),
            Self::Answered(fingerprint) => {
                out.u8(ANSWERED);
                out.u64(*fingerprint);
            }
        }
    }

    fn parse(last: &mut Last, body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (kind, shared) = split(body.u8()?);
        match kind {
            PIN_V4 => last.parse_v4(shared, body).map(Self::Pin),
            PIN_V6 => last.parse_v6(shared, body).map(Self::Pin),
            UNPIN_V4 => last.parse_v4(shared, body).map(Self::Unpin),
            UNPIN_V6 => last.parse_v6(shared, body).map(Self::Unpin),
            ANSWERED if shared == 0 => Ok(Self::Answered(body.u64()?)),
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
        let mut last = Last::default();
        fitting(entries.iter().map(|entry| entry.wire_len(&mut last)), DELTA_ROOM)
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
        let mut last = Last::default();
        entries.iter().for_each(|entry| entry.emit(&mut last, out));
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
        let mut last = Last::default();
        let entries = (0..count)
            .map(|_| PinEntry::parse(&mut last, &mut body))
            .collect::<Result<Vec<_>, _>>()?;
        body.end()?;
        Ok(Self { first, entries })
    }
}

/// A part of the sender's whole set of pinned clients, for a receiver that came late or fell
/// behind (SPEC 4.6): everything that is pinned in a range of the addresses.
///
/// Addresses are in the order of [`IpAddr`]: IPv4 before IPv6, then byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PinSnapshot {
    /// The version whose state the part shows.
    pub version: PinVersion,
    /// Every change after this version can be had as a delta; at most `version`.
    pub memory: PinVersion,
    /// The first address of the range.
    pub from: IpAddr,
    /// The first address behind the range; `None`: it reaches to the end.
    pub until: Option<IpAddr>,
    /// The clients pinned in the range, in strictly rising order, no more than
    /// [`Self::fitting`] allows.
    pub clients: Vec<IpAddr>,
}

impl PinSnapshot {
    /// The first of all addresses.
    pub const START: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    /// How many of `clients`, from the first, one part holds.
    #[must_use]
    pub fn fitting(clients: &[IpAddr]) -> usize {
        let mut last = Last::default();
        fitting(clients.iter().map(|client| last.len(client)), SNAPSHOT_ROOM)
    }

    /// Whether the clients rise within the range.
    fn is_sound(&self) -> bool {
        let behind = |until: &IpAddr| {
            self.from < *until && self.clients.last().is_none_or(|last| last < until)
        };
        self.memory <= self.version
            && self.until.as_ref().is_none_or(behind)
            && self.clients.first().is_none_or(|first| *first >= self.from)
            && self.clients.is_sorted_by(|a, b| a < b)
    }

    /// Writes the body. Clients that do not fit are left out.
    pub(super) fn emit(&self, out: &mut Writer<'_>) {
        let clients = &self.clients[..Self::fitting(&self.clients)];
        out.u64(self.version.0);
        out.u64(self.memory.0);
        emit_address(Some(&self.from), out);
        emit_address(self.until.as_ref(), out);
        out.u16(count(clients.len()));
        let mut last = Last::default();
        clients.iter().for_each(|client| last.emit(PIN_V4, PIN_V6, client, out));
    }

    /// Reads and checks the body.
    pub(super) fn parse(mut body: Reader<'_>) -> Result<Self, DecodeError> {
        let version = PinVersion(body.u64()?);
        let memory = PinVersion(body.u64()?);
        let from = parse_address(&mut body)?.ok_or(DecodeError::BadPinKind)?;
        let until = parse_address(&mut body)?;
        let count = body.u16()?;
        let mut last = Last::default();
        let clients = (0..count)
            .map(|_| match split(body.u8()?) {
                (PIN_V4, shared) => last.parse_v4(shared, &mut body),
                (PIN_V6, shared) => last.parse_v6(shared, &mut body),
                _ => Err(DecodeError::BadPinKind),
            })
            .collect::<Result<Vec<_>, _>>()?;
        body.end()?;
        let part = Self { version, memory, from, until, clients };
        if part.is_sound() { Ok(part) } else { Err(DecodeError::BadPart) }
    }
}

/// What the sender of a [`PinRequest`] wants of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PinWant {
    /// Nothing: it only says what it holds.
    Nothing,
    /// The changes after what it holds, once more.
    Deltas,
    /// The set from this address on, and the changes after what it holds.
    Snapshot(IpAddr),
}

/// Tells a node how far the sender holds its pin log, and asks for what is lacking (SPEC 4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PinRequest {
    /// Whose log is meant.
    pub owner: NodeId,
    /// The life of the owner that the sender knows.
    pub owner_incarnation: Incarnation,
    /// How far the sender followed the changes; zero: not at all.
    pub after: PinVersion,
    /// What it wants.
    pub want: PinWant,
}

impl PinRequest {
    /// Writes the body.
    pub(super) fn emit(&self, out: &mut Writer<'_>) {
        out.u64(self.owner.0);
        out.u64(self.owner_incarnation.0);
        out.u64(self.after.0);
        match &self.want {
            PinWant::Nothing => out.u8(NONE),
            PinWant::Deltas => out.u8(DELTAS),
            PinWant::Snapshot(from) => emit_address(Some(from), out),
        }
    }

    /// Reads and checks the body.
    pub(super) fn parse(mut body: Reader<'_>) -> Result<Self, DecodeError> {
        let owner = NodeId(body.u64()?);
        let owner_incarnation = Incarnation(body.u64()?);
        let after = PinVersion(body.u64()?);
        let want = match body.u8()? {
            NONE => PinWant::Nothing,
            DELTAS => PinWant::Deltas,
            PIN_V4 => PinWant::Snapshot(Ipv4Addr::from(*body.array::<4>()?).into()),
            PIN_V6 => PinWant::Snapshot(Ipv6Addr::from(*body.array::<16>()?).into()),
            _ => return Err(DecodeError::BadPinKind),
        };
        if owner_incarnation.0 == 0 {
            return Err(DecodeError::ZeroIncarnation);
        }
        body.end()?;
        Ok(Self { owner, owner_incarnation, after, want })
    }
}

/// The last address of either family: the next one leaves out the bytes that it begins with too.
#[derive(Default)]
struct Last {
    v4: [u8; 4],
    v6: [u8; 16],
}

impl Last {
    /// Bytes of `client` on the wire, and which comes last now.
    fn len(&mut self, client: &IpAddr) -> usize {
        match client {
            IpAddr::V4(client) => {
                let before = core::mem::replace(&mut self.v4, client.octets());
                1 + 4 - shared(&before, &self.v4)
            }
            IpAddr::V6(client) => {
                let before = core::mem::replace(&mut self.v6, client.octets());
                1 + 16 - shared(&before, &self.v6)
            }
        }
    }

    fn emit(&mut self, kind_v4: u8, kind_v6: u8, client: &IpAddr, out: &mut Writer<'_>) {
        let mut put = |kind: u8, before: &[u8], octets: &[u8]| {
            let shared = shared(before, octets);
            out.u8(kind | u8::try_from(shared << KIND_BITS).unwrap_or(0)); // at most 16: fits
            out.bytes(&octets[shared..]);
        };
        match client {
            IpAddr::V4(client) => put(kind_v4, &self.v4, &client.octets()),
            IpAddr::V6(client) => put(kind_v6, &self.v6, &client.octets()),
        }
        self.len(client);
    }

    fn parse_v4(&mut self, shared: usize, body: &mut Reader<'_>) -> Result<IpAddr, DecodeError> {
        let rest = self.v4.get_mut(shared..).ok_or(DecodeError::BadPinKind)?;
        rest.copy_from_slice(body.bytes(rest.len())?);
        Ok(Ipv4Addr::from(self.v4).into())
    }

    fn parse_v6(&mut self, shared: usize, body: &mut Reader<'_>) -> Result<IpAddr, DecodeError> {
        let rest = self.v6.get_mut(shared..).ok_or(DecodeError::BadPinKind)?;
        rest.copy_from_slice(body.bytes(rest.len())?);
        Ok(Ipv6Addr::from(self.v6).into())
    }
}

/// How many bytes both begin with.
fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A kind byte as kind and number of shared bytes.
const fn split(byte: u8) -> (u8, usize) {
    (byte & ((1 << KIND_BITS) - 1), (byte >> KIND_BITS) as usize)
}

/// An address in full behind its kind, or the kind that says that there is none.
fn emit_address(address: Option<&IpAddr>, out: &mut Writer<'_>) {
    match address {
        None => out.u8(NONE),
        Some(IpAddr::V4(address)) => {
            out.u8(PIN_V4);
            out.bytes(&address.octets());
        }
        Some(IpAddr::V6(address)) => {
            out.u8(PIN_V6);
            out.bytes(&address.octets());
        }
    }
}

fn parse_address(body: &mut Reader<'_>) -> Result<Option<IpAddr>, DecodeError> {
    match body.u8()? {
        NONE => Ok(None),
        PIN_V4 => Ok(Some(Ipv4Addr::from(*body.array::<4>()?).into())),
        PIN_V6 => Ok(Some(Ipv6Addr::from(*body.array::<16>()?).into())),
        _ => Err(DecodeError::BadPinKind),
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
