//! Frames as the JSON fields of the vectors, both ways. 64-bit numbers are 16 hexadecimal digits.

use core::time::Duration;

use nlb_protocol::frame::{
    Frame, Header, Health, Heartbeat, Information, Load, Message, PeerAck, PinDelta, PinEntry,
    PinRequest, PinSnapshot, PinWant, Settings, State,
};
use nlb_protocol::{
    Buckets, ClusterId, Digest, Epoch, Incarnation, MacAddr, NodeId, PinVersion, Sequence, Weight,
};
use serde_json::{Value, json};

const STATES: [(State, &str); 6] = [
    (State::Joining, "joining"),
    (State::Active, "active"),
    (State::Draining, "draining"),
    (State::Fenced, "fenced"),
    (State::Leaving, "leaving"),
    (State::Restarting, "restarting"),
];

const HEALTHS: [(Health, &str); 3] =
    [(Health::Unknown, "unknown"), (Health::Well, "well"), (Health::Ill, "ill")];

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

pub(crate) fn long(number: u64) -> Value {
    format!("{number:016x}").into()
}

pub(crate) fn to_json(frame: &Frame) -> Value {
    let mut fields = match &frame.message {
        Message::Heartbeat(message) => heartbeat_to_json(message),
        Message::Information(message) => information_to_json(message),
        Message::PinDelta(message) => json!({
            "type": "pin_delta",
            "first": long(message.first.0),
            "entries": message.entries.iter().map(entry_to_json).collect::<Vec<_>>(),
        }),
        Message::PinSnapshot(message) => json!({
            "type": "pin_snapshot",
            "version": long(message.version.0),
            "memory": long(message.memory.0),
            "from": message.from.to_string(),
            "until": message.until.map(|until| until.to_string()),
            "clients": message.clients.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
        Message::PinRequest(message) => json!({
            "type": "pin_request",
            "owner": long(message.owner.0),
            "owner_incarnation": long(message.owner_incarnation.0),
            "after": long(message.after.0),
            "want": match message.want {
                PinWant::Nothing => json!("nothing"),
                PinWant::Deltas => json!("deltas"),
                PinWant::Snapshot(from) => json!(["snapshot", from.to_string()]),
            },
        }),
    };
    fields["cluster"] = frame.header.cluster.0.into();
    fields["node"] = long(frame.header.node.0);
    fields["incarnation"] = long(frame.header.incarnation.0);
    fields["sequence"] = long(frame.header.sequence.0);
    fields
}

fn information_to_json(message: &Information) -> Value {
    let mut fields = json!({
        "type": "information",
        "name": message.name,
        "software": message.software,
        "measure": message.load.measure,
        "load": message.load.permille,
    });
    if let Some(settings) = &message.settings {
        fields["settings"] = json!({
            "heartbeat_ms": settings.heartbeat_ms,
            "dead_after_ms": settings.dead_after_ms,
            "mode": settings.mode,
            "mac": settings.mac.to_string(),
            "addresses": settings.addresses,
            "ports": settings.ports,
            "keys": settings.keys,
        });
    }
    fields
}

fn settings_from_json(fields: &Value) -> Settings {
    let mac = unhex(&text(&fields["mac"]).replace(':', ""));
    Settings {
        heartbeat_ms: short(&fields["heartbeat_ms"]),
        dead_after_ms: short(&fields["dead_after_ms"]),
        mode: short(&fields["mode"]),
        mac: MacAddr(mac.try_into().unwrap()),
        addresses: short(&fields["addresses"]),
        ports: short(&fields["ports"]),
        keys: short(&fields["keys"]),
    }
}

fn heartbeat_to_json(message: &Heartbeat) -> Value {
    let peer = |peer: &PeerAck| json!([long(peer.node.0), peer.incarnation_low, peer.sequence_low]);
    let state = STATES.iter().find(|(state, _)| *state == message.state).unwrap().1;
    let health = HEALTHS.iter().find(|(health, _)| *health == message.health).unwrap().1;
    json!({
        "type": "heartbeat",
        "epoch": long(message.epoch.0),
        "digest": long(message.digest.0),
        "pin_version": long(message.pin_version.0),
        "weight": message.weight.get(),
        "hold_ms": message.hold.as_millis() as u64,
        "state": state,
        "seed": message.seed,
        "health": health,
        "accepts": hex(&message.accepts.to_wire()),
        "peers": message.peers.iter().map(peer).collect::<Vec<_>>(),
    })
}

fn entry_to_json(entry: &PinEntry) -> Value {
    match entry {
        PinEntry::Pin(client) => json!(["pin", client.to_string()]),
        PinEntry::Unpin(client) => json!(["unpin", client.to_string()]),
        PinEntry::Answered(fingerprint) => json!(["answered", long(*fingerprint)]),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

pub(crate) fn number(value: &Value) -> u64 {
    match value {
        Value::String(digits) => u64::from_str_radix(digits, 16).unwrap(),
        other => other.as_u64().unwrap(),
    }
}

pub(crate) fn short<T: TryFrom<u64, Error: core::fmt::Debug>>(value: &Value) -> T {
    number(value).try_into().unwrap()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

pub(crate) fn from_json(fields: &Value) -> Frame {
    let message = match text(&fields["type"]) {
        "heartbeat" => Message::Heartbeat(heartbeat_from_json(fields)),
        "information" => Message::Information(Information {
            name: text(&fields["name"]).to_owned(),
            software: text(&fields["software"]).to_owned(),
            load: Load {
                measure: u8::try_from(number(&fields["measure"])).unwrap(),
                permille: u16::try_from(number(&fields["load"])).unwrap(),
            },
            settings: fields.get("settings").map(settings_from_json),
        }),
        "pin_delta" => Message::PinDelta(PinDelta {
            first: PinVersion(number(&fields["first"])),
            entries: list(&fields["entries"]).iter().map(entry_from_json).collect(),
        }),
        "pin_snapshot" => Message::PinSnapshot(PinSnapshot {
            version: PinVersion(number(&fields["version"])),
            memory: PinVersion(number(&fields["memory"])),
            from: text(&fields["from"]).parse().unwrap(),
            until: fields["until"].as_str().map(|until| until.parse().unwrap()),
            clients: list(&fields["clients"])
                .iter()
                .map(|client| text(client).parse().unwrap())
                .collect(),
        }),
        "pin_request" => Message::PinRequest(PinRequest {
            owner: NodeId(number(&fields["owner"])),
            owner_incarnation: Incarnation(number(&fields["owner_incarnation"])),
            after: PinVersion(number(&fields["after"])),
            want: match fields["want"].as_str() {
                Some("nothing") => PinWant::Nothing,
                Some("deltas") => PinWant::Deltas,
                _ => PinWant::Snapshot(text(&fields["want"][1]).parse().unwrap()),
            },
        }),
        other => panic!("unknown type {other}"),
    };
    let header = Header {
        cluster: ClusterId(short(&fields["cluster"])),
        node: NodeId(number(&fields["node"])),
        incarnation: Incarnation(number(&fields["incarnation"])),
        sequence: Sequence(number(&fields["sequence"])),
    };
    Frame { header, message }
}

fn heartbeat_from_json(fields: &Value) -> Heartbeat {
    let state = text(&fields["state"]);
    Heartbeat {
        state: STATES.iter().find(|(_, name)| *name == state).unwrap().0,
        weight: Weight::new(short(&fields["weight"])).unwrap(),
        hold: Duration::from_millis(number(&fields["hold_ms"])),
        epoch: Epoch(number(&fields["epoch"])),
        digest: Digest(number(&fields["digest"])),
        pin_version: PinVersion(number(&fields["pin_version"])),
        seed: short(&fields["seed"]),
        health: HEALTHS.iter().find(|(_, name)| fields["health"] == *name).unwrap().0,
        accepts: Buckets::from_wire(unhex(text(&fields["accepts"])).as_slice().try_into().unwrap()),
        peers: list(&fields["peers"])
            .iter()
            .map(|peer| PeerAck {
                node: NodeId(number(&peer[0])),
                incarnation_low: short(&peer[1]),
                sequence_low: short(&peer[2]),
            })
            .collect(),
    }
}

fn entry_from_json(entry: &Value) -> PinEntry {
    let client = || text(&entry[1]).parse().unwrap();
    match text(&entry[0]) {
        "pin" => PinEntry::Pin(client()),
        "unpin" => PinEntry::Unpin(client()),
        "answered" => PinEntry::Answered(number(&entry[1])),
        other => panic!("unknown entry {other}"),
    }
}
