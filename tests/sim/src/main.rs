//! `nlb-sim`: many schedules, one again, or a recording of a real engine.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use nlb_sim::{Mutation, Options, Recording, Scenario, Schedule, run};

mod report;

/// Simulates clusters and checks every packet.
#[derive(Debug, Parser)]
#[command(name = "nlb-sim", version)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this one.
    #[arg(long)]
    seed: Option<u64>,
    /// Only this kind of schedule.
    #[arg(long, value_enum)]
    scenario: Option<Scenario>,
    /// Instead: the schedule in this file, as a failed run prints it.
    #[arg(long)]
    schedule: Option<PathBuf>,
    /// Instead: what `nlbctl debug record` wrote, fed to an engine of this build; says where it
    /// does something else than the recorded one. With --trace everything is told.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// With --replay: write the recording anew, with what this engine said.
    #[arg(long, requires = "replay")]
    accept: bool,
    /// Make this mistake: the checkers must find it.
    #[arg(long, value_enum)]
    mutate: Option<Mutation>,
    /// Instead: make every mistake, one after the other, and tell how soon it was found.
    #[arg(long)]
    mutations: bool,
    /// Tell what happens, in its order (one run only).
    #[arg(long)]
    trace: bool,
    /// How many runs at a time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// For so many seconds a failed schedule is reduced to the shortest that fails alike.
    #[arg(long, default_value_t = 60)]
    shrink: u64,
    /// Instead: every set of one or two one-way cuts among so many nodes, every deaf and every
    /// mute node.
    #[arg(long)]
    cuts: Option<usize>,
    /// With --cuts: only the set with this number.
    #[arg(long)]
    set: Option<usize>,
}

impl Arguments {
    fn options(&self) -> Options {
        Options { mutation: self.mutate, trace: self.trace }
    }

    fn seeds(&self) -> core::ops::Range<u64> {
        match self.seed {
            Some(seed) => seed..seed + 1,
            None => self.from..self.from.saturating_add(self.seeds),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let good = match (&arguments.replay, &arguments.schedule, arguments.cuts) {
        (Some(path), _, _) => replay(path, &arguments),
        (None, Some(path), _) => file(path, &arguments),
        (None, None, Some(nodes)) => report::cuts(nodes, &arguments),
        (None, None, None) if arguments.mutations => report::mutations(&arguments),
        (None, None, None) => schedules(&arguments),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn file(path: &std::path::Path, arguments: &Arguments) -> bool {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
    match text.and_then(|text| Schedule::from_text(&text)) {
        Ok(schedule) => {
            let outcome = run(&schedule, arguments.options());
            match &outcome.violation {
                Some(violation) => println!("{violation:?}"),
                None => println!("no violation; {} events", outcome.events),
            }
            outcome.violation.is_none()
        }
        Err(error) => {
            eprintln!("error: {}: {error}", path.display());
            false
        }
    }
}

fn replay(path: &std::path::Path, arguments: &Arguments) -> bool {
    let told = std::fs::read_to_string(path).map_err(|error| error.to_string()).and_then(|text| {
        let recording = Recording::replay(&text).map_err(|error| error.to_string())?;
        recording.print(arguments.trace);
        if arguments.accept {
            std::fs::write(path, recording.text()).map_err(|error| error.to_string())?;
        }
        Ok(recording.is_as_recorded() || arguments.accept)
    });
    told.unwrap_or_else(|error| {
        eprintln!("error: {}: {error}", path.display());
        false
    })
}

fn schedules(arguments: &Arguments) -> bool {
    let chosen: Vec<Scenario> =
        arguments.scenario.map_or_else(|| Scenario::ALL.to_vec(), |one| vec![one]);
    let mut good = true;
    for scenario in chosen {
        let sum = report::Sum::of(scenario, arguments);
        sum.print(scenario, arguments);
        good &= sum.bad.is_empty();
        if let Some(seed) = sum.bad.first().filter(|_| arguments.shrink > 0) {
            let limit = Duration::from_secs(arguments.shrink);
            report::shrunk(&scenario.schedule(*seed), arguments.options(), limit);
        }
    }
    good
}
