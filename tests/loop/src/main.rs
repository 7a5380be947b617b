//! Draws what weights do under load, and says it in a table: `cargo run -rp nlb-loop`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Parser;
use nlb_loop::plot::{Line, Picture, draw};
use nlb_loop::stats::{mean, swing, within};
use nlb_loop::{Arrivals, Law, Run, Setting, run};
use nlbd::weight::WeightSource;

/// What part of the whole is asked for.
const LOADS: [f64; 6] = [0.3, 0.5, 0.7, 0.8, 0.9, 0.95];
/// Every run begins with this load, and goes over to its own at this second.
const BEFORE: f64 = 0.3;
const STEP_S: u64 = 120;
/// By this second the step has settled: latencies and shares count from here on.
const SETTLED_S: u64 = STEP_S + 60;

/// Runs servers of strength 1, 2 and 4 under load and draws what the weights make of it.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the pictures and the table go.
    #[arg(long, default_value = "docs/weights")]
    out: PathBuf,
    /// The seed of everything.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long a run is, in seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let mut table = String::from(
        "| clients | load | weights | p50 ms | p99 ms | shares | within 5 % | swing | changes |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    let mut laws = vec![Law::Equal, Law::Original];
    laws.extend(WeightSource::MEASURED.map(Law::Daemon));
    for arrivals in [Arrivals::Poisson, Arrivals::Bursts, Arrivals::Heavy] {
        let mut latencies: Vec<Line> = Vec::new();
        for law in &laws {
            let mut line = Vec::new();
            for load in LOADS {
                let steps = vec![(0, BEFORE), (STEP_S, load)];
                let setting = setting(&arguments, arrivals, steps, *law);
                let outcome = run(&setting);
                line.push((load, outcome.latency_ms(99.0)));
                table.push_str(&row(arrivals, load, *law, &outcome));
            }
            latencies.push((law.name().to_owned(), line));
        }
        let name = format!("latency-{}.svg", word(arrivals));
        let picture = Picture {
            title: &format!("99th percentile of the latency, arrivals: {}", word(arrivals)),
            axes: ("load, as a part of what all servers can do", "ms"),
            height: (1.0, 1_000_000.0),
            logarithmic: true,
            lines: &latencies,
        };
        draw(&arguments.out.join(name), &picture)?;
    }
    for law in laws {
        let steps = vec![(0, BEFORE), (STEP_S, 0.95), (STEP_S * 3, 0.6)];
        let outcome = run(&setting(&arguments, Arrivals::Poisson, steps, law));
        let lines: Vec<Line> = outcome.shares.iter().enumerate().map(line).collect();
        let picture = Picture {
            title: &format!(
                "shares, weights: {}; load 30 %, 95 % from {STEP_S} s, 60 % from {} s",
                law.name(),
                STEP_S * 3
            ),
            axes: ("seconds", "share"),
            height: (0.0, 1.0),
            logarithmic: false,
            lines: &lines,
        };
        draw(&arguments.out.join(format!("shares-{}.svg", law.name())), &picture)?;
    }
    std::fs::write(arguments.out.join("table.md"), &table)?;
    print!("{table}");
    Ok(())
}

fn setting(arguments: &Arguments, arrivals: Arrivals, load: Vec<(u64, f64)>, law: Law) -> Setting {
    Setting {
        cores: vec![1.0, 2.0, 4.0],
        load,
        arrivals,
        law,
        length: arguments.seconds,
        from: SETTLED_S,
        seed: arguments.seed,
    }
}

#[allow(clippy::cast_precision_loss)] // seconds
fn line((node, shares): (usize, &Vec<f64>)) -> Line {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (second, share) in shares.iter().enumerate() {
        let now = second as f64;
        match points.as_mut_slice() {
            // A share that stays is two points, however long it does.
            [.., (_, before), (until, last)] if before == share && last == share => *until = now,
            _ => points.push((now, *share)),
        }
    }
    (format!("{} core(s)", 1 << node), points)
}

fn word(arrivals: Arrivals) -> &'static str {
    match arrivals {
        Arrivals::Poisson => "poisson",
        Arrivals::Bursts => "bursts",
        Arrivals::Heavy => "heavy",
    }
}

fn row(arrivals: Arrivals, load: f64, law: Law, outcome: &Run) -> String {
    let from = usize::try_from(SETTLED_S).unwrap_or(0);
    let settled: Vec<&[f64]> = outcome.shares.iter().map(|all| all.split_at(from).1).collect();
    let worst = settled.iter().map(|shares| within(shares, 0.05)).fold(1.0, f64::min);
    let swings = settled.iter().map(|shares| swing(shares)).fold(0.0, f64::max);
    let means: Vec<String> =
        settled.iter().map(|shares| format!("{:.1}", mean(shares) * 100.0)).collect();
    let mut row = String::new();
    let _ = writeln!(
        row,
        "| {} | {:.0} % | {} | {:.1} | {:.1} | {} | {:.0} % | {:.2} | {} |",
        word(arrivals),
        load * 100.0,
        law.name(),
        outcome.latency_ms(50.0),
        outcome.latency_ms(99.0),
        means.join(" "),
        worst * 100.0,
        swings,
        outcome.changes,
    );
    row
}
