//! `cargo xtask test-system`: the packages, installed and used on whole machines.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;
use nix::unistd::geteuid;

use crate::command::{Run, cargo};
use crate::{dist, setup, userns};

/// The suites of Debian that the full form runs in.
const SUITES: [&str; 2] = ["bookworm", "trixie"];

/// Builds what the tests need.
///
/// # Errors
/// When a tool is missing or something does not build.
pub(crate) fn prepare() -> Result<()> {
    setup::check(setup::SYSTEM_TOOLS)?;
    // The same programs twice: a version to start with, and one to upgrade to.
    dist::run("2")?;
    dist::run("1").map(drop)
}

/// Why whole machines cannot run here.
pub(crate) fn forbidden() -> Option<String> {
    if !geteuid().is_root() || userns::inside() {
        return Some("containers with systemd need root".to_owned());
    }
    let words = ["--mount", "--pid", "--fork", "--net", "--uts", "--ipc", "true"];
    let tried = Command::new("unshare").args(words).stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        return Some("this machine allows no namespaces".to_owned());
    }
    let group = if Path::new("/sys/fs/cgroup/unified").exists() {
        "/sys/fs/cgroup/unified/nlb-system-probe"
    } else {
        "/sys/fs/cgroup/nlb-system-probe"
    };
    let made = fs::create_dir(group).and_then(|()| fs::remove_dir(group));
    made.err().map(|error| format!("this machine allows no control groups: {error}"))
}

/// The tests on machines of one suite, one at a time.
pub(crate) fn tests(suite: &str, filter: Option<&str>) -> Run {
    let tests = cargo("test").args(["-p", "nlb-system", "--tests", "--no-fail-fast", "--"]);
    let tests = tests.args(["--ignored", "--test-threads=1", "--nocapture"]).args(filter);
    tests.env("NLB_SYSTEM_SUITE", suite)
}

/// Runs the tests: in the quick form on the first suite, in the full form on all.
pub(crate) fn run(full: bool, filter: Option<&str>) -> Result<ExitCode> {
    if let Some(why) = forbidden() {
        println!("skipped: {why}");
        return Ok(ExitCode::SUCCESS);
    }
    prepare()?;
    let mut tally = crate::test::Tally::default();
    for suite in if full { &SUITES[..] } else { &SUITES[..1] } {
        tally.tests(&format!("whole machines, {suite}"), tests(suite, filter))?;
    }
    Ok(tally.finish())
}
