//! Draws what weights do under load, and says it in a table: `cargo run -rp nlb-loop`.

use std::path::PathBuf;

use clap::Parser;
use nlb_loop::plot::{Line, Picture, draw};
use nlb_loop::stats::{mean, percentile, swing, within};
use nlb_loop::{Arrivals, Law, Run, Setting, run};
use nlbd::weight::WeightSource;

/// What part of the whole is asked for.
const LOADS: [f64; 6] = [0.3, 0.5, 0.7, 0.8, 0.9, 0.95];
/// Every run begins with this load, and goes over to its own at this second.
const BEFORE: f64 = 0.3;
const STEP_S: u64 = 120;
/// Sessions of ten requests last ten seconds.
const THINKING_S: f64 = 1.0;
/// By this second the step has settled: latencies and shares count from here on.
const SETTLED_S: u64 = STEP_S + 60;

/// Runs servers of strength 1, 2 and 4 under load and draws what the weights make of it.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the pictures and the table go.
    #[arg(long, default_value = "docs/weights")]
    out: PathBuf,
    /// The first seed; everything comes from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds the table is made of.
    #[arg(long, default_value_t = 2)]
    seeds: u64,
    /// How long a run is, in seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let mut table = String::from(
        "| clients | load | weights | p50 ms | p99 ms | worst p99 | shares | within 5 % | worst | \
         swing | changes |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut laws = vec![Law::Equal, Law::Original];
    laws.extend(WeightSource::MEASURED.map(Law::Daemon));
    for arrivals in [Arrivals::Poisson, Arrivals::Bursts, Arrivals::Heavy] {
        let mut latencies: Vec<Line> = Vec::new();
        for law in &laws {
            let mut line = Vec::new();
            for load in LOADS {
                let steps = vec![(0, BEFORE), (STEP_S, load)];
                let figures =
                    Figures::of(&setting(&arguments, arrivals, steps, *law), arguments.seeds);
                line.push((load, figures.p99));
                table.push_str(&figures.row(arrivals, load, *law));
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
        thinking: THINKING_S,
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

/// What all seeds of a setting came to.
struct Figures {
    p50: f64,
    p99: f64,
    worst_p99: f64,
    shares: Vec<f64>,
    within: f64,
    least_within: f64,
    swing: f64,
    changes: usize,
}

impl Figures {
    /// Runs as many seeds as are asked for, two at a time.
    fn of(setting: &Setting, seeds: u64) -> Self {
        let settings: Vec<Setting> = (0..seeds)
            .map(|more| Setting { seed: setting.seed + more, ..setting.clone() })
            .collect();
        let mut runs: Vec<Run> = Vec::new();
        for pair in settings.chunks(2) {
            std::thread::scope(|scope| {
                let threads: Vec<_> =
                    pair.iter().map(|setting| scope.spawn(move || run(setting))).collect();
                runs.extend(threads.into_iter().filter_map(|thread| thread.join().ok()));
            });
        }
        let of_all = |figure: &dyn Fn(&Run) -> f64| runs.iter().map(figure).collect::<Vec<f64>>();
        let settled = |run: &Run, node: usize| -> Vec<f64> {
            let from = usize::try_from(SETTLED_S).unwrap_or(0);
            run.shares[node].iter().skip(from).copied().collect()
        };
        let nodes = 0..setting.cores.len();
        let strays = of_all(&|run| {
            nodes.clone().map(|node| within(&settled(run, node), 0.05)).fold(1.0, f64::min)
        });
        let swings =
            of_all(&|run| nodes.clone().map(|node| swing(&settled(run, node))).fold(0.0, f64::max));
        let share = |node| mean(&of_all(&|run| mean(&settled(run, node))));
        let p99s = of_all(&|run| run.latency_ms(99.0));
        Self {
            p50: median(of_all(&|run| run.latency_ms(50.0))),
            worst_p99: p99s.iter().copied().fold(0.0, f64::max),
            p99: median(p99s),
            shares: nodes.clone().map(share).collect(),
            within: mean(&strays),
            least_within: strays.into_iter().fold(1.0, f64::min),
            swing: swings.into_iter().fold(0.0, f64::max),
            changes: runs.iter().map(|run| run.changes).max().unwrap_or(0),
        }
    }

    fn row(&self, arrivals: Arrivals, load: f64, law: Law) -> String {
        let shares: Vec<String> =
            self.shares.iter().map(|share| format!("{:.1}", share * 100.0)).collect();
        format!(
            "| {} | {:.0} % | {} | {:.1} | {:.1} | {:.1} | {} | {:.1} % | {:.1} % | {:.2} | {} |\n",
            word(arrivals),
            load * 100.0,
            law.name(),
            self.p50,
            self.p99,
            self.worst_p99,
            shares.join(" "),
            self.within * 100.0,
            self.least_within * 100.0,
            self.swing,
            self.changes,
        )
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    percentile(&values, 50.0)
}
