//! The whole state of an engine as bytes, and an engine of them: what a recording begins with.
//!
//! The bytes are for the same build: each structure carries the shape that it was written in, its
//! name and its fields, and one of another shape is not read. Every field is named, so that a new
//! one is not forgotten; what follows from others (the table) is computed again.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nlb_protocol::frame::{Health, Heartbeat, Load, PeerAck, PinEntry, State};
use nlb_protocol::{
    Bucket, Buckets, ClusterId, Digest, Epoch, Incarnation, NodeId, PinVersion, Sequence, Weight,
};

use super::Engine;
use super::addresses::AddressMap;
use super::peers::Peer;
use crate::config::{Config, Limits, Tables, Timing, make_table};
use crate::manage::Counters;
use crate::notice::{FenceCause, Notice};
use crate::packet::{ClientPacket, PacketId};
use crate::plan::Generation;
use crate::time::Time;

/// What can be written down and read back.
pub(super) trait Image: Sized {
    /// Writes it.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads it; `None` if the bytes are something else.
    fn take(input: &mut Input<'_>) -> Option<Self>;
}

/// Bytes that were not read yet.
pub(super) struct Input<'b>(&'b [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    /// Whether the next structure has this shape.
    pub(super) fn has_shape(&mut self, shape: u16) -> Option<()> {
        (u16::take(self)? == shape).then_some(())
    }
}

/// Tells the shapes of structures apart (FNV-1a, folded).
pub(super) const fn shape(text: &str) -> u16 {
    let (bytes, mut hash, mut at) = (text.as_bytes(), 0x811c_9dc5_u32, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    let [a, b, c, d] = hash.to_le_bytes();
    u16::from_le_bytes([a ^ c, b ^ d])
}

/// A structure, field by field.
macro_rules! image {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl crate::engine::image::Image for $name {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                let shape = const { crate::engine::image::shape(stringify!($name $($field)*)) };
                out.extend(shape.to_le_bytes());
                $($field.put(out);)*
            }

            fn take(input: &mut crate::engine::image::Input<'_>) -> Option<Self> {
                let shape = const { crate::engine::image::shape(stringify!($name $($field)*)) };
                input.has_shape(shape)?;
                Some(Self { $($field: crate::engine::image::Image::take(input)?),* })
            }
        }
    };
}

/// An enum: number, name and fields of each variant.
macro_rules! image_of_variants {
    ($name:ident { $($number:literal: $variant:ident($($field:tt: $it:ident),*)),* $(,)? }) => {
        impl crate::engine::image::Image for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant { $($field: $it),* } => {
                        out.push($number);
                        $($it.put(out);)*
                    })*
                }
            }

            fn take(input: &mut crate::engine::image::Input<'_>) -> Option<Self> {
                match u8::take(input)? {
                    $($number => Some(Self::$variant {
                        $($field: crate::engine::image::Image::take(input)?),*
                    }),)*
                    _ => None,
                }
            }
        }
    };
}

pub(super) use {image, image_of_variants};

macro_rules! image_of_numbers {
    ($($number:ty),*) => {$(
        impl Image for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }

            fn take(input: &mut Input<'_>) -> Option<Self> {
                input.array().map(Self::from_le_bytes)
            }
        }
    )*};
}

image_of_numbers!(u8, u16, u32, u64, u128);

macro_rules! image_of_ids {
    ($($id:ident),*) => {$(
        impl Image for $id {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }

            fn take(input: &mut Input<'_>) -> Option<Self> {
                Image::take(input).map(Self)
            }
        }
    )*};
}

image_of_ids!(
    NodeId,
    Incarnation,
    Sequence,
    Epoch,
    Digest,
    PinVersion,
    ClusterId,
    Generation,
    PacketId
);

/// What is made of one simpler thing.
macro_rules! image_by {
    ($($name:ty: $simple:ty, $into:expr, $from:expr);* $(;)?) => {$(
        impl Image for $name {
            fn put(&self, out: &mut Vec<u8>) {
                let simple: $simple = $into(self);
                simple.put(out);
            }

            fn take(input: &mut Input<'_>) -> Option<Self> {
                let simple: $simple = Image::take(input)?;
                $from(simple)
            }
        }
    )*};
}

image_by!(
    bool: u8, |it: &bool| u8::from(*it), |it| (it < 2).then_some(it == 1);
    usize: u64, |it: &usize| *it as u64, |it| usize::try_from(it).ok();
    Time: u64, |it: &Time| it.as_nanos(), |it| Some(Time::from_nanos(it));
    Duration: (u64, u32), |it: &Duration| (it.as_secs(), it.subsec_nanos()),
        |(seconds, nanos)| (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos));
    Weight: u16, |it: &Weight| it.get(), Weight::new;
    Bucket: usize, |it: &Bucket| it.index(), |it| Bucket::new(u16::try_from(it).ok()?);
    State: u8, |it: &State| it.code(), State::from_code;
    Health: u8, |it: &Health| it.code(), |it| Some(Health::from_code(it));
    Ipv4Addr: u32, |it: &Ipv4Addr| it.to_bits(), |it| Some(Ipv4Addr::from_bits(it));
    Ipv6Addr: u128, |it: &Ipv6Addr| it.to_bits(), |it| Some(Ipv6Addr::from_bits(it));
    String: Vec<u8>, |it: &String| it.as_bytes().to_vec(), |it| String::from_utf8(it).ok();
);

/// Whatever made the tables, it made these.
impl Image for Tables {
    fn put(&self, _out: &mut Vec<u8>) {}

    fn take(_input: &mut Input<'_>) -> Option<Self> {
        Some(make_table)
    }
}

impl Image for () {
    fn put(&self, _: &mut Vec<u8>) {}

    fn take(_: &mut Input<'_>) -> Option<Self> {
        Some(())
    }
}

impl<A: Image, B: Image> Image for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        Some((A::take(input)?, B::take(input)?))
    }
}

impl<T: Image> Image for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        self.iter().for_each(|it| it.put(out));
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        if bool::take(input)? { T::take(input).map(Some) } else { Some(None) }
    }
}

fn put_all<'t, T: Image + 't>(all: impl ExactSizeIterator<Item = &'t T>, out: &mut Vec<u8>) {
    all.len().put(out);
    all.for_each(|it| it.put(out));
}

fn take_all<T: Image, C: FromIterator<T>>(input: &mut Input<'_>) -> Option<C> {
    let length = usize::take(input)?;
    // Nothing is shorter than a byte: what the input cannot hold is not there.
    (length <= input.0.len()).then(|| (0..length).map(|_| T::take(input)).collect())?
}

impl<T: Image> Image for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_all(self.iter(), out);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        take_all(input)
    }
}

impl<T: Image> Image for VecDeque<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_all(self.iter(), out);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        take_all(input)
    }
}

impl<T: Image + Ord> Image for BTreeSet<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_all(self.iter(), out);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        take_all(input)
    }
}

impl<K: Image + Ord, V: Image> Image for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        take_all(input)
    }
}

impl Image for IpAddr {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::V4(address) => (4_u8, *address).put(out),
            Self::V6(address) => (6_u8, *address).put(out),
        }
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        match u8::take(input)? {
            4 => Ipv4Addr::take(input).map(Self::V4),
            6 => Ipv6Addr::take(input).map(Self::V6),
            _ => None,
        }
    }
}

impl Image for Buckets {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.to_wire());
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        input.array().map(|bytes| Self::from_wire(&bytes))
    }
}

image! { PeerAck { node, incarnation_low, sequence_low } }
image! { Load { measure, permille } }
image! {
    Heartbeat {
        state, weight, hold, epoch, digest, pin_version, seed, health, accepts, peers,
    }
}
image_of_variants! { PinEntry { 1: Pin(0: client), 2: Unpin(0: client), 3: Answered(0: print) } }
image! { ClientPacket { id, client, opens, fingerprint } }
image! { Timing { heartbeat, dead_after } }
image! { Limits { sticky, pins, held, slice, backlog, log } }
image! {
    Config {
        cluster, node, incarnation, name, software, timing, weight, seed, sticky_idle, offload,
        min_members, limits, tables,
    }
}
image! {
    Counters {
        heartbeats_sent, heartbeats_received, frames_sent, replayed, old_incarnation, own_node_id,
        unusable, too_many_peers, pins_unusable, pins_astray, pins_unknown, admitted, held,
        held_admitted, dropped_foreign, dropped_pinned, dropped_no_right, dropped_held_too_long,
        dropped_held_too_many, dropped_maybe_answered, dropped_sticky_full, fenced, overlaps,
    }
}
image_of_variants! {
    FenceCause {
        1: Unheard(0: node), 2: StaleAcknowledgement(0: node),
        3: PartialConnectivity(node: node, via: via), 4: Silent(), 5: Deaf(),
        6: ForeignSeed(0: node), 7: Kernel(), 8: OwnNodeId(), 9: TooFew(), 10: Ill(),
    }
}

impl<V: Image> Image for AddressMap<V> {
    fn put(&self, out: &mut Vec<u8>) {
        let (v4, v6) = self.parts();
        v4.put(out);
        v6.put(out);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        Some(Self::of_parts(Image::take(input)?, Image::take(input)?))
    }
}

image_of_variants! {
    Notice {
        1: State(from: from, to: to, cause: cause), 2: PeerAppeared(node: node, incarnation: life),
        3: PeerState(node: node, from: from, to: to), 4: PeerGone(node: node, state: state),
        5: PeerWeight(node: node, weight: weight),
        6: View(epoch: epoch, digest: digest, members: members),
        7: Converged(epoch: epoch, buckets: buckets, took: took),
        8: Overlap(node: node, buckets: buckets), 9: OwnNodeId(), 10: Left(),
        11: PeerSettings(node: node, here: here, there: there),
    }
}
image! {
    Engine {
        config, now, read, state, cause, membership, peers, view, accepts, moving, clients, waiting, log,
        refused, kernel, retry_at, leave, restart, away, abandoned, sender, seed, weight, weighed,
        weight_wanted, load, alike, service, drain, recheck, swept, counters, notices, notices_lost,
    }
}

impl Engine {
    /// The whole state, for [`Self::from_image`] of the same build.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.put(&mut bytes);
        bytes
    }

    /// An engine that goes on as the one whose [`image`](Self::image) this is. `None`: it was made
    /// by another build, or is none.
    #[must_use]
    pub fn from_image(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let engine = Self::take(&mut input)?;
        let limits = engine.config.limits.are_sound();
        let whole = limits && engine.clients.is_whole() && engine.waiting.is_whole();
        (input.0.is_empty() && whole).then_some(engine)
    }

    /// Addresses that the engine remembers, which is what an image grows with.
    #[must_use]
    pub fn remembered(&self) -> usize {
        let pins = |peer: &Peer| peer.pins.clients.len() + peer.pins.twice.len();
        let peers = self.peers.iter().map(|(_, peer)| pins(peer));
        let gone = self.waiting.gone_clients();
        self.clients.len() + self.log.len() + self.refused.len() + gone + peers.sum::<usize>()
    }
}
