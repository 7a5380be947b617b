//! Whatever arrives: decoding does not panic, refuses what nobody signed, and what it accepts is
//! what was sent (SPEC 4.1, invariant I6).
//!
//! Ordinary tests of a bounded number of inputs; `cargo bolero test` runs them for as long as it
//! is let.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;

use bolero::{TypeGenerator, check};
use nlb_protocol::auth::{KEY_LEN, KeyRing, TAG_LEN, parse_key};
use nlb_protocol::frame::{
    DecodeError, Frame, Header, Health, Heartbeat, Information, Load, MAX_FRAME, Message, PeerAck,
    PinDelta, PinEntry, PinRequest, PinSnapshot, PinWant, Settings, State,
};
use nlb_protocol::hash;
use nlb_protocol::ids::{BUCKETS, MAX_PEERS};
use nlb_protocol::{
    Buckets, ClusterId, Digest, Epoch, Incarnation, MacAddr, NodeId, PinVersion, Sequence, Weight,
};

const CLUSTER: ClusterId = ClusterId(1);

fn keys() -> KeyRing {
    KeyRing::new(&[[3; KEY_LEN]]).unwrap()
}

/// What a frame is made of. Not yet a frame that may be sent: [`Recipe::frame`] sees to that.
#[derive(Debug, Clone, TypeGenerator)]
struct Recipe {
    node: u64,
    incarnation: u64,
    sequence: u64,
    message: Kind,
}

#[derive(Debug, Clone, TypeGenerator)]
enum Kind {
    Heartbeat {
        numbers: [u64; 3],
        weight: u16,
        hold_ms: u16,
        state: u8,
        seed: u32,
        health: u8,
        accepts: Vec<u8>,
        peers: Vec<(u64, u32, u16)>,
    },
    Information {
        name: String,
        software: String,
        measure: u8,
        permille: u16,
        settings: Option<([u32; 5], u8, [u8; 6])>,
    },
    PinDelta {
        first: u64,
        entries: Vec<(u8, u128)>,
    },
    PinSnapshot {
        version: u64,
        memory: u64,
        whole: bool,
        clients: Vec<(bool, u128)>,
    },
    PinRequest {
        owner: u64,
        incarnation: u64,
        after: u64,
        want: u8,
        from: (bool, u128),
    },
}

/// The last four bytes of a number as an IPv4 address, or all of it as an IPv6 address.
fn client(v4: bool, bits: u128) -> IpAddr {
    let [.., a, b, c, d] = bits.to_be_bytes();
    if v4 { IpAddr::from([a, b, c, d]) } else { IpAddr::from(bits.to_be_bytes()) }
}

fn entry((kind, bits): (u8, u128)) -> PinEntry {
    let v4 = kind & 4 == 0;
    match kind % 3 {
        0 => PinEntry::Pin(client(v4, bits)),
        1 => PinEntry::Unpin(client(v4, bits)),
        _ => PinEntry::Answered(u64::try_from(bits >> 64).unwrap()),
    }
}

fn text(text: &str, max: usize) -> String {
    let printable: String = text.chars().filter(|c| !c.is_control()).collect();
    printable[..printable.floor_char_boundary(max)].to_owned()
}

impl Recipe {
    /// The frame, within every bound.
    fn frame(self) -> Frame {
        let message = match self.message {
            Kind::Heartbeat {
                numbers,
                weight,
                hold_ms,
                state,
                seed,
                health,
                mut accepts,
                peers,
            } => {
                accepts.resize(BUCKETS / 8, 0);
                let mut peers: Vec<PeerAck> = peers
                    .into_iter()
                    .filter(|(node, ..)| *node != self.node)
                    .map(|(node, incarnation_low, sequence_low)| PeerAck {
                        node: NodeId(node),
                        incarnation_low,
                        sequence_low,
                    })
                    .collect();
                peers.sort_by_key(|peer| peer.node);
                peers.dedup_by_key(|peer| peer.node);
                peers.truncate(MAX_PEERS);
                Message::Heartbeat(Heartbeat {
                    state: State::ALL[usize::from(state) % 6],
                    weight: Weight::new(weight).unwrap_or(Weight::DEFAULT),
                    hold: Duration::from_millis(hold_ms.into()),
                    epoch: Epoch(numbers[0]),
                    digest: Digest(numbers[1]),
                    pin_version: PinVersion(numbers[2]),
                    seed,
                    health: Health::from_code(health),
                    accepts: Buckets::from_wire(accepts.as_slice().try_into().unwrap()),
                    peers,
                })
            }
            Kind::Information { name, software, measure, permille, settings } => {
                Message::Information(Information {
                    name: text(&name, 64),
                    software: text(&software, 32),
                    load: Load { measure, permille },
                    settings: settings.map(|(numbers, mode, mac)| Settings {
                        heartbeat_ms: numbers[0],
                        dead_after_ms: numbers[1],
                        mode,
                        mac: MacAddr(mac),
                        addresses: numbers[2],
                        ports: numbers[3],
                        keys: numbers[4],
                    }),
                })
            }
            Kind::PinDelta { first, entries } => {
                let mut entries: Vec<PinEntry> = entries.into_iter().map(entry).collect();
                entries.push(PinEntry::Answered(1));
                entries.truncate(PinDelta::fitting(&entries));
                let first = PinVersion(first.clamp(1, u64::MAX - entries.len() as u64));
                Message::PinDelta(PinDelta { first, entries })
            }
            Kind::PinSnapshot { version, memory, whole, clients } => {
                let clients: BTreeSet<IpAddr> =
                    clients.into_iter().map(|(v4, bits)| client(v4, bits)).collect();
                let mut clients: Vec<IpAddr> = clients.into_iter().collect();
                clients.truncate(PinSnapshot::fitting(&clients));
                let until = if whole || clients.len() < 2 { None } else { clients.pop() };
                let from = clients.first().filter(|_| !whole).copied();
                Message::PinSnapshot(PinSnapshot {
                    version: PinVersion(version),
                    memory: PinVersion(memory.min(version)),
                    from: from.unwrap_or(PinSnapshot::START),
                    until,
                    clients,
                })
            }
            Kind::PinRequest { owner, incarnation, after, want, from: (v4, bits) } => {
                Message::PinRequest(PinRequest {
                    owner: NodeId(owner),
                    owner_incarnation: Incarnation(incarnation.max(1)),
                    after: PinVersion(after),
                    want: match want % 3 {
                        0 => PinWant::Nothing,
                        1 => PinWant::Deltas,
                        _ => PinWant::Snapshot(client(v4, bits)),
                    },
                })
            }
        };
        let header = Header {
            cluster: CLUSTER,
            node: NodeId(self.node),
            incarnation: Incarnation(self.incarnation.max(1)),
            sequence: Sequence(self.sequence.max(1)),
        };
        Frame { header, message }
    }
}

fn encode(frame: &Frame) -> Vec<u8> {
    let mut out = [0x5a; MAX_FRAME];
    let length = frame.encode(&keys(), &mut out);
    out[..length].to_vec()
}

#[test]
fn what_was_encoded_is_decoded() {
    check!().with_iterations(2000).with_type::<Recipe>().cloned().for_each(|recipe| {
        let frame = recipe.frame();
        assert_eq!(Frame::decode(&encode(&frame), CLUSTER, &keys()), Ok(frame));
    });
}

#[test]
fn any_bytes_are_refused_or_decoded_without_panic() {
    check!().with_iterations(5000).for_each(|bytes: &[u8]| {
        assert!(Frame::decode(bytes, CLUSTER, &keys()).is_err(), "nobody signed this");
    });
}

/// Behind a valid tag: only a holder of the key gets so far, and may still be faulty.
fn check_signed(mut bytes: Vec<u8>) {
    bytes.truncate(MAX_FRAME - TAG_LEN);
    let length = u16::try_from(bytes.len() + TAG_LEN).unwrap();
    bytes[6..8].copy_from_slice(&length.to_be_bytes());
    let tag = keys().sign(&bytes);
    bytes.extend(tag);
    match Frame::decode(&bytes, CLUSTER, &keys()) {
        Ok(frame) => {
            // What is skipped (extensions, reserved fields) is gone; the rest stays.
            assert_eq!(Frame::decode(&encode(&frame), CLUSTER, &keys()), Ok(frame));
        }
        Err(reason) => assert!(reason > DecodeError::BadTag, "{reason:?} of a signed frame"),
    }
}

#[test]
fn any_signed_body_is_refused_or_means_one_thing() {
    check!().with_iterations(5000).with_type::<(u8, Vec<u8>)>().for_each(|(kind, body)| {
        let mut bytes = b"NL\x01\x00\x00\x01\x00\x00".to_vec();
        bytes[3] = kind % 7;
        bytes.extend([1; 24]);
        bytes.extend(body);
        check_signed(bytes);
    });
}

#[test]
fn any_damaged_signed_body_is_refused_or_means_one_thing() {
    check!()
        .with_iterations(5000)
        .with_type::<(Recipe, Vec<(u16, u8)>, usize, Vec<u8>)>()
        .cloned()
        .for_each(|(recipe, edits, cut, tail)| {
            let mut bytes = encode(&recipe.frame());
            bytes.truncate(bytes.len() - TAG_LEN);
            if cut % 4 == 0 {
                bytes.truncate((cut / 4 % bytes.len()).max(32));
            }
            for (at, byte) in edits.into_iter().take(2) {
                // Not magic, version and cluster: those are looked at before the tag.
                let at = (usize::from(at) % bytes.len()).max(8);
                bytes[at] = byte;
            }
            bytes.extend(tail.into_iter().take(cut / 4 % 3 * 4));
            check_signed(bytes);
        });
}

#[test]
fn a_changed_frame_is_never_believed() {
    check!().with_iterations(2000).with_type::<(Recipe, usize, u8)>().cloned().for_each(
        |(recipe, at, flip)| {
            let mut bytes = encode(&recipe.frame());
            let at = at % bytes.len();
            bytes[at] ^= flip.max(1);
            let reason = Frame::decode(&bytes, CLUSTER, &keys()).unwrap_err();
            assert!(reason <= DecodeError::BadTag, "{reason:?} before the tag was verified");
        },
    );
}

#[test]
fn a_shortened_frame_is_truncated() {
    check!().with_iterations(1000).with_type::<(Recipe, usize)>().cloned().for_each(
        |(recipe, length)| {
            let bytes = encode(&recipe.frame());
            let short = &bytes[..length % bytes.len()];
            assert_eq!(Frame::decode(short, CLUSTER, &keys()), Err(DecodeError::Truncated));
        },
    );
}

/// Far beyond every bound: still a frame that a receiver takes, if only with a part.
#[test]
fn an_overfull_message_is_cut_to_a_frame() {
    check!().with_iterations(500).with_type::<(Recipe, u8)>().cloned().for_each(
        |(recipe, more)| {
            let mut frame = recipe.frame();
            let many = usize::from(more) * 4;
            match &mut frame.message {
                Message::Heartbeat(message) => {
                    message.hold += Duration::from_secs(many as u64 * 1000);
                    let peer = PeerAck { node: NodeId(0), incarnation_low: 0, sequence_low: 0 };
                    message.peers = (0..many as u64)
                        .filter(|id| *id != frame.header.node.0)
                        .map(|id| PeerAck { node: NodeId(id), ..peer })
                        .collect();
                }
                Message::Information(message) => message.name.push_str(&"ß".repeat(many)),
                Message::PinDelta(message) => {
                    message.first = PinVersion(1);
                    message.entries.resize(many + 1, PinEntry::Unpin(IpAddr::from([0xff; 16])));
                }
                Message::PinSnapshot(message) => {
                    (message.from, message.until) = (PinSnapshot::START, None);
                    let apart =
                        |i: usize| IpAddr::from((i as u128).to_be_bytes().map(|b| b ^ 0x80));
                    message.clients = (0..many).map(apart).collect();
                    message.clients.sort_unstable();
                }
                Message::PinRequest(_) => {}
            }
            assert!(Frame::decode(&encode(&frame), CLUSTER, &keys()).is_ok());
        },
    );
}

#[test]
fn any_line_is_a_key_or_none() {
    check!().with_iterations(5000).with_type::<String>().for_each(|line| {
        if let Ok(key) = parse_key(line) {
            let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digits, line.trim().to_lowercase());
        }
    });
}

#[test]
fn any_bytes_have_a_hash_and_a_bucket() {
    check!().with_iterations(5000).with_type::<(Vec<u8>, u32)>().for_each(|(bytes, seed)| {
        let bucket = hash::scale(hash::jhash(bytes, *seed));
        assert!(bucket.index() < BUCKETS);
    });
}
