//! What a cluster's loop has ordered of the kernel, and what waits until that is in force.

use nlb_engine::KernelPlan;
use tokio::sync::oneshot;

use crate::kernel::{ClusterRules, Interface, KernelHandle};

/// The rules and the plan that were ordered last.
pub(super) struct Ordered {
    kernel: KernelHandle,
    rules: ClusterRules,
    /// Rises with each change of the rules: a plan from before says nothing of them.
    revision: u64,
    /// The latest plan, without what is to be done only once.
    plan: Option<KernelPlan>,
    /// Told when the rules are in force, the first ones or those that changed.
    ready: Option<oneshot::Sender<()>>,
    /// Interfaces wait for their rules before they are used.
    opening: bool,
}

impl Ordered {
    /// Nothing is ordered before there is a plan. `ready` is told when the first is in force.
    pub(super) fn new(
        kernel: KernelHandle,
        rules: ClusterRules,
        ready: oneshot::Sender<()>,
    ) -> Self {
        Self { kernel, rules, revision: 0, plan: None, ready: Some(ready), opening: false }
    }

    /// What the rules are made of beside the engine's plans.
    pub(super) fn rules(&self) -> &ClusterRules {
        &self.rules
    }

    /// Whether interfaces wait for their rules.
    pub(super) fn is_opening(&self) -> bool {
        self.opening
    }

    /// The engine wants this.
    pub(super) fn plan(&mut self, plan: KernelPlan) {
        let first = self.plan.is_none();
        self.plan = Some(plan.lasting());
        if first {
            self.set(plan);
        } else {
            self.kernel.submit(&self.rules.cluster, plan);
        }
    }

    /// These interfaces have rules from now on; they are opened when those stand before them.
    pub(super) fn set_interfaces(&mut self, interfaces: Vec<Interface>) {
        self.rules.interfaces = interfaces;
        self.opening = true;
        self.set_again();
    }

    /// The rules are changed; `ready` is told when they are in force.
    pub(super) fn change(
        &mut self,
        ready: oneshot::Sender<()>,
        change: impl FnOnce(&mut ClusterRules),
    ) {
        change(&mut self.rules);
        self.ready = Some(ready);
        self.set_again();
    }

    /// A plan is in force, with the rules of this revision. `true`: interfaces are to be opened.
    pub(super) fn in_force(&mut self, revision: u64) -> bool {
        if revision < self.revision {
            return false;
        }
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(());
        }
        core::mem::take(&mut self.opening)
    }

    /// The rules changed, not the plan.
    fn set_again(&mut self) {
        if let Some(plan) = self.plan.clone() {
            self.set(plan);
        }
    }

    fn set(&mut self, plan: KernelPlan) {
        self.revision += 1;
        self.kernel.set_cluster(self.rules.clone(), self.revision, plan);
    }
}
