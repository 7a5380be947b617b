//! `cargo xtask test-system`: the packages, installed and used on whole machines.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use anyhow::{Result, anyhow};
use nix::unistd::geteuid;
use nlb_system::image;

use crate::command::{Run, cargo, program, root};
use crate::dist::Packages;
use crate::test::Tally;
use crate::{dist, setup, userns};

/// The suites of Debian that the full form runs in.
const SUITES: [&str; 2] = ["bookworm", "trixie"];

/// Builds packages and has them judged; runs the tests on machines: those of the first suite, or
/// all, with virtual ones.
///
/// # Errors
/// When a tool is missing or something does not build.
fn all(tally: &mut Tally, full: bool, filter: Option<&str>) -> Result<()> {
    let forbidden = forbidden();
    let suites = if full { &SUITES[..] } else { &SUITES[..1] };
    // Compilers work while mirrors are waited for.
    tally.step("packages, tools and images", || {
        thread::scope(|scope| {
            let machines = scope.spawn(|| {
                setup::check(setup::SYSTEM_TOOLS)?;
                if full {
                    setup::check(setup::VM_TOOLS)?;
                }
                let images = if forbidden.is_none() { suites } else { &[] };
                images.iter().try_for_each(|suite| image::debian(suite).map(drop))
            });
            dist::build()?;
            machines.join().map_err(|_| anyhow!("tools and images"))?
        })
    })?;
    // The same programs twice: a version to start with, and one to upgrade to.
    let packages = tally.step("packing", || {
        dist::pack("2")?;
        dist::pack("1")
    })?;
    if filter.is_none() {
        judge(tally, &packages)?;
        if full {
            tally.step("the same again", || dist::compare("1", &packages))?;
        }
    }
    if let Some(why) = forbidden {
        println!("\nwhole machines: skipped: {why}");
        return Ok(());
    }
    for suite in suites {
        let tests = tests(suite, filter);
        let tests = if full { tests.env("NLB_SYSTEM_FULL", "1") } else { tests };
        tally.tests(&format!("whole machines, {suite}"), tests)?;
    }
    Ok(())
}

/// What the distributions' own tools say of the packages.
fn judge(tally: &mut Tally, packages: &Packages) -> Result<()> {
    let lintian = program("lintian").args(["--fail-on", "error,warning", "--allow-root"]);
    tally.single("lintian", lintian.args([&packages.deb]))?;
    let rules = root().join("packaging/rpm/rpmlint.toml");
    let rpmlint = program("rpmlint").args(["--strict", "--config"]).args([&rules, &packages.rpm]);
    tally.single("rpmlint", rpmlint)
}

/// Why whole machines cannot run here.
fn forbidden() -> Option<String> {
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
fn tests(suite: &str, filter: Option<&str>) -> Run {
    let tests = cargo("test").args(["-p", "nlb-system", "--tests", "--no-fail-fast", "--"]);
    let tests = tests.args(["--ignored", "--test-threads=1", "--nocapture"]).args(filter);
    tests.env("NLB_SYSTEM_SUITE", suite)
}

/// The quick form, as a part of all tests.
pub(crate) fn quick(tally: &mut Tally) -> Result<()> {
    all(tally, false, None)
}

/// Runs the tests: in the quick form on the first suite, in the full form on all.
pub(crate) fn run(full: bool, filter: Option<&str>) -> Result<ExitCode> {
    let mut tally = Tally::default();
    all(&mut tally, full, filter)?;
    Ok(tally.finish())
}
