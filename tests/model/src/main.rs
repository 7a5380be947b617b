//! `nlb-model`: searches, and says how far.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use nlb_model::step::Memory;
use nlb_model::{Budget, Mutation, Scenario, Search, scenario};

/// Searches every way that a small cluster can go, up to a depth.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask model", version)]
struct Arguments {
    /// What happens; everything, one after the other, if not given.
    #[arg(long, value_enum)]
    scenario: Option<Scenario>,
    /// How many steps of 50 ms.
    #[arg(long, default_value_t = 30)]
    depth: u16,
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(2..=4))]
    nodes: u64,
    /// How many of the following faults together.
    #[arg(long, default_value_t = 2)]
    faults: u8,
    /// Frames that take two steps instead of one.
    #[arg(long, default_value_t = 1)]
    late: u8,
    /// Frames that are lost.
    #[arg(long, default_value_t = 1)]
    lost: u8,
    /// Frames that are doubled.
    #[arg(long, default_value_t = 1)]
    doubled: u8,
    /// Steps for which a kernel keeps a plan waiting.
    #[arg(long, default_value_t = 1)]
    slow: u8,
    /// Processes that die.
    #[arg(long, default_value_t = 1)]
    crashes: u8,
    /// Processes that stop, and go on at any time.
    #[arg(long, default_value_t = 1)]
    stops: u8,
    /// Packets of the two clients together.
    #[arg(long, default_value_t = 1)]
    packets: u8,
    /// Make this mistake: the search must find what it breaks.
    #[arg(long, value_enum)]
    mutate: Option<Mutation>,
    /// The most states in one step.
    #[arg(long, default_value_t = 5_000_000)]
    states: usize,
    /// The longest that a scenario is searched, in seconds.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen = arguments.scenario.map_or_else(|| Scenario::ALL.to_vec(), |one| vec![one]);
    let mut found = false;
    for scenario in chosen {
        found |= search(scenario, &arguments);
    }
    if found { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[expect(clippy::disallowed_methods, reason = "how long a search takes is told, not searched")]
fn search(scenario: Scenario, arguments: &Arguments) -> bool {
    let budget = Budget {
        faults: arguments.faults,
        late: arguments.late,
        lost: arguments.lost,
        doubled: arguments.doubled,
        slow: arguments.slow,
        crashes: arguments.crashes,
        stops: arguments.stops,
        packets: arguments.packets,
        orders: 0,
    };
    println!(
        "{scenario:?}: {} nodes, {} steps of 50 ms; any order; at most {} faults: {} frames late, {} lost, \
         {} doubled, {} plans late, {} crashes, {} stops; {} packets of 2 clients",
        arguments.nodes,
        arguments.depth,
        budget.faults,
        budget.late,
        budget.lost,
        budget.doubled,
        budget.slow,
        budget.crashes,
        budget.stops,
        arguments.packets
    );
    let begun = Instant::now();
    let limit = Duration::from_secs(arguments.seconds);
    let mut memory = Memory::default();
    let start = scenario::start(scenario, arguments.nodes, budget, &mut memory);
    let mut search = Search::new(start, memory, arguments.mutate);
    let report = search.run(
        arguments.depth,
        arguments.states,
        || begun.elapsed() > limit,
        |depth, states| {
            println!("  {depth:>3} {states:>9} {:>7.1} s", begun.elapsed().as_secs_f64())
        },
    );
    let how = if report.complete { "all" } else { "not all: the bound on states or time was met" };
    println!(
        "  {} steps ({how}), {} states, {} transitions, {} node states, {} events, {:.1} s",
        report.depth,
        report.states,
        report.transitions,
        report.node_states,
        report.acts,
        begun.elapsed().as_secs_f64()
    );
    if let Some((violation, trace)) = &report.violation {
        println!("  VIOLATION: {violation:?}");
        trace.iter().for_each(|line| println!("  {line}"));
    }
    report.violation.is_some()
}
