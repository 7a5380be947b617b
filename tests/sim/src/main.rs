//! `nlb-sim`: many schedules, or one again.

use std::process::ExitCode;

use clap::Parser;
use nlb_sim::{Mutation, Scenario, cuts, run};

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
    /// How many nodes; each scenario has its own number otherwise.
    #[arg(long)]
    nodes: Option<usize>,
    /// Only this kind of schedule.
    #[arg(long, value_enum)]
    scenario: Option<Scenario>,
    /// Make this mistake: the checkers must find it.
    #[arg(long, value_enum)]
    mutate: Option<Mutation>,
    /// Tell what happens.
    #[arg(long)]
    trace: bool,
    /// Instead: every set of one or two one-way cuts among so many nodes, and every deaf node.
    #[arg(long)]
    cuts: Option<usize>,
    /// With --cuts: only the set with this number.
    #[arg(long)]
    set: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let failed = match arguments.cuts {
        Some(nodes) => enumerate(nodes, &arguments),
        None => schedules(&arguments),
    };
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn schedules(arguments: &Arguments) -> bool {
    let chosen: Vec<Scenario> =
        arguments.scenario.map_or_else(|| Scenario::ALL.to_vec(), |one| vec![one]);
    let seeds = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => arguments.from..arguments.from + arguments.seeds,
    };
    let mut failed = false;
    for scenario in chosen {
        let nodes = arguments.nodes.unwrap_or(scenario.nodes());
        let (mut events, mut frames, mut bad, mut wait) = (0, 0, 0, 0);
        let (mut sent, mut answered, mut across) = (0, 0, (0, 0));
        let (mut served, mut most) = ((0, 0), 0);
        let mut first_bad = None;
        for seed in seeds.clone() {
            let outcome = run(scenario, seed, nodes, arguments.mutate, arguments.trace);
            events += outcome.events;
            frames += outcome.frames;
            sent += outcome.packets.0;
            answered += outcome.packets.1;
            across.0 += u64::from(outcome.across_cuts.0 > 0);
            across.1 += outcome.across_cuts.0;
            served = (served.0 + outcome.served.0, served.1 + outcome.served.1);
            most = most.max(outcome.most_frames);
            wait = wait.max(outcome.waits.0);
            if let Some(violation) = outcome.violations.first() {
                bad += 1;
                first_bad.get_or_insert(seed);
                if bad <= 5 {
                    println!("seed {seed}: {} violations: {violation:?}", outcome.violations.len());
                    println!("  {}", replay(scenario, seed, nodes, arguments.mutate));
                }
            }
        }
        failed |= bad > 0;
        #[allow(clippy::cast_precision_loss)]
        let share = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
        println!(
            "{:10} {nodes} nodes, {} seeds, {bad} bad (first {first_bad:?}); {events} events, \
             {frames} frames (at most {most} of a node in dead-after); {:.3} % of {sent} packets \
             answered, longest wait {} ms; {:.2} % of the buckets served; answered twice across \
             cuts: {} in {} seeds",
            scenario.word(),
            seeds.clone().count(),
            share(answered as u64, sent as u64),
            wait / 1_000_000,
            share(served.0, served.1),
            across.1,
            across.0,
        );
    }
    failed
}

fn replay(scenario: Scenario, seed: u64, nodes: usize, mutation: Option<Mutation>) -> String {
    use clap::ValueEnum;
    let mutate = mutation
        .and_then(|mutation| mutation.to_possible_value())
        .map(|value| format!(" --mutate {}", value.get_name()))
        .unwrap_or_default();
    let word = scenario.word();
    format!("cargo xtask sim --seed {seed} --nodes {nodes} --scenario {word}{mutate} --trace")
}

fn enumerate(nodes: usize, arguments: &Arguments) -> bool {
    let mut failed = false;
    let mut times = Vec::new();
    let (mut events, mut across) = (0, 0);
    let sets = cuts::all(nodes);
    for (number, (set, deaf)) in sets.iter().enumerate() {
        if arguments.set.is_some_and(|wanted| wanted != number) {
            continue;
        }
        let seed = arguments.seed.unwrap_or(number as u64);
        let settled = cuts::run(nodes, set, *deaf, seed, 20, arguments.mutate, arguments.trace);
        times.push(settled.after_ms);
        events += settled.events;
        across += settled.across_cuts;
        if settled.across_cuts > 0 || settled.after_ms > 3000 {
            let (ms, twice) = (settled.after_ms, settled.across_cuts);
            println!("cuts {set:?} deaf {deaf:?}: settled after {ms} ms, answered twice {twice}");
        }
        if let Some(violation) = settled.violations.first() {
            failed = true;
            println!("cuts {set:?} deaf {deaf:?}: {violation:?}");
            println!("  cargo xtask sim --cuts {nodes} --set {number} --seed {seed} --trace");
        }
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or(0);
    println!(
        "{nodes} nodes, {} sets of cuts: settled after {} ms (median), {} ms (95 %), {} ms (most); \
         {events} events; answered twice across cuts: {across}",
        times.len(),
        at(50),
        at(95),
        times.last().copied().unwrap_or(0),
    );
    failed
}
