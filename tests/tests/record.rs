//! `nlbctl debug record`: what a node of a real cluster is told, and the simulator tells another
//! engine of the same build, which does the same.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nlb_tests::binaries::program;
use nlb_tests::cluster::Cluster;
use nlb_tests::lab::LabOptions;
use nlb_tests::load::{Load, LoadSpec, Sources, Summary};
use nlb_tests::node::Node;
use nlb_tests::spec::ClusterSpec;

/// The key of every test, as it must not stand in a recording.
const KEY: [u8; 32] = nlb_tests::spec::KEY;

fn record(node: &Node, file: &Path, more: &[&str]) -> Result<Output> {
    let file = file.to_string_lossy();
    let mut words = vec!["debug", "record", "--output", file.as_ref()];
    words.extend(more);
    node.nlbctl(&words)
}

fn replay(file: &Path) -> Result<String> {
    let output = Command::new(program("nlb-sim")?).arg("--replay").arg(file).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

/// Looks at a recording and keeps it where `NLB_KEEP` says: from there one becomes a test.
fn judge(file: &Path, name: &str) -> Result<String> {
    let text = std::fs::read_to_string(file)?;
    let key: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(!text.to_lowercase().contains(&key), "the key stands in the recording");
    ensure!(text.lines().last().is_some_and(|last| last.contains("\"end\"")), "it has no end");
    ensure!(!text.contains("{\"lost\":"), "lines are missing");
    if let Some(folder) = std::env::var_os("NLB_KEEP") {
        std::fs::copy(file, Path::new(&folder).join(name)).context("NLB_KEEP")?;
    }
    replay(file)
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn what_is_recorded_happens_again() {
    let options = LabOptions { lean_watcher: true, ..LabOptions::default() };
    Cluster::test(&options, &ClusterSpec::default(), &[100, 100, 100], |cluster| {
        let folder = cluster.lab.folder().to_owned();
        let file = |name: &str| folder.join(name);
        let sources = Sources::Pool { first: 0, count: 40 };
        let load = LoadSpec { rate: 100, count: Some(100), sources, ..LoadSpec::default() };

        // From its start: the third node joins, takes its share, and takes over from one that dies.
        let (start, running) = (file("start.jsonl"), file("running.jsonl"));
        let (others, rest) = cluster.nodes.split_at_mut(2);
        let (third, second) = (&rest[0], &mut others[1]);
        third.ctl(&["leave"])?;
        third.wait_log("was left", Duration::from_secs(15))?;
        let started = std::thread::scope(|scope| -> Result<_> {
            let recording = scope.spawn(|| record(third, &start, &["--from-start", "-s", "4"]));
            third.wait_log("is recorded", Duration::from_secs(10))?;
            third.ctl(&["reload"])?;
            let sum = Summary::of(&Load::run(&cluster.lab.client, &load)?);
            ensure!(sum.failed == 0, "{sum}");
            second.kill()?;
            Load::run(&cluster.lab.client, &load)?;
            recording.join().ok().context("nlbctl")?
        })?;
        ensure!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let told = judge(&start, "start.jsonl")?;
        for what in ["new engine", "to: Active", "Converged", "PeerGone"] {
            ensure!(told.contains(what), "{what}: {told}");
        }
        second.start()?;
        cluster.wait_settled(3)?;

        // In the middle of its life: another weight.
        let first = &cluster.nodes[0];
        let recorded = std::thread::scope(|scope| -> Result<_> {
            let recording = scope.spawn(|| record(first, &running, &["-s", "5", "--json"]));
            first.wait_log("is recorded", Duration::from_secs(10))?;
            let again = record(first, &file("again.jsonl"), &[])?;
            let said = String::from_utf8_lossy(&again.stderr).into_owned();
            ensure!(said.contains("runs already") && again.status.code() == Some(1), "{said}");
            ensure!(!file("again.jsonl").exists(), "a file without a recording");
            first.ctl(&["set_weight", "nlb0", "300"])?;
            Load::run(&cluster.lab.client, &load)?;
            recording.join().ok().context("nlbctl")?
        })?;
        let said = String::from_utf8_lossy(&recorded.stdout).into_owned();
        ensure!(recorded.status.success() && said.contains("\"gaps\":0"), "{said}");
        let told = judge(&running, "running.jsonl")?;
        ensure!(told.contains("set weight 300: changed"), "{told}");
        ensure!(told.contains("did what was recorded"), "{told}");

        // A file that is there stays as it is.
        let output = record(first, &running, &["-s", "1"])?;
        ensure!(output.status.code() == Some(1), "it was written over");
        // Nothing of this made the node wait for anybody.
        cluster.wait_settled(3)?;
        for node in &cluster.nodes[..2] {
            ensure!(node.status()?.counters.get("fenced") == Some(&0), "a node fenced itself");
        }
        Ok(())
    });
}
