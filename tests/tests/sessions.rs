//! Hundreds of clients that stay connected, and new ones all the time: whatever is planned, none
//! of them may notice; whoever's server is killed may, and nobody else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nlb_tests::binaries;
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::{report, runs, spread};
use nlb_tests::lab::LabOptions;
use nlb_tests::load::{Attempt, Load, LoadSpec, Sources, Summary};
use nlb_tests::session::{Book, SessionSpec, Sessions, Silence};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::stamp::Stamp;
use nlb_tests::wait::{wait_for, wait_until};

nlb_tests::on_both_paths!(
    a_node_joins_and_no_session_notices,
    weights_change_and_no_session_notices,
    a_node_drains_and_no_session_notices,
    a_node_is_killed_and_only_its_own_clients_notice,
);

/// What handing over and ending for a restart may take.
const END: Duration = Duration::from_secs(8);
/// Clients that stay connected.
const SESSIONS: u32 = 300;
/// New connections a second.
const RATE: u32 = 200;
/// The first source addresses of the two.
const FIRST: (u32, u32) = (0, 5_000_000);
/// Undisturbed, before and after.
const CALM: Duration = Duration::from_secs(2);
/// Sessions are there within so long.
const CONNECTED: Duration = Duration::from_secs(10);

/// Everybody who uses the service.
struct Crowd {
    sessions: Sessions,
    load: Load,
    /// From when on all are there.
    complete: Stamp,
}

/// What they saw.
struct Seen {
    book: Book,
    calm: Vec<Attempt>,
    busy: Vec<Attempt>,
    from: Stamp,
    changed: Stamp,
    to: Stamp,
}

impl Crowd {
    fn gather(cluster: &Cluster, run: u32) -> Result<Self> {
        let client = &cluster.lab.client;
        let first = FIRST.0 + run * SESSIONS;
        let sessions =
            Sessions::start(client, SessionSpec { count: SESSIONS, first, every_ipv6: 3 })?;
        let sources = Sources::Fresh { first: FIRST.1 + run * 100_000 };
        let load = Load::start(client, &LoadSpec { rate: RATE, sources, ..LoadSpec::default() })?;
        wait_until("all sessions", CONNECTED, || {
            sessions.book().talking.len() == SESSIONS as usize
        })?;
        Ok(Self { sessions, load, complete: Stamp::now() })
    }

    /// Waits until everybody has used the service for a while.
    fn rest(&self) -> Result<()> {
        let (begun, rounds) = (self.load.begun(), u32::try_from(CALM.as_millis())? * RATE / 1000);
        wait_until("load", CALM * 5, || self.load.begun() >= begun + rounds)
    }

    fn finish(self, changed: Stamp) -> Result<Seen> {
        let to = Stamp::now();
        let (calm, busy) = self
            .load
            .finish()?
            .into_iter()
            .partition(|attempt| attempt.begun + attempt.total < changed);
        let book = self.sessions.finish()?;
        Ok(Seen { book, calm, busy, from: self.complete, changed, to })
    }
}

impl Seen {
    /// Has a crowd use the service before, during and after `change`.
    fn during(
        cluster: &mut Cluster,
        run: u32,
        change: impl FnOnce(&mut Cluster, &Crowd) -> Result<()>,
    ) -> Result<Self> {
        let crowd = Crowd::gather(cluster, run)?;
        crowd.rest()?;
        let changed = Stamp::now();
        change(cluster, &crowd)?;
        crowd.rest()?;
        crowd.finish(changed)
    }

    fn longest(&self, from: Stamp, to: Stamp, of: impl Fn(&Silence) -> bool) -> Duration {
        let near = self.book.silences.iter().filter(|one| one.to >= from && one.from <= to);
        let times = near.filter(|one| of(one)).map(|one| one.to.since(one.from));
        times.max().unwrap_or_default()
    }

    /// One line: before and after, side by side.
    fn words(&self) -> String {
        let silence = |from, to| match self.longest(from, to, |_| true) {
            Duration::ZERO => "below 75ms".to_owned(),
            longest => format!("{longest:.0?}"),
        };
        format!(
            "{} of {SESSIONS} sessions broken, longest silence {} (undisturbed {}); new: {} \
             (undisturbed {})",
            self.book.breaks.len(),
            silence(self.changed, self.to),
            silence(self.from, self.changed),
            Summary::of(&self.busy),
            Summary::of(&self.calm),
        )
    }

    /// Nobody noticed anything.
    fn check_unnoticed(&self) -> Result<()> {
        let book = &self.book;
        ensure!(book.wrong.is_empty(), "wrong answers: {:?}", book.wrong.first());
        ensure!(
            book.breaks.is_empty(),
            "{} sessions broken: {:?}",
            book.breaks.len(),
            book.breaks.first()
        );
        let busy = Summary::of(&self.busy);
        ensure!(busy.failed == 0 && busy.retransmitted == 0, "new clients disturbed: {busy}");
        let again = book.openings.iter().find(|one| one.failed.is_some());
        ensure!(again.is_none(), "a session did not begin at once: {again:?}");
        Ok(())
    }
}

fn a_node_joins_and_no_session_notices(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    let options = LabOptions { servers: 4, lean_watcher: true, ..LabOptions::default() };
    Cluster::test(&options, &spec, &[100; 3], |cluster| {
        for run in 0..runs(1) {
            let seen = Seen::during(cluster, u32::try_from(run)?, |cluster, _| {
                cluster.start_node(3, 100)?;
                cluster.wait_settled(4).map(drop)
            })?;
            report(&format!("join, offload {offload}: {}", seen.words()));
            seen.check_unnoticed()?;
            let busy = Summary::of(&seen.busy);
            ensure!(busy.servers.get("n4").is_some_and(|count| *count > 50), "{busy}");
            ensure!(cluster.nodes[3].terminate(CONNECTED)?.success(), "n4 did not end well");
            cluster.wait_settled(3)?;
        }
        Ok(())
    });
}

fn weights_change_and_no_session_notices(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    let options = LabOptions { lean_watcher: true, ..LabOptions::default() };
    Cluster::test(&options, &spec, &[100; 3], |cluster| {
        for run in 0..runs(1) {
            let seen = Seen::during(cluster, u32::try_from(run)?, |cluster, _| {
                for weight in ["300", "100"] {
                    cluster.nodes[1].ctl(&["set_weight", "nlb0", weight])?;
                    wait_weight(cluster, 2, weight.parse()?)?;
                }
                Ok(())
            })?;
            report(&format!("weight 100 to 300 and back, offload {offload}: {}", seen.words()));
            seen.check_unnoticed()?;
        }
        Ok(())
    });
}

/// Waits until everybody knows the new weight and has what it makes.
fn wait_weight(cluster: &mut Cluster, number: usize, weight: u16) -> Result<()> {
    let name = format!("n{number}");
    for node in &mut cluster.nodes {
        node.wait_status("the new weight", CONNECTED, |status| {
            status.node(&name).is_some_and(|node| node.weight == weight)
        })?;
    }
    let active = cluster.nodes.iter().filter(|node| node.runs()).count();
    cluster.wait_settled(active).map(drop)
}

fn a_node_drains_and_no_session_notices(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    let options = LabOptions { lean_watcher: true, ..LabOptions::default() };
    Cluster::test(&options, &spec, &[100; 3], |cluster| {
        for run in 0..runs(1) {
            let mut drained = (Stamp::default(), Stamp::default());
            let seen = Seen::during(cluster, u32::try_from(run)?, |cluster, crowd| {
                cluster.nodes[0].ctl(&["drain", "nlb0"])?;
                for index in 0..3 {
                    cluster.nodes[index].wait_status("n1 has no bucket", CONNECTED, |status| {
                        let n1 = status.node("n1");
                        status.converged && n1.is_some_and(|n1| n1.buckets == 0)
                    })?;
                }
                drained.0 = Stamp::now();
                crowd.rest()?;
                drained.1 = Stamp::now();
                cluster.nodes[0].ctl(&["undrain", "nlb0"])?;
                cluster.wait_settled(3).map(drop)
            })?;
            report(&format!("drain and undrain, offload {offload}: {}", seen.words()));
            seen.check_unnoticed()?;
            let new = seen.busy.iter().filter(|one| one.begun > drained.0 && one.begun < drained.1);
            let taken = new.filter(|one| one.server.as_deref() == Ok("n1")).count();
            ensure!(taken == 0, "n1 took {taken} new clients while it drained");
        }
        Ok(())
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_node_restarts_and_no_session_notices() {
    let options = LabOptions { lean_watcher: true, ..LabOptions::default() };
    Cluster::test(&options, &ClusterSpec::default(), &[100; 3], |cluster| {
        for run in 0..runs(1) {
            let seen = Seen::during(cluster, u32::try_from(run)?, restart)?;
            report(&format!("restart: {}", seen.words()));
            seen.check_unnoticed()?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_node_is_upgraded_and_no_session_notices() {
    let options = LabOptions { lean_watcher: true, ..LabOptions::default() };
    Cluster::test(&options, &ClusterSpec::default(), &[100; 3], |cluster| {
        for run in 0..runs(1) {
            // Each node in its turn, as an administrator would do it.
            let program = cluster.lab.folder().join(format!("nlbd-{run}"));
            std::fs::copy(binaries::program("nlbd")?, &program)?;
            let seen = Seen::during(cluster, u32::try_from(run)?, |cluster, crowd| {
                for index in 0..3 {
                    cluster.nodes[index].program = Some(program.clone());
                    cluster.nodes.swap(0, index);
                    let restarted = restart(cluster, crowd);
                    cluster.nodes.swap(0, index);
                    restarted?;
                    let runs = cluster.nodes[index].program_path()?;
                    ensure!(runs == program, "{} is what runs", runs.display());
                }
                Ok(())
            })?;
            report(&format!("upgrade of all nodes, one by one: {}", seen.words()));
            seen.check_unnoticed()?;
        }
        Ok(())
    });
}

/// Ends the first node as planned and starts it again, as `systemctl restart` does.
fn restart(cluster: &mut Cluster, _: &Crowd) -> Result<()> {
    let node = &mut cluster.nodes[0];
    let before = node.resumed();
    node.end_for_restart(END)?;
    node.start()?;
    wait_until("a process that goes on", CONNECTED, || node.resumed() > before)?;
    cluster.wait_settled(3).map(drop)
}

fn a_node_is_killed_and_only_its_own_clients_notice(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    let options = LabOptions { lean_watcher: true, ..LabOptions::default() };
    Cluster::test(&options, &spec, &[100; 3], |cluster| {
        let (mut usual, mut others) = (Vec::new(), Vec::new());
        for run in 0..runs(1) {
            let seen = Seen::during(cluster, u32::try_from(run)?, |cluster, crowd| {
                cluster.nodes[0].kill()?;
                let taken = cluster.spec.dead_after() * 6 / 5;
                let killed = Stamp::now();
                wait_until("the takeover", CONNECTED, || Stamp::now().since(killed) > taken)?;
                wait_for("everybody to talk again", CONNECTED, || {
                    let book = crowd.sessions.book();
                    let left = book.talking.values().filter(|server| *server == "n1").count();
                    if left == 0 && book.talking.len() == SESSIONS as usize {
                        return Ok(());
                    }
                    Err(format!("{left} with n1, {} talk", book.talking.len()))
                })
            })?;
            check_killed(cluster, &seen)?;
            let of_others = |one: &Silence| one.server != "n1";
            usual.push(seen.longest(seen.from, seen.changed, of_others));
            let taken = seen.changed + cluster.spec.dead_after() * 2;
            others.push(seen.longest(seen.changed, taken, of_others));
            cluster.nodes[0].start()?;
            cluster.wait_settled(3)?;
        }
        report(&format!(
            "SIGKILL, offload {offload}: longest silence of the others' clients (0: below 75ms): \
             {}; undisturbed: {}",
            spread(&others),
            spread(&usual)
        ));
        Ok(())
    });
}

/// Only clients of n1 lost anything, and every packet of the others arrived at once.
fn check_killed(cluster: &Cluster, seen: &Seen) -> Result<()> {
    let book = &seen.book;
    ensure!(book.wrong.is_empty(), "wrong answers: {:?}", book.wrong.first());
    let other = book.breaks.iter().find(|one| one.server != "n1");
    ensure!(other.is_none(), "a session of another node broke: {other:?}");
    ensure!(book.breaks.len() > 20, "only {} sessions were with n1", book.breaks.len());
    let back: Vec<Duration> = book
        .breaks
        .iter()
        .map(|one| {
            let again = book.openings.iter().find(|opening| {
                let later = opening.begun >= one.noticed && opening.failed.is_none();
                later && opening.client == one.client.0
            });
            let again = again.context("a client did not come back")?;
            Ok((again.begun + again.took).since(seen.changed))
        })
        .collect::<Result<_>>()?;
    // Their TCP asks again 200, 600 and 1400 ms after what was lost first.
    report(&format!("SIGKILL: its clients had a new session after {}", spread(&back)));
    let taken = seen.changed + cluster.spec.dead_after() * 6 / 5;
    let late: Vec<&Attempt> =
        seen.busy.iter().filter(|one| one.begun > taken && one.disturbed()).collect();
    ensure!(late.is_empty(), "{} new clients after the takeover: {:?}", late.len(), late.first());
    let ledger = cluster.watcher.ledger();
    let broken: Vec<_> = book.breaks.iter().map(|one| one.client).collect();
    let until = seen.changed + cluster.spec.dead_after() * 2;
    let lost = ledger.segments.repeated.iter().filter(|one| {
        one.at.0 > seen.changed
            && one.at.0 < until
            && one.connection.service.1 == nlb_tests::service::TALK
            && !broken.contains(&one.connection.client)
    });
    let lost = lost.count();
    ensure!(lost == 0, "{lost} segments of others' clients were sent again");
    Ok(())
}
