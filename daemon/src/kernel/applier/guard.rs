//! Watching over what is in force: what others do to our rules, what the kernel has.

use core::time::Duration;
use std::collections::BTreeSet;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::state::{Cluster, FIRST_RETRY};
use super::task::{CHECK_INTERVAL, SLOW_REPAIR, Task};
use super::way::Unseen;
use super::{KernelError, KernelEvent};
use crate::kernel::fallback::{self, Lack};
use crate::kernel::probe::QueuePath;
use crate::kernel::ruleset::sticky_sets;
use crate::kernel::tool::ToolError;
use crate::kernel::watch::Heard;

/// Every so many checks the raw tables are looked at too: iptables of the old kind reports
/// nothing, and looking costs two processes.
const CHECKS_OF_RAW: u32 = 12;
/// Repairs that follow each other at once. Whoever goes on changing our rules gets them back
/// more slowly, and does not make us run in a circle.
const MAX_QUICK_REPAIRS: u32 = 8;

impl Task {
    /// Somebody changed rules, we perhaps.
    pub(super) async fn hear(&mut self, heard: std::io::Result<Heard>) {
        let now = Instant::now();
        match heard {
            Ok(Heard::Committed { port, touched }) => {
                if self.ports.contains(&port) || !touched.anything() {
                    return;
                }
                if touched.raw {
                    self.way.touched();
                }
                if !touched.rules || self.clusters.is_empty() {
                    return;
                }
                warn!(port, "somebody changed nlbd's nftables rules; they are set again");
                self.repair(now);
                let lost = |name: &str| {
                    let sets = sticky_sets(name);
                    touched.stage || sets.iter().any(|set| touched.lost.contains(set))
                };
                self.tell_lost(lost).await;
            }
            Ok(Heard::Overrun) => {
                // The rules are compared, if it is sure with what. Whether clients were taken out of
                // a set does not show there, and putting back those that are there changes nothing.
                debug!("more changes of nftables than could be read");
                self.way.look_again();
                if self.sure {
                    self.check_at = now;
                } else {
                    self.repair(now);
                }
                self.tell_lost(|_| true).await;
            }
            Err(error) => {
                warn!(%error, "reports on nftables cannot be read");
                self.check_at = self.check_at.min(now + SLOW_REPAIR);
                tokio::time::sleep(FIRST_RETRY).await;
            }
        }
    }

    /// Tells those clusters that have rules, and that `lost` names, that the kernel may keep fewer
    /// clients than it did.
    pub(super) async fn tell_lost(&self, lost: impl Fn(&str) -> bool) {
        for (name, _) in self.clusters.iter().filter(|(_, c)| c.installed().is_some()) {
            if lost(name) {
                self.send(KernelEvent::StickyLost { cluster: name.clone() }).await;
            }
        }
    }

    /// Takes the rules as they are for ours. If somebody was quicker, it is yet to be heard.
    pub(super) async fn take_fingerprint(&mut self) {
        self.fingerprint = self.query.fingerprint().await.ok();
        self.sure = false;
    }

    /// Everything is set again, at once unless that happens all the time.
    pub(super) fn repair(&mut self, now: Instant) {
        self.clusters.values_mut().for_each(|cluster| cluster.doubt(now));
        if now.saturating_duration_since(self.repair_at) > SLOW_REPAIR {
            self.repairs = 0;
        }
        self.repairs = self.repairs.saturating_add(1);
        let pause = if self.repairs > MAX_QUICK_REPAIRS { SLOW_REPAIR } else { Duration::ZERO };
        self.repair_at = self.repair_at.max(now + pause).min(now + SLOW_REPAIR);
    }

    /// Compares the kernel's rules with what they were when we set them.
    pub(super) async fn check(&mut self) {
        let now = Instant::now();
        self.check_at = now + CHECK_INTERVAL;
        self.checks = self.checks.wrapping_add(1);
        if self.checks.is_multiple_of(CHECKS_OF_RAW) {
            self.way.look_again();
        }
        let (Some(expected), Ok(found)) = (self.fingerprint, self.query.fingerprint().await) else {
            return;
        };
        if expected != found && self.clusters.values().any(|c| c.installed().is_some()) {
            warn!("nlbd's nftables rules are not as they were set; they are set again");
            self.fingerprint = None;
            self.repair(now);
            // Nobody said what became of the sets.
            self.tell_lost(|_| true).await;
        }
    }

    /// Both tables are taken away and made anew, with the next batch: nobody is kept then.
    pub(super) async fn begin_anew(&mut self) {
        self.tell_lost(|_| true).await;
        self.clear = true;
        self.clusters.values_mut().for_each(Cluster::cleared);
    }

    /// Brings the chain in the raw tables to the queues of today.
    pub(super) async fn fallback(&mut self) {
        let looked = fallback::look(&self.queues()).await;
        self.take_in(looked).await;
    }

    /// Looks whether it still is as it was. Orders do not wait for that.
    pub(super) async fn look(&mut self) {
        let queues = self.queues();
        let looked = tokio::select! {
            biased;
            _ = self.arrived.changed() => return,
            looked = fallback::look(&queues) => looked,
        };
        self.take_in(looked).await;
    }

    async fn take_in(&mut self, looked: Result<Lack, ToolError>) {
        let (queues, now) = (self.queues(), Instant::now());
        let lack = match looked {
            Ok(lack) => lack,
            Err(error) => match self.way.unseen(&queues, now) {
                Unseen::AsItWas { first: true } => {
                    warn!(%error, "the way to user space through iptables cannot be looked at");
                    return;
                }
                Unseen::AsItWas { first: false } => return,
                Unseen::Unknown => return self.no_way(error).await,
            },
        };
        let changed = !lack.is_empty();
        match fallback::set(lack).await {
            Ok(()) => {
                debug!(changed, "iptables' raw tables are as they should be");
                self.way.right(queues);
            }
            Err(error) => self.no_way(error).await,
        }
    }

    async fn no_way(&mut self, error: ToolError) {
        self.way.wrong(Instant::now());
        warn!(%error, "the way to user space through iptables cannot be set");
        for cluster in self.clusters.keys().cloned().collect::<Vec<_>>() {
            let reason = KernelError::Tool(error.clone());
            self.send(KernelEvent::Failed { cluster, reason }).await;
        }
    }

    /// The queues that there must be a way to.
    pub(super) fn queues(&self) -> Vec<u16> {
        let queues = self.clusters.values().map(|cluster| cluster.rules().queue);
        queues.collect::<BTreeSet<u16>>().into_iter().collect()
    }

    /// When the raw tables are to be looked at, if they are ours to look at.
    pub(super) fn way_due(&self) -> Option<Instant> {
        let ours = self.capabilities.queue == QueuePath::Iptables;
        self.way.due().filter(|_| ours)
    }

    /// Whether they are to be looked at now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.way_due().is_some_and(|due| now >= due)
    }
}
