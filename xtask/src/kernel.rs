//! The tests on the real kernel: which of them run side by side and which alone, in one place.
//!
//! They wait for timers of the protocol and of TCP far more than they compute, so most of them run
//! some at a time. Each is a process of its own, with namespaces of its own. What a test says is
//! shown when it fails, and stands in `target/kernel` in any case.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::command::{cargo, program, root};
use crate::userns;

/// Which tests run alone, by how `file::test` begins: they measure milliseconds or processor
/// time, or take all of the machine themselves. Whatever is not named here shares the
/// machine: it waits for conditions, and asserts order, counts and ratios.
const ALONE: &[&str] = &[
    "commands::",
    "dbus::a_crowd_",
    "handover::",
    "idle::",
    "pauses::",
    "repair::flushed_rules_",
    "sessions::",
    "takeover::",
    "verdicts::both_paths_",
];

/// Which begin first, because they take longest: whatever ran last would run by itself.
const FIRST: &[&str] = &["weights::a_command_", "weights::sources_", "units::"];

/// How many run side by side on each processor.
const EACH_PROCESSOR: usize = 2;

/// No test takes as long as this, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(300);

/// How often somebody looks whether a test has ended.
const EVERY: Duration = Duration::from_millis(20);

/// The programs that the tests run: cargo builds them with the tests of their own packages.
const PROGRAMS: [&str; 3] = ["nlbd", "nlbctl", "nlb-sim"];

/// One test.
#[derive(Debug, Clone)]
struct Case {
    /// Its file, without ending, and its name there: `takeover::…`.
    words: String,
    name: String,
    program: PathBuf,
}

/// Tests that run under the same conditions.
#[derive(Debug)]
pub(crate) struct Group {
    /// What it is called.
    pub(crate) name: String,
    at_once: usize,
    cases: Vec<Case>,
}

/// What came of the tests of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    /// So many passed.
    pub(crate) passed: usize,
    /// So many failed.
    pub(crate) failed: usize,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Builds the tests whose file and name contain `filter`, in their groups.
///
/// # Errors
/// When something does not build.
pub(crate) fn groups(filter: Option<&str>) -> Result<[Group; 2]> {
    let mut cases = Vec::new();
    for (file, program) in built()? {
        let listed = Command::new(&program).args(["--ignored", "--list"]).output()?;
        ensure!(listed.status.success(), "{}: {}", program.display(), listed.status);
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            let Some(name) = line.strip_suffix(": test") else { continue };
            let words = format!("{file}::{name}");
            cases.push(Case { words, name: name.to_owned(), program: program.clone() });
        }
    }
    for one in ALONE.iter().chain(FIRST) {
        let known = cases.iter().any(|case| case.words.starts_with(one));
        ensure!(known, "xtask/src/kernel.rs names {one}, and no test begins with it");
    }
    cases.sort_by_key(|case| !is_named(FIRST, &case.words));
    cases.retain(|case| filter.is_none_or(|filter| case.words.contains(filter)));
    let (alone, together) = cases.into_iter().partition(|case| is_named(ALONE, &case.words));
    let at_once = EACH_PROCESSOR * thread::available_parallelism()?.get();
    let name = |how: &str| format!("the real kernel, in namespaces, {how}");
    Ok([
        Group { name: name(&format!("{at_once} at once")), at_once, cases: together },
        Group { name: name("alone"), at_once: 1, cases: alone },
    ])
}

/// Whether one of these names a test.
fn is_named(names: &[&str], words: &str) -> bool {
    names.iter().any(|name| words.starts_with(name))
}

/// Builds all tests and the programs that they run; gives those of `tests/tests`, by file.
///
/// Always the whole workspace: of a part of it, cargo would build the dependencies anew with the
/// features that this part asks for.
fn built() -> Result<Vec<(String, PathBuf)>> {
    let words =
        ["--workspace", "--all-targets", "--no-run", "--message-format=json-render-diagnostics"];
    let mut command = cargo("test").args(words).into_inner();
    let output = command.stderr(Stdio::inherit()).output().context("cargo test")?;
    ensure!(output.status.success(), "the tests do not build: {}", output.status);
    let manifest = root().join("tests/Cargo.toml");
    let (mut tests, mut programs) = (Vec::new(), Vec::new());
    for line in String::from_utf8(output.stdout)?.lines() {
        let said: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let target = &said["target"];
        let (Some(path), Some(name)) = (said["executable"].as_str(), target["name"].as_str())
        else {
            continue;
        };
        if target["kind"][0] == "bin" && said["profile"]["test"] == false {
            programs.push(name.to_owned());
        } else if said["manifest_path"].as_str().map(Path::new) == Some(&manifest) {
            tests.push((name.to_owned(), path.into()));
        }
    }
    for name in PROGRAMS {
        ensure!(programs.iter().any(|built| built == name), "cargo test did not build {name}");
    }
    tests.sort();
    Ok(tests)
}

impl Group {
    /// Runs them. Says of each what came of it and how long it took.
    ///
    /// # Errors
    /// When one cannot be started.
    pub(crate) fn run(&self) -> Result<Outcome> {
        println!("\n== {}", self.name);
        let begun = Instant::now();
        let folder = root().join("target/kernel");
        fs::create_dir_all(&folder)?;
        let (next, outcome) = (AtomicUsize::new(0), Mutex::new(Outcome::default()));
        let work = || -> Result<()> {
            while let Some(case) = self.cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                let log = folder.join(format!("{}.log", case.words.replace("::", ".")));
                let begun = Instant::now();
                let ended = case.run(&log)?;
                let took = begun.elapsed().as_secs_f64();
                let said = fs::read(&log)?;
                let said = String::from_utf8_lossy(&said);
                let mut outcome = outcome.lock().unwrap_or_else(|broken| broken.into_inner());
                if let Err(why) = ended {
                    outcome.failed += 1;
                    println!("kernel: {} ... FAILED, {took:.1} s: {why}\n{said}", case.words);
                    continue;
                }
                outcome.passed += 1;
                println!("kernel: {} ... ok, {took:.1} s", case.words);
                for line in said.lines().filter(|line| line.starts_with("SKIPPED")) {
                    println!("     {line}");
                }
            }
            Ok(())
        };
        thread::scope(|scope| -> Result<()> {
            let workers: Vec<_> = (0..self.at_once).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            }
            Ok(())
        })?;
        let outcome = outcome.into_inner().unwrap_or_else(|broken| broken.into_inner());
        Ok(Outcome { took: begun.elapsed(), ..outcome })
    }
}

impl Case {
    /// Runs it; the inner error says how it failed.
    fn run(&self, log: &Path) -> Result<Result<(), String>> {
        let log = File::create(log).with_context(|| log.display().to_string())?;
        let words = ["--exact", &self.name, "--ignored", "--nocapture"];
        let mut command = userns::with_rights(program(&self.program).args(words))?.into_inner();
        // Where cargo would run it.
        command.current_dir(root().join("tests"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().with_context(|| self.program.display().to_string())?;
        let begun = Instant::now();
        loop {
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(Ok(())),
                Some(status) => return Ok(Err(status.to_string())),
                None if begun.elapsed() > LIMIT => {
                    child.kill()?;
                    child.wait()?;
                    return Ok(Err(format!("it has not ended after {LIMIT:?}")));
                }
                None => thread::sleep(EVERY),
            }
        }
    }
}
