//! The task: takes orders, runs nft, hears what others do, checks now and then.

use core::pin::Pin;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::order::{Order, Orders};
use super::state::{Cluster, Installed};
use super::way::Way;
use super::{KernelEvent, Leftovers};
use crate::kernel::fallback::{self, Family};
use crate::kernel::netlink::Query;
use crate::kernel::probe::{Capabilities, QueuePath};
use crate::kernel::spec::{ClusterRules, Interface};
use crate::kernel::tool::ToolError;
use crate::kernel::watch::Watch;

/// Between two comparisons of the kernel's rules with ours, for changes that nobody reported.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How long the rules of an earlier life stay when none are set.
const GRACE: Duration = Duration::from_secs(1);
/// Between two repairs then, and how long without one it takes until they are quick again.
pub(super) const SLOW_REPAIR: Duration = Duration::from_secs(1);
/// How long an event may wait at the end for a driver that no longer listens.
const LAST_EVENT: Duration = Duration::from_millis(100);

pub(super) type Ending = Pin<Box<dyn Future<Output = Result<String, ToolError>> + Send>>;

pub(super) struct Task {
    pub(super) capabilities: Capabilities,
    pub(super) watch: Watch,
    pub(super) query: Query,
    pub(super) orders: Arc<watch::Sender<Orders>>,
    pub(super) arrived: watch::Receiver<Orders>,
    pub(super) events: mpsc::Sender<KernelEvent>,
    pub(super) clusters: BTreeMap<String, Cluster>,
    /// What removed clusters left.
    pub(super) leftovers: Vec<ClusterRules>,
    /// Clusters of an earlier life that were not set yet: what the kernel has of them stays.
    pub(super) inherited: BTreeSet<String>,
    /// All tables go before anything else is done, in the same batch.
    pub(super) clear: bool,
    /// When they go even if nothing else is done.
    pub(super) clear_at: Instant,
    /// The chain in the raw tables.
    pub(super) way: Way,
    /// The raw tables that were not there before us.
    pub(super) made: BTreeSet<Family>,
    pub(super) fingerprint: Option<u64>,
    /// Whatever was reported up to the fingerprint has been read: it is that of our own rules.
    pub(super) sure: bool,
    pub(super) check_at: Instant,
    pub(super) checks: u32,
    pub(super) ports: VecDeque<u32>,
    pub(super) repairs: u32,
    pub(super) repair_at: Instant,
    pub(super) shutdown: bool,
}

impl Task {
    pub(super) fn new(
        capabilities: Capabilities,
        leftovers: Leftovers,
        watch: Watch,
        query: Query,
        orders: Arc<watch::Sender<Orders>>,
        arrived: watch::Receiver<Orders>,
        events: mpsc::Sender<KernelEvent>,
    ) -> Self {
        let now = Instant::now();
        let (clear, inherited) = match leftovers {
            Leftovers::Replace => (true, BTreeSet::new()),
            Leftovers::Keep(clusters) => (false, clusters),
        };
        Self {
            capabilities,
            watch,
            query,
            orders,
            arrived,
            events,
            clusters: BTreeMap::new(),
            leftovers: Vec::new(),
            inherited,
            clear,
            clear_at: now + GRACE,
            way: Way::new(now),
            made: BTreeSet::new(),
            fingerprint: None,
            sure: false,
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
            self.take_orders().await;
            if self.shutdown {
                self.end().await;
                return;
            }
            if !self.work().await {
                self.rest().await;
            }
        }
    }

    async fn take_orders(&mut self) {
        let mut taken = BTreeMap::new();
        self.orders.send_if_modified(|orders| {
            taken = orders.take();
            self.shutdown |= orders.is_shutdown();
            false
        });
        self.arrived.mark_unchanged();
        for (name, order) in taken {
            if let Some(Err(reason)) = order.rules.as_ref().map(|it| it.rules.check()) {
                self.send(KernelEvent::Failed { cluster: name, reason: reason.into() }).await;
                continue;
            }
            self.order(name, order);
        }
    }

    fn order(&mut self, name: String, order: Order) {
        let Order { remove, rules, plan } = order;
        if remove && let Some(cluster) = self.clusters.remove(&name) {
            self.leftovers.extend(cluster.installed().map(Installed::rules).cloned());
            self.way.look_again();
        }
        if let Some(rules) = rules {
            match self.clusters.get_mut(&name) {
                Some(cluster) => cluster.set_rules(rules),
                None => {
                    // The plan that comes with the rules is there by construction.
                    if let Some(plan) = plan {
                        self.clusters.insert(name, Cluster::new(rules, plan));
                    }
                    self.way.look_again();
                    return;
                }
            }
            self.way.look_again();
        }
        let Some(cluster) = self.clusters.get_mut(&name) else { return };
        if let Some(plan) = plan {
            cluster.submit(plan);
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
        if self.is_due(now) && self.way.is_urgent(&self.queues()) {
            self.fallback().await;
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
            // No plan waits: it may take as long as somebody holds the lock of iptables.
            None if self.is_due(now) => {
                self.look().await;
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
        until = self.way_due().map_or(until, |due| until.min(due));
        if self.clusters.values().any(Cluster::is_doubted) {
            until = until.min(self.repair_at);
        }
        let heard = tokio::select! {
            biased;
            heard = self.watch.next() => Some(heard),
            _ = self.arrived.changed() => None,
            () = sleep_until(until) => None,
        };
        match heard {
            Some(heard) => self.hear(heard).await,
            None => self.sure = true,
        }
    }

    pub(super) async fn send(&self, event: KernelEvent) {
        if self.shutdown {
            let _ = timeout(LAST_EVENT, self.events.send(event)).await;
        } else {
            // Fails only when the driver is gone; then there is nobody to tell.
            let _ = self.events.send(event).await;
        }
    }
}

/// Whether an interface is there under its name and index. Rules for one that has gone would
/// fail the whole batch.
fn is_present(interface: &Interface) -> bool {
    nix::net::if_::if_nametoindex(interface.name()).is_ok_and(|index| index == interface.index())
}
