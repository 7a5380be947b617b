//! The reasons of refusal: each has a name of its own, as counters and SPEC 4.8 list them.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::collections::BTreeSet;

use nlb_protocol::frame::DecodeError;

#[test]
fn every_reason_has_its_own_counter() {
    let names: BTreeSet<_> = DecodeError::ALL.iter().map(DecodeError::counter_name).collect();
    assert_eq!(names.len(), DecodeError::ALL.len());
    assert!(DecodeError::ALL.is_sorted());
}

#[test]
fn the_specification_lists_the_reasons_in_the_order_of_the_checks() {
    let spec = include_str!("../SPEC.md");
    let chapter = spec.split("### 4.8").nth(1).unwrap().split("\n## ").next().unwrap();
    let listed: Vec<&str> =
        chapter.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let names: Vec<&str> = DecodeError::ALL.iter().map(DecodeError::counter_name).collect();
    assert_eq!(listed, names);
}
