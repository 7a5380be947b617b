//! Orders that wait for the applier, merged so that there is at most one for each cluster.

use std::collections::BTreeMap;

use nlb_engine::KernelPlan;

use crate::kernel::spec::ClusterRules;

/// What is ordered, for all clusters. Bounded by their number.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    clusters: BTreeMap<String, Order>,
    shutdown: bool,
}

impl Orders {
    /// The order for a cluster.
    pub(super) fn of(&mut self, cluster: &str) -> &mut Order {
        self.clusters.entry(cluster.to_owned()).or_default()
    }

    pub(super) const fn shut_down(&mut self) {
        self.shutdown = true;
    }

    pub(super) const fn is_shutdown(&self) -> bool {
        self.shutdown
    }

    /// Takes all orders.
    pub(super) fn take(&mut self) -> BTreeMap<String, Order> {
        core::mem::take(&mut self.clusters)
    }
}

/// Rules, and the number that whoever ordered them knows them by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Revised {
    pub(super) rules: ClusterRules,
    pub(super) revision: u64,
}

/// What is ordered for one cluster: removal first, then rules and plan.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) remove: bool,
    pub(super) rules: Option<Revised>,
    pub(super) plan: Option<KernelPlan>,
}

impl Order {
    pub(super) fn submit(&mut self, plan: KernelPlan) {
        self.plan = Some(match self.plan.take() {
            Some(earlier) => plan.follow(earlier),
            None => plan,
        });
    }

    pub(super) fn set(&mut self, rules: ClusterRules, revision: u64, plan: KernelPlan) {
        self.rules = Some(Revised { rules, revision });
        self.submit(plan);
    }

    pub(super) fn remove(&mut self) {
        *self = Self { remove: true, ..Self::default() };
    }
}
