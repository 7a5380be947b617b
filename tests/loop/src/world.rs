//! One run: clients, servers, table, weights.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr};

use nlb_protocol::hash::bucket;
use nlb_protocol::table::{Table, View};
use nlb_protocol::{NodeId, Weight};

use crate::law::{Law, Weights};
use crate::measure::Gauges;
use crate::rng::Rng;
use crate::server::{At, Server};
use crate::stats::percentile;

/// Requests of an ordinary session, in the mean.
pub const REQUESTS: f64 = 10.0;
/// Requests a second that one core serves.
pub const PER_CORE: f64 = 1000.0;
/// Clients that never stop, where there are heavy ones, and their part of the load.
const HEAVY: u64 = 12;
const HEAVY_PART: f64 = 0.2;

/// How sessions come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// Independently.
    Poisson,
    /// In bursts: for two seconds out of ten three times as many, else half.
    Bursts,
    /// A fifth of the load from a dozen clients that never stop.
    Heavy,
}

/// What is run.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Cores of each server.
    pub cores: Vec<f64>,
    /// From which second on which part of what all can do is asked for.
    pub load: Vec<(u64, f64)>,
    /// How sessions come.
    pub arrivals: Arrivals,
    /// Seconds between two requests of an ordinary session, in the mean.
    pub thinking: f64,
    /// How weights are made.
    pub law: Law,
    /// Seconds.
    pub length: u64,
    /// Latencies count from this second on.
    pub from: u64,
    /// The seed of everything.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Run {
    /// Each server's share, second by second.
    pub shares: Vec<Vec<f64>>,
    /// Latencies in seconds, sorted.
    pub latencies: Vec<f64>,
    /// How often the weights changed.
    pub changes: usize,
}

impl Run {
    /// A percentile of the latencies, in milliseconds.
    #[must_use]
    pub fn latency_ms(&self, percent: f64) -> f64 {
        percentile(&self.latencies, percent) * 1000.0
    }
}

struct World<'s> {
    setting: &'s Setting,
    rng: Rng,
    servers: Vec<Server>,
    table: Table,
    /// The next request of a session: when, at which server, whether it never ends.
    sessions: BinaryHeap<Reverse<(At, usize, bool)>>,
    next_session: f64,
    run: Run,
}

/// Runs it.
#[must_use]
pub fn run(setting: &Setting) -> Run {
    let nodes = setting.cores.len();
    let mut weights = Weights::new(setting.law, nodes);
    let mut gauges: Vec<Gauges> = (0..nodes).map(|_| Gauges::default()).collect();
    let mut world = World::new(setting, weights.all());
    for second in 0..setting.length {
        world.work_until(to_f64(second + 1));
        let servers = world.servers.iter().zip(&mut gauges);
        let readings: Vec<_> =
            servers.map(|(server, gauges)| gauges.read(server, second + 1)).collect();
        if weights.second(second, &readings) {
            world.table = table(weights.all());
            world.run.changes += 1;
        }
        world.note_shares();
    }
    world.run.latencies.sort_by(f64::total_cmp);
    world.run
}

impl<'s> World<'s> {
    fn new(setting: &'s Setting, weights: &[Weight]) -> Self {
        let mut world = Self {
            setting,
            rng: Rng(setting.seed),
            servers: setting.cores.iter().map(|cores| Server::new(*cores)).collect(),
            table: table(weights),
            sessions: BinaryHeap::new(),
            next_session: 0.0,
            run: Run {
                shares: vec![Vec::new(); setting.cores.len()],
                latencies: Vec::new(),
                changes: 0,
            },
        };
        if setting.arrivals == Arrivals::Heavy {
            for _ in 0..HEAVY {
                let server = world.owner();
                world.sessions.push(Reverse((At(0.0), server, true)));
            }
        }
        world
    }

    /// Requests a second that are asked for now.
    fn demand(&self, now: f64) -> f64 {
        let steps = self.setting.load.iter().take_while(|(from, _)| to_f64(*from) <= now);
        let part = steps.last().map_or(0.0, |(_, part)| *part);
        part * PER_CORE * self.setting.cores.iter().sum::<f64>()
    }

    fn session_rate(&self, now: f64) -> f64 {
        let rate = self.demand(now) / REQUESTS;
        match self.setting.arrivals {
            Arrivals::Poisson => rate,
            Arrivals::Bursts if now % 10.0 < 2.0 => rate * 3.0,
            Arrivals::Bursts => rate * 0.5,
            Arrivals::Heavy => rate * (1.0 - HEAVY_PART),
        }
    }

    /// Where a new client goes.
    fn owner(&mut self) -> usize {
        let bits = self.rng.bits() >> 32;
        let client = IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(0)));
        let owner = self.table.owner(bucket(client, 7)).map_or(1, |node| node.0);
        usize::try_from(owner - 1).unwrap_or(0)
    }

    fn work_until(&mut self, end: f64) {
        loop {
            let done: Vec<f64> = self.servers.iter().map(Server::next_done).collect();
            let first = (0..done.len()).min_by(|a, b| done[*a].total_cmp(&done[*b])).unwrap_or(0);
            let request = self.sessions.peek().map_or(f64::INFINITY, |Reverse((at, ..))| at.0);
            let next = done[first].min(request).min(self.next_session);
            if next >= end {
                self.servers.iter_mut().for_each(|server| server.advance(end));
                return;
            }
            if next == done[first] {
                self.servers[first].advance(next);
                let took = self.servers[first].finish();
                if next >= to_f64(self.setting.from) {
                    self.run.latencies.extend(took);
                }
            } else if next == request {
                if let Some(Reverse((_, server, endless))) = self.sessions.pop() {
                    self.request(next, server, endless);
                }
            } else {
                let rate = self.session_rate(next).max(1e-9);
                self.next_session = next + self.rng.exponential(1.0 / rate);
                let server = self.owner();
                self.servers[server].sessions += 1;
                self.request(next, server, false);
            }
        }
    }

    fn request(&mut self, now: f64, server: usize, endless: bool) {
        let work = self.rng.exponential(1.0 / PER_CORE);
        self.servers[server].advance(now);
        self.servers[server].take(work);
        if endless {
            let rate = self.demand(now) * HEAVY_PART / to_f64(HEAVY);
            let next = now + self.rng.exponential(1.0 / rate.max(1e-9)).min(60.0);
            self.sessions.push(Reverse((At(next), server, true)));
        } else if self.rng.unit() < 1.0 - 1.0 / REQUESTS {
            let next = now + self.rng.exponential(self.setting.thinking);
            self.sessions.push(Reverse((At(next), server, false)));
        } else {
            self.servers[server].sessions -= 1;
        }
    }

    #[allow(clippy::cast_precision_loss)] // at most 4096
    fn note_shares(&mut self) {
        for (node, shares) in self.run.shares.iter_mut().enumerate() {
            let buckets = self.table.share(NodeId(node as u64 + 1));
            shares.push(buckets as f64 / nlb_protocol::ids::BUCKETS as f64);
        }
    }
}

fn table(weights: &[Weight]) -> Table {
    let members = weights.iter().enumerate().map(|(node, w)| (NodeId(node as u64 + 1), *w));
    Table::build(&View::new(members))
}

#[allow(clippy::cast_precision_loss)] // seconds and counts
fn to_f64(number: u64) -> f64 {
    number as f64
}
