//! The messages of nfnetlink_queue (`linux/netfilter/nfnetlink_queue.h`): pure building and
//! parsing. Nothing here panics on any input.

use std::time::Duration;

use nlb_engine::PacketId;

const HEADER: usize = 16;
const NFGEN_HEADER: usize = 4;
const ATTRIBUTE_HEADER: usize = 4;

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
/// Set in the type of an attribute beside its number: nested, network byte order.
const ATTRIBUTE_FLAGS: u16 = 0xc000;

/// `NFNL_SUBSYS_QUEUE`, in the high byte of every message type.
const SUBSYSTEM: u16 = 3 << 8;
const PACKET: u16 = SUBSYSTEM;
const VERDICT: u16 = SUBSYSTEM | 1;
const CONFIG: u16 = SUBSYSTEM | 2;

const CFG_COMMAND: u16 = 1;
const CFG_PARAMETERS: u16 = 2;
const CFG_MAX_LENGTH: u16 = 3;
const CFG_MASK: u16 = 4;
const CFG_FLAGS: u16 = 5;
const COMMAND_BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
const FLAG_FAIL_OPEN: u32 = 1;
const FLAG_CONNTRACK: u32 = 2;
const FLAG_GSO: u32 = 4;
const FLAG_UID_GID: u32 = 8;
const FLAG_SECCTX: u32 = 16;

const ATTR_PACKET_HEADER: u16 = 1;
const ATTR_VERDICT_HEADER: u16 = 2;
const ATTR_MARK: u16 = 3;
const ATTR_TIMESTAMP: u16 = 4;
const ATTR_PAYLOAD: u16 = 10;

const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

/// Bytes of one verdict on the wire to the kernel.
pub(super) const VERDICT_LENGTH: usize = HEADER + NFGEN_HEADER + ATTRIBUTE_HEADER + 8;

/// Bytes of one that comes with a mark.
pub(super) const MARKED_LENGTH: usize = VERDICT_LENGTH + ATTRIBUTE_HEADER + 4;

/// One setting of a queue, in the order in which they are made: what a packet would be copied
/// by comes last, because from then on packets come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    /// Become the listener.
    Bind,
    /// Fail closed; big packets as they are; no conntrack, owner or label with each packet.
    Flags,
    /// How many packets may wait for a verdict.
    MaxLength(u32),
    /// How many bytes of each packet are copied.
    CopyRange(u32),
}

impl Setting {
    /// The request, to be acknowledged under `sequence`.
    pub(super) fn request(self, queue: u16, sequence: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let start = begin(&mut out, CONFIG, NLM_F_REQUEST | NLM_F_ACK, sequence, queue);
        match self {
            Self::Bind => attribute(&mut out, CFG_COMMAND, &[COMMAND_BIND, 0, 0, 0]),
            Self::Flags => {
                let mask = FLAG_FAIL_OPEN | FLAG_CONNTRACK | FLAG_GSO | FLAG_UID_GID | FLAG_SECCTX;
                attribute(&mut out, CFG_FLAGS, &FLAG_GSO.to_be_bytes());
                attribute(&mut out, CFG_MASK, &mask.to_be_bytes());
            }
            Self::MaxLength(length) => {
                attribute(&mut out, CFG_MAX_LENGTH, &length.to_be_bytes());
            }
            Self::CopyRange(range) => {
                let [a, b, c, d] = range.to_be_bytes();
                attribute(&mut out, CFG_PARAMETERS, &[a, b, c, d, COPY_PACKET]);
            }
        }
        finish(&mut out, start);
        out
    }
}

/// Appends one verdict. The kernel answers only if it knows no such packet.
pub(super) fn verdict(out: &mut Vec<u8>, queue: u16, id: PacketId, accept: bool) {
    let start = begin(out, VERDICT, NLM_F_REQUEST, 0, queue);
    verdict_header(out, id, if accept { NF_ACCEPT } else { NF_DROP });
    finish(out, start);
}

/// Appends the verdict that a packet goes on with another mark.
pub(super) fn verdict_with_mark(out: &mut Vec<u8>, queue: u16, id: PacketId, mark: u32) {
    let start = begin(out, VERDICT, NLM_F_REQUEST, 0, queue);
    verdict_header(out, id, NF_ACCEPT);
    attribute(out, ATTR_MARK, &mark.to_be_bytes());
    finish(out, start);
}

fn verdict_header(out: &mut Vec<u8>, id: PacketId, verdict: u32) {
    let mut value = [0; 8];
    value[..4].copy_from_slice(&verdict.to_be_bytes());
    value[4..].copy_from_slice(&id.0.to_be_bytes());
    attribute(out, ATTR_VERDICT_HEADER, &value);
}

/// Turns verdicts of this length that wait to be sent into refusals.
pub(super) fn refuse<const LENGTH: usize>(verdicts: &mut [u8]) {
    const VALUE: usize = HEADER + NFGEN_HEADER + ATTRIBUTE_HEADER;
    for verdict in verdicts.chunks_exact_mut(LENGTH) {
        verdict[VALUE..VALUE + 4].copy_from_slice(&NF_DROP.to_be_bytes());
    }
}

fn begin(out: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, queue: u16) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&[0; 4]);
    // Family AF_UNSPEC, version 0, and the number of the queue.
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&queue.to_be_bytes());
    start
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn finish(out: &mut [u8], start: usize) {
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

/// One message from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// A packet that waits for its verdict.
    Packet(Packet<'a>),
    /// The answer to the request of this sequence number: zero or an errno.
    Answer { sequence: u32, errno: i32 },
    /// A message for somebody else.
    Other,
    /// Not to be understood: whatever else was in the datagram is lost with it.
    Malformed,
}

/// A packet that waits for its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) id: PacketId,
    pub(super) mark: u32,
    /// Real time, since the epoch, if the packet was stamped.
    pub(super) stamp: Option<Duration>,
    /// From the IP header on, up to the copy range.
    pub(super) payload: &'a [u8],
}

/// Takes a datagram from the kernel apart.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let Some((message, rest)) = split_message(datagram) else {
            datagram = &[];
            return Some(Message::Malformed);
        };
        datagram = rest;
        Some(message)
    })
}

fn split_message(datagram: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = usize::try_from(native_u32(datagram, 0)?).ok()?;
    let kind = native_u16(datagram, 4)?;
    let sequence = native_u32(datagram, 8)?;
    let body = datagram.get(HEADER..length)?;
    let rest = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    let message = match kind {
        NLMSG_ERROR => {
            let errno = native_u32(body, 0)?.cast_signed().checked_neg()?;
            Message::Answer { sequence, errno }
        }
        PACKET => packet(body.get(NFGEN_HEADER..)?).map_or(Message::Malformed, Message::Packet),
        _ => Message::Other,
    };
    Some((message, rest))
}

fn packet(mut attributes: &[u8]) -> Option<Packet<'_>> {
    let mut id = None;
    let mut packet = Packet { id: PacketId(0), mark: 0, stamp: None, payload: &[] };
    while !attributes.is_empty() {
        let length = usize::from(native_u16(attributes, 0)?);
        let kind = native_u16(attributes, 2)? & !ATTRIBUTE_FLAGS;
        let value = attributes.get(ATTRIBUTE_HEADER..length)?;
        match kind {
            ATTR_PACKET_HEADER => id = Some(PacketId(big_u32(value, 0)?)),
            ATTR_MARK => packet.mark = big_u32(value, 0)?,
            ATTR_TIMESTAMP => packet.stamp = Some(stamp(value)?),
            ATTR_PAYLOAD => packet.payload = value,
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    packet.id = id?;
    Some(packet)
}

fn stamp(value: &[u8]) -> Option<Duration> {
    let micros = big_u64(value, 8)?;
    Duration::from_secs(big_u64(value, 0)?).checked_add(Duration::from_micros(micros))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn native_u16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_ne_bytes)
}

fn native_u32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

fn big_u32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

fn big_u64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests;
