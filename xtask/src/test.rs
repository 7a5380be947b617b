//! `cargo xtask test`, `verify` and `figures`.

use std::io::{BufRead, BufReader};
use std::panic::resume_unwind;
use std::process::{ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::command::{Run, cargo, program, root};
use crate::kernel::{self, Group, Outcome};
use crate::{setup, system, userns};

/// What was done so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    steps: Vec<(String, String, Duration)>,
}

impl Tally {
    /// Does something that must succeed, and is no test.
    pub(crate) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n== {name}");
        let begun = Instant::now();
        let done = work()?;
        self.steps.push((name.to_owned(), "done".to_owned(), begun.elapsed()));
        Ok(done)
    }

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

    /// Counts a group of the tests on the real kernel.
    fn group(&mut self, group: &Group, outcome: &Outcome) {
        let Outcome { passed, failed, took } = *outcome;
        self.passed += passed;
        self.failed += failed;
        let outcome = format!("{passed} passed, {failed} failed");
        self.steps.push((group.name.clone(), outcome, took));
    }

    /// Ends with what was counted; what kept the rest from running counts as a failure.
    fn conclude(mut self, outcome: Result<()>) -> ExitCode {
        if let Err(error) = outcome {
            println!("\nerror: {error:#}");
            self.failed += 1;
        }
        self.finish()
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
    let outcome = everything(&mut tally, filter);
    Ok(tally.conclude(outcome))
}

fn everything(tally: &mut Tally, filter: Option<&str>) -> Result<()> {
    let [together, alone] = tally.step("build", || kernel::groups(filter))?;
    // These wait for most of their time. What only computes takes the processors that they leave.
    let outcome = thread::scope(|scope| {
        let beside = scope.spawn(|| together.run());
        if filter.is_none() {
            checks(tally, Run::patient)?;
        }
        // All targets, and not the examples in documents: there are none.
        let plain =
            cargo("test").args(["--workspace", "--all-targets", "--no-fail-fast"]).args(filter);
        tally.tests("unit tests, vectors, simulator", plain.patient())?;
        if filter.is_none() {
            oracle(tally)?;
        }
        beside.join().unwrap_or_else(|panic| resume_unwind(panic))
    })?;
    tally.group(&together, &outcome);
    tally.group(&alone, &alone.run()?);
    if filter.is_none() {
        system::quick(tally)?;
    }
    Ok(())
}

/// The tests on the real kernel, or those whose file and name contain `filter`.
pub(crate) fn kernel(filter: Option<&str>) -> Result<ExitCode> {
    setup::check(setup::TOOLS)?;
    let mut tally = Tally::default();
    let outcome = tally.step("build", || kernel::groups(filter)).and_then(|groups| {
        groups.iter().try_for_each(|group| group.run().map(|outcome| tally.group(group, &outcome)))
    });
    Ok(tally.conclude(outcome))
}

/// What needs no rights and little time.
pub(crate) fn verify() -> Result<ExitCode> {
    let mut tally = Tally::default();
    checks(&mut tally, |run| run)?;
    let structure = cargo("test").args(["-q", "--workspace", "--test", "structure"]);
    tally.tests("structure", structure)?;
    oracle(&mut tally)?;
    Ok(tally.finish())
}

fn checks(tally: &mut Tally, how: impl Fn(Run) -> Run) -> Result<()> {
    tally.single("format", how(cargo("fmt").args(["--all", "--check"])))?;
    let clippy = ["--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    tally.single("lints", how(cargo("clippy").args(clippy)))
}

/// The implementation in Python must reproduce every vector.
fn oracle(tally: &mut Tally) -> Result<()> {
    tally.single("oracle in Python", program("python3").args(["tests/oracle/check_vectors.py"]))
}

/// The tests that measure, `runs` times each.
pub(crate) fn figures(runs: usize) -> Result<ExitCode> {
    setup::check(setup::TOOLS)?;
    kernel::groups(None)?;
    let file = root().join("target/figures.txt");
    if let Err(error) = std::fs::remove_file(&file)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error).context(file.display().to_string());
    }
    let mut tests = cargo("test").args(["--workspace", "--no-fail-fast"]);
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
