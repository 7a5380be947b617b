//! What SPEC.md lists and shows is what the code does: the reasons of refusal and the examples.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::collections::BTreeSet;

use nlb_protocol::frame::DecodeError;
use nlb_protocol::hash;
use nlb_protocol::table::{Table, View};
use nlb_protocol::{NodeId, Weight};

const SPEC: &str = include_str!("../SPEC.md");

/// The text under a heading, up to the next one.
fn section(heading: &str) -> &'static str {
    SPEC.split(heading).nth(1).unwrap().split("\n#").next().unwrap()
}

/// The cells of the rows of the tables in a section.
fn rows(section: &str) -> impl Iterator<Item = Vec<&str>> {
    section.lines().filter(|line| line.starts_with("| ")).map(|line| {
        line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect()
    })
}

#[test]
fn every_reason_has_its_own_counter() {
    let names: BTreeSet<_> = DecodeError::ALL.iter().map(DecodeError::counter_name).collect();
    assert_eq!(names.len(), DecodeError::ALL.len());
    assert!(DecodeError::ALL.is_sorted());
}

#[test]
fn the_reasons_stand_in_the_order_of_the_checks() {
    let listed: Vec<&str> = rows(section("### 4.8")).map(|row| row[0]).skip(1).collect();
    let names: Vec<&str> = DecodeError::ALL.iter().map(DecodeError::counter_name).collect();
    assert_eq!(listed, names);
}

#[test]
fn the_example_hashes_are_right() {
    for (address, value, bucket) in
        [("192.0.2.50", 0xc2f9_f291, 3119), ("2001:db8::50", 0x1516_0e9c, 337)]
    {
        let hash = hash::client_hash(address.parse().unwrap(), 0x0bad_cafe);
        assert_eq!(hash, value);
        assert_eq!(hash::scale(hash).index(), bucket);
        let text = section("### A.1");
        assert!(text.contains(&format!("The hash is 0x{value:08x}")) && text.contains(address));
    }
}

#[test]
fn the_example_table_is_right() {
    let members = [(1, 100), (2, 100), (3, 200)];
    let view = View::new(members.map(|(id, weight)| (NodeId(id), Weight::new(weight).unwrap())));
    let table = Table::build(&view);
    assert_eq!(
        table.shares().iter().map(|(_, share)| *share).collect::<Vec<_>>(),
        [1639, 1638, 819]
    );
    let first: Vec<String> =
        table.owners().take(16).map(|(_, owner)| owner.0.to_string()).collect();
    let text = section("### A.2");
    assert!(text.contains(&first.join(", ")));
    assert!(text.contains(&view.digest(0x0bad_cafe).to_string()));
}

// Every byte of the example is one of the first vector, in the same order.
#[test]
fn the_example_heartbeat_is_the_first_vector() {
    let mut bytes = String::new();
    for row in rows(section("### A.3")).skip(1) {
        assert_eq!(row[0].parse::<usize>().unwrap() * 2, bytes.len(), "offset of {}", row[2]);
        match row[1].split_once(" x ") {
            Some((count, byte)) => bytes.push_str(&byte.repeat(count.parse().unwrap())),
            None => bytes.extend(row[1].split(' ')),
        }
    }
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../vectors/frames.json")).unwrap();
    assert_eq!(vectors["frames"][0]["hex"], bytes);
}
