//! One cluster as the applier knows it: what is wanted, what the kernel has, and the batch that
//! leads from one to the other. Pure.

use core::net::IpAddr;
use core::time::Duration;

use nlb_engine::{Generation, KernelPlan};
use tokio::time::Instant;

use super::order::Revised;
use crate::kernel::probe::QueuePath;
use crate::kernel::ruleset::{Decision, Emptied, Ruleset};
use crate::kernel::spec::{ClusterRules, Interface};

/// The most clients that one batch puts into the sets or takes out: nft takes about 2 ms for a
/// thousand, a plan must not wait long behind them, and with a whole filter beside them they fit
/// the socket buffer that an ordinary user's nft has in a user namespace (some 200 KB).
const MAX_CLIENTS: usize = 2048;
/// The most whose time it begins anew: each of them is added, taken out and added.
const MAX_RENEWED: usize = MAX_CLIENTS / 2;
/// After so many refusals in a row the tables are taken away whole and made anew.
const FAILURES_BEFORE_CLEARING: u32 = 2;
/// How long to wait after the first failure.
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(50);
/// The longest wait between two tries: the node serves nothing until one succeeds.
const LAST_RETRY: Duration = Duration::from_secs(2);

/// A cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    rules: ClusterRules,
    /// The number of these rules.
    revision: u64,
    /// The plan whose end is still owed, with what it has to do once.
    plan: KernelPlan,
    /// Whether that plan is in force.
    settled: bool,
    /// What the kernel has, as far as we know.
    installed: Option<Installed>,
    /// Since when somebody else's change stands.
    doubted: Option<Instant>,
    /// Since when one stood that the batch put right whose end is not settled yet.
    put_right: Option<Instant>,
    /// Whether a batch failed, so that nobody knows what the kernel has.
    unknown: bool,
    failures: u32,
    retry: Option<Instant>,
}

/// What the kernel has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Installed {
    rules: ClusterRules,
    decision: Decision,
}

/// A batch, and what is true when it is in force.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) text: String,
    /// The kernel has this then.
    pub(super) installed: Installed,
    /// The number of the rules that it was made of.
    pub(super) revision: u64,
    /// Everything is said anew.
    pub(super) structural: bool,
    /// Rules were set, if only as they were.
    pub(super) rewritten: bool,
    /// Clients that must not be kept any more when the kernel has come to rest.
    pub(super) forgotten: Forgotten,
    /// How many of the clients to remember are in it.
    remembered: usize,
    /// How many of the clients to renew are in it.
    renewed: usize,
    /// Nothing of the plan is left to do.
    last: bool,
}

/// Whom the kernel must not keep any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Forgotten {
    /// Nothing was to be forgotten.
    Nobody,
    /// These.
    These(Vec<IpAddr>),
    /// Whoever it kept.
    Everybody,
}

impl Cluster {
    pub(super) fn new(wanted: Revised, plan: KernelPlan) -> Self {
        let Revised { rules, revision } = wanted;
        Self {
            rules,
            revision,
            plan,
            settled: false,
            installed: None,
            doubted: None,
            put_right: None,
            unknown: false,
            failures: 0,
            retry: None,
        }
    }

    pub(super) fn rules(&self) -> &ClusterRules {
        &self.rules
    }

    pub(super) fn set_rules(&mut self, wanted: Revised) {
        (self.rules, self.revision) = (wanted.rules, wanted.revision);
        self.retry = None;
    }

    pub(super) fn submit(&mut self, plan: KernelPlan) {
        // Handed on only while it was not done: doing it twice would forget newer clients.
        let earlier = core::mem::replace(&mut self.plan, plan.clone());
        self.plan = if self.settled { plan } else { plan.follow(earlier) };
        self.settled = false;
        self.retry = None;
    }

    /// Somebody changed our rules, heard of at `since`.
    pub(super) fn doubt(&mut self, since: Instant) {
        self.doubted.get_or_insert(since);
    }

    /// Whether somebody's change stands.
    pub(super) const fn is_doubted(&self) -> bool {
        self.doubted.is_some()
    }

    /// A batch has been committed: what somebody changed before is put right, if the batch says
    /// everything anew. What he changes from now on is not.
    pub(super) fn committed(&mut self, structural: bool) {
        if structural {
            self.put_right = self.doubted.take();
        }
    }

    /// Everything of ours was just taken away.
    pub(super) fn cleared(&mut self) {
        self.installed = None;
    }

    pub(super) const fn installed(&self) -> Option<&Installed> {
        self.installed.as_ref()
    }

    /// When the next try is due after a failure.
    pub(super) const fn retry(&self) -> Option<Instant> {
        self.retry
    }

    /// The next batch, if there is anything to do. `present` says which interfaces are there.
    pub(super) fn step(
        &self,
        path: QueuePath,
        now: Instant,
        present: impl Fn(&Interface) -> bool,
    ) -> Option<Step> {
        if self.retry.is_some_and(|retry| retry > now) {
            return None;
        }
        let mut rules = self.rules.clone();
        rules.interfaces.retain(present);
        let decision = Decision::from(&self.plan);
        let mut batch = Ruleset::new();
        let structural = match &self.installed {
            Some(had) => {
                let same = had.rules == rules
                    && had.decision.divert == decision.divert
                    && had.decision.seed == decision.seed;
                if same && self.doubted.is_none() && !self.unknown {
                    if self.settled {
                        return None;
                    }
                    batch.change_filter(&rules, &had.decision.filter, &decision.filter);
                    false
                } else {
                    batch.retire(&had.rules, Some(&rules));
                    true
                }
            }
            None => true,
        };
        let due = !self.settled;
        let emptied = Emptied { sticky: due && self.plan.flush, foreign: due && self.plan.reopen };
        if emptied.any() {
            batch.replace_sets(&rules, path, emptied);
        }
        if structural {
            batch.install(&rules, &decision, path);
        } else if emptied.any() {
            batch.put_back(&rules, &decision, path);
        }
        let (mut forgotten, mut renewed, mut remembered) = (Forgotten::Nobody, 0, 0);
        if due {
            if self.plan.flush {
                forgotten = Forgotten::Everybody;
            } else if !self.plan.forget.is_empty() {
                let some = &self.plan.forget[..self.plan.forget.len().min(MAX_CLIENTS)];
                batch.forget(&rules, some);
                forgotten = Forgotten::These(some.to_vec());
            }
            // Only when those to be forgotten are: until then it is looked at who is still kept.
            if forgotten == Forgotten::Nobody {
                renewed = self.plan.renew.len().min(MAX_RENEWED);
                // One after the other, so that a batch is no longer than it may be.
                if renewed == 0 {
                    remembered = self.plan.remember.len().min(MAX_CLIENTS);
                }
            }
            batch.renew(&rules, &self.plan.renew[..renewed]);
            batch.remember(&rules, &self.plan.remember[..remembered]);
        }
        let all_forgotten = match &forgotten {
            Forgotten::These(clients) => clients.len() == self.plan.forget.len(),
            Forgotten::Nobody | Forgotten::Everybody => true,
        };
        let all_kept = renewed == self.plan.renew.len() && remembered == self.plan.remember.len();
        let last = self.settled || (all_forgotten && all_kept);
        Some(Step {
            text: batch.into_text(),
            installed: Installed { rules, decision },
            revision: self.revision,
            structural,
            rewritten: structural || emptied.any(),
            forgotten,
            remembered,
            renewed,
            last,
        })
    }

    /// The batch is in force and [`Self::committed`]. The generation that the kernel is in the state
    /// of now, if that is news, and since when it was repaired, if it was.
    pub(super) fn done(&mut self, step: Step) -> (Option<Generation>, Option<Instant>) {
        self.installed = Some(step.installed);
        (self.failures, self.retry, self.unknown) = (0, None, false);
        let repaired = self.put_right.take();
        if self.settled {
            return (None, repaired);
        }
        self.plan.reopen = false;
        match step.forgotten {
            Forgotten::Nobody => {}
            // Whoever was to be forgotten is among them.
            Forgotten::Everybody => {
                self.plan.flush = false;
                self.plan.forget.clear();
            }
            Forgotten::These(clients) => {
                self.plan.forget.drain(..clients.len());
            }
        }
        self.plan.renew.drain(..step.renewed);
        self.plan.remember.drain(..step.remembered);
        self.settled = step.last;
        (step.last.then_some(self.plan.generation), repaired)
    }

    /// A batch was refused: next time everything is said again.
    pub(super) fn failed(&mut self, step: &Step, now: Instant) -> Failure {
        self.unknown = true;
        self.doubted = self.put_right.take().or(self.doubted);
        if !step.structural {
            // Elements of a set that somebody took away, most likely: no harm is done yet.
            return Failure::Quiet;
        }
        let wait = FIRST_RETRY.saturating_mul(1 << self.failures.min(8)).min(LAST_RETRY);
        self.failures = self.failures.saturating_add(1);
        self.retry = Some(now + wait);
        if self.failures == FAILURES_BEFORE_CLEARING { Failure::Lasting } else { Failure::Plain }
    }
}

/// What a refused batch means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Only a change was refused; the whole may still be taken.
    Quiet,
    /// The node cannot serve.
    Plain,
    /// The same, and only taking everything away first may help: something of our name that is
    /// none of ours stands in the way.
    Lasting,
}

impl Installed {
    pub(super) const fn rules(&self) -> &ClusterRules {
        &self.rules
    }

    pub(super) const fn decision(&self) -> &Decision {
        &self.decision
    }
}

#[cfg(test)]
mod tests;
