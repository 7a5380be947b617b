//! Every message survives the way over the wire, whatever the buffer held before.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // helpers of tests are tests

use core::net::IpAddr;
use core::time::Duration;

use nlb_protocol::auth::KeyRing;
use nlb_protocol::frame::{
    DecodeError, Frame, Header, Health, Heartbeat, Information, Load, MAX_FRAME, Message, PeerAck,
    PinDelta, PinEntry, PinRequest, PinSnapshot, PinWant, Settings, State,
};
use nlb_protocol::ids::MAX_PEERS;
use nlb_protocol::{
    Bucket, ClusterId, Digest, Epoch, Incarnation, MacAddr, NodeId, PinVersion, Sequence, Weight,
};

const CLUSTER: ClusterId = ClusterId(1);

fn keys() -> KeyRing {
    KeyRing::new(&[[7; 32], [8; 32]]).unwrap()
}

fn header() -> Header {
    Header {
        cluster: CLUSTER,
        node: NodeId(100),
        incarnation: Incarnation(0x1111_2222_3333_4444),
        sequence: Sequence(9),
    }
}

fn heartbeat(peers: usize) -> Heartbeat {
    Heartbeat {
        state: State::Active,
        weight: Weight::DEFAULT,
        hold: Duration::from_millis(65_535),
        epoch: Epoch(3),
        digest: Digest(4),
        pin_version: PinVersion(5),
        seed: 0xfeed_beef,
        health: Health::Ill,
        accepts: Bucket::all().step_by(3).collect(),
        peers: (0..peers as u64)
            .map(|i| PeerAck {
                node: NodeId(200 + i),
                incarnation_low: 0xffff_0000 + i as u32,
                sequence_low: i as u16,
            })
            .collect(),
    }
}

fn settings() -> Settings {
    Settings {
        heartbeat_ms: 100,
        dead_after_ms: u32::MAX,
        mode: 200,
        mac: MacAddr([2, 0x4e, 0x4c, 0x42, 0, 1]),
        addresses: 0x0123_4567,
        ports: 0,
        keys: 0x89ab_cdef,
    }
}

fn messages() -> Vec<Message> {
    let clients: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    vec![
        Message::Heartbeat(heartbeat(0)),
        Message::Heartbeat(heartbeat(MAX_PEERS)),
        Message::Information(Information {
            name: "n1.example".into(),
            software: "0.1.0".into(),
            load: Load { measure: 4, permille: 65_535 },
            settings: None,
        }),
        Message::Information(Information {
            name: String::new(),
            software: String::new(),
            load: Load::default(),
            settings: Some(settings()),
        }),
        Message::PinDelta(PinDelta {
            first: PinVersion(1),
            entries: vec![
                PinEntry::Pin(clients[0]),
                PinEntry::Pin(clients[1]),
                PinEntry::Unpin(clients[0]),
                PinEntry::Unpin(clients[1]),
                PinEntry::Answered(0x0123_4567_89ab_cdef),
            ],
        }),
        Message::PinSnapshot(PinSnapshot {
            version: PinVersion(9),
            memory: PinVersion(3),
            from: clients[0],
            until: Some("2001:db8::2".parse().unwrap()),
            clients: clients.clone(),
        }),
        Message::PinSnapshot(PinSnapshot {
            version: PinVersion(0),
            memory: PinVersion(0),
            from: PinSnapshot::START,
            until: None,
            clients: vec![],
        }),
        request(PinWant::Nothing),
        request(PinWant::Deltas),
        request(PinWant::Snapshot(clients[0])),
        request(PinWant::Snapshot(clients[1])),
    ]
}

fn request(want: PinWant) -> Message {
    Message::PinRequest(PinRequest {
        owner: NodeId(1),
        owner_incarnation: Incarnation(2),
        after: PinVersion(0),
        want,
    })
}

// SPEC 4.5: a thousand neighbours cost little more than a byte each beyond their kinds.
#[test]
fn addresses_leave_out_what_they_share_with_the_last() {
    let v4 = |i: u32| PinEntry::Pin(IpAddr::from((0x0a00_0000 + i).to_be_bytes()));
    let v6 = |i: u128| PinEntry::Pin(IpAddr::from(((0x2001_0db8 << 96) + i).to_be_bytes()));
    let near: Vec<PinEntry> = (0..1000).map(v4).collect();
    let far: Vec<PinEntry> = (0..1000).map(|i| v4(i << 20)).collect();
    let six: Vec<PinEntry> = (0..1000).map(v6).collect();
    assert_eq!(PinDelta::fitting(&near), 718); // 5 bytes, one of 3, and 2 each
    assert_eq!(PinDelta::fitting(&far), 354); // 4 each, 5 for one of 16
    assert_eq!(PinDelta::fitting(&six), 712);
}

// SPEC 4.1 to 4.7
#[test]
fn what_was_encoded_is_decoded() {
    for message in messages() {
        let frame = Frame { header: header(), message };
        let mut out = [0xaa; MAX_FRAME];
        let mut other = [0x55; MAX_FRAME];
        let len = frame.encode(&keys(), &mut out);
        assert_eq!(len, frame.encode(&keys(), &mut other));
        assert_eq!(out[..len], other[..len], "every byte of a frame is written");
        assert!(out[len..].iter().all(|byte| *byte == 0xaa), "and none behind it");
        assert_eq!(Frame::decode(&out[..len], CLUSTER, &keys()), Ok(frame.clone()));
        assert_eq!(Frame::decode(&out, CLUSTER, &keys()), Ok(frame), "padding is cut off");
    }
}

// SPEC 5.1, 5.5
#[test]
fn an_older_key_verifies_and_opens_the_seed() {
    let frame = Frame { header: header(), message: Message::Heartbeat(heartbeat(2)) };
    let old = KeyRing::new(&[[8; 32]]).unwrap();
    let mut out = [0; MAX_FRAME];
    let len = frame.encode(&old, &mut out);
    assert_eq!(Frame::decode(&out[..len], CLUSTER, &keys()), Ok(frame));
    let stranger = KeyRing::new(&[[9; 32]]).unwrap();
    assert_eq!(Frame::decode(&out[..len], CLUSTER, &stranger), Err(DecodeError::BadTag));
}
