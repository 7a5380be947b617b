//! Draining on the real kernel: how far it has come, how it ends, and that nobody is broken off
//! (SPEC 6.11.2).

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nlb_tests::binaries;
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::report;
use nlb_tests::lab::LabOptions;
use nlb_tests::session::{SessionSpec, Sessions};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::{wait_for, wait_until};
use serde_json::Value;

/// Clients that stay connected.
const SESSIONS: u32 = 60;
const SOON: Duration = Duration::from_secs(10);
/// A client is forgotten after so long.
const IDLE_S: u32 = 4;

/// What `nlbctl drain --wait` says as its exit status.
const NOBODY_LEFT: i32 = 0;
const TIME_OVER: i32 = 6;
const NOT_DRAINING: i32 = 7;

fn spec() -> ClusterSpec {
    ClusterSpec { sticky_idle_s: Some(IDLE_S), ..ClusterSpec::default() }
}

fn options() -> LabOptions {
    LabOptions { lean_watcher: true, ..LabOptions::default() }
}

fn talking(cluster: &Cluster) -> Result<Sessions> {
    let spec = SessionSpec { count: SESSIONS, first: 0, every_ipv6: 3 };
    let sessions = Sessions::start(&cluster.lab.client, spec)?;
    wait_until("all sessions", SOON, || sessions.book().talking.len() == SESSIONS as usize)?;
    Ok(sessions)
}

/// `nlbctl drain --wait …` on the first node, looking on.
fn look_on(cluster: &Cluster, arguments: &[&str]) -> Result<Child> {
    let node = &cluster.nodes[0];
    let mut command = Command::new(binaries::program("nlbctl")?);
    command.arg("--run-dir").arg(node.run_dir()).args(["drain", "nlb0", "--wait"]);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    node.namespace.spawn(command)
}

/// How it ended: its exit status, how many clients each of its lines named, and the last of them.
fn ended(looking: Child) -> Result<(i32, Vec<u64>, String)> {
    let output = looking.wait_with_output()?;
    let text = String::from_utf8(output.stdout)?;
    let clients =
        |line: &str| line.strip_prefix("nlb0: ")?.split_once(" of ")?.0.parse::<u64>().ok();
    let code = output.status.code().context("nlbctl was killed")?;
    let last = text.lines().last().unwrap_or_default().to_owned();
    Ok((code, text.lines().filter_map(clients).collect(), last))
}

/// How many clients of the first node are left, by its status.
fn left(cluster: &Cluster) -> Result<u64> {
    let status = cluster.nodes[0].status()?;
    let drain = status.rest.get("drain").filter(|drain| !drain.is_null()).context("no drain")?;
    drain.get("clients").and_then(Value::as_u64).context("no clients")
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_drain_is_looked_on_until_nobody_is_left() {
    Cluster::test(&options(), &spec(), &[100; 3], |cluster| {
        let sessions = talking(cluster)?;
        let here = sessions.book().talking.values().filter(|server| *server == "n1").count();
        ensure!(here > 5, "n1 has {here} sessions");
        let mut looking = look_on(cluster, &[])?;
        wait_until("n1 to drain", SOON, || left(cluster).is_ok())?;
        // Longer than a client is kept that says nothing: these do.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(u64::from(IDLE_S) + 2) {
            ensure!(looking.try_wait()?.is_none(), "nobody looks on any more");
            ensure!(left(cluster)? >= here as u64, "{} of {here} are left", left(cluster)?);
            std::thread::sleep(Duration::from_millis(200));
        }
        let book = sessions.finish()?;
        ensure!(book.breaks.is_empty(), "{:?}", book.breaks.first());
        ensure!(book.wrong.is_empty(), "{:?}", book.wrong.first());
        // They have gone; a connection that is closed is none.
        wait_for("the end of looking on", SOON * 3, || match looking.try_wait() {
            Ok(Some(_)) => Ok(()),
            _ => Err(format!("{:?} are left", left(cluster))),
        })?;
        let (code, clients, last) = ended(looking)?;
        report(&format!("drain: looked on with {clients:?} clients left"));
        ensure!(code == NOBODY_LEFT, "exit status {code}");
        ensure!(clients.first().is_some_and(|first| *first >= here as u64), "{clients:?}");
        ensure!(clients.is_sorted_by(|one, next| one > next), "it came to {clients:?}");
        ensure!(last == "nlb0: nobody is left with this node; it goes on draining.", "{last}");
        // It goes on draining until it is told otherwise.
        ensure!(cluster.nodes[0].status()?.state == "draining", "n1 does not drain any more");
        cluster.nodes[0].ctl(&["undrain", "nlb0"])?;
        cluster.wait_settled(3).map(drop)
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_drain_ends_when_its_time_is_over_or_it_is_taken_back() {
    Cluster::test(&options(), &spec(), &[100; 3], |cluster| {
        let sessions = talking(cluster)?;
        let looking = look_on(cluster, &[])?;
        wait_until("n1 to drain", SOON, || left(cluster).is_ok())?;
        cluster.nodes[0].ctl(&["undrain", "nlb0"])?;
        let (code, ..) = ended(looking)?;
        ensure!(code == NOT_DRAINING, "taken back: exit status {code}");
        cluster.wait_settled(3)?;
        ensure!(sessions.book().breaks.is_empty(), "{:?}", sessions.book().breaks.first());

        let begun = Instant::now();
        let (code, clients, _) = ended(look_on(cluster, &["--timeout", "2"])?)?;
        ensure!(code == TIME_OVER, "time over: exit status {code}, {clients:?}");
        ensure!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
        ensure!(clients.last().is_some_and(|last| *last > 0), "{clients:?}");
        cluster.nodes[1].wait_status("n1 is gone", SOON, |status| status.node("n1").is_none())?;
        let book = sessions.finish()?;
        let other = book.breaks.iter().find(|one| one.server != "n1");
        ensure!(other.is_none(), "a session of another node broke: {other:?}");
        cluster.nodes[0].terminate(SOON)?;
        cluster.check_restored(0)
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn the_last_active_node_does_not_drain_unless_it_is_forced() {
    Cluster::test(&options(), &spec(), &[100; 2], |cluster| {
        cluster.nodes[1].ctl(&["drain", "nlb0"])?;
        cluster.nodes[0].wait_status("n2 drains", SOON, |status| {
            status.converged && status.node("n2").is_some_and(|n2| n2.state == "draining")
        })?;
        let refused = cluster.nodes[0].nlbctl(&["drain", "nlb0"])?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(!refused.status.success() && said.contains("no other node is active"), "{said}");
        ensure!(cluster.nodes[0].status()?.state == "active", "n1 drains");
        cluster.nodes[0].ctl(&["drain", "nlb0", "--force"])?;
        cluster.nodes[0].wait_status("n1 drains", SOON, |status| status.state == "draining")?;
        for index in 0..2 {
            cluster.nodes[index].ctl(&["undrain", "nlb0"])?;
        }
        cluster.wait_settled(2).map(drop)
    });
}
