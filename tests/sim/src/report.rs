//! Runs many schedules, and prints what came of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use nlb_sim::{Mutation, Options, Outcome, Scenario, Schedule, cuts, run, shrink};

use crate::Arguments;

/// Failed seeds whose violations are printed.
const PRINTED: usize = 5;

/// What many runs have in common.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    runs: u64,
    /// The seeds that failed, in their order.
    pub(crate) bad: Vec<u64>,
    events: u64,
    frames: u64,
    most_sent: (usize, usize),
    packets: (usize, usize),
    longest_wait: u64,
    served: (u64, u64),
    settled: u64,
    parted: (u64, u64),
    one_way: (u64, u64),
    one_way_after: u64,
    overtaken: u64,
}

impl Sum {
    /// Runs the seeds that were asked for, several at a time.
    pub(crate) fn of(scenario: Scenario, arguments: &Arguments) -> Self {
        let sum = Mutex::new(Self::default());
        each(arguments.seeds(), arguments.jobs, |seed| {
            let outcome = run(&scenario.schedule(seed), arguments.options());
            if let Ok(mut sum) = sum.lock() {
                sum.add(scenario, seed, &outcome, arguments);
            }
            true
        });
        let mut sum = sum.into_inner().unwrap_or_default();
        sum.bad.sort_unstable();
        sum
    }

    fn add(&mut self, scenario: Scenario, seed: u64, outcome: &Outcome, arguments: &Arguments) {
        self.runs += 1;
        self.events += outcome.events;
        self.frames += outcome.frames;
        let (frames, bytes) = outcome.most_sent;
        self.most_sent = (self.most_sent.0.max(frames), self.most_sent.1.max(bytes));
        self.packets.0 += outcome.packets.0;
        self.packets.1 += outcome.packets.1;
        self.longest_wait = self.longest_wait.max(outcome.waits.0);
        self.served = (self.served.0 + outcome.served.0, self.served.1 + outcome.served.1);
        self.settled = self.settled.max(outcome.settled);
        let excused = outcome.excused;
        self.parted.0 += u64::from(excused.partition > 0);
        self.parted.1 += excused.partition;
        self.one_way.0 += u64::from(excused.one_way > 0);
        self.one_way.1 += excused.one_way;
        let unit = 1000 * scenario.schedule(seed).dead_after_us;
        let after = excused.one_way_after * 1000 / unit;
        self.one_way_after = self.one_way_after.max(after);
        self.overtaken += excused.overtaken;
        if let Some(violation) = &outcome.violation {
            if self.bad.len() < PRINTED {
                println!("seed {seed}: {violation:?}");
                println!("  {}", replay(scenario, seed, arguments.mutate));
            }
            self.bad.push(seed);
        }
    }

    /// One line, and which seeds failed.
    pub(crate) fn print(&self, scenario: Scenario, _arguments: &Arguments) {
        #[allow(clippy::cast_precision_loss)]
        let share = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
        println!(
            "{:10} {} seeds, {} bad {:?}; {} events, {} frames (at most {} and {} bytes of a node \
             in dead-after); {:.3} % of {} packets answered, longest wait {} ms; {:.2} % of the \
             buckets served; settled within {:.1} % of the bound; answered twice: {} across \
             partitions in {} seeds, {} across one-way cuts in {} seeds, sent at \
             most {} % of dead-after after the links had changed; {} packets lost because a planned \
             change overtook another",
            scenario.word(),
            self.runs,
            self.bad.len(),
            &self.bad[..self.bad.len().min(20)],
            self.events,
            self.frames,
            self.most_sent.0,
            self.most_sent.1,
            share(self.packets.1 as u64, self.packets.0 as u64),
            self.packets.0,
            self.longest_wait / 1_000_000,
            share(self.served.0, self.served.1),
            share(self.settled, 1000),
            self.parted.1,
            self.parted.0,
            self.one_way.1,
            self.one_way.0,
            self.one_way_after / 10,
            self.overtaken,
        );
    }
}

/// Does something for every seed, so many at a time, until it says that this is enough.
fn each(seeds: core::ops::Range<u64>, jobs: usize, act: impl Fn(u64) -> bool + Sync) {
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if !act(seed) {
                stop.store(true, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.clamp(1, 256) {
            scope.spawn(work);
        }
        work();
    });
}

fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn replay(scenario: Scenario, seed: u64, mutation: Option<Mutation>) -> String {
    let mutate = mutation.map(|mutation| format!(" --mutate {}", word(&mutation)));
    let mutate = mutate.unwrap_or_default();
    format!("cargo xtask sim --seed {seed} --scenario {}{mutate} --trace", scenario.word())
}

/// Prints the shortest schedule that fails alike.
pub(crate) fn shrunk(schedule: &Schedule, options: Options, limit: Duration) {
    let faults = schedule.faults.len();
    let Some(shrunk) = shrink::shrink(schedule, options, limit) else { return };
    let (left, runs) = (shrunk.schedule.faults.len(), shrunk.runs);
    println!("\n{left} of {faults} faults are left after {runs} runs: {:?}", shrunk.violation);
    println!("keep this, and replay it with `cargo xtask sim --schedule FILE --trace`:\n");
    match shrunk.schedule.to_text() {
        Ok(text) => println!("{text}"),
        Err(error) => println!("{error}"),
    }
}

/// How soon each mistake is found.
pub(crate) fn mutations(arguments: &Arguments) -> bool {
    let mut good = true;
    println!("| rule | section | taken away | how | found after |\n|---|---|---|---|---|");
    let chosen = Mutation::value_variants().iter();
    for mutation in chosen.filter(|one| arguments.mutate.is_none_or(|wanted| wanted == **one)) {
        let found = search(*mutation, arguments);
        good &= found.is_some();
        let (rule, section, what) = mutation.condition();
        let found = found.map_or_else(
            || format!("not in {}", arguments.seeds),
            |(seeds, scenario, kind)| format!("{seeds} ({}): {kind}", scenario.word()),
        );
        println!("| {rule} | {section} | {what} | `{}` | {found} |", word(mutation));
    }
    good
}

/// The fewest seeds after which a mistake shows, over its scenarios.
fn search(mutation: Mutation, arguments: &Arguments) -> Option<(u64, Scenario, String)> {
    let options = Options { mutation: Some(mutation), trace: false };
    let best: Mutex<Option<(u64, Scenario, String)>> = Mutex::new(None);
    for scenario in mutation.scenarios() {
        let known = best.lock().ok().and_then(|best| best.as_ref().map(|found| found.0));
        let limit = known.unwrap_or(arguments.seeds);
        each(0..limit, arguments.jobs, |seed| {
            let schedule = scenario.schedule(seed);
            let Some(violation) = run(&schedule, options).violation else {
                return true;
            };
            // It is the mistake that shows, not something else.
            if run(&schedule, Options { mutation: None, ..options }).violation.is_some() {
                return true;
            }
            let kind = format!("{violation:?}");
            let kind = kind.split(' ').next().unwrap_or_default().to_owned();
            if let Ok(mut best) = best.lock()
                && best.as_ref().is_none_or(|found| found.0 > seed + 1)
            {
                *best = Some((seed + 1, *scenario, kind));
            }
            false
        });
    }
    best.into_inner().ok().flatten()
}

/// Every set of cuts.
pub(crate) fn cuts(nodes: usize, arguments: &Arguments) -> bool {
    let mut times = Vec::new();
    let (mut good, mut events, mut twice) = (true, 0, 0);
    for (number, set) in cuts::all(nodes).iter().enumerate() {
        if arguments.set.is_some_and(|wanted| wanted != number) {
            continue;
        }
        let seed = arguments.seed.unwrap_or(number as u64);
        let settled = cuts::run(nodes, set, seed, 20, arguments.options());
        times.push(settled.after_ms);
        events += settled.events;
        twice += settled.excused.one_way;
        if settled.excused.one_way > 0 || settled.after_ms > 3000 {
            let (ms, excused) = (settled.after_ms, settled.excused);
            println!("{set:?}: settled after {ms} ms, {excused:?}");
        }
        if let Some(violation) = settled.violation {
            good = false;
            println!("{set:?}: {violation:?}");
            println!("  cargo xtask sim --cuts {nodes} --set {number} --seed {seed} --trace");
        }
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or(0);
    println!(
        "{nodes} nodes, {} sets of cuts: settled after {} ms (median), {} ms (95 %), {} ms (most); \
         {events} events; answered twice across cuts: {twice}",
        times.len(),
        at(50),
        at(95),
        times.last().copied().unwrap_or(0),
    );
    good
}
