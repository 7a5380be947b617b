//! The shape of the repository, as a test: what files hold, what crates may use.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The most lines of a source file.
const MAX_LINES: usize = 400;

/// Words that stand for unfinished work, and what is used instead.
const FORBIDDEN: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("Under con", "struction"),
];

/// The files that may make system calls by hand.
const UNSAFE: &[&str] = &[
    "daemon/src/check/descriptors.rs",
    "daemon/src/kernel/netlink.rs",
    "daemon/src/kernel/testing.rs",
    "daemon/src/link/sys.rs",
    "daemon/src/priority.rs",
    "daemon/src/timer.rs",
    "tests/src/inject.rs",
    "tests/src/netns.rs",
    "tests/src/repeats.rs",
];

/// What each crate may depend on, of ours.
const MAY_USE: &[(&str, &[&str])] = &[
    ("protocol-spec", &[]),
    ("daemon/engine", &["nlb-protocol"]),
    ("daemon/record", &["nlb-protocol", "nlb-engine"]),
    ("varlink", &[]),
    ("dbus", &[]),
    ("ctl", &["nlb-varlink"]),
    ("daemon", &["nlb-protocol", "nlb-engine", "nlb-record", "nlb-varlink", "nlb-dbus"]),
    ("tests", &["nlb-protocol"]),
    ("tests/sim", &["nlb-protocol", "nlb-engine", "nlb-record"]),
    ("tests/model", &["nlb-protocol", "nlb-engine", "nlb-sim"]),
    ("tests/loop", &["nlb-protocol", "nlb-engine", "nlbd"]),
    ("tests/system", &["nlb-tests"]),
    // The man pages are made of the arguments of both programs.
    ("xtask", &["nlb-protocol", "nlb-system", "nlb-tests", "nlbd"]),
];

/// What the engine may use of others: no sockets, no clock, no executor.
const ENGINE_MAY_USE: &[&str] = &["nlb-protocol", "thiserror", "hashbrown"];

fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Every file of the repository with one of these endings, and its text.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') && name != "__pycache__" {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let relative = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push((relative, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 5, "no files found");
    found
}

/// Whether a file holds tests only: those may be as long as they need to be.
fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn every_module_says_what_it_is() {
    let silent: Vec<String> = files(&[".rs"])
        .into_iter()
        .filter(|(path, text)| !is_test(path) && !text.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();
    assert_none("modules without `//!` at their head", &silent);
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = files(&[".rs"])
        .into_iter()
        .filter(|(path, text)| !is_test(path) && text.lines().count() > MAX_LINES)
        .map(|(path, text)| format!("{path}: {} lines", text.lines().count()))
        .collect();
    assert_none("files that want to be two", &long);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut found = Vec::new();
    for (path, text) in files(&[".rs", ".py", ".md", ".toml", ".sh", ".ron"]) {
        for (number, line) in text.lines().enumerate() {
            for word in FORBIDDEN {
                if line.contains(word) {
                    found.push(format!("{path}:{}: {word}", number + 1));
                }
            }
        }
    }
    assert_none("unfinished work", &found);
}

#[test]
fn system_calls_by_hand_stand_where_they_may() {
    let mut found = Vec::new();
    for (path, text) in files(&[".rs"]) {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let uses = code.filter(|line| line.contains("unsafe {") || line.contains("unsafe fn"));
        let (blocks, reasons) = (uses.count(), text.matches("// SAFETY:").count());
        if blocks > 0 && !UNSAFE.contains(&path.as_str()) && !path.ends_with("structure.rs") {
            found.push(path);
        } else if blocks > reasons && !path.ends_with("structure.rs") {
            found.push(format!("{path}: {blocks} blocks, {reasons} reasons"));
        }
    }
    assert_none("unsafe code where it may not be, or without a reason", &found);
}

/// The names in a crate's `[dependencies]`.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if let Some((name, _)) = line.split_once(['=', '.']).filter(|_| inside) {
            names.insert(name.trim().to_owned());
        }
    }
    names
}

#[test]
fn crates_use_what_they_may() {
    let mut found = Vec::new();
    for (folder, allowed) in MAY_USE {
        for name in dependencies(folder) {
            if (name.starts_with("nlb-") || name == "nlbd") && !allowed.contains(&name.as_str()) {
                found.push(format!("{folder} uses {name}"));
            }
        }
    }
    for name in dependencies("daemon/engine") {
        if !ENGINE_MAY_USE.contains(&name.as_str()) {
            found.push(format!("the engine uses {name}"));
        }
    }
    assert_none("dependencies that may not be", &found);
}
