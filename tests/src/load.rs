//! Clients: many connections a second, each with a source address of its own, each timed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::lab::{SERVICE4, SERVICE6, source4, source6};
use crate::netns::Namespace;
use crate::random::Random;
use crate::repeats::repeats;
use crate::service::HTTP;
use crate::stamp::Stamp;

/// An attempt that takes longer has failed. Four SYNs are sent in that time.
const GIVE_UP: Duration = Duration::from_secs(8);

/// Where the source addresses of a load come from.
#[derive(Debug, Clone, Copy)]
pub enum Sources {
    /// These, by index: `source4(first + n)` and `source6(first + n)` in random order.
    Pool {
        /// The index of the first.
        first: u32,
        /// How many.
        count: u32,
    },
    /// The same, each in its turn.
    Round {
        /// The index of the first.
        first: u32,
        /// How many.
        count: u32,
    },
    /// A new one for every attempt, from this index on.
    Fresh {
        /// The index of the first.
        first: u32,
    },
}

/// What a load does.
#[derive(Debug, Clone)]
pub struct LoadSpec {
    /// Attempts per second.
    pub rate: u32,
    /// How many attempts; `None`: until it is told to stop.
    pub count: Option<u32>,
    /// From which addresses.
    pub sources: Sources,
    /// Which of them are IPv4, of 2: 2 all, 1 every other, 0 none.
    pub ipv4: u32,
    /// Repeats the random order.
    pub seed: u64,
}

impl Default for LoadSpec {
    fn default() -> Self {
        Self { rate: 200, count: None, sources: Sources::Fresh { first: 0 }, ipv4: 1, seed: 1 }
    }
}

/// One connection attempt: connect, GET, body read to its end.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The client.
    pub source: IpAddr,
    /// When it began.
    pub begun: Stamp,
    /// How long the connect took.
    pub connect: Option<Duration>,
    /// Whether the kernel had to send the SYN again.
    pub repeated: bool,
    /// How long all of it took.
    pub total: Duration,
    /// The server that answered, or why none did.
    pub server: Result<String, String>,
}

impl Attempt {
    /// Whether it waited for a retransmission or failed.
    #[must_use]
    pub fn disturbed(&self) -> bool {
        self.server.is_err() || self.repeated
    }
}

/// A load that is under way.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    begun: Arc<AtomicU32>,
    thread: Option<JoinHandle<Result<Result<()>>>>,
}

impl Load {
    /// Starts a load from `client`.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn start(client: &Namespace, spec: &LoadSpec) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let begun = Arc::new(AtomicU32::new(0));
        let (spec, seen, counter, until) =
            (spec.clone(), attempts.clone(), begun.clone(), stop.clone());
        let thread = client.thread("load", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(generate(&spec, &seen, &counter, &until));
            Ok(())
        })?;
        Ok(Self { stop, attempts, begun, thread: Some(thread) })
    }

    /// Runs a load to its end; `spec.count` says when that is.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(client: &Namespace, spec: &LoadSpec) -> Result<Vec<Attempt>> {
        Self::start(client, spec)?.join()
    }

    /// How many attempts have begun.
    #[must_use]
    pub fn begun(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    /// The attempts that have ended since the last call.
    #[must_use]
    pub fn take_ended(&self) -> Vec<Attempt> {
        std::mem::take(&mut *self.attempts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins no more attempts; waits for those under way. Gives what was not yet taken.
    ///
    /// # Errors
    /// When the load itself failed.
    pub fn finish(self) -> Result<Vec<Attempt>> {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    fn join(mut self) -> Result<Vec<Attempt>> {
        if let Some(thread) = self.thread.take() {
            thread.join().ok().context("the load panicked")???;
        }
        Ok(std::mem::take(&mut *self.attempts.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a set of attempts came to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// How many.
    pub attempts: usize,
    /// How many got no answer.
    pub failed: usize,
    /// How many waited for a retransmission.
    pub retransmitted: usize,
    /// Half of the connects took at most so long.
    pub median: Duration,
    /// The longest connect.
    pub longest: Duration,
    /// How many each server answered.
    pub servers: BTreeMap<String, usize>,
    /// Why attempts failed.
    pub errors: BTreeMap<String, usize>,
}

impl Summary {
    /// Adds up.
    #[must_use]
    pub fn of(attempts: &[Attempt]) -> Self {
        let mut sum = Self { attempts: attempts.len(), ..Self::default() };
        let mut connects: Vec<Duration> = attempts.iter().filter_map(|a| a.connect).collect();
        connects.sort();
        sum.median = connects.get(connects.len() / 2).copied().unwrap_or_default();
        sum.longest = connects.last().copied().unwrap_or_default();
        sum.retransmitted = attempts.iter().filter(|attempt| attempt.repeated).count();
        for attempt in attempts {
            match &attempt.server {
                Ok(server) => *sum.servers.entry(server.clone()).or_default() += 1,
                Err(error) => {
                    sum.failed += 1;
                    *sum.errors.entry(error.clone()).or_default() += 1;
                }
            }
        }
        sum
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} attempts, {} failed, {} waited for a retransmission; connect: median {:.1?}, \
             longest {:.1?}; {:?} {:?}",
            self.attempts,
            self.failed,
            self.retransmitted,
            self.median,
            self.longest,
            self.servers,
            self.errors
        )
    }
}

async fn generate(
    spec: &LoadSpec,
    seen: &Arc<Mutex<Vec<Attempt>>>,
    counter: &AtomicU32,
    stop: &AtomicBool,
) {
    let mut random = Random::new(spec.seed);
    let mut tasks = tokio::task::JoinSet::new();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / spec.rate.max(1));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) && spec.count.is_none_or(|count| number < count) {
        pace.tick().await;
        while tasks.try_join_next().is_some() {}
        let index = match spec.sources {
            Sources::Fresh { first } => first + number,
            Sources::Round { first, count } => first + number % count.max(1),
            Sources::Pool { first, count } => {
                first + u32::try_from(random.below(count as usize)).unwrap_or(0)
            }
        };
        let ipv4 = (index % 2) < spec.ipv4;
        let source = if ipv4 { source4(index) } else { source6(index) };
        let seen = seen.clone();
        tasks.spawn(async move {
            let attempt = attempt(source).await;
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
        });
        number += 1;
        counter.store(number, Ordering::Relaxed);
    }
    while tasks.join_next().await.is_some() {}
}

/// One attempt from `source` to the service address of its family.
async fn attempt(source: IpAddr) -> Attempt {
    let (begun, clock) = (Stamp::now(), Instant::now());
    let (mut connect, mut repeated) = (None, false);
    let get = get(source, clock, &mut connect, &mut repeated);
    let server = match tokio::time::timeout(GIVE_UP, get).await {
        Ok(Ok(server)) => Ok(server),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err("no answer".to_owned()),
    };
    Attempt { source, begun, connect, repeated, total: clock.elapsed(), server }
}

async fn get(
    source: IpAddr,
    clock: Instant,
    connect: &mut Option<Duration>,
    repeated: &mut bool,
) -> Result<String> {
    let service = service_of(source);
    let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(SocketAddr::from((source, 0))).with_context(|| format!("bind {source}"))?;
    let mut stream = socket.connect(SocketAddr::from((service, HTTP))).await?;
    *connect = Some(clock.elapsed());
    *repeated = repeats(&stream)? > 0;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: service\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    let (_, body) = text.split_once("\r\n\r\n").context("answer cut short")?;
    Ok(body.trim_end_matches('.').trim().to_owned())
}

/// The service address that a client of this family asks.
#[must_use]
pub const fn service_of(source: IpAddr) -> IpAddr {
    if source.is_ipv4() { IpAddr::V4(SERVICE4) } else { IpAddr::V6(SERVICE6) }
}
