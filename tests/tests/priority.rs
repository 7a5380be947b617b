//! The threads that everything depends on come before others, also where the daemon may not set
//! limits for itself.

use anyhow::{Context, Result, ensure};
use nlb_tests::cluster::Cluster;
use nlb_tests::lab::LabOptions;
use nlb_tests::spec::ClusterSpec;

/// As /proc counts scheduling policies.
const ORDINARY: u32 = 0;
const ROUND_ROBIN: u32 = 2;

/// Policy and niceness of the thread of this name.
fn priority(pid: nix::unistd::Pid, name: &str) -> Result<(u32, i32)> {
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(task?.path().join("stat"))?;
        let (before, after) = stat.rsplit_once(')').context("stat")?;
        if before.ends_with(&format!("({name}")) {
            let fields: Vec<&str> = after.split_whitespace().collect();
            let field = |number: usize| fields.get(number - 3).context("stat");
            return Ok((field(41)?.parse()?, field(19)?.parse()?));
        }
    }
    anyhow::bail!("no thread {name}")
}

/// Whether this process may hand on what the test is about.
fn may_be_quick() -> bool {
    let quick = std::process::Command::new("chrt").args(["-r", "1", "true"]).output();
    quick.is_ok_and(|output| output.status.success())
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn heartbeats_come_before_ordinary_threads() {
    if !may_be_quick() {
        eprintln!("SKIPPED: this machine lets nobody be quick");
        return;
    }
    let options = LabOptions { servers: 2, ..LabOptions::default() };
    Cluster::test(&options, &ClusterSpec::default(), &[100; 2], |cluster| {
        let pid = cluster.nodes[0].pid()?;
        let (cluster, applier) = (priority(pid, "nlb0")?, priority(pid, "nlb-kernel")?);
        ensure!(cluster.0 == ROUND_ROBIN, "the loop has policy {}", cluster.0);
        ensure!(applier == (ORDINARY, -10), "the applier has {applier:?}");
        let main = priority(pid, "nlbd")?;
        ensure!(main == (ORDINARY, 0), "the main thread has {main:?}");
        Ok(())
    });
}
