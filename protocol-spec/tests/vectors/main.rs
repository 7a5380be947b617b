//! The committed vectors (SPEC appendix B) and this crate say the same, both ways.

#![allow(clippy::cast_possible_truncation)] // random numbers are cut on purpose
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod fields;
mod frames;
mod make;
mod packets;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use fields::{from_json, list, number, short, to_json, unhex};
use frames::encode;
use nlb_protocol::auth::{KeyRing, parse_key};
use nlb_protocol::frame::{DecodeError, Frame};
use nlb_protocol::hash::{client_hash, scale};
use nlb_protocol::table::{Table, View};
use nlb_protocol::{Bucket, ClusterId, Weight};
use serde_json::Value;

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "vectors"].iter().collect()
}

fn load(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder().join(name)).unwrap()).unwrap()
}

fn keys(item: &Value) -> KeyRing {
    let keys = list(&item["keys"]).iter().map(|key| *parse_key(key.as_str().unwrap()).unwrap());
    frames::ring(&keys.collect::<Vec<_>>())
}

fn payload(item: &Value) -> Vec<u8> {
    unhex(item["hex"].as_str().unwrap())
}

#[test]
fn the_committed_files_are_what_the_code_makes() {
    for (name, text) in make::all() {
        // As values: another crate's features may change the order in which keys are written.
        let made: Value = serde_json::from_str(&text).unwrap();
        assert!(
            load(name) == made,
            "{name} differs: a published vector never changes; if the version is unpublished, run \
             cargo run -p nlb-protocol --example vectors"
        );
    }
}

// SPEC 4.1 to 4.7
#[test]
fn frames_encode_to_their_bytes_and_decode_to_their_fields() {
    let file = load("frames.json");
    for item in list(&file["frames"]) {
        let (keys, bytes) = (keys(item), payload(item));
        let frame = from_json(&item["fields"]);
        assert_eq!(encode(&frame, &keys), bytes, "{}", item["name"]);
        assert_eq!(to_json(&frame), item["fields"], "{}", item["name"]);
    }
    for item in list(&file["frames"]).iter().chain(list(&file["payloads"])) {
        let cluster = ClusterId(short(&item["fields"]["cluster"]));
        let frame = Frame::decode(&payload(item), cluster, &keys(item)).unwrap();
        assert_eq!(to_json(&frame), item["fields"], "{}", item["name"]);
    }
}

// SPEC 4.8
#[test]
fn every_reason_has_a_payload_that_gives_it() {
    let file = load("frames.json");
    let mut seen = vec![];
    for item in list(&file["refused"]) {
        let cluster = ClusterId(short(&item["cluster"]));
        let reason = Frame::decode(&payload(item), cluster, &keys(item)).unwrap_err();
        assert_eq!(reason.counter_name(), item["reason"], "{}", item["name"]);
        seen.push(reason);
    }
    for reason in DecodeError::ALL {
        assert!(seen.contains(reason), "no vector for {reason:?}");
    }
}

// SPEC 3.2
#[test]
fn clients_fall_into_their_buckets() {
    for item in list(&load("hashes.json")["clients"]) {
        let client = item["address"].as_str().unwrap().parse().unwrap();
        let hash = client_hash(client, short(&item["seed"]));
        assert_eq!(u64::from(hash), number(&item["hash"]), "{item}");
        assert_eq!(scale(hash).index() as u64, number(&item["bucket"]), "{item}");
    }
}

// SPEC 3.3
#[test]
fn buckets_fall_to_their_owners() {
    for item in list(&load("tables.json")["tables"]) {
        let members = list(&item["members"]);
        let member = |member: &Value| {
            let weight = Weight::new(short(&member[1])).unwrap();
            (nlb_protocol::NodeId(number(&member[0])), weight)
        };
        let table = Table::build(&View::new(members.iter().map(member)));
        for (share, listed) in table.shares().iter().zip(members) {
            assert_eq!(u64::from(share.1), number(&listed[2]));
        }
        let Some(owners) = item["owners"].as_str() else { continue };
        for (bucket, position) in Bucket::all().zip(unhex(owners)) {
            let listed = number(&members[usize::from(position)][0]);
            assert_eq!(table.owner(bucket).unwrap().0, listed, "{bucket}");
        }
    }
}

// The Python oracle shares no code with this crate: what both say is what SPEC.md says.
#[test]
fn the_oracle_agrees() {
    let oracle: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "tests", "oracle", "check_vectors.py"].iter().collect();
    let output = Command::new("python3").arg("-B").arg(oracle).arg(folder()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}
