//! Many checks, and commands that misbehave, in a cluster that serves: what they cost, and that
//! nobody notices them.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::report;
use nlb_tests::lab::{LabOptions, SERVICE4};
use nlb_tests::service::{ECHO, HTTP};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::wait_until;

const LIMIT: Duration = Duration::from_secs(20);
/// How long misbehaving commands are watched.
const WATCHED: Duration = Duration::from_secs(6);
/// Processes that one of them may have at an instant: 20 of its own, twice where one run is being
/// ended while the next begins.
const MOST: usize = 50;
/// What their runner may keep in memory, whatever they write.
const MOST_KIB: u64 = 32 * 1024;

/// Gives the first node these checks by a reload.
fn check(cluster: &Cluster, checks: &str) -> Result<()> {
    let node = &cluster.nodes[0];
    let text = std::fs::read_to_string(node.config())?;
    let lines = text.lines().filter(|line| !line.contains("checks: ["));
    let plain = lines.collect::<Vec<_>>().join("\n") + "\n";
    let with = format!("checks: [{checks}], on_failure: Weight(1),\n            mode:");
    let text = if checks.is_empty() { plain } else { plain.replacen("mode:", &with, 1) };
    // The short line of an earlier call goes with its checks.
    node.configure(&text)?;
    node.ctl(&["reload"]).map(drop)
}

/// One process, as the kernel tells it.
#[derive(Debug)]
struct Process {
    id: i32,
    parent: i32,
    state: char,
    line: String,
}

fn processes() -> Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Those that end meanwhile are not there.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let after = stat.rsplit_once(')').context("stat")?.1;
        let mut fields = after.split_whitespace();
        let state = fields.next().and_then(|field| field.chars().next()).context("state")?;
        let parent = fields.next().context("parent")?.parse()?;
        all.push(Process { id, parent, state, line: String::from_utf8_lossy(&line).into_owned() });
    }
    Ok(all)
}

/// The process that runs the commands of the first node's checks.
fn runner(cluster: &Cluster) -> Result<i32> {
    let daemon = cluster.nodes[0].pid()?.as_raw();
    let all = processes()?;
    let found = all.iter().find(|one| one.parent == daemon && one.line.contains("run-commands"));
    Ok(found.context("no runner of commands")?.id)
}

/// User and system time of a process, and of the children that it has waited for.
fn cpu_time(id: i32) -> Result<[Duration; 2]> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').context("stat")?.1.split_whitespace().collect();
    let ticks = fields.get(11..15).context("stat")?.iter().map(|field| field.parse::<u64>());
    let ticks: Vec<u64> = ticks.collect::<Result<_, _>>()?;
    Ok([ticks[0] + ticks[1], ticks[2] + ticks[3]].map(|ticks| Duration::from_millis(ticks * 10)))
}

/// What it takes at least to start a program [`CHECKS`] times a second, from a loop that does
/// nothing else: a part of a core.
fn floor(length: Duration) -> Result<f64> {
    let used = || -> Result<i64> {
        let both = [UsageWho::RUSAGE_THREAD, UsageWho::RUSAGE_CHILDREN].map(getrusage);
        let times = both.into_iter().map(|usage| {
            usage.map(|usage| (usage.user_time() + usage.system_time()).num_microseconds())
        });
        Ok(times.sum::<Result<i64, _>>()?)
    };
    let (before, begun, mut runs) = (used()?, Instant::now(), 0_u32);
    while begun.elapsed() < length {
        ensure!(Command::new("/bin/true").env_clear().status()?.success(), "/bin/true");
        runs += 1;
        std::thread::sleep(Duration::from_secs(1) / CHECKS);
    }
    // On a busy machine each takes a while: what one costs counts, not how many there were.
    let one = Duration::from_micros(u64::try_from(used()? - before)?) / runs;
    Ok((one * CHECKS).as_secs_f64() * 100.0)
}

/// The oldest heartbeat of n1 that n2 sees within this time.
fn oldest_heartbeat(cluster: &Cluster, time: Duration) -> Result<u64> {
    let (begun, mut oldest) = (Instant::now(), 0);
    while begun.elapsed() < time {
        let status = cluster.nodes[1].status()?;
        oldest = oldest.max(status.node("n1").context("n1")?.last_heard_ms);
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(oldest)
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn commands_that_misbehave_disturb_nobody() {
    Cluster::test(&LabOptions::default(), &ClusterSpec::default(), &[100; 3], |cluster| {
        let quiet = oldest_heartbeat(cluster, WATCHED / 3)?;
        // A number of seconds that nobody else sleeps: by it they are found.
        let mark = format!("{}", 2_000_000 + std::process::id());
        let scripts = [
            format!("trap '' TERM HUP INT QUIT; sleep {mark} & wait; sleep {mark}"),
            format!("while :; do echo {mark}yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done"),
            format!(
                "for i in 1 2 3 4 5 6 7 8 9; do (setsid sleep {mark} &); sleep {mark} & done; wait"
            ),
        ];
        let one = |script: &String| {
            format!(
                "Command(run: [\"/bin/sh\", \"-c\", \"{script}\"], interval_ms: 1000, \
                 timeout_ms: 300)"
            )
        };
        check(cluster, &scripts.iter().map(one).collect::<Vec<_>>().join(", "))?;
        cluster.nodes[0].wait_status("all to fail", LIMIT, |status| {
            let checks = format!("{:?}", status.rest.get("checks"));
            checks.matches("timed out and was killed").count() == scripts.len()
        })?;
        let (runner, daemon) = (runner(cluster)?, cluster.nodes[0].pid()?.as_raw());
        let ours = |one: &Process| one.line.contains(&mark) && one.id != daemon;
        let (mut most, mut most_kib) = (0, 0);
        let begun = Instant::now();
        let mut oldest = 0;
        while begun.elapsed() < WATCHED {
            oldest = oldest.max(oldest_heartbeat(cluster, Duration::from_millis(300))?);
            most = most.max(processes()?.iter().filter(|one| ours(one)).count());
            let status = std::fs::read_to_string(format!("/proc/{runner}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = line.context("VmRSS")?.trim().trim_end_matches("kB").trim().parse()?;
            most_kib = most_kib.max(kib);
        }
        report(&format!(
            "{} misbehaving commands: {most} processes at most, runner {most_kib} KiB, oldest \
             heartbeat {quiet} ms before, {oldest} ms meanwhile",
            scripts.len()
        ));
        ensure!(most > 3 && most <= MOST * scripts.len(), "{most} processes");
        ensure!(most_kib < MOST_KIB, "the runner has {most_kib} KiB");
        for node in &cluster.nodes {
            let status = node.status()?;
            ensure!(status.active(), "{}: {status:?}", node.name);
            ensure!(status.counters.get("fenced") == Some(&0), "{}: {status:?}", node.name);
        }
        check(cluster, "")?;
        let gone = || processes().is_ok_and(|all| !all.iter().any(ours));
        wait_until("all of them to be gone", LIMIT, gone)?;
        // Whoever was just killed is nobody's for a moment.
        let dead = |one: &Process| one.state == 'Z' && [runner, daemon].contains(&one.parent);
        wait_until("no zombies", LIMIT, || processes().is_ok_and(|all| !all.iter().any(dead)))
    });
}

/// Checks at once, each every second.
const CHECKS: u32 = 64;
/// Commands may cost so many times what it takes to start and end the processes alone.
const MOST_TIMES: f64 = 1.5;

/// Checks of one kind, all different, all well.
fn many(kind: &str) -> String {
    let one = |number: u32| {
        let pace = format!("interval_ms: 1000, timeout_ms: {}", 900 - number);
        let what = match (kind, number % 4) {
            ("Tcp", _) | ("mixed", 0) => format!("Tcp(port: {HTTP}"),
            ("Http", _) | ("mixed", 1) => format!("Http(port: {HTTP}, status: \"100-599\""),
            ("Udp", _) | ("mixed", 2) => {
                format!("Udp(port: {ECHO}, address: \"{SERVICE4}\", send: \"hello\"")
            }
            ("Command", _) => "Command(run: [\"/bin/true\"]".to_owned(),
            _ => "Process(name: \"nlbd\"".to_owned(),
        };
        format!("{what}, {pace})")
    };
    (0..CHECKS).map(one).collect::<Vec<_>>().join(", ")
}

/// How many runs of checks have ended.
fn runs(cluster: &Cluster) -> Result<u64> {
    let status = cluster.nodes[0].status()?;
    let checks = status.rest.get("checks").and_then(|checks| checks.as_array().cloned());
    let runs = checks.unwrap_or_default().into_iter().filter_map(|check| check["runs"].as_u64());
    Ok(runs.sum())
}

/// What checks cost: a part of one core. Each run of a command is a process, which costs what it
/// costs; the daemon's and the runner's own part is bounded as for all checks, and the whole by what
/// processes cost at least. What is measured should be what is shipped: `NLBD_BIN_DIR=target/release`.
#[test]
#[ignore = "measures for minutes: NLB_SECONDS=60 cargo test -p nlb-tests --test commands -- --ignored"]
fn what_many_checks_cost() {
    let Ok(seconds) = std::env::var("NLB_SECONDS") else {
        return eprintln!("SKIPPED: it measures; NLB_SECONDS says for how long");
    };
    let length = Duration::from_secs(seconds.parse().expect("seconds"));
    Cluster::test(&LabOptions::default(), &ClusterSpec::default(), &[100], |cluster| {
        let mut idle = 0.0;
        for kind in ["none", "Tcp", "Http", "Udp", "Process", "mixed", "Command"] {
            check(cluster, &if kind == "none" { String::new() } else { many(kind) })?;
            if kind != "none" {
                cluster.nodes[0].wait_status("all checks to pass", LIMIT, |status| {
                    let checks = format!("{:?}", status.rest.get("checks"));
                    checks.matches("\"passes\": Bool(true)").count() == CHECKS as usize
                })?;
            }
            let (runner, daemon) = (runner(cluster)?, cluster.nodes[0].pid()?.as_raw());
            let used = || -> Result<[Duration; 2]> {
                let [own, commands] = cpu_time(runner)?;
                Ok([cpu_time(daemon)?[0] + own, commands])
            };
            let (before, ran, begun) = (used()?, runs(cluster)?, Instant::now());
            std::thread::sleep(length);
            let (after, ran, mut took) = (used()?, runs(cluster)? - ran, begun.elapsed());
            if kind != "none" {
                // On a busy machine some come late: what they cost counts, not when.
                let wanted = f64::from(CHECKS) * took.as_secs_f64();
                ensure!(ran as f64 > wanted / 2.0, "{kind}: {ran} runs of {wanted}");
                took = took.mul_f64(ran as f64 / wanted);
            }
            let part = |index: usize| (after[index] - before[index]).div_duration_f64(took) * 100.0;
            let (own, commands) = (part(0), part(1));
            if kind == "none" {
                idle = own;
            }
            let more = own - idle;
            report(&format!(
                "{CHECKS} checks a second, {kind}: {own:.2} % of a core, {more:.2} % more; \
                 commands {commands:.2} %"
            ));
            ensure!(more < 2.0, "{kind}: {more:.2} % of a core");
            if kind == "Command" {
                let floor = floor(length)?;
                let times = (more + commands) / floor;
                report(&format!(
                    "{CHECKS} processes a second: {floor:.2} %; {times:.2} times that"
                ));
                ensure!(times < MOST_TIMES, "{times:.2} times as much as the processes alone");
            }
        }
        Ok(())
    });
}
