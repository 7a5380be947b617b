//! Health checks on the real kernel: a server whose service is ill is out of the table in time, new
//! clients go elsewhere, it comes back; and when all are ill, all serve.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::report;
use nlb_tests::lab::{LabOptions, source4, source6};
use nlb_tests::load::{Load, LoadSpec, Sources, Summary};
use nlb_tests::netns::Namespace;
use nlb_tests::probe;
use nlb_tests::spec::ClusterSpec;

const WEIGHTS: [u16; 3] = [100, 100, 100];
/// Where the web servers listen that are checked.
const PORT: u16 = 8080;
const INTERVAL: Duration = Duration::from_millis(300);
const TIMEOUT: Duration = Duration::from_millis(200);
const FALL: u32 = 3;
/// Two heartbeats to say so, one to be told, and a machine that others use too.
const SLACK: Duration = Duration::from_millis(700);
/// Coming back takes a quarantine and a joining, of about dead-after each.
const BACK: Duration = Duration::from_secs(15);

/// What a web server does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Does {
    Well,
    /// Accepts, and never answers.
    Hangs,
    /// Answers 500.
    Fails,
    /// Does not listen.
    Stopped,
    Ends,
}

impl Does {
    const ALL: [Self; 5] = [Self::Well, Self::Hangs, Self::Fails, Self::Stopped, Self::Ends];

    fn of(code: &AtomicU8) -> Self {
        Self::ALL[usize::from(code.load(Ordering::SeqCst))]
    }
}

/// A web server that does as it is told.
struct Web {
    does: Arc<AtomicU8>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Web {
    fn start(server: &Namespace) -> Result<Self> {
        let does = Arc::new(AtomicU8::new(0));
        let told = does.clone();
        let thread = server.thread("web", move || serve(&told))?;
        let thread = std::thread::spawn(move || match thread.join() {
            Ok(ended) => ended?.context("the web server"),
            Err(_) => anyhow::bail!("the web server broke off"),
        });
        Ok(Self { does, thread: Some(thread) })
    }

    fn set(&self, does: Does) {
        self.does.store(does as u8, Ordering::SeqCst);
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.set(Does::Ends);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(told: &AtomicU8) -> Result<()> {
    let (mut listener, mut open) = (None, Vec::new());
    loop {
        let does = Does::of(told);
        match does {
            Does::Ends => return Ok(()),
            Does::Stopped => listener = None,
            _ if listener.is_none() => {
                let bound = TcpListener::bind(("127.0.0.1", PORT))?;
                bound.set_nonblocking(true)?;
                listener = Some(bound);
            }
            _ => {}
        }
        if does != Does::Hangs {
            open.clear();
        }
        let accepted = listener.as_ref().and_then(|listener| listener.accept().ok());
        let Some((mut stream, _)) = accepted else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        let status = match does {
            Does::Hangs => {
                open.push(stream);
                continue;
            }
            Does::Fails => "500 Out of order",
            _ => "200 OK",
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let _ = stream.read(&mut [0; 1024]);
        let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    }
}

fn spec() -> ClusterSpec {
    let extra = format!(
        "            checks: [Http(port: {PORT}, path: \"/health\", interval_ms: {}, timeout_ms: {}, \
         rise: 2, fall: {FALL})],\n",
        INTERVAL.as_millis(),
        TIMEOUT.as_millis()
    );
    ClusterSpec { extra, ..ClusterSpec::default() }
}

/// Runs a test on three servers whose web servers do as they are told.
fn on_three(body: impl FnOnce(&mut Cluster, &[Web]) -> Result<()>) {
    let options = LabOptions::default();
    Cluster::test(&options, &spec(), &[], |cluster| {
        let webs: Result<Vec<Web>> =
            cluster.lab.servers.iter().take(3).map(|server| Web::start(server)).collect();
        let webs = webs?;
        cluster.start(&WEIGHTS)?;
        for node in &mut cluster.nodes[..3] {
            node.wait_status("its check passes", BACK, |status| {
                passes(&status.rest) == Some(true)
            })?;
        }
        body(cluster, &webs)
    });
}

/// Whether the only check passes, as the status says.
fn passes(rest: &std::collections::BTreeMap<String, serde_json::Value>) -> Option<bool> {
    rest.get("checks")?.get(0)?.get("passes")?.as_bool()
}

fn said(cluster: &mut Cluster, index: usize, word: &str) -> Result<()> {
    cluster.nodes[index]
        .wait_status(word, BACK, |status| format!("{:?}", status.rest.get("checks")).contains(word))
        .map(drop)
}

/// Who answers a client.
fn answers(cluster: &Cluster, client: IpAddr) -> Result<String> {
    let answer = probe::ask(&cluster.lab.client, client, 40)?;
    Ok(answer.split(' ').next().unwrap_or_default().to_owned())
}

/// Some clients of both families that n1 serves.
fn known_to_the_first(cluster: &Cluster, round: usize) -> Result<Vec<IpAddr>> {
    let members = [(1, 100), (2, 100), (3, 100)];
    let first = 6_000_000 + 10_000 * u32::try_from(round)?;
    let ours = |client: &IpAddr| cluster.owner(*client, &members) == Some(1);
    let four = (first..).map(source4).filter(ours).take(4);
    let clients: Vec<IpAddr> = four.chain((first..).map(source6).filter(ours).take(4)).collect();
    for client in &clients {
        ensure!(answers(cluster, *client)? == "n1", "{client}");
    }
    Ok(clients)
}

#[test]
#[ignore = "needs network namespaces"]
fn a_server_whose_service_is_ill_is_out_of_the_table_and_comes_back() {
    on_three(|cluster, webs| {
        for (round, (does, word)) in [
            (Does::Stopped, "cannot connect"),
            (Does::Hangs, "timed out"),
            (Does::Fails, "status 500"),
        ]
        .into_iter()
        .enumerate()
        {
            let known = known_to_the_first(cluster, round)?;
            let begun = Instant::now();
            webs[0].set(does);
            // The others see it go, and have its buckets.
            cluster.nodes[1].wait_status("n1 is out of the table", BACK, |status| {
                status.node("n1").is_some_and(|node| !node.active() && node.buckets == 0)
            })?;
            let took = begun.elapsed();
            report(&format!("{does:?}: out of the table after {took:?}"));
            let limit = INTERVAL * FALL + TIMEOUT + SLACK;
            ensure!(took < limit, "{does:?}: out after {took:?}, allowed {limit:?}");
            said(cluster, 0, word)?;
            for index in [1, 2] {
                cluster.nodes[index].wait_status("the others have it all", BACK, |status| {
                    let buckets = |name| status.node(name).map_or(0, |node| node.buckets);
                    status.converged && buckets("n2") + buckets("n3") == 4096
                })?;
            }
            let status = cluster.nodes[0].status()?;
            ensure!(
                status.rest.get("cause").is_some_and(|cause| cause.to_string().contains("checks"))
            );
            let served = || cluster.services[0].served.load(Ordering::SeqCst);
            let before = served();
            let sources = Sources::Fresh { first: 5_000_000 };
            let load = LoadSpec { rate: 100, sources, ..LoadSpec::default() };
            let running = Load::start(&cluster.lab.client, &load)?;
            nlb_tests::wait::wait_until("new clients", BACK, || running.begun() >= 200)?;
            let summary = Summary::of(&running.finish()?);
            ensure!(summary.failed == 0, "{does:?}: {summary}");
            ensure!(served() == before, "n1 answered clients while it was out");
            // Its clients are let go: a server that is ill cannot serve them.
            let mut others = Vec::new();
            for client in known {
                let server = answers(cluster, client)?;
                ensure!(server == "n2" || server == "n3", "{does:?}: {client} is with {server}");
                others.push((client, server));
            }
            let begun = Instant::now();
            webs[0].set(Does::Well);
            cluster.wait_settled_within(3, BACK)?;
            report(&format!("{does:?}: back after {:?}", begun.elapsed()));
            // They stay where they are now, although their buckets are n1's again.
            for (client, server) in others {
                let now = answers(cluster, client)?;
                ensure!(now == server, "{does:?}: {client} was with {server} and is with {now}");
            }
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn when_all_services_are_ill_all_serve_until_one_is_well() {
    on_three(|cluster, webs| {
        for web in webs {
            web.set(Does::Fails);
        }
        for index in 0..3 {
            said(cluster, index, "status 500")?;
        }
        cluster.wait_settled_within(3, BACK)?;
        for node in &cluster.nodes[..3] {
            let log = node.log();
            nlb_tests::wait::wait_until("the log says so", BACK, || {
                node.log().contains("serves all the same")
            })
            .with_context(|| log)?;
        }
        webs[2].set(Does::Well);
        cluster.nodes[2].wait_status("n3 has it all", BACK, |status| {
            status.converged && status.buckets_accepted == 4096
        })?;
        for web in webs {
            web.set(Does::Well);
        }
        cluster.wait_settled_within(3, BACK)?;
        Ok(())
    });
}
