//! nlbctl, as an administrator uses it.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use nlb_tests::binaries::program;
use nlb_tests::cluster::Cluster;
use nlb_tests::lab::{LabOptions, SERVICE4, source4, source6};
use nlb_tests::load::{Load, LoadSpec, Sources, Summary};
use nlb_tests::spec::ClusterSpec;
use serde_json::Value;

const MEMBERS: [(usize, u16); 3] = [(1, 100), (2, 100), (3, 100)];

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).with_context(|| text.to_owned())
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn the_cluster_can_be_asked_for_everything() {
    let spec = ClusterSpec::default();
    Cluster::test(&LabOptions::default(), &spec, &[100, 100, 100], |cluster| {
        let sources = Sources::Pool { first: 0, count: 60 };
        let load = LoadSpec { rate: 200, count: Some(200), sources, ..LoadSpec::default() };
        let attempts = Load::run(&cluster.lab.client, &load)?;
        let sum = Summary::of(&attempts);
        ensure!(sum.failed == 0, "{sum}");

        // What a person reads names every node and every address.
        let text = cluster.nodes[0].ctl(&["status"])?;
        for word in ["nlb0", "192.0.2.50", "2001:db8::50", "n1", "n2", "n3"] {
            ensure!(text.contains(word), "status says nothing of {word}:\n{text}");
        }
        let text = cluster.nodes[0].ctl(&["nodes"])?;
        ensure!(["n1", "n2", "n3"].iter().all(|name| text.contains(name)), "{text}");
        check_buckets(cluster)?;
        check_explanations(cluster)?;

        // Every client that was served is kept by its node and by no other.
        let mut kept = BTreeSet::new();
        for (index, node) in cluster.nodes.iter().enumerate() {
            let clients = json(&node.ctl(&["clients", "--json"])?)?;
            for client in clients["clients"].as_array().context("clients")? {
                let address: IpAddr = client["address"].as_str().context("address")?.parse()?;
                if client["node"]["name"] == format!("n{}", index + 1) {
                    ensure!(kept.insert(address), "{address} is kept twice");
                    ensure!(cluster.owner(address, &MEMBERS) == Some(index + 1), "{address}");
                }
            }
        }
        let seen: BTreeSet<IpAddr> = attempts.iter().map(|attempt| attempt.source).collect();
        ensure!(seen.is_subset(&kept), "clients: {kept:?} of {seen:?}");
        Ok(())
    });
}

/// The ranges cover every bucket once, and each node accepts as many as status says.
fn check_buckets(cluster: &Cluster) -> Result<()> {
    let buckets = json(&cluster.nodes[1].ctl(&["buckets", "--json"])?)?;
    let mut next = 0;
    for range in buckets["ranges"].as_array().context("ranges")? {
        ensure!(range["first"] == next, "the ranges have a gap at {next}");
        ensure!(range["owner"] == range["accepted_by"], "{range}");
        next = range["last"].as_u64().context("last")? + 1;
    }
    ensure!(next == 4096, "the ranges end at {next}");
    Ok(())
}

fn check_explanations(cluster: &Cluster) -> Result<()> {
    for index in 0..10 {
        for source in [source4(index), source6(index)] {
            let owner = cluster.owner(source, &MEMBERS).context("owner")?;
            for node in &cluster.nodes {
                let said = json(&node.ctl(&["explain", &source.to_string(), "--json"])?)?;
                ensure!(said["node"]["name"] == format!("n{owner}"), "{source}: {said}");
                let rest: Vec<_> = MEMBERS.iter().copied().filter(|(id, _)| *id != owner).collect();
                let next = cluster.owner(source, &rest).context("owner")?;
                ensure!(said["successor"]["name"] == format!("n{next}"), "{source}: {said}");
            }
        }
    }
    Ok(())
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn weights_are_set_by_argument_by_stdin_and_by_load() {
    let spec = ClusterSpec::default();
    Cluster::test(&LabOptions::default(), &spec, &[100, 100], |cluster| {
        let limit = Duration::from_secs(15);
        let weighs = |cluster: &mut Cluster, weight: u16| -> Result<()> {
            for node in &mut cluster.nodes[..2] {
                node.wait_status(&format!("weight {weight}"), limit, |status| {
                    status.node("n1").is_some_and(|node| node.weight == weight)
                })?;
            }
            cluster.wait_settled(2).map(drop)
        };
        cluster.nodes[0].ctl(&["set_weight", "nlb0", "300"])?;
        weighs(cluster, 300)?;
        // As the original's users do: a program that writes weights, line by line.
        let run_dir = cluster.nodes[0].run_dir();
        let ctl = program("nlbctl")?;
        let words = [
            ctl.to_str().context("path")?,
            "--run-dir",
            run_dir.to_str().context("path")?,
            "set_weight",
            "nlb0",
            "stdin",
        ];
        cluster.lab.servers[0].feed(&words, "500\n700\n")?;
        weighs(cluster, 700)?;
        for bad in ["0", "65536", "many", "-1"] {
            let output = cluster.nodes[0].nlbctl(&["set_weight", "nlb0", bad])?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(!output.status.success(), "{bad} was taken");
            ensure!(said.contains("65535") && said.contains(bad), "{bad}: {said}");
        }
        weighs(cluster, 700)?;
        // By load: the weight leaves what was set by hand.
        cluster.nodes[0].ctl(&["weight_mode", "nlb0", "loadavg"])?;
        cluster.nodes[1].wait_status("a measured weight", limit, |status| {
            status.node("n1").is_some_and(|node| node.weight != 700)
        })?;
        cluster.nodes[0].ctl(&["weight_mode", "nlb0", "manual"])?;
        cluster.nodes[0].ctl(&["set_weight", "nlb0", "100"])?;
        weighs(cluster, 100)
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn errors_say_what_to_do() {
    let spec = ClusterSpec::default();
    Cluster::test(&LabOptions::default(), &spec, &[100], |cluster| {
        let fails = |arguments: &[&str], words: &[&str]| -> Result<()> {
            let output = cluster.nodes[0].nlbctl(arguments)?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(!output.status.success(), "{arguments:?} succeeds");
            ensure!(words.iter().all(|word| said.contains(word)), "{arguments:?}: {said}");
            Ok(())
        };
        fails(&["leave", "nlb9"], &["nlb9", "nlb0"])?;
        fails(&["set_weight", "nlb9", "100"], &["nlb9", "nlb0"])?;
        fails(&["explain", "192.0.2"], &["192.0.2"])?;
        fails(&["addif", "eth9"], &["eth9", "eth0"])?;
        // No daemon behind this socket.
        let idle = cluster.nodes[1].nlbctl(&["status"])?;
        let said = String::from_utf8_lossy(&idle.stderr).into_owned();
        ensure!(!idle.status.success() && said.contains("run"), "{said}");
        // Somebody without the right, where this test runs as somebody with it.
        let changed = as_nobody(cluster, &["set_weight", "nlb0", "200"])?;
        if let Some((succeeded, said)) = changed {
            ensure!(!succeeded, "anybody may change the weight");
            ensure!(said.contains("root"), "no word of what would help: {said}");
        }
        Ok(())
    });
}

/// Runs nlbctl as `nobody`; `None` where there is no such user (in a user namespace).
fn as_nobody(cluster: &Cluster, arguments: &[&str]) -> Result<Option<(bool, String)>> {
    let folder = cluster.lab.folder();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    let copy = folder.join("nlbctl");
    std::fs::copy(program("nlbctl")?, &copy)?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
    command.arg("--run-dir").arg(cluster.nodes[0].run_dir()).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = cluster.lab.servers[0].spawn(command)?.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let refused = said.contains("setpriv:");
    Ok((!refused).then_some((output.status.success(), said)))
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn one_line_joins_a_server() {
    let mut cluster = match Cluster::new(&LabOptions::default(), &ClusterSpec::default()) {
        Ok(cluster) => cluster,
        Err(error) => panic!("{error:?}"),
    };
    if let Err(error) = join_by_one_line(&mut cluster) {
        panic!("{error:?}");
    }
}

fn join_by_one_line(cluster: &mut Cluster) -> Result<()> {
    for (index, node) in cluster.nodes.iter_mut().enumerate() {
        let number = index + 1;
        node.configure(&format!("(node: (name: \"n{number}\", id: {number}))"))?;
        node.start()?;
        let up = || node.nlbctl(&["status"]).is_ok_and(|output| output.status.success());
        nlb_tests::wait::wait_until("the daemon", Duration::from_secs(5), up)?;
    }
    // The first makes the key and says how to bring it to the others.
    let said = cluster.nodes[0].ctl(&["addif", "eth0", "--address", &SERVICE4.to_string()])?;
    let folder = cluster.nodes[0].config().parent().context("folder")?.to_owned();
    let key = folder.join("nlb0.key");
    ensure!(key.is_file(), "no key was made: {said}");
    let mode = std::fs::metadata(&key)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "the key has mode {mode:o}");
    ensure!(said.contains(&key.display().to_string()), "not a word of the key: {said}");
    for node in &mut cluster.nodes[1..] {
        let folder = node.config().parent().context("folder")?.to_owned();
        std::fs::copy(&key, folder.join("nlb0.key"))?;
        node.ctl(&["addif", "eth0", "--address", &SERVICE4.to_string()])?;
    }
    cluster.wait_settled(3)?;
    let spec = LoadSpec { rate: 300, count: Some(300), ipv4: 2, ..LoadSpec::default() };
    let sum = Summary::of(&Load::run(&cluster.lab.client, &spec)?);
    ensure!(sum.failed == 0 && sum.servers.len() == 3, "{sum}");
    // It is kept: a restart comes back with it.
    cluster.nodes[2].terminate(Duration::from_secs(6))?;
    cluster.nodes[2].start()?;
    cluster.wait_settled(3)?;
    // And taken back.
    cluster.nodes[2].ctl(&["delif", "eth0"])?;
    cluster.nodes[0].wait_status("n3 is gone", Duration::from_secs(6), |status| {
        status.node("n3").is_none_or(|node| node.buckets == 0)
    })?;
    cluster.end()
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn what_happened_is_told_in_order_and_with_causes() {
    let spec = ClusterSpec::default();
    Cluster::test(&LabOptions::default(), &spec, &[100, 100, 100], |cluster| {
        ensure!(cluster.nodes[0].nlbctl(&["status"])?.status.code() == Some(0), "all is well");
        // What ends a follower is the test, not the daemon.
        let mut follower = Command::new(program("nlbctl")?);
        follower.arg("--run-dir").arg(cluster.nodes[0].run_dir());
        follower.args(["events", "--follow", "-n", "0", "--json"]).stdout(Stdio::piped());
        let mut follower = cluster.lab.servers[0].spawn(follower)?;
        let stdout = follower.stdout.take().context("stdout")?;
        cluster.nodes[2].kill()?;
        let mut followed = Vec::new();
        for line in BufReader::new(stdout).lines() {
            followed.push(json(&line?)?);
            if followed.last().is_some_and(|event| event["kind"] == "converged") {
                break;
            }
        }
        follower.kill()?;
        follower.wait()?;
        cluster.wait_settled(2)?;
        let told: Vec<Value> = cluster.nodes[0]
            .ctl(&["events", "--json"])?
            .lines()
            .map(json)
            .collect::<Result<_>>()?;
        for (index, event) in told.iter().enumerate() {
            ensure!(event["sequence"] == index + 1, "a hole before {event}");
        }
        let same = followed.iter().all(|event| told.contains(event));
        ensure!(same, "told otherwise: {followed:?} {told:?}");
        let gone = followed.iter().position(|event| event["kind"] == "peer-gone");
        let gone = gone.context("nobody was missed")?;
        ensure!(followed[gone]["text"].as_str().is_some_and(|text| text.starts_with("n3 is")));
        let converged = followed.last().context("no end")?;
        let cause = converged["cause"].as_str().context("no cause")?;
        ensure!(cause.contains("n3 is silent"), "{converged}");

        // A node that cannot serve makes the answer another one.
        cluster.nodes[0].ctl(&["drain"])?;
        cluster.nodes[1].wait_status("n1 drains", Duration::from_secs(15), |status| {
            status.node("n1").is_some_and(|node| node.state == "draining")
        })?;
        let output = cluster.nodes[1].nlbctl(&["status"])?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.code() == Some(5) && said.contains("n1 is draining"), "{said}");
        ensure!(!said.contains('\x1b'), "colour in a pipe: {said:?}");
        cluster.nodes[0].ctl(&["undrain"])?;
        cluster.wait_settled(2)?;

        // What the daemon knows is part of the preflight.
        let output = cluster.nodes[0].nlbctl(&["preflight", "--json"])?;
        let report = json(&String::from_utf8_lossy(&output.stdout))?;
        let findings = report["findings"].as_array().context("findings")?;
        let found = |topic: &str, words: &str| {
            findings.iter().any(|finding| {
                finding["topic"] == topic
                    && finding["level"] == "ok"
                    && finding["found"].as_str().is_some_and(|found| found.contains(words))
            })
        };
        for (topic, words) in [
            ("kernel", "outgoing frames"),
            ("kernel", "for new clients"),
            ("eth0", "link is up"),
            ("nlb0", "2 nodes are seen, all run"),
            ("nlb0", "no frame under another key"),
        ] {
            ensure!(found(topic, words), "{topic}: {words}: {report}");
        }
        // It clears up what its killed daemon left.
        cluster.nodes[2].start()?;
        cluster.wait_settled(3).map(drop)
    });
}

/// Whoever only wants to know something does not wait for a leave, which waits for peers.
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_leave_that_takes_long_keeps_nobody_waiting() {
    let spec = ClusterSpec { timing: Some((300, 3000)), ..ClusterSpec::default() };
    Cluster::test(&LabOptions::default(), &spec, &[100, 100], |cluster| {
        let [node, peer, ..] = &cluster.nodes[..] else { anyhow::bail!("two nodes") };
        let config = std::fs::read_to_string(node.config())?;
        let renamed = config.replace("\"n1\"", "\"other\"");
        ensure!(renamed != config, "{config}");
        node.configure(&renamed)?;
        peer.signal(Signal::SIGSTOP)?;
        std::thread::scope(|scope| {
            // A node with another name leaves and joins anew. Its peer does not take over yet.
            let reload = scope.spawn(|| node.ctl(&["reload"]));
            let mut answers = 0;
            while !reload.is_finished() {
                let asked = Instant::now();
                node.status()?;
                let took = asked.elapsed();
                ensure!(took < Duration::from_secs(1), "status took {took:?}");
                answers += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            println!("{answers} answers while it left");
            ensure!(answers > 5, "{answers} answers");
            reload.join().expect("reload").map(drop)
        })?;
        peer.signal(Signal::SIGCONT)?;
        cluster.wait_settled(2).map(drop)
    });
}
