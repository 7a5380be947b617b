//! The rules as text: pure functions from a cluster's rules and the engine's plan to a batch for
//! `nft -f -` (SPEC 7).
//!
//! Every statement of a batch can be given to a kernel that is already in the wanted state or in
//! any earlier one: objects are added, chains are emptied and filled again, what is no longer
//! wanted is added (so that it is there) and deleted. A batch is one transaction, so no packet
//! ever sees half of it. What the kernel learned by itself, the lease and the clients that it
//! keeps, survives.
//!
//! Sets never get a default timeout: it could not be changed without losing the set.

mod arp;
mod batch;
mod count;
mod gate;
mod heirless;
mod mark;
mod stage;

use core::net::IpAddr;
use std::collections::BTreeSet;

use nlb_engine::KernelPlan;
use nlb_protocol::{Bucket, Buckets};

use self::batch::{Batch, Table};
use super::inventory::Inventory;
use super::probe::QueuePath;
use super::spec::{ClusterRules, Interface};

pub(crate) use self::batch::{ARP, GATE, STAGE};
pub use self::count::Fate;
pub(crate) use self::gate::is_lease;
pub use self::mark::Mark;
pub(crate) use self::stage::Refresh;
pub(crate) use self::stage::sticky as sticky_sets;

/// The part of a plan that lasts: what the rules are made of. The rest of a plan is done once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The buckets whose new clients go to the queue.
    pub filter: Buckets,
    /// Whether everything goes to the queue and the kernel keeps no clients.
    pub divert: bool,
    /// The hash seed.
    pub seed: u32,
}

impl From<&KernelPlan> for Decision {
    fn from(plan: &KernelPlan) -> Self {
        Self { filter: plan.filter.clone(), divert: plan.divert, seed: plan.seed }
    }
}

/// Which sets of clients are to hold nobody any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Emptied {
    /// Those that the kernel keeps.
    pub(crate) sticky: bool,
    /// Those that other nodes keep.
    pub(crate) foreign: bool,
}

impl Emptied {
    /// Whether there are any.
    pub(crate) const fn any(self) -> bool {
        self.sticky || self.foreign
    }
}

/// A batch under construction: the text that one `nft -f -` reads.
#[derive(Debug, Clone, Default)]
pub struct Ruleset {
    batch: Batch,
}

impl Ruleset {
    /// A batch that changes nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.batch.into_text()
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// All tables go, with everything in them, whoever made it. `arp`: whether the kernel has
    /// nftables for ARP.
    pub fn clear(&mut self, arp: bool) {
        let arp = arp.then_some(Table::Arp);
        for table in [Table::Gate, Table::Stage].into_iter().chain(arp) {
            self.batch.add_table(table);
            self.batch.delete_table(table);
        }
    }

    /// Everything of a cluster, whatever the kernel has of it.
    pub fn install(&mut self, rules: &ClusterRules, decision: &Decision, path: QueuePath) {
        self.batch.add_table(Table::Gate);
        self.batch.add_table(Table::Stage);
        arp::install(&mut self.batch, rules);
        gate::install(&mut self.batch, rules);
        stage::install(&mut self.batch, rules, decision, path);
    }

    /// Takes away what `before` had and `after` has no more.
    pub fn retire(&mut self, before: &ClusterRules, after: Option<&ClusterRules>) {
        let stays =
            |interface: &Interface| after.is_some_and(|after| after.interfaces.contains(interface));
        let gone: Vec<_> = before.interfaces.iter().filter(|i| !stays(i)).collect();
        if gone.is_empty() && after.is_some() {
            return;
        }
        self.batch.add_table(Table::Gate);
        self.batch.add_table(Table::Stage);
        for interface in gone {
            gate::remove_interface(&mut self.batch, before, interface);
            stage::remove_interface(&mut self.batch, before, interface);
        }
        if after.is_none() {
            gate::remove(&mut self.batch, before);
            stage::remove(&mut self.batch, before);
            arp::remove(&mut self.batch, before);
        }
    }

    /// Takes away what was found of clusters that are none of these, and of interfaces that the
    /// cluster of these rules does not have. What is installed must be installed behind this.
    pub(crate) fn remove_heirless(
        &mut self,
        found: &Inventory,
        clusters: &BTreeSet<&str>,
        rules: &ClusterRules,
    ) {
        heirless::remove(&mut self.batch, found, clusters, rules);
    }

    /// Switches whether packets of clients that the kernel keeps refresh their time.
    pub(crate) fn refresh(&mut self, rules: &ClusterRules, at: &Decision, refresh: Refresh) {
        stage::clients(&mut self.batch, rules, at, refresh);
    }

    /// Brings the filter from one state to the other: only the differences, which is what makes
    /// the change a matter of milliseconds.
    pub fn change_filter(&mut self, rules: &ClusterRules, from: &Buckets, to: &Buckets) {
        let (mut lost, mut won) = (from.clone(), to.clone());
        lost.subtract(to);
        won.subtract(from);
        let name = stage::filter(&rules.cluster);
        self.batch.delete_elements(Table::Stage, &name, indices(&lost));
        self.batch.add_elements(Table::Stage, &name, indices(&won));
    }

    /// The kernel keeps no client any more, or drops nobody's packets any more because another
    /// node keeps the client. What is installed besides must be installed behind this.
    ///
    /// The sets are replaced, not emptied: that takes the same time however many are in them. To
    /// empty a set the kernel goes through it within one call, which on a kernel without
    /// preemption nobody interrupts: with 333,000 clients the processor is gone for 0.7 s, and
    /// with it the heartbeats.
    pub(crate) fn replace_sets(&mut self, rules: &ClusterRules, path: QueuePath, which: Emptied) {
        self.batch.add_table(Table::Stage);
        stage::remove_sets(&mut self.batch, rules, path, which);
    }

    /// The sets that were replaced, and the rules that name them, as they were.
    pub(crate) fn put_back(&mut self, rules: &ClusterRules, at: &Decision, path: QueuePath) {
        stage::put_back_sets(&mut self.batch, rules, at, path);
    }

    /// The kernel keeps these clients no more, whether it did or not.
    pub fn forget(&mut self, rules: &ClusterRules, clients: &[IpAddr]) {
        for (name, clients) in by_family(rules, clients) {
            // Deleting what is not there would fail the batch, and nft 1.0.6 has no `destroy`.
            let timeout = stage::timeout(rules);
            let added = clients.iter().map(|client| format!("{client} timeout {timeout}"));
            self.batch.add_elements(Table::Stage, &name, added);
            self.batch.delete_elements(Table::Stage, &name, clients.iter());
        }
    }

    /// The kernel keeps these clients for a whole idle time from now on, whether it did or not.
    pub fn renew(&mut self, rules: &ClusterRules, clients: &[IpAddr]) {
        // Adding what is there leaves it the time that it had (before Linux 6.12). A client that
        // sends something at this very moment may be in the set twice then, which does no harm.
        self.forget(rules, clients);
        self.remember(rules, clients);
    }

    /// The kernel keeps these clients.
    pub fn remember(&mut self, rules: &ClusterRules, clients: &[IpAddr]) {
        for (name, clients) in by_family(rules, clients) {
            let timeout = stage::timeout(rules);
            let added = clients.iter().map(|client| format!("{client} timeout {timeout}"));
            self.batch.add_elements(Table::Stage, &name, added);
        }
    }
}

/// The clients of each family, with the set that keeps them. Duplicates would fail the batch.
fn by_family(rules: &ClusterRules, clients: &[IpAddr]) -> [(String, Vec<IpAddr>); 2] {
    let [name4, name6] = stage::sticky(&rules.cluster);
    let unique: BTreeSet<IpAddr> = clients.iter().copied().collect();
    let (v4, v6) = unique.into_iter().partition(IpAddr::is_ipv4);
    [(name4, v4), (name6, v6)]
}

/// The set that keeps a client.
pub(crate) fn sticky_set(cluster: &str, client: IpAddr) -> String {
    let [v4, v6] = sticky_sets(cluster);
    if client.is_ipv4() { v4 } else { v6 }
}

fn indices(buckets: &Buckets) -> impl Iterator<Item = usize> {
    buckets.iter().map(Bucket::index)
}

#[cfg(test)]
mod tests;
