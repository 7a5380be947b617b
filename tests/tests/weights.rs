//! Where weights come from, on the real kernel: connections are counted, a command is asked, and
//! sources change under sessions that do not notice.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::report;
use nlb_tests::lab::{LabOptions, source4, source6};
use nlb_tests::quiet::Conversation;
use nlb_tests::session::{SessionSpec, Sessions};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::status::ClusterStatus;
use nlb_tests::wait::{wait_for, wait_until};

const LIMIT: Duration = Duration::from_secs(20);
/// Clients that stay connected.
const SESSIONS: u32 = 60;
/// Clients of each family that one server has more than the others.
const MORE: usize = 60;

/// A cluster whose measured weights may change every second, and do so at once.
fn quick() -> ClusterSpec {
    let extra = "            weight_interval_s: 1,\n            warm_up_s: 0,\n".to_owned();
    ClusterSpec { extra, ..ClusterSpec::default() }
}

/// Has a node take its weight from elsewhere by its configuration; gives what the reload says.
fn configure(cluster: &Cluster, index: usize, from: &str, to: &str) -> Result<String> {
    let node = &cluster.nodes[index];
    let text = std::fs::read_to_string(node.config())?;
    let (from, to) = (format!("weight: {from},"), format!("weight: {to},"));
    ensure!(text.contains(&from), "{from:?} is not in the configuration:\n{text}");
    node.configure(&text.replacen(&from, &to, 1))?;
    node.ctl(&["reload"])
}

fn word(status: &ClusterStatus, field: &str) -> String {
    status.rest.get(field).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
}

fn weight_of(status: &ClusterStatus, name: &str) -> u16 {
    status.node(name).map_or(0, |node| node.weight)
}

fn metric(cluster: &Cluster, index: usize, name: &str) -> Result<f64> {
    let page = cluster.nodes[index].ctl(&["metrics"])?;
    let start = format!("{name}{{");
    let line = page.lines().find(|line| line.starts_with(&start)).context("no such metric")?;
    Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
}

fn nothing_was_interrupted(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes.iter().filter(|node| node.runs()) {
        let status = node.status()?;
        for counter in ["fenced", "overlaps"] {
            ensure!(status.counters.get(counter) == Some(&0), "{}: {status:?}", node.name);
        }
    }
    Ok(())
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn sources_change_under_sessions_that_do_not_notice() {
    let options = LabOptions { lean_watcher: true, ..LabOptions::default() };
    Cluster::test(&options, &quick(), &[100, 100], |cluster| {
        let talk = SessionSpec { count: SESSIONS, first: 0, every_ipv6: 3 };
        let sessions = Sessions::start(&cluster.lab.client, talk)?;
        let all = || sessions.book().talking.len() == SESSIONS as usize;
        wait_until("all sessions", LIMIT, all)?;

        let refused = cluster.nodes[0].nlbctl(&["weight_mode", "nlb0", "command"])?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(!refused.status.success() && said.contains("weight: Command("), "{said}");
        for mode in ["loadavg", "loadavg5", "loadavg15", "cpu", "memory", "connections", "manual"] {
            cluster.nodes[0].ctl(&["weight_mode", "nlb0", mode])?;
            let status = cluster.nodes[0].status()?;
            ensure!(word(&status, "weight_mode") == mode, "{mode}: {status:?}");
            // It measures, and may decide, once at least.
            std::thread::sleep(Duration::from_millis(1500));
            cluster.nodes[0].check_alive()?;
        }
        let says = |text: &str| format!("nlb0: weight {text}");
        let command = "Command([\"/bin/echo\", \"50\"])";
        let mut before = "Manual(100)";
        let sources = [
            ("LoadAverage", "loadavg"),
            ("LoadAverage5", "loadavg5"),
            ("LoadAverage15", "loadavg15"),
            ("Cpu", "cpu"),
            ("Memory", "memory"),
            ("Connections", "connections"),
            (command, "command"),
            ("Manual(300)", "manual"),
        ];
        for (source, mode) in sources {
            let said = configure(cluster, 1, before, source)?;
            let kind = |text: &str| text.split('(').next().unwrap_or_default().to_owned();
            ensure!(said.contains(&says(&kind(before))) && said.contains(&kind(source)), "{said}");
            let status = cluster.nodes[1].status()?;
            ensure!(word(&status, "weight_mode") == mode, "{mode}: {status:?}");
            std::thread::sleep(Duration::from_millis(1500));
            before = source;
        }
        cluster.nodes[0]
            .wait_status("n2's weight", LIMIT, |status| weight_of(status, "n2") == 300)?;

        cluster.wait_settled(2)?;
        wait_until("everybody to talk", LIMIT, all)?;
        let book = sessions.finish()?;
        ensure!(book.wrong.is_empty(), "wrong answers: {:?}", book.wrong.first());
        ensure!(book.breaks.is_empty(), "sessions broke: {:?}", book.breaks.first());
        nothing_was_interrupted(cluster)
    });
}

/// One server has many connections and the others none: it takes less, its clients stay with it,
/// and it counts right.
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn whoever_has_more_connections_takes_less() {
    Cluster::test(&LabOptions::default(), &quick(), &[100; 3], |cluster| {
        let members = [(1, 100), (2, 100), (3, 100)];
        let ours = |client: &IpAddr| cluster.owner(*client, &members) == Some(1);
        let four = (0..).map(source4).filter(ours).take(MORE);
        let clients: Vec<IpAddr> = four.chain((0..).map(source6).filter(ours).take(MORE)).collect();
        let namespace = cluster.lab.client.clone();
        let open = |client: &IpAddr| Conversation::open(&namespace, *client);
        let mut talks: Vec<Conversation> = clients.iter().map(open).collect::<Result<_>>()?;
        ensure!(talks.iter().all(|talk| talk.server == "n1"), "{talks:?}");

        for index in 0..3 {
            configure(cluster, index, "Manual(100)", "Connections")?;
        }
        // Each core has so many, of a thousand; the average comes there in time.
        let cores = std::thread::available_parallelism()?.get();
        let load = talks.len() as f64 / cores as f64 / 1000.0;
        wait_for("the connections to be counted", LIMIT * 2, || {
            let counted = metric(cluster, 0, "nlbd_load_ratio").map_err(|e| e.to_string())?;
            let near = (counted / load - 1.0).abs() < 0.05;
            if near { Ok(()) } else { Err(format!("{counted} instead of {load}")) }
        })?;
        for index in [1, 2] {
            ensure!(metric(cluster, index, "nlbd_load_ratio")? == 0.0);
        }
        let status = cluster.nodes[1].wait_status("n1 to take less", LIMIT, |status| {
            let buckets = |name: &str| status.node(name).map_or(0, |node| node.buckets);
            status.converged && buckets("n1") * 2 < buckets("n2").min(buckets("n3"))
        })?;
        report(&format!(
            "{} connections more on one server of three: it comes to {} buckets",
            talks.len(),
            status.node("n1").map_or(0, |node| node.buckets)
        ));
        for talk in &mut talks {
            talk.ask()?;
        }
        nothing_was_interrupted(cluster)
    });
}

/// A program that prints what a file says; everybody may run it, as it runs as nobody.
fn program(folder: &Path) -> Result<String> {
    let path = folder.join("load");
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    std::fs::write(&path, format!("#!/bin/sh\n. {}\n", folder.join("script").display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
}

/// What the program does from now on. It is replaced at once, so that no half of it is read.
fn does(folder: &Path, script: &str) -> Result<()> {
    let new = folder.join("new");
    std::fs::write(&new, format!("{script}\n"))?;
    Ok(std::fs::rename(new, folder.join("script"))?)
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_command_says_how_loaded_a_server_is() {
    Cluster::test(&LabOptions::default(), &quick(), &[100; 2], |cluster| {
        let folders: Vec<_> = ["n1-load", "n2-load"]
            .iter()
            .map(|name| cluster.lab.subfolder(name))
            .collect::<Result<_>>()?;
        std::fs::set_permissions(cluster.lab.folder(), std::fs::Permissions::from_mode(0o755))?;
        for (index, folder) in folders.iter().enumerate() {
            let run = program(folder)?;
            does(folder, ["echo 80", "echo 20.0"][index])?;
            let source = format!(
                "Command(run: [\"{run}\"], interval_s: 1, timeout_ms: 500, keep_s: 4, fallback: 333)"
            );
            let said = configure(cluster, index, "Manual(100)", &source)?;
            ensure!(said.contains("keep_s: 4, fallback: 333"), "{said}");
        }
        cluster.nodes[0].wait_status("n1 to take less than n2", LIMIT, |status| {
            weight_of(status, "n1") > 120 && weight_of(status, "n2") < 90
        })?;
        // From here on no measured weight changes, so that whatever does is the command's doing.
        for (node, folder) in cluster.nodes.iter().zip(&folders) {
            does(folder, "echo 50")?;
            let text = std::fs::read_to_string(node.config())?;
            node.configure(&text.replacen("weight_interval_s: 1,", "weight_interval_s: 3600,", 1))?;
            node.ctl(&["reload"])?;
        }

        // Bad answers of each kind are said once each; the last good one counts for its time.
        let problems = [
            ("echo many", "it says \"many\" and no number"),
            ("echo no disk >&2; exit 3", "exit status: 3: no disk"),
            ("trap '' TERM; sleep 1000", "timed out and was killed"),
            ("yes & yes", "timed out and was killed"),
        ];
        for (script, says) in problems {
            let failed = |cluster: &Cluster| cluster.nodes[0].log().matches("no load from").count();
            let before = failed(cluster);
            let kept = weight_of(&cluster.nodes[0].status()?, "n1");
            does(&folders[0], script)?;
            cluster.nodes[0].wait_status(says, LIMIT, |status| {
                let problem = word(status, "weight_problem");
                problem.contains(says) && problem.contains("counts for 4 s")
            })?;
            let status = cluster.nodes[0].status()?;
            ensure!(weight_of(&status, "n1") == kept, "{script}: {status:?}");
            let shown = cluster.nodes[0].nlbctl(&["status"])?;
            let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
            ensure!(shown.contains("the weight does not follow the load"), "{shown}");
            cluster.nodes[1]
                .wait_status("the fallback", LIMIT, |status| weight_of(status, "n1") == 333)?;
            let nothing = || metric(cluster, 0, "nlbd_load_ratio").is_ok_and(|load| load == 0.0);
            wait_until("nothing to be measured", LIMIT, nothing)?;
            ensure!(failed(cluster) == before + 2, "{}", cluster.nodes[0].log_tail());
            does(&folders[0], "echo 50")?;
            cluster.nodes[0].wait_status("a good answer", LIMIT, |status| {
                word(status, "weight_problem").is_empty()
            })?;
        }
        let events = cluster.nodes[0].ctl(&["--json", "events"])?;
        for kind in ["weight-failed", "weight-fallback", "weight-recovered"] {
            let count = events.matches(kind).count();
            ensure!(count == problems.len(), "{count} times {kind}:\n{events}");
        }
        nothing_was_interrupted(cluster)
    });
}
