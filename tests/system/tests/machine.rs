//! The daemon as a part of its machine: unit, journal, bus, polkit, checks, what it costs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nlb_system::{MEMORY_KB, Machine, Machines};
use nlb_tests::wait::wait_for;

const SOON: Duration = Duration::from_secs(20);
/// What `systemd-analyze security` may say at most.
const EXPOSURE: f64 = 1.4;
/// Several times what it is to take (0.5), which is printed: a machine that others use too makes the
/// same work longer. It shows a daemon that does not rest.
const CPU_PERCENT: f64 = 3.0;
/// How often in a second its threads may be given a processor: half as often again as was measured
/// (31 to 35), and that does not depend on how fast the machine is.
const TURNS: f64 = 50.0;
/// How long that is measured.
const REST: Duration = Duration::from_secs(20);
/// `warm_up_s`, as it is by itself.
const WARMS_UP: Duration = Duration::from_secs(30);
/// Until the load of the start is forgotten, which is averaged over ten seconds: weights follow it.
const FORGETS: Duration = Duration::from_secs(20);

#[test]
#[ignore = "runs whole machines: cargo xtask test-system"]
fn the_daemon_fits_into_its_machine() -> Result<()> {
    Machines::test(3, |all| {
        all.join_all()?;
        let joined = Instant::now();
        let machine = &all.machines[0];
        journal(machine)?;
        bus_and_polkit(machine)?;
        sandbox(machine)?;
        user_and_priority(machine)?;
        settle(joined);
        out_of_step(all)?;
        cost(machine)
    })
}

/// Every line has its fields: administrators search by them.
fn journal(machine: &Machine) -> Result<()> {
    let lines = machine.sh("journalctl -u nlbd NLB_CLUSTER=nlb0 -o cat")?;
    ensure!(!lines.trim().is_empty(), "no line of the journal has NLB_CLUSTER=nlb0");
    println!("journalctl -u nlbd NLB_CLUSTER=nlb0: {} lines", lines.lines().count());
    let errors = machine.sh("journalctl -u nlbd -p err -o cat")?;
    ensure!(errors.trim().is_empty(), "errors were logged: {errors}");
    // Whoever asks the unit how it is reads the same.
    let status = machine.sh("systemctl status --no-pager nlbd")?;
    ensure!(status.contains("active (running)"), "{status}");
    Ok(())
}

/// Everybody reads; an ordinary user changes nothing; members of the group nlbd may.
fn bus_and_polkit(machine: &Machine) -> Result<()> {
    const WEIGHT: &str = "org.nlbd1 /org/nlbd1/cluster/nlb0 org.nlbd1.Cluster";
    machine.sh("useradd -m reader && useradd -m -G nlbd keeper")?;
    let tree = machine.sh("busctl tree org.nlbd1")?;
    ensure!(tree.contains("/org/nlbd1/cluster/nlb0"), "{tree}");
    let read = format!("busctl get-property {WEIGHT} Weight");
    let said = machine.output_as("reader", &read)?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let set = |weight: u32| format!("busctl call {WEIGHT} SetWeight q {weight}");
    let refused = machine.output_as("reader", &set(250))?;
    ensure!(!refused.status.success(), "an ordinary user changed the weight");
    let refused = machine.output_as("reader", "nlbctl set_weight nlb0 250")?;
    ensure!(refused.status.code() == Some(4), "nlbctl: {refused:?}");
    let allowed = machine.output_as("keeper", &set(260))?;
    ensure!(allowed.status.success(), "group nlbd: {allowed:?}");
    ensure!(machine.sh(&read)?.trim() == "q 260");
    machine.sh(&set(100))?;
    ensure!(machine.sh(&read)?.trim() == "q 100");
    Ok(())
}

fn sandbox(machine: &Machine) -> Result<()> {
    let said = machine.sh("systemd-analyze security --no-pager nlbd.service | tail -1")?;
    let words = said.split_whitespace();
    let level: f64 = words.filter_map(|word| word.parse().ok()).next().context("a level")?;
    println!("systemd-analyze security: {level}");
    ensure!(level <= EXPOSURE, "{said}");
    Ok(())
}

/// A user of its own, two capabilities, and priority that somebody else gave.
fn user_and_priority(machine: &Machine) -> Result<()> {
    let pid = main_pid(machine)?;
    let user = machine.sh(&format!("ps -o user= -p {pid}"))?;
    ensure!(user.trim() == "nlbd", "it runs as {user}");
    let sets = machine.sh(&format!("grep -E 'Cap(Prm|Eff|Bnd|Amb)' /proc/{pid}/status"))?;
    let network = sets.lines().filter(|line| line.ends_with("0000000000003000")).count();
    ensure!(network == 4, "capabilities: {sets}");
    let stats = machine.sh("nlbctl metrics")?;
    ensure!(stats.contains("nlbd_"), "{stats}");
    if !machine.output("chrt -r 1 true")?.status.success() {
        eprintln!("SKIPPED: this machine lets nobody be quick");
        return Ok(());
    }
    let threads = wait_for("priority", SOON, || {
        let threads = machine.sh(&format!("ps -L -o comm=,cls=,ni= -p {pid}"));
        let threads = threads.map_err(|error| format!("{error:#}"))?;
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = threads.lines().map(words).collect();
        let of = |name: &str| {
            let (_, priority) = lines
                .iter()
                .find_map(|line| line.split_once(' ').filter(|(known, _)| *known == name))?;
            Some(priority.to_owned())
        };
        // Niceness of the others is whatever the machine was started with.
        let main = of("nlbd").filter(|main| main.starts_with("TS ") && main != "TS -10");
        let given = of("nlb0").as_deref() == Some("RR -")
            && of("nlb-kernel").as_deref() == Some("TS -10")
            && main.is_some()
            && of("nlb0-links") == main;
        if given { Ok(lines) } else { Err(threads) }
    })?;
    println!("threads: {}", threads.join(", "));
    let failed = machine.sh("systemctl --failed --no-legend")?;
    ensure!(!failed.contains("nlbd"), "{failed}");
    Ok(())
}

/// Whoever has just joined takes his share in steps, and more or less of it while everybody's start
/// is over; that is no rest.
fn settle(joined: Instant) {
    std::thread::sleep((WARMS_UP + FORGETS).saturating_sub(joined.elapsed()));
}

/// After a change all send at once, and stay in step where one clock drives them all: then one turn
/// does for all heartbeats. Servers with clocks of their own soon send at different times.
fn out_of_step(all: &Machines) -> Result<()> {
    for (index, machine) in all.machines.iter().enumerate().skip(1) {
        let (pid, pause) = (main_pid(machine)?, index * 33);
        machine.sh(&format!("kill -STOP {pid}; sleep 0.{pause:03}; kill -CONT {pid}"))?;
    }
    Ok(())
}

fn cost(machine: &Machine) -> Result<()> {
    let pid = main_pid(machine)?;
    let (begun, before) = (Instant::now(), spent(machine, pid)?);
    std::thread::sleep(REST);
    let (took, after) = (begun.elapsed(), spent(machine, pid)?);
    let percent = |spent: Duration| spent.as_secs_f64() / took.as_secs_f64() * 100.0;
    let (mut all, mut turns) = (Duration::ZERO, 0.0);
    for (thread, now) in &after {
        let (ran, times) = before.get(thread).map_or((Duration::ZERO, 0), |it| (it.ran, it.turns));
        let ran = now.ran.saturating_sub(ran);
        let often = now.turns.saturating_sub(times) as f64 / took.as_secs_f64();
        (all, turns) = (all + ran, turns + often);
        println!("  {}: {:.3} %, {often:.1} turns a second", now.name, percent(ran));
    }
    let percent = percent(all);
    let status = machine.sh(&format!("grep VmRSS /proc/{pid}/status"))?;
    let words = status.split_whitespace();
    let memory: u64 = words.filter_map(|word| word.parse().ok()).next().context("VmRSS")?;
    println!("at rest: {memory} KiB resident, {percent:.2} % of a core, {turns:.0} turns a second");
    ensure!(memory < MEMORY_KB, "{memory} KiB");
    ensure!(percent < CPU_PERCENT, "{percent:.2} %");
    ensure!(turns < TURNS, "{turns:.0} turns a second");
    Ok(())
}

/// The daemon's process.
fn main_pid(machine: &Machine) -> Result<u32> {
    let said = machine.sh("systemctl show --value -p MainPID nlbd")?;
    said.trim().parse().with_context(|| said)
}

/// A thread, how long it has run so far, and how often it was given a processor.
struct Thread {
    name: String,
    ran: Duration,
    turns: u64,
}

/// The threads of a process by their numbers.
fn spent(machine: &Machine, pid: u32) -> Result<BTreeMap<String, Thread>> {
    let line = format!(
        "cd /proc/{pid}/task && for t in *; do echo $t $(cat $t/schedstat) $(cat $t/comm); done"
    );
    let threads = machine.sh(&line)?;
    let thread = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [thread, ran, _waited, turns, name] = words[..] else { return None };
        let (ran, turns) = (Duration::from_nanos(ran.parse().ok()?), turns.parse().ok()?);
        Some((thread.to_owned(), Thread { name: name.to_owned(), ran, turns }))
    };
    threads.lines().map(|line| thread(line).with_context(|| line.to_owned())).collect()
}

#[test]
#[ignore = "runs whole machines: cargo xtask test-system"]
fn commands_of_checks_run_as_somebody_else_outside_of_the_sandbox() -> Result<()> {
    Machines::test(1, |all| {
        all.join_all()?;
        let machine = &all.machines[0];
        machine.write(
            "/usr/local/bin/check",
            "#!/bin/sh\n{ id -un; grep CapEff /proc/self/status; grep CapBnd /proc/self/status; \
             cat /etc/nlbd/nlb0.key; } > /var/tmp/seen 2>/dev/null\necho fit\n",
        )?;
        machine.sh("chmod 755 /usr/local/bin/check; install -m 666 /dev/null /var/tmp/seen")?;
        machine.write(
            "/etc/systemd/system/nlbd-checks@.service.d/seen.conf",
            "[Service]\nReadWritePaths=/var/tmp\nPrivateTmp=no\n",
        )?;
        machine.write(
            "/etc/nlbd/nlbd.d/50-checks.ron",
            "(clusters: {\"nlb0\": (checks: [Command(run: [\"/usr/local/bin/check\"], interval_s: 1)])})\n",
        )?;
        machine.sh("systemctl daemon-reload; systemctl restart nlbd")?;
        let seen = wait_for("the check", SOON, || {
            let seen = machine.sh("cat /var/tmp/seen").map_err(|error| error.to_string())?;
            if seen.lines().count() >= 3 { Ok(seen) } else { Err(seen) }
        })?;
        let lines: Vec<&str> = seen.lines().collect();
        let none = |line: &str| {
            line.split_whitespace()
                .nth(1)
                .is_some_and(|caps| caps.bytes().all(|digit| digit == b'0'))
        };
        ensure!(lines[0] == "nlbd-check" && none(lines[1]) && none(lines[2]), "{seen}");
        ensure!(lines.len() == 3, "a check read the key: {seen}");
        let status = wait_for("the result", SOON, || {
            let status = machine.sh("nlbctl --json status").map_err(|error| error.to_string())?;
            if status.contains("fit") { Ok(status) } else { Err(status) }
        })?;
        ensure!(status.contains("fit"), "{status}");
        // The runner goes away, and the next one is found.
        machine.sh("systemctl stop 'nlbd-checks@*'; truncate -s 0 /var/tmp/seen")?;
        wait_for("the check again", SOON, || {
            let seen = machine.sh("cat /var/tmp/seen").map_err(|error| error.to_string())?;
            if seen.lines().count() >= 3 { Ok(()) } else { Err(seen) }
        })
    })
}

/// What the daemon may not open itself comes from the service of the checks: probes, memberships, the
/// listener for metrics.
#[test]
#[ignore = "runs whole machines: cargo xtask test-system"]
fn the_sandbox_has_no_internet_sockets_and_lacks_none() -> Result<()> {
    Machines::test(1, |all| {
        let machine = &all.machines[0];
        machine.write(
            "/etc/nlbd/nlbd.d/50-all.ron",
            "(metrics: (listen: \"127.0.0.1:9187\"), clusters: {\"nlb0\": (interfaces: [\"eth0\"], \
             addresses: [\"192.0.2.50\", \"2001:db8::50\"], mode: Igmp, \
             key_file: \"/etc/nlbd/nlb0.key\", checks: [Tcp(port: 80), Http(path: \"/\"), \
             Process(\"systemd-journald\")])})\n",
        )?;
        machine
            .sh("head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \\n' > /etc/nlbd/nlb0.key; \
             chmod 600 /etc/nlbd/nlb0.key; chown nlbd: /etc/nlbd/nlb0.key; systemctl restart nlbd")?;
        let joined = || -> Result<()> {
            let checks = machine.sh("nlbctl --json status")?;
            ensure!(checks.matches("\"passes\":true").count() == 3, "{checks}");
            let metrics = machine.sh("curl --silent --fail http://127.0.0.1:9187/metrics")?;
            ensure!(metrics.contains("nlbd_"), "{metrics}");
            let groups = machine.sh("ip maddress show dev eth0")?;
            ensure!(groups.contains("ff02::1:ff00:50"), "MLD: {groups}");
            ensure!(groups.contains("inet  239."), "IGMP: {groups}");
            Ok(())
        };
        wait_for("checks, metrics and memberships", SOON, || {
            joined().map_err(|error| format!("{error:#}"))
        })?;
        // The sockets are there, and the daemon did not open them.
        let probe = "systemd-run --quiet --wait --pipe -p RestrictAddressFamilies='AF_UNIX' \
                     python3 -c 'import socket; socket.socket(socket.AF_INET)'";
        ensure!(!machine.output(probe)?.status.success(), "this machine restricts no families");
        // The memberships outlive whoever opened their sockets.
        machine.sh("systemctl stop 'nlbd-checks@*'")?;
        let groups = machine.sh("ip maddress show dev eth0")?;
        ensure!(groups.contains("inet  239.") && groups.contains("ff02::1:ff00:50"), "{groups}");
        wait_for("checks by the next runner", SOON, || {
            joined().map_err(|error| format!("{error:#}"))
        })
    })
}
