//! `cargo xtask chaos`: five servers, hundreds of clients, and everything that can go wrong at
//! random, on the real kernel. The wire is watched; every client's loss must have its cause.

mod backlog;
mod blame;
mod history;
mod run;
mod schedule;
mod verdict;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;
use nlb_tests::cluster::Cluster;
use nlb_tests::lab::LabOptions;
use nlb_tests::load::{Load, LoadSpec, Sources};
use nlb_tests::session::{SessionSpec, Sessions};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::stamp::Stamp;
use nlb_tests::wait::wait_until;

use self::backlog::Backlog;
use self::blame::Blame;
use self::history::History;
use self::run::Runner;
use self::verdict::Verdict;
use crate::command::cargo;
use crate::demo::Stop;
use crate::{setup, userns};

/// The sessions' first source, and the first of the new clients: far from each other.
const FIRST: (u32, u32) = (0, 1_000_000);
/// Weights to begin with.
const WEIGHT: u16 = 100;

/// What `cargo xtask chaos` can be told.
#[derive(Debug, Clone, Args)]
pub(crate) struct Chaos {
    /// How long.
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// Which schedule; a random one if none is given.
    #[arg(long)]
    seed: Option<u64>,
    /// How many servers.
    #[arg(long, default_value_t = 5)]
    nodes: usize,
    /// How many clients with a long session, each asking every 50 ms.
    #[arg(long, default_value_t = 300)]
    sessions: u32,
    /// New connections a second, each from a new address.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Every client that was not seen for so long is forgotten.
    #[arg(long, default_value_t = 60)]
    sticky_idle_s: u32,
    /// Only these kinds of faults, separated by commas; more of them in the same time.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(schedule::KINDS))]
    only: Vec<String>,
    /// Have user space decide for every packet.
    #[arg(long)]
    no_offload: bool,
    /// Keep the servers' logs in this folder.
    #[arg(long)]
    logs: Option<std::path::PathBuf>,
}

/// Runs it.
pub(crate) fn run(chaos: &Chaos) -> Result<ExitCode> {
    ensure!((3..=9).contains(&chaos.nodes), "--nodes: 3 to 9");
    if !userns::inside() {
        setup::check(setup::DEMO_TOOLS)?;
        cargo("build").args(["--quiet", "-p", "nlbd", "-p", "nlbctl"]).succeed()?;
        userns::enter()?;
    }
    let stop = Stop::on_signals()?;
    let clock = Stamp::now().0;
    let seed = chaos.seed.unwrap_or(clock / 1000 % 1_000_000);
    let length = Duration::from_secs(chaos.minutes * 60);
    let plan = schedule::make(seed, length, chaos.nodes, &chaos.only);
    println!(
        "chaos: seed {seed}, {} min, {} servers, {} sessions, {} new connections a second, {} faults",
        chaos.minutes,
        chaos.nodes,
        chaos.sessions,
        chaos.rate,
        plan.len()
    );
    let options = LabOptions { servers: chaos.nodes, lean_watcher: true, ..LabOptions::default() };
    let spec = ClusterSpec {
        sticky_idle_s: Some(chaos.sticky_idle_s),
        ..ClusterSpec::default().offload(!chaos.no_offload)
    };
    let weights = vec![WEIGHT; chaos.nodes];
    let mut cluster = Cluster::new(&options, &spec)?;
    cluster.start(&weights)?;
    let begun = Instant::now();
    let client = cluster.lab.client.clone();
    let sessions = SessionSpec { count: chaos.sessions, first: FIRST.0, every_ipv6: 4 };
    let sessions = Sessions::start(&client, sessions)?;
    let sources = Sources::Fresh { first: FIRST.1 };
    let load =
        Load::start(&client, &LoadSpec { rate: chaos.rate, sources, ..LoadSpec::default() })?;
    wait_until("all sessions", Duration::from_secs(10), || {
        sessions.book().talking.len() == chaos.sessions as usize
    })?;
    let backlog = Backlog::start()?;
    let start = Stamp::now();
    let mut runner = Runner::new(&mut cluster, &weights);
    let played = runner.play(&plan, || stop.is_set());
    let (done, weighed, mut findings) = (runner.done, runner.weighed, runner.findings);
    stop.pause(Duration::from_secs(2));
    let spent = spent(begun.elapsed());
    let attempts = load.finish()?;
    let book = sessions.finish()?;
    let backlog = backlog.finish()?;
    let history = History::read(&cluster.nodes);
    let mut verdict = Verdict::default();
    let lapses = cluster.watcher.ledger().lapses.clone();
    let blame = Blame {
        cluster: &cluster,
        done: &done,
        history: &history,
        weighed: &weighed,
        lapses: &lapses,
        backlog: &backlog,
    };
    verdict.wire(&cluster.watcher, &blame);
    verdict.sessions(&book, &cluster.watcher, &blame);
    verdict.attempts(&attempts, &cluster.watcher, &blame);
    verdict.kills(&book, start, &blame);
    verdict.logs(&blame);
    findings.append(&mut verdict.findings);
    if let Err(error) = played {
        findings.push(format!("the schedule could not be done: {error:#}"));
    }
    if let Some(folder) = &chaos.logs {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        for node in &cluster.nodes {
            std::fs::write(folder.join(format!("{}.log", node.name)), node.log())?;
        }
    }
    // Leftovers: every daemon puts back what it found; the segment looks for processes.
    if let Err(error) = cluster.end() {
        findings.push(format!("leftover: {error:#}"));
    }
    println!("\nseed {seed}, after {} faults", done.len());
    for line in verdict.lines.iter().chain(&spent) {
        println!("{line}");
    }
    for finding in &findings {
        println!("FINDING: {finding}");
    }
    println!("{} findings", findings.len());
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The processor time of this process's threads, by what they do, in parts of one processor.
fn spent(time: Duration) -> Vec<String> {
    let mut sums: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let Some((before, after)) = stat.rsplit_once(')') else { continue };
        let name = before.split_once('(').map_or("", |(_, name)| name);
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        let name = name.rsplit('-').next().unwrap_or(name);
        let ticks = ticks(11).unwrap_or(0) + ticks(12).unwrap_or(0);
        *sums.entry(name.to_owned()).or_default() += ticks;
    }
    let part = |ticks: u64| Duration::from_millis(ticks * 10).as_secs_f64() / time.as_secs_f64();
    let words: Vec<String> = sums
        .into_iter()
        .filter(|(_, ticks)| part(*ticks) > 0.005)
        .map(|(name, ticks)| format!("{name} {:.0} %", 100.0 * part(ticks)))
        .collect();
    vec![format!("{:46} {}", "processor time of the laboratory", words.join(", "))]
}
