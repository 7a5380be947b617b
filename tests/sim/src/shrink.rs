//! Reduces a schedule that fails to the shortest that fails alike.

use std::time::{Duration, Instant};

use crate::check::Violation;
use crate::run::run;
use crate::schedule::{Fault, LimitSpec, Schedule};
use crate::world::Options;

/// What was found, and how many runs it took.
#[derive(Debug)]
pub struct Shrunk {
    /// The shortest schedule found.
    pub schedule: Schedule,
    /// How it fails.
    pub violation: Violation,
    /// Runs made.
    pub runs: usize,
}

struct Search {
    best: Schedule,
    violation: Violation,
    options: Options,
    until: Instant,
    runs: usize,
}

/// The shortest schedule that fails as `schedule` does and is found within `limit`; `None` if that
/// one does not fail.
#[must_use]
pub fn shrink(schedule: &Schedule, options: Options, limit: Duration) -> Option<Shrunk> {
    let options = Options { trace: false, ..options };
    let violation = run(schedule, options).violation?;
    #[allow(clippy::disallowed_methods)] // How long a person waits is no part of any run.
    let until = Instant::now() + limit;
    let mut search = Search { best: schedule.clone(), violation, options, until, runs: 1 };
    loop {
        let before = search.best.clone();
        search.drop_faults();
        search.simplify();
        if before == search.best || search.is_over() {
            break;
        }
    }
    Some(Shrunk { schedule: search.best, violation: search.violation, runs: search.runs })
}

impl Search {
    #[allow(clippy::disallowed_methods)]
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Keeps a candidate if it fails alike.
    fn attempt(&mut self, candidate: Schedule) -> bool {
        let starts = |schedule: &Schedule| {
            schedule.faults.iter().any(|timed| matches!(timed.fault, Fault::Boot(_)))
        };
        if candidate == self.best || self.is_over() || !starts(&candidate) {
            return false;
        }
        self.runs += 1;
        match run(&candidate, self.options).violation {
            Some(violation) if violation.is_like(&self.violation) => {
                (self.best, self.violation) = (candidate, violation);
                true
            }
            _ => false,
        }
    }

    fn edit(&mut self, change: impl FnOnce(&mut Schedule)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate);
        self.attempt(candidate)
    }

    /// Without as many nodes as can be, and as many faults: halves first, single ones last. How
    /// the nodes start stays: without them every packet would be lost.
    fn drop_faults(&mut self) {
        for node in (1..=self.best.nodes.len()).rev() {
            self.edit(|schedule| {
                schedule.faults.retain(|timed| !timed.fault.nodes().contains(&node));
            });
        }
        let before = self.best.clients.start_us;
        let starts = self.best.faults.partition_point(|timed| timed.at_us < before);
        let mut size = (self.best.faults.len() - starts).div_ceil(2);
        while size > 0 {
            let mut start = starts;
            while start < self.best.faults.len() {
                let end = (start + size).min(self.best.faults.len());
                if !self.edit(|schedule| drop(schedule.faults.drain(start..end))) {
                    start = end;
                }
            }
            size /= 2;
        }
    }

    /// Fewer clients, no noise, one path.
    fn simplify(&mut self) {
        while self.best.clients.count > 1
            && self.edit(|schedule| schedule.clients.count = schedule.clients.count.div_ceil(2))
        {
        }
        self.edit(|schedule| schedule.network.loss_ppm = 0);
        self.edit(|schedule| schedule.network.doubled_ppm = 0);
        self.edit(|schedule| schedule.network.packet_loss_ppm = 0);
        self.edit(|schedule| schedule.limits = LimitSpec::default());
        let usual = LimitSpec::default();
        self.edit(|schedule| schedule.limits.pins = usual.pins);
        self.edit(|schedule| schedule.limits.sticky = usual.sticky);
        self.edit(|schedule| schedule.limits.held = usual.held);
        self.edit(|schedule| schedule.paths = 1);
        self.edit(|schedule| schedule.min_members = 1);
        self.edit(|schedule| schedule.nodes.iter_mut().for_each(|node| node.drift_ppm = 0));
        self.edit(|schedule| schedule.nodes.iter_mut().for_each(|node| node.offload = true));
        while self.best.nodes.len() > 1
            && self.edit(|schedule| {
                let last = schedule.nodes.len();
                schedule.nodes.pop();
                schedule.faults.retain(|timed| !timed.fault.nodes().contains(&last));
            })
        {}
    }
}
