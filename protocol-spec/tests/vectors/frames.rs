//! The vectors of frames: valid ones, payloads that decode although no encoder makes them so, and
//! at least one payload for every reason of refusal.

use core::net::IpAddr;
use core::time::Duration;

use nlb_protocol::auth::{KEY_LEN, KeyRing, TAG_LEN};
use nlb_protocol::frame::{
    DecodeError, Frame, HEADER_LEN, Header, Health, Heartbeat, Information, Load, MAX_FRAME,
    Message, PeerAck, PinDelta, PinEntry, PinRequest, PinSnapshot, PinWant, Settings, State,
};
use nlb_protocol::table::View;
use nlb_protocol::{
    Bucket, Buckets, ClusterId, ClusterMac, Digest, Epoch, Incarnation, MacMode, NodeId,
    PinVersion, Sequence, Weight,
};
use serde_json::{Value, json};

use crate::fields::{hex, to_json};
use crate::make::{KEYS, Random};

const CLUSTER: ClusterId = ClusterId(0x4e01);

pub(crate) fn ring(keys: &[[u8; KEY_LEN]]) -> KeyRing {
    KeyRing::new(keys).unwrap()
}

fn keys_json(keys: &[[u8; KEY_LEN]]) -> Value {
    keys.iter().map(|key| hex(key)).collect::<Vec<_>>().into()
}

fn frame(sequence: u64, message: Message) -> Frame {
    let header = Header {
        cluster: CLUSTER,
        node: NodeId(0x0102_0304_0506_0708),
        incarnation: Incarnation(0x1122_3344_5566_7788),
        sequence: Sequence(sequence),
    };
    Frame { header, message }
}

/// The heartbeat of SPEC appendix A: the second of three nodes, which hears the others.
fn example() -> Heartbeat {
    let weight = |weight| Weight::new(weight).unwrap();
    let members = [(1, 100), (0x0102_0304_0506_0708, 100), (u64::MAX, 200)];
    let view = View::new(members.map(|(id, w)| (NodeId(id), weight(w))));
    let peer = |node, incarnation_low, sequence_low| PeerAck {
        node: NodeId(node),
        incarnation_low,
        sequence_low,
    };
    Heartbeat {
        state: State::Active,
        weight: weight(100),
        hold: Duration::ZERO,
        epoch: Epoch(7),
        digest: view.digest(0x0bad_cafe),
        pin_version: PinVersion(0),
        seed: 0x0bad_cafe,
        health: Health::Unknown,
        accepts: [0, 1, 9, 4095].into_iter().filter_map(Bucket::new).collect(),
        peers: vec![peer(1, 0xaabb_ccdd, 0x1001), peer(u64::MAX, 1, 0xffff)],
    }
}

fn random_heartbeat(random: &mut Random, peers: usize) -> Heartbeat {
    let mut ids: Vec<u64> = (0..peers).map(|_| random.next()).collect();
    ids.sort_unstable();
    Heartbeat {
        state: State::ALL[random.below(6) as usize],
        weight: Weight::new(random.below(65_535) as u16 + 1).unwrap(),
        hold: Duration::from_millis(random.below(65_536)),
        epoch: Epoch(random.next()),
        digest: Digest(random.next()),
        pin_version: PinVersion(random.next()),
        seed: random.next() as u32,
        health: Health::from_code(random.below(3) as u8),
        accepts: Bucket::all().filter(|_| random.below(2) == 1).collect(),
        peers: ids
            .into_iter()
            .map(|id| PeerAck {
                node: NodeId(id),
                incarnation_low: random.next() as u32,
                sequence_low: random.next() as u16,
            })
            .collect(),
    }
}

fn clients() -> Vec<IpAddr> {
    ["192.0.2.1", "255.255.255.255", "2001:db8::1", "::ffff:192.0.2.1", "0.0.0.0", "::"]
        .map(|client| client.parse().unwrap())
        .to_vec()
}

fn settings() -> Settings {
    let addresses = ["192.0.2.50", "2001:db8::50"].map(|address| address.parse().unwrap());
    Settings {
        heartbeat_ms: 100,
        dead_after_ms: 1000,
        mode: MacMode::Unicast.code(),
        mac: ClusterMac::derive(MacMode::Unicast, CLUSTER).mac,
        addresses: Settings::digest_of_addresses(&addresses),
        ports: Settings::digest_of_ports(&[(6, 80), (17, 53)]),
        keys: ring(&KEYS[..1]).name(),
    }
}

fn informed() -> Information {
    let load = Load { measure: 4, permille: 250 };
    Information { name: "n1".into(), software: "1.0".into(), load, settings: Some(settings()) }
}

fn valid() -> Vec<(String, Frame)> {
    let mut random = Random(1);
    let clients = clients();
    let edge = |state, weight| Heartbeat {
        state,
        weight: Weight::new(weight).unwrap(),
        hold: Heartbeat::MAX_HOLD,
        accepts: Buckets::ALL,
        peers: vec![],
        ..example()
    };
    let entries: Vec<PinEntry> = (clients.iter().copied().map(PinEntry::Pin))
        .chain(clients.iter().copied().map(PinEntry::Unpin))
        .chain([PinEntry::Answered(u64::MAX), PinEntry::Answered(1)])
        .collect();
    let v6 = |i: u128| IpAddr::V6((0x2001_0db8_u128 << 96 | i).into());
    let apart = |i: u128| IpAddr::V6(((i + 1) << 120).into());
    let information = |name: &str, software: &str| {
        let load = Load { measure: 1, permille: 875 };
        let (name, software) = (name.into(), software.into());
        Message::Information(Information { name, software, load, settings: None })
    };
    let snapshot = |version, memory, from, until, mut clients: Vec<IpAddr>| {
        clients.sort_unstable();
        let (version, memory) = (PinVersion(version), PinVersion(memory));
        Message::PinSnapshot(PinSnapshot { version, memory, from, until, clients })
    };
    let start = PinSnapshot::START;
    let request = |after, want| {
        let (owner, owner_incarnation) = (NodeId(3), Incarnation(u64::MAX));
        let after = PinVersion(after);
        Message::PinRequest(PinRequest { owner, owner_incarnation, after, want })
    };
    let delta = |first, entries| Message::PinDelta(PinDelta { first: PinVersion(first), entries });
    let mut all = vec![
        ("the heartbeat of appendix A".to_owned(), Message::Heartbeat(example())),
        ("everything accepted, no peers".into(), Message::Heartbeat(edge(State::Restarting, 1))),
        ("weight at the bound".into(), Message::Heartbeat(edge(State::Fenced, 65_535))),
        ("information".into(), information("n1.example.net", "0.1.0")),
        ("information without texts".into(), information("", "")),
        ("information in full".into(), information(&"ü".repeat(32), &"v".repeat(32))),
        ("pin delta with every kind".into(), delta(1, entries)),
        ("pin delta at the last version".into(), delta(u64::MAX, vec![PinEntry::Answered(0)])),
        ("pin delta of addresses that share nothing".into(), {
            delta(9, (0..84).map(apart).map(PinEntry::Pin).collect())
        }),
        ("pin delta of neighbours in full".into(), {
            delta(9, (0..712).map(v6).map(PinEntry::Unpin).collect())
        }),
        ("pin delta of one address".into(), {
            let entries = [PinEntry::Pin(clients[0]), PinEntry::Unpin(clients[0])];
            delta(9, entries.into_iter().cycle().take(1438).collect())
        }),
        ("pin snapshot of everything".into(), snapshot(77, 70, start, None, clients.clone())),
        ("pin snapshot of nothing".into(), snapshot(0, 0, start, None, vec![])),
        ("part of a pin snapshot".into(), {
            let clients = (0..690).map(v6).collect();
            snapshot(u64::MAX, u64::MAX, v6(0), Some(v6(700)), clients)
        }),
        ("part of a pin snapshot, from IPv4 to IPv6".into(), {
            snapshot(1 << 40, 0, clients[0], Some(clients[2]), clients[..2].to_vec())
        }),
        ("word of what is held".into(), request(76, PinWant::Nothing)),
        ("request for deltas".into(), request(76, PinWant::Deltas)),
        ("request for a snapshot".into(), request(0, PinWant::Snapshot(start))),
        ("request for the rest of a snapshot".into(), request(9, PinWant::Snapshot(v6(7)))),
    ];
    for peers in [1, 5, 31, 62, 63] {
        let message = Message::Heartbeat(random_heartbeat(&mut random, peers));
        all.push((format!("random heartbeat with {peers} peers"), message));
    }
    all.push(("information with settings".into(), Message::Information(informed())));
    let longest = Information {
        name: "ü".repeat(32),
        software: "v".repeat(32),
        settings: Some(Settings { mode: 255, heartbeat_ms: u32::MAX, ..settings() }),
        ..informed()
    };
    all.push(("the longest information".into(), Message::Information(longest)));
    (1..).zip(all).map(|(sequence, (name, message))| (name, frame(sequence, message))).collect()
}

pub(crate) fn encode(frame: &Frame, keys: &KeyRing) -> Vec<u8> {
    let mut out = [0; MAX_FRAME];
    let length = frame.encode(keys, &mut out);
    out[..length].to_vec()
}

pub(crate) fn frames() -> Value {
    let valid = valid().into_iter().map(|(name, frame)| {
        let bytes = hex(&encode(&frame, &ring(&KEYS[..1])));
        json!({"name": name, "keys": keys_json(&KEYS[..1]), "fields": to_json(&frame), "hex": bytes})
    });
    json!({ "frames": valid.collect::<Vec<_>>(), "payloads": payloads(), "refused": refused() })
}

/// The frame with its body changed, its length set and its tag made anew.
fn forge(frame: &Frame, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let keys = ring(&KEYS[..1]);
    let mut bytes = encode(frame, &keys);
    bytes.truncate(bytes.len() - TAG_LEN);
    change(&mut bytes);
    let length = u16::try_from(bytes.len() + TAG_LEN).unwrap();
    bytes[6..8].copy_from_slice(&length.to_be_bytes());
    let tag = keys.sign(&bytes);
    bytes.extend(tag);
    bytes
}

/// Payloads that mean what their fields say, but that no encoder of version 1 makes so.
fn payloads() -> Vec<Value> {
    let first = frame(1, Message::Heartbeat(example()));
    let (name, software) = ("n".to_owned(), "s".to_owned());
    let information = Information { name, software, load: Load::default(), settings: None };
    let information = frame(2, Message::Information(information));
    let told = frame(3, Message::Information(informed()));
    let plain = encode(&first, &ring(&KEYS[..1]));
    let padded = [plain.clone(), vec![0x5a; 40]].concat();
    let item = |name: &str, keys: &[[u8; KEY_LEN]], frame: &Frame, bytes: &[u8]| {
        let fields = to_json(frame);
        json!({"name": name, "keys": keys_json(keys), "fields": fields, "hex": hex(bytes)})
    };
    let extended = |frame: &Frame| forge(frame, |bytes| bytes.extend([9, 3, 1, 2, 3, 200, 0]));
    let reserved = forge(&first, |bytes| bytes[67] = 0xff);
    let later = forge(&first, |bytes| bytes[66] = 3);
    vec![
        item(
            "signed by the last of four keys",
            &[KEYS[3], KEYS[2], KEYS[1], KEYS[0]],
            &first,
            &plain,
        ),
        item("padding behind the frame", &KEYS[..1], &first, &padded),
        item("heartbeat with unknown extensions", &KEYS[..1], &first, &extended(&first)),
        item(
            "information with unknown extensions",
            &KEYS[..1],
            &information,
            &extended(&information),
        ),
        item("settings longer than they are known", &KEYS[..1], &told, &{
            forge(&told, |bytes| {
                let at = bytes.len() - 29;
                bytes[at] += 3;
                bytes.extend([7, 8, 9]);
            })
        }),
        item("settings twice: the first count", &KEYS[..1], &told, &{
            forge(&told, |bytes| bytes.extend([&[1, 28][..], &[0xff; 28]].concat()))
        }),
        item("settings behind what is not known", &KEYS[..1], &told, &{
            forge(&told, |bytes| {
                let settings = bytes.split_off(bytes.len() - 30);
                bytes.extend([200, 0, 1, 2, 0, 0]);
                bytes.extend(settings);
            })
        }),
        item("settings too short to be any", &KEYS[..1], &information, &{
            forge(&information, |bytes| bytes.extend([&[1, 27][..], &[1; 27]].concat()))
        }),
        item("reserved field not zero", &KEYS[..1], &first, &reserved),
        item("a health that version 1 does not know", &KEYS[..1], &first, &later),
    ]
}

fn refused() -> Vec<Value> {
    let keys = ring(&KEYS[..1]);
    let heartbeat = frame(1, Message::Heartbeat(example()));
    let good = encode(&heartbeat, &keys);
    let raw = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let set = |at: usize, bytes: &'static [u8]| {
        forge(&heartbeat, |frame| frame[at..at + bytes.len()].copy_from_slice(bytes))
    };
    let body = |kind: u8, body: &[u8]| {
        forge(&heartbeat, |frame| {
            frame.truncate(HEADER_LEN);
            frame[3] = kind;
            frame.extend(body);
        })
    };
    let request = |incarnation: u8, tail: &[u8]| {
        let mut bytes = vec![0; 25];
        bytes[15] = incarnation;
        bytes.extend(tail);
        body(5, &bytes)
    };
    // Of version 1, from 9.9.9.9 on.
    let part = |memory: u8, rest: &[u8]| {
        let versions = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, memory];
        body(4, &[&versions[..], &[1, 9, 9, 9, 9], rest].concat())
    };
    use DecodeError as E;
    let cases = [
        ("nothing", E::Truncated, vec![]),
        ("one byte less than a frame can have", E::Truncated, good[..47].to_vec()),
        ("cut short", E::Truncated, good[..good.len() - 1].to_vec()),
        ("longer than any frame", E::Oversized, raw(&|bytes| bytes.resize(1501, 0))),
        (
            "names more than any frame has",
            E::Oversized,
            raw(&|b| b[6..8].copy_from_slice(&[0x05, 0xdd])),
        ),
        ("another magic", E::BadMagic, raw(&|bytes| bytes[0] = b'n')),
        ("version 0", E::OtherVersion, raw(&|bytes| bytes[2] = 0)),
        ("version 2", E::OtherVersion, raw(&|bytes| bytes[2] = 2)),
        ("another cluster", E::OtherCluster, raw(&|bytes| bytes[5] ^= 1)),
        ("names 47 bytes", E::BadLength, raw(&|bytes| bytes[6..8].copy_from_slice(&[0, 47]))),
        ("a flipped bit in the tag", E::BadTag, raw(&|bytes| *bytes.last_mut().unwrap() ^= 0x80)),
        ("a flipped bit in the body", E::BadTag, raw(&|bytes| bytes[100] ^= 1)),
        ("a flipped bit in the type", E::BadTag, raw(&|bytes| bytes[3] ^= 2)),
        ("another key", E::BadTag, encode(&heartbeat, &ring(&KEYS[1..2]))),
        ("the key of insecure clusters", E::BadTag, encode(&heartbeat, &KeyRing::insecure())),
        ("type 0", E::UnknownType, set(3, &[0])),
        ("type 6", E::UnknownType, set(3, &[6])),
        ("incarnation 0", E::ZeroIncarnation, set(16, &[0; 8])),
        ("a request of incarnation 0", E::ZeroIncarnation, request(0, &[])),
        ("sequence 0", E::ZeroSequence, set(24, &[0; 8])),
        ("a heartbeat without its last peer", E::ShortBody, set(61, &[3])),
        ("a heartbeat without body", E::ShortBody, body(1, &[])),
        ("a heartbeat cut in its bitmap", E::ShortBody, forge(&heartbeat, |b| b.truncate(579))),
        ("information without its second text", E::ShortBody, body(2, &[1, b'n'])),
        ("information with a text past its end", E::ShortBody, body(2, &[2, b'n'])),
        ("information without its load", E::ShortBody, body(2, &[0, 0, 1, 3])),
        (
            "a delta that lacks an entry",
            E::ShortBody,
            body(3, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 1, 1, 2, 3, 4]),
        ),
        (
            "a delta cut in an entry",
            E::ShortBody,
            body(3, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 1, 2, 3, 4]),
        ),
        ("a snapshot that lacks its clients", E::ShortBody, part(1, &[0, 255, 255])),
        ("a snapshot cut in the end of its range", E::ShortBody, part(1, &[2, 1, 2])),
        ("a request cut short", E::ShortBody, body(5, &[0; 24])),
        ("a request cut in its address", E::ShortBody, body(5, &[&[1; 24][..], &[2, 9]].concat())),
        (
            "a delta with a byte too many",
            E::TrailingBytes,
            body(3, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 2, 3, 4, 0]),
        ),
        ("a snapshot with a byte too many", E::TrailingBytes, part(1, &[0, 0, 0, 0])),
        ("a request with an extension", E::TrailingBytes, request(1, &[9, 0])),
        ("an extension without length", E::BadExtension, forge(&heartbeat, |b| b.push(9))),
        ("an extension past the end", E::BadExtension, forge(&heartbeat, |b| b.extend([9, 2, 0]))),
        (
            "information with an extension past the end",
            E::BadExtension,
            body(2, &[0, 0, 1, 0, 5, 9, 255]),
        ),
        ("state 0", E::BadState, set(60, &[0])),
        ("state 7", E::BadState, set(60, &[7])),
        ("weight 0", E::ZeroWeight, set(56, &[0, 0])),
        ("64 peers", E::TooManyPeers, set(61, &[64])),
        ("255 peers", E::TooManyPeers, set(61, &[255])),
        ("peers in falling order", E::UnsortedPeers, set(594, &[0; 8])),
        ("a peer twice", E::UnsortedPeers, set(594, &[0, 0, 0, 0, 0, 0, 0, 1])),
        ("the sender among its peers", E::OwnIdAmongPeers, set(580, &[1, 2, 3, 4, 5, 6, 7, 8])),
        ("a name of 65 bytes", E::LongText, body(2, &[&[65][..], &[b'n'; 65], &[0]].concat())),
        (
            "a software version of 33 bytes",
            E::LongText,
            body(2, &[&[0, 33][..], &[b'v'; 33]].concat()),
        ),
        ("a name that is no UTF-8", E::BadText, body(2, &[2, 0xc3, 0x28, 0])),
        ("a name with an escape", E::BadText, body(2, &[1, 0x1b, 0])),
        ("a version with a C1 control character", E::BadText, body(2, &[0, 2, 0xc2, 0x9b])),
        (
            "a delta with an entry of kind 0",
            E::BadPinKind,
            body(3, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0]),
        ),
        (
            "a delta with an entry of kind 6",
            E::BadPinKind,
            body(3, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 6]),
        ),
        (
            "a delta with an address that shares more than it has",
            E::BadPinKind,
            body(3, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 5 << 3 | 1]),
        ),
        (
            "a delta with a fingerprint that shares something",
            E::BadPinKind,
            body(3, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1 << 3 | 5, 1, 2, 3, 4, 5, 6, 7, 8]),
        ),
        ("a snapshot with an unpin", E::BadPinKind, part(1, &[0, 0, 1, 3, 9, 9, 9, 9])),
        ("a snapshot from nowhere", E::BadPinKind, body(4, &[0; 19])),
        ("a snapshot until an unpin", E::BadPinKind, part(1, &[3, 9, 9, 9, 9, 0, 0])),
        ("a request of an unknown kind", E::BadPinKind, body(5, &[7; 25])),
        ("a delta without entries", E::NoEntries, body(3, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0])),
        (
            "a delta of version 0",
            E::BadPinVersion,
            body(3, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 4]),
        ),
        (
            "a delta past the last version",
            E::BadPinVersion,
            body(3, &[255, 255, 255, 255, 255, 255, 255, 255, 0, 2, 1]),
        ),
        ("a snapshot with a later memory", E::BadPart, part(2, &[0, 0, 0])),
        ("a snapshot of no range", E::BadPart, part(1, &[1, 9, 9, 9, 9, 0, 0])),
        ("a snapshot of a falling range", E::BadPart, part(1, &[1, 9, 9, 9, 8, 0, 0])),
        ("a client before its range", E::BadPart, part(1, &[0, 0, 1, 1, 9, 9, 9, 8])),
        ("a client behind its range", E::BadPart, part(1, &[1, 9, 9, 9, 10, 0, 1, 1, 9, 9, 9, 10])),
        ("a client twice", E::BadPart, part(1, &[0, 0, 2, 1, 9, 9, 9, 9, 4 << 3 | 1])),
    ];
    cases
        .into_iter()
        .map(|(name, reason, bytes)| {
            json!({
                "name": name,
                "cluster": CLUSTER.0,
                "keys": keys_json(&KEYS[..1]),
                "reason": reason.counter_name(),
                "hex": hex(&bytes),
            })
        })
        .collect()
}
