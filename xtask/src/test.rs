//! `cargo xtask test`, `verify` and `figures`.

use std::io::{BufRead, BufReader};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::command::{Run, cargo, program, root};
use crate::{setup, system, userns};

/// What was done so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    steps: Vec<(String, String, Duration)>,
}

impl Tally {
    /// Runs something that counts as one test.
    pub(crate) fn single(&mut self, name: &str, run: Run) -> Result<()> {
        println!("\n== {name}");
        let begun = Instant::now();
        let good = run.status()?.success();
        if good {
            self.passed += 1
        } else {
            self.failed += 1
        }
        let outcome = if good { "passed" } else { "FAILED" };
        self.steps.push((name.to_owned(), outcome.to_owned(), begun.elapsed()));
        Ok(())
    }

    /// Runs `cargo test`, and adds up what its test programs say.
    pub(crate) fn tests(&mut self, name: &str, run: Run) -> Result<()> {
        println!("\n== {name}");
        let begun = Instant::now();
        let mut command = run.into_inner();
        let mut child = command.stdout(Stdio::piped()).spawn().context("cargo test")?;
        let output = BufReader::new(child.stdout.take().context("stdout")?);
        let (mut passed, mut failed) = (0, 0);
        for line in output.lines() {
            let line = line?;
            println!("{line}");
            if let Some(result) = line.trim_start().strip_prefix("test result: ") {
                passed += number_before(result, " passed");
                failed += number_before(result, " failed");
            }
        }
        let status = child.wait()?;
        // Something failed before any test could say so: a program that does not build or dies.
        if !status.success() && failed == 0 {
            failed = 1;
        }
        self.passed += passed;
        self.failed += failed;
        let outcome = format!("{passed} passed, {failed} failed");
        self.steps.push((name.to_owned(), outcome, begun.elapsed()));
        Ok(())
    }

    /// Prints what came of it; the last line is for machines.
    pub(crate) fn finish(&self) -> ExitCode {
        println!();
        for (name, outcome, took) in &self.steps {
            println!("{name:44} {outcome:24} {:6.1} s", took.as_secs_f64());
        }
        println!("\n{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The number that stands before `word` in a line of `cargo test`.
fn number_before(line: &str, word: &str) -> usize {
    let before = line.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Everything, or everything whose name contains `filter`.
pub(crate) fn run(filter: Option<&str>) -> Result<ExitCode> {
    setup::check(setup::TOOLS)?;
    let mut tally = Tally::default();
    if filter.is_none() {
        checks(&mut tally)?;
    }
    let plain = cargo("test").args(["--workspace", "--no-fail-fast"]);
    tally.tests("unit tests, vectors, simulator", plain.args(filter))?;
    if filter.is_none() {
        oracle(&mut tally)?;
    }
    // The programs that the tests on the kernel run.
    cargo("build").args(["-p", "nlbd", "-p", "nlbctl", "-p", "nlb-sim"]).succeed()?;
    tally.tests("the real kernel, in namespaces", on_kernel()?.args(filter))?;
    if filter.is_none() {
        system::quick(&mut tally)?;
    }
    Ok(tally.finish())
}

/// The tests in namespaces, one at a time: they measure milliseconds.
fn on_kernel() -> Result<Run> {
    let tests = cargo("test").args(["-p", "nlb-tests", "--tests", "--no-fail-fast", "--"]);
    userns::with_rights(tests.args(["--ignored", "--test-threads=1"]))
}

/// What needs no rights and little time.
pub(crate) fn verify() -> Result<ExitCode> {
    let mut tally = Tally::default();
    checks(&mut tally)?;
    let structure = cargo("test").args(["-q", "-p", "nlb-tests", "--test", "structure"]);
    tally.tests("structure", structure)?;
    oracle(&mut tally)?;
    Ok(tally.finish())
}

fn checks(tally: &mut Tally) -> Result<()> {
    tally.single("format", cargo("fmt").args(["--all", "--check"]))?;
    let clippy = ["--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    tally.single("lints", cargo("clippy").args(clippy))
}

/// The implementation in Python must reproduce every vector.
fn oracle(tally: &mut Tally) -> Result<()> {
    tally.single("oracle in Python", program("python3").args(["tests/oracle/check_vectors.py"]))
}

/// The tests that measure, `runs` times each.
pub(crate) fn figures(runs: usize) -> Result<ExitCode> {
    setup::check(setup::TOOLS)?;
    cargo("build").args(["-p", "nlbd", "-p", "nlbctl"]).succeed()?;
    let file = root().join("target/figures.txt");
    if let Err(error) = std::fs::remove_file(&file)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error).context(file.display().to_string());
    }
    let mut tests = cargo("test").args(["-p", "nlb-tests", "--no-fail-fast"]);
    for name in ["idle", "takeover", "planned", "sessions", "handover", "repair"] {
        tests = tests.args(["--test", name]);
    }
    let tests = tests
        .args(["--", "--ignored", "--test-threads=1"])
        .env("NLB_RUNS", runs.to_string())
        .env("NLB_FIGURES", &file);
    let mut tally = Tally::default();
    tally.tests("measurements", userns::with_rights(tests)?)?;
    println!("\n{}", std::fs::read_to_string(&file).unwrap_or_default());
    Ok(tally.finish())
}
