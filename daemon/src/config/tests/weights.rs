//! A command as the source of the weight: what is accepted, and the words for what is not. Fields
//! of `cluster()` begin at line 6, column 13.

use core::time::Duration;

use super::*;
use crate::weight::{LoadCommand, WeightSource};

#[track_caller]
fn config(fields: &str) -> ClusterConfig {
    Fake::with(&cluster(fields)).load().unwrap().clusters.remove(0)
}

#[track_caller]
fn refused(fields: &str, words: &str) {
    assert_eq!(Fake::with(&cluster(fields)).errors(), format!("/etc/nlbd/nlbd.ron:6:{words}"));
}

#[test]
fn commands() {
    let short = config("weight: Command([\"/usr/bin/probe\", \"-x\"]),");
    assert_eq!(short.weight, WeightSource::Command);
    let words = vec!["/usr/bin/probe".to_owned(), "-x".to_owned()];
    assert_eq!(short.load_command, Some(LoadCommand::new(words)));
    let long = config(
        "weight: Command(run: [\"/usr/bin/probe\"], full: 250, interval_s: 1, keep_s: 9, fallback: \
         77),",
    );
    let command = long.load_command.unwrap();
    assert_eq!((command.full, command.fallback.get()), (250, 77));
    let (one, nine) = (Duration::from_secs(1), Duration::from_secs(9));
    assert_eq!((command.interval, command.timeout, command.keep), (one, one, nine));
    assert_eq!(config("weight: Cpu,").load_command, None);
}

#[test]
fn a_reload_says_what_is_another_command() {
    let command =
        |fields: &str| config(&format!("weight: Command(run: [\"/usr/bin/probe\"]{fields}),"));
    let (one, other) = (command(""), command(", full: 5"));
    assert_eq!(one.differences(&command("")), []);
    let differences: Vec<String> =
        one.differences(&other).iter().map(ToString::to_string).collect();
    let show = |full: u32| {
        format!(
            "Command(run: [\"/usr/bin/probe\"], full: {full}, interval_s: 5, timeout_ms: 2000, \
             keep_s: 60, fallback: 100)"
        )
    };
    assert_eq!(differences, [format!("weight {} -> {}", show(100), show(5))]);
    assert!(one.can_become(&other));
    let differences: Vec<String> =
        config("weight: Cpu,").differences(&one).iter().map(ToString::to_string).collect();
    assert_eq!(differences, [format!("weight Cpu -> {}", show(100))]);
}

#[test]
fn refused_commands() {
    let line = "a list of an absolute path and its arguments, up to 64 words: \
                [\"/usr/local/bin/check\", …]";
    refused(
        "weight: Command(\"/usr/bin/probe\"),",
        &format!("29: `weight`: found \"/usr/bin/probe\"; allowed: {line}"),
    );
    refused(
        "weight: Command([\"probe\"]),",
        &format!("29: `weight`: found [\"probe\"]; allowed: {line}"),
    );
    refused(
        "weight: Command([\"/no/such\"]),",
        "21: `weight`: found Command([\"/no/such\"]); allowed: a program: there is none at /no/such",
    );
    refused(
        "weight: Command(full: 7),",
        &format!("21: `weight`: found Command(full: 7); allowed: one with `run: …`, {line}"),
    );
    let with = |fields: &str| format!("weight: Command(run: [\"/usr/bin/probe\"], {fields}),");
    refused(&with("full: 0"), "60: `full`: found 0; allowed: 1 to 1000000000");
    refused(&with("fallback: 0"), "64: `fallback`: found 0; allowed: 1 to 65535");
    refused(&with("keep_s: -1"), "62: `keep_s`: found -1; allowed: 0 to 86400");
    refused(
        &with("interval_s: 2, timeout_ms: 2001"),
        "81: `timeout_ms`: found 2001; allowed: at most the interval, 2000 ms",
    );
    refused(
        &with("every: 2"),
        "54: unknown field `every`; allowed: run, full, interval_s, timeout_s, timeout_ms, keep_s, \
         fallback",
    );
}
