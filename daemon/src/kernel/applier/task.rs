//! The task: takes orders, runs nft, hears what others do, checks now and then.

use core::pin::Pin;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::order::{Order, Orders};
use super::state::{Cluster, Failure, Forgotten, Installed, Step};
use super::{KernelError, KernelEvent};
use crate::cluster::clock;
use crate::kernel::fallback::{self, Family};
use crate::kernel::netlink::Query;
use crate::kernel::probe::{Capabilities, QueuePath};
use crate::kernel::ruleset::{Ruleset, sticky_set, sticky_sets};
use crate::kernel::spec::{ClusterRules, Interface};
use crate::kernel::tool::{Running, ToolError};
use crate::kernel::watch::{Heard, Watch};

/// Between two comparisons of the kernel's rules with ours, for changes that nobody reported.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Every so many of them the raw tables are looked at too: iptables of the old kind reports
/// nothing, and looking costs two processes.
const CHECKS_OF_RAW: u32 = 12;
/// How long the rules of an earlier life stay when none are set.
const GRACE: Duration = Duration::from_secs(1);
/// Repairs that follow each other at once. Whoever goes on changing our rules gets them back
/// more slowly, and does not make us run in a circle.
const MAX_QUICK_REPAIRS: u32 = 8;
/// Between two repairs then, and how long without one it takes until they are quick again.
const SLOW_REPAIR: Duration = Duration::from_secs(1);
/// Ports of our latest children: a report may be read after the child has ended.
const RECENT_PORTS: usize = 8;
/// How often forgotten clients that came back (a packet was on its way) are taken out again.
const MAX_SWEEPS: usize = 5;
/// How often the end is tried.
const MAX_LAST_TRIES: usize = 3;
/// How long an event may wait at the end for a driver that no longer listens.
const LAST_EVENT: Duration = Duration::from_millis(100);

type Ending = Pin<Box<dyn Future<Output = Result<String, ToolError>> + Send>>;

pub(super) struct Task {
    capabilities: Capabilities,
    watch: Watch,
    query: Query,
    orders: Arc<watch::Sender<Orders>>,
    arrived: watch::Receiver<Orders>,
    events: mpsc::Sender<KernelEvent>,
    clusters: BTreeMap<String, Cluster>,
    /// What removed clusters left.
    leftovers: Vec<ClusterRules>,
    lists: BTreeSet<String>,
    /// Both tables go before anything else is done, in the same batch.
    clear: bool,
    /// When they go even if nothing else is done.
    clear_at: Instant,
    /// The queues that the chain in the raw tables has rules for; `None`: it must be looked at.
    raw: Option<Vec<u16>>,
    /// When the raw tables are tried again after a failure.
    raw_at: Instant,
    /// The raw tables that were not there before us.
    made: BTreeSet<Family>,
    fingerprint: Option<u64>,
    check_at: Instant,
    checks: u32,
    ports: VecDeque<u32>,
    repairs: u32,
    repair_at: Instant,
    shutdown: bool,
}

impl Task {
    pub(super) fn new(
        capabilities: Capabilities,
        watch: Watch,
        query: Query,
        orders: Arc<watch::Sender<Orders>>,
        arrived: watch::Receiver<Orders>,
        events: mpsc::Sender<KernelEvent>,
    ) -> Self {
        let now = Instant::now();
        Self {
            capabilities,
            watch,
            query,
            orders,
            arrived,
            events,
            clusters: BTreeMap::new(),
            leftovers: Vec::new(),
            lists: BTreeSet::new(),
            clear: true,
            clear_at: now + GRACE,
            raw: None,
            raw_at: now,
            made: BTreeSet::new(),
            fingerprint: None,
            check_at: now + CHECK_INTERVAL,
            checks: 0,
            ports: VecDeque::new(),
            repairs: 0,
            repair_at: now,
            shutdown: false,
        }
    }

    pub(super) async fn run(mut self) {
        if self.capabilities.queue == QueuePath::Iptables {
            self.made = fallback::made_by_us().await;
        }
        loop {
            self.take_orders();
            if self.shutdown {
                self.end().await;
                return;
            }
            if !self.work().await {
                self.rest().await;
            }
        }
    }

    fn take_orders(&mut self) {
        let mut taken = BTreeMap::new();
        self.orders.send_if_modified(|orders| {
            taken = orders.take();
            self.shutdown |= orders.is_shutdown();
            false
        });
        self.arrived.mark_unchanged();
        for (name, order) in taken {
            self.order(name, order);
        }
    }

    fn order(&mut self, name: String, order: Order) {
        let Order { remove, rules, plan, list } = order;
        if remove && let Some(cluster) = self.clusters.remove(&name) {
            self.leftovers.extend(cluster.installed().map(Installed::rules).cloned());
            self.raw = None;
        }
        if let Some(rules) = rules {
            match self.clusters.get_mut(&name) {
                Some(cluster) => cluster.set_rules(rules),
                None => {
                    // The plan that comes with the rules is there by construction.
                    if let Some(plan) = plan {
                        self.clusters.insert(name.clone(), Cluster::new(rules, plan));
                    }
                    self.raw = None;
                    if list {
                        self.lists.insert(name);
                    }
                    return;
                }
            }
            self.raw = None;
        }
        let Some(cluster) = self.clusters.get_mut(&name) else { return };
        if let Some(plan) = plan {
            cluster.submit(plan);
        }
        if list {
            self.lists.insert(name);
        }
    }

    /// Does one piece of work, if there is any.
    async fn work(&mut self) -> bool {
        let now = Instant::now();
        if self.clusters.is_empty() {
            if (self.clear && now >= self.clear_at) || !self.leftovers.is_empty() {
                return self.remove_all().await;
            }
        } else if let Some(rules) = self.leftovers.pop() {
            self.remove(&rules).await;
            return true;
        }
        if self.wants_raw() && now >= self.raw_at {
            self.fallback().await;
            return true;
        }
        if let Some(name) = self.lists.pop_first() {
            self.list(name).await;
            return true;
        }
        if now >= self.check_at {
            self.check().await;
            return true;
        }
        let path = self.capabilities.queue;
        let steps = self.clusters.iter().find_map(|(name, cluster)| {
            let hold = cluster.is_doubted() && now < self.repair_at;
            let step = if hold { None } else { cluster.step(path, now, is_present) };
            step.map(|step| (name.clone(), step))
        });
        match steps {
            Some((name, step)) => {
                self.bring_into_force(name, step).await;
                true
            }
            None => false,
        }
    }

    /// Waits for orders, for others' changes, or for the next time something is due.
    async fn rest(&mut self) {
        let retries = self.clusters.values().filter_map(|cluster| cluster.retry());
        let mut until = retries.fold(self.check_at, Instant::min);
        if self.clear && self.clusters.is_empty() {
            until = until.min(self.clear_at);
        }
        if self.wants_raw() {
            until = until.min(self.raw_at);
        }
        if self.clusters.values().any(Cluster::is_doubted) {
            until = until.min(self.repair_at);
        }
        let heard = tokio::select! {
            _ = self.arrived.changed() => return,
            () = sleep_until(until) => return,
            heard = self.watch.next() => heard,
        };
        self.hear(heard).await;
    }

    /// Runs nft until the batch is in force: how long that took, and the child's end, which may
    /// come a grace period of the kernel later.
    async fn commit(&mut self, text: String) -> Result<(Duration, Option<Ending>), ToolError> {
        debug!(bytes = text.len(), "nft batch");
        let start = Instant::now();
        let running = Running::start(&self.capabilities.nft, &["-f", "-"], text)?;
        let port = running.id();
        self.ports.extend(port);
        while self.ports.len() > RECENT_PORTS {
            self.ports.pop_front();
        }
        let mut ending: Ending = Box::pin(running.finish());
        loop {
            let heard = tokio::select! {
                biased;
                heard = self.watch.next() => heard,
                end = &mut ending => return end.map(|_| (start.elapsed(), None)),
            };
            match heard {
                Ok(Heard::Committed { port: of, .. }) if Some(of) == port => {
                    return Ok((start.elapsed(), Some(ending)));
                }
                heard => self.hear(heard).await,
            }
        }
    }

    /// Runs nft to its end.
    async fn run_batch(&mut self, text: String) -> Result<(), ToolError> {
        match self.commit(text).await? {
            (_, Some(ending)) => ending.await.map(drop),
            (_, None) => Ok(()),
        }
    }

    async fn bring_into_force(&mut self, name: String, mut step: Step) {
        let mut text = String::new();
        if self.clear {
            let mut batch = Ruleset::new();
            batch.clear();
            text = batch.into_text();
        }
        text += &core::mem::take(&mut step.text);
        if step.structural {
            text += &fallback::remember_made(&self.made);
        }
        let (took, ending) = if text.is_empty() {
            (Duration::ZERO, None)
        } else {
            match self.commit(text).await {
                Ok(done) => done,
                Err(error) => return self.failed(name, &step, error.into()).await,
            }
        };
        self.clear = false;
        let structural = step.structural;
        let must_rest = step.forgotten != Forgotten::Nobody;
        if must_rest {
            // Only when nft has ended is no packet under way that still saw a client in a set and
            // is about to refresh, that is to say to add it.
            let rested = match ending {
                Some(ending) => ending.await.map(drop).map_err(KernelError::from),
                None => Ok(()),
            };
            let rules = step.installed.rules().clone();
            let swept = match rested {
                Ok(()) => self.sweep(&rules, &step.forgotten).await,
                error => error,
            };
            match swept {
                Ok(()) => self.settled(name, step, took).await,
                Err(error) => return self.failed(name, &step, error).await,
            }
        } else {
            self.settled(name, step, took).await;
            if let Some(Err(error)) = end_of(ending).await {
                warn!(%error, "nft failed after its batch was in force");
            }
        }
        if structural {
            self.fingerprint = self.query.fingerprint().await.ok();
        }
    }

    async fn settled(&mut self, name: String, step: Step, took: Duration) {
        let Some(cluster) = self.clusters.get_mut(&name) else { return };
        let (generation, repaired) = cluster.done(step);
        if let Some(since) = repaired {
            let took = since.elapsed();
            info!(cluster = name, ?took, "the kernel's rules are as they should be again");
            self.send(KernelEvent::Repaired { cluster: name.clone(), took }).await;
        }
        if let Some(generation) = generation {
            self.send(KernelEvent::Applied { cluster: name, generation, took }).await;
        }
    }

    async fn failed(&mut self, name: String, step: &Step, reason: KernelError) {
        let Some(cluster) = self.clusters.get_mut(&name) else { return };
        match cluster.failed(step, Instant::now()) {
            Failure::Quiet => {
                debug!(cluster = name, %reason, "a change was refused; the whole is said again");
                return;
            }
            Failure::Plain => {}
            Failure::Lasting => {
                self.clear = true;
                self.clusters.values_mut().for_each(Cluster::cleared);
                for cluster in self.clusters.keys().cloned().collect::<Vec<_>>() {
                    self.send(KernelEvent::StickyLost { cluster }).await;
                }
            }
        }
        warn!(cluster = name, %reason, "the kernel's rules cannot be set");
        self.send(KernelEvent::Failed { cluster: name, reason }).await;
    }

    /// Takes out clients that a packet under way put back after they were forgotten.
    async fn sweep(
        &mut self,
        rules: &ClusterRules,
        forgotten: &Forgotten,
    ) -> Result<(), KernelError> {
        for _ in 0..MAX_SWEEPS {
            let mut batch = Ruleset::new();
            match forgotten {
                Forgotten::Nobody => {}
                Forgotten::These(clients) => {
                    let mut kept = Vec::new();
                    for client in clients {
                        let set = sticky_set(&rules.cluster, *client);
                        if self.query.keeps(&set, *client).await? {
                            kept.push(*client);
                        }
                    }
                    batch.forget(rules, &kept);
                }
                Forgotten::Everybody => {
                    let mut kept = Vec::new();
                    for set in sticky_sets(&rules.cluster) {
                        kept.extend(self.query.sticky(&set).await?);
                    }
                    if !kept.is_empty() {
                        batch.flush_sticky(rules);
                    }
                }
            }
            if batch.is_empty() {
                return Ok(());
            }
            self.run_batch(batch.into_text()).await?;
        }
        Err(KernelError::StillKept)
    }

    /// Somebody changed rules, we perhaps.
    async fn hear(&mut self, heard: std::io::Result<Heard>) {
        let now = Instant::now();
        match heard {
            Ok(Heard::Committed { port, touched }) => {
                if self.ports.contains(&port) || !touched.anything() {
                    return;
                }
                if touched.raw {
                    self.raw = None;
                }
                if !touched.rules || self.clusters.is_empty() {
                    return;
                }
                warn!(port, "somebody changed nlbd's nftables rules; they are set again");
                self.repair(now);
                for (name, _) in self.clusters.iter().filter(|(_, c)| c.installed().is_some()) {
                    let sets = sticky_sets(name);
                    if touched.stage || sets.iter().any(|set| touched.lost.contains(set)) {
                        self.send(KernelEvent::StickyLost { cluster: name.clone() }).await;
                    }
                }
            }
            Ok(Heard::Overrun) => self.check_at = now,
            Err(error) => {
                warn!(%error, "reports on nftables cannot be read");
                self.check_at = self.check_at.min(now + SLOW_REPAIR);
                tokio::time::sleep(super::state::FIRST_RETRY).await;
            }
        }
    }

    /// Everything is set again, at once unless that happens all the time.
    fn repair(&mut self, now: Instant) {
        self.clusters.values_mut().for_each(|cluster| cluster.doubt(now));
        if now.saturating_duration_since(self.repair_at) > SLOW_REPAIR {
            self.repairs = 0;
        }
        self.repairs = self.repairs.saturating_add(1);
        let pause = if self.repairs > MAX_QUICK_REPAIRS { SLOW_REPAIR } else { Duration::ZERO };
        self.repair_at = self.repair_at.max(now + pause).min(now + SLOW_REPAIR);
    }

    /// Compares the kernel's rules with what they were when we set them.
    async fn check(&mut self) {
        let now = Instant::now();
        self.check_at = now + CHECK_INTERVAL;
        self.checks = self.checks.wrapping_add(1);
        if self.checks.is_multiple_of(CHECKS_OF_RAW) {
            self.raw = None;
        }
        let (Some(expected), Ok(found)) = (self.fingerprint, self.query.fingerprint().await) else {
            return;
        };
        if expected != found && self.clusters.values().any(|c| c.installed().is_some()) {
            warn!("nlbd's nftables rules are not as they were set; they are set again");
            self.fingerprint = None;
            self.repair(now);
        }
    }

    async fn list(&mut self, cluster: String) {
        let listed = clock::now();
        let mut clients = Vec::new();
        for set in sticky_sets(&cluster) {
            match self.query.sticky(&set).await {
                Ok(found) => clients.extend(found),
                Err(error) => {
                    warn!(cluster, %error, "the kernel's clients cannot be listed");
                    return;
                }
            }
        }
        self.send(KernelEvent::StickyListed { cluster, clients, listed }).await;
    }

    /// Brings the chain in the raw tables to the queues of today.
    async fn fallback(&mut self) {
        let queues: BTreeSet<u16> =
            self.clusters.values().map(|cluster| cluster.rules().queue).collect();
        let queues: Vec<u16> = queues.into_iter().collect();
        match fallback::apply(&queues).await {
            Ok(changed) => {
                debug!(changed, "iptables' raw tables are as they should be");
                self.raw = Some(queues);
            }
            Err(error) => {
                warn!(%error, "the way to user space through iptables cannot be set");
                self.raw_at = Instant::now() + SLOW_REPAIR;
                for cluster in self.clusters.keys().cloned().collect::<Vec<_>>() {
                    let reason = KernelError::Tool(error.clone());
                    self.send(KernelEvent::Failed { cluster, reason }).await;
                }
            }
        }
    }

    /// Whether the raw tables are to be looked at.
    fn wants_raw(&self) -> bool {
        self.capabilities.queue == QueuePath::Iptables && self.raw.is_none()
    }

    async fn remove(&mut self, rules: &ClusterRules) {
        let mut batch = Ruleset::new();
        batch.retire(rules, None);
        if let Err(error) = self.run_batch(batch.into_text()).await {
            warn!(cluster = rules.cluster, %error, "rules cannot be removed; all are made anew");
            self.clear = true;
            self.clusters.values_mut().for_each(Cluster::cleared);
        } else {
            self.fingerprint = self.query.fingerprint().await.ok();
        }
    }

    /// Nothing of ours stays.
    async fn remove_all(&mut self) -> bool {
        let mut batch = Ruleset::new();
        batch.clear();
        if let Err(error) = self.run_batch(batch.into_text()).await {
            warn!(%error, "nlbd's nftables rules cannot be removed");
            self.clear_at = Instant::now() + SLOW_REPAIR;
            self.clear = true;
            self.leftovers.clear();
            return false;
        }
        self.clear = false;
        self.leftovers.clear();
        self.fingerprint = None;
        true
    }

    async fn end(&mut self) {
        self.clusters.clear();
        for _ in 0..MAX_LAST_TRIES {
            if self.remove_all().await {
                break;
            }
        }
        if self.capabilities.queue == QueuePath::Iptables {
            if let Err(error) = fallback::apply(&[]).await {
                warn!(%error, "nlbd's chain in iptables' raw tables cannot be removed");
            }
            for family in &self.made {
                fallback::remove_if_empty(*family).await;
            }
        }
    }

    async fn send(&self, event: KernelEvent) {
        if self.shutdown {
            let _ = timeout(LAST_EVENT, self.events.send(event)).await;
        } else {
            // Fails only when the driver is gone; then there is nobody to tell.
            let _ = self.events.send(event).await;
        }
    }
}

async fn end_of(ending: Option<Ending>) -> Option<Result<String, ToolError>> {
    match ending {
        Some(ending) => Some(ending.await),
        None => None,
    }
}

/// Whether an interface is there under its name and index. Rules for one that has gone would
/// fail the whole batch.
fn is_present(interface: &Interface) -> bool {
    nix::net::if_::if_nametoindex(interface.name()).is_ok_and(|index| index == interface.index())
}
