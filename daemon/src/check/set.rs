//! The checks of one cluster: their tasks, and what they found.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use nlb_engine::{Time, Withdraw};
use nlb_protocol::frame::Health;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::model::{Check, CheckRules, OnFailure, WhenAllFail};
use super::probe::{self, Tools};
use super::verdict::{self, Gauge};

/// Reports that may wait for the supervisor, of all clusters. Checks wait for it, not it for them.
pub const REPORTS: usize = 256;
/// The first run of a check begins within this time: not all at once, and soon enough that a node
/// knows of its service before it joins.
const FIRST_WITHIN: Duration = Duration::from_millis(200);

/// One run of a check has ended.
#[derive(Debug)]
pub struct CheckReport {
    /// Of which cluster.
    pub cluster: Arc<str>,
    number: u64,
    passed: bool,
    message: String,
}

/// A check, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckView {
    /// What is looked at.
    pub name: String,
    /// Whether it passes; `None` before its first run has ended.
    pub passes: Option<bool>,
    /// How long ago that last changed.
    pub changed: Option<Duration>,
    /// What the last run said.
    pub message: String,
    /// How many runs have ended.
    pub runs: u64,
    /// How many of them failed.
    pub failures: u64,
}

/// A check that began to pass or to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// A short name of the event.
    pub kind: &'static str,
    /// In words.
    pub text: String,
}

impl Turn {
    /// Nobody in the cluster is well, and all serve; or that is over.
    #[must_use]
    pub fn nobody_well(begins: bool) -> Self {
        let (kind, text) = if begins {
            let text = "the checks fail on every server: this one serves all the same \
                        (`when_all_fail: Serve`)";
            ("nobody-well", text)
        } else {
            ("somebody-well", "the checks do not fail on every server any more")
        };
        Self { kind, text: text.to_owned() }
    }
}

/// A task that ends with its check.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
struct Entry {
    number: u64,
    check: Arc<Check>,
    gauge: Gauge,
    view: CheckView,
    changed: Option<Time>,
    _task: Task,
}

/// The checks of one cluster. Dropping it ends them.
#[derive(Debug)]
pub struct Checks {
    cluster: Arc<str>,
    rules: CheckRules,
    entries: Vec<Entry>,
    tools: Tools,
    reports: mpsc::Sender<CheckReport>,
    next: u64,
}

impl Checks {
    /// Begins to check.
    #[must_use]
    pub fn start(
        cluster: &str,
        rules: &CheckRules,
        tools: Tools,
        reports: mpsc::Sender<CheckReport>,
    ) -> Self {
        let (cluster, entries) = (cluster.into(), Vec::new());
        let mut checks =
            Self { cluster, rules: CheckRules::default(), entries, tools, reports, next: 0 };
        checks.take_up(rules);
        checks
    }

    /// Goes over to other rules. Checks that are in both go on as if nothing had happened.
    pub fn take_up(&mut self, rules: &CheckRules) {
        let mut old = core::mem::take(&mut self.entries);
        self.rules = rules.clone();
        for check in &rules.checks {
            let known = old.iter().position(|entry| *entry.check == *check);
            let entry = match known {
                Some(index) => old.swap_remove(index),
                None => self.begin(check),
            };
            self.entries.push(entry);
        }
        self.name();
    }

    /// Checks of one kind at one place may differ in what they take: each has a name of its own.
    fn name(&mut self) {
        let mut count: BTreeMap<String, u32> = BTreeMap::new();
        for entry in &mut self.entries {
            let name = entry.check.kind.to_string();
            let number = count.entry(name.clone()).or_default();
            *number += 1;
            entry.view.name = if *number == 1 { name } else { format!("{name} ({number})") };
        }
    }

    fn begin(&mut self, check: &Check) -> Entry {
        self.next += 1;
        let number = self.next;
        let check = Arc::new(check.clone());
        let task = repeat(
            check.clone(),
            self.tools.clone(),
            self.reports.clone(),
            self.cluster.clone(),
            number,
        );
        let view = CheckView {
            name: String::new(), // all get theirs together
            passes: None,
            changed: None,
            message: String::new(),
            runs: 0,
            failures: 0,
        };
        let gauge = Gauge::new(&check.pace);
        Entry {
            number,
            check,
            gauge,
            view,
            changed: None,
            _task: Task(tokio::spawn(task).abort_handle()),
        }
    }

    /// Takes a report in; gives what changed by it, if anything did.
    pub fn take_in(&mut self, report: CheckReport, now: Time) -> Option<Turn> {
        // Of a check that ended meanwhile.
        let entry = self.entries.iter_mut().find(|entry| entry.number == report.number)?;
        let CheckReport { passed, message, .. } = report;
        let view = &mut entry.view;
        view.runs += 1;
        view.failures += u64::from(!passed);
        view.message = message;
        let first = view.passes.is_none();
        if !entry.gauge.note(passed) {
            return None;
        }
        view.passes = entry.gauge.passes();
        entry.changed = Some(now);
        let (name, message) = (&view.name, &view.message);
        let (kind, what) = match (passed, first) {
            (false, _) => ("check-failed", "fails"),
            (true, true) => ("check-passed", "passes"),
            (true, false) => ("check-recovered", "passes again"),
        };
        Some(Turn { kind, text: format!("check {name} {what}: {message}") })
    }

    /// What the checks say of the service.
    #[must_use]
    pub fn health(&self) -> Health {
        verdict::health(self.rules.mode, self.entries.iter().map(|entry| entry.gauge.passes()))
    }

    /// Whether a node whose service is ill goes.
    #[must_use]
    pub fn withdraw(&self) -> Withdraw {
        match (self.rules.on_failure, self.rules.when_all_fail) {
            (OnFailure::Weight(_), _) => Withdraw::Never,
            (OnFailure::Withdraw, WhenAllFail::Serve) => Withdraw::WhileOthersAreWell,
            (OnFailure::Withdraw, WhenAllFail::Withdraw) => Withdraw::Always,
        }
    }

    /// What is to be added to the weight now.
    #[must_use]
    pub fn penalty(&self) -> u16 {
        match self.rules.on_failure {
            OnFailure::Weight(penalty) if self.health() == Health::Ill => penalty,
            OnFailure::Weight(_) | OnFailure::Withdraw => 0,
        }
    }

    /// Every check, in the order of the configuration.
    #[must_use]
    pub fn views(&self, now: Time) -> Vec<CheckView> {
        let view = |entry: &Entry| CheckView {
            changed: entry.changed.map(|at| now.since(at)),
            ..entry.view.clone()
        };
        self.entries.iter().map(view).collect()
    }
}

/// Runs a check for ever: at its interval, whatever a run takes.
async fn repeat(
    check: Arc<Check>,
    tools: Tools,
    reports: mpsc::Sender<CheckReport>,
    cluster: Arc<str>,
    number: u64,
) {
    tokio::time::sleep(jitter(FIRST_WITHIN.min(check.pace.interval))).await;
    let mut interval = tokio::time::interval(check.pace.interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let ran = probe::run(&check, &tools).await;
        let passed = ran.is_ok();
        let message = ran.unwrap_or_else(|failure| failure);
        let report = CheckReport { cluster: cluster.clone(), number, passed, message };
        if reports.send(report).await.is_err() {
            return;
        }
    }
}

/// Any time up to this one.
fn jitter(most: Duration) -> Duration {
    // Without random numbers all begin at once, which is no harm.
    let part = getrandom::u32().unwrap_or(0);
    most.mul_f64(f64::from(part) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
