//! Bringing a batch into force, and everything of ours away again.

use core::net::IpAddr;
use core::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::state::{Failure, Forgotten, Installed, Step};
use super::task::{Ending, SLOW_REPAIR, Task};
use super::{KernelError, KernelEvent};
use crate::kernel::fallback;
use crate::kernel::probe::QueuePath;
use crate::kernel::ruleset::{Refresh, Ruleset, sticky_set, sticky_sets};
use crate::kernel::spec::ClusterRules;
use crate::kernel::tool::{Running, ToolError};
use crate::kernel::watch::Heard;

/// Ports of our latest children: a report may be read after the child has ended.
const RECENT_PORTS: usize = 8;
/// How often forgotten clients are taken out again. Once is enough, twice if one is in a set
/// double; more would mean that the rules are not what they are thought to be.
const MAX_SWEEPS: usize = 5;
/// How often the end is tried.
const MAX_LAST_TRIES: usize = 3;

impl Task {
    /// Runs nft until the batch is in force: how long that took, and the child's end, which may
    /// come a grace period of the kernel later.
    pub(super) async fn commit(
        &mut self,
        text: String,
    ) -> Result<(Duration, Option<Ending>), ToolError> {
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
    pub(super) async fn run_batch(&mut self, text: String) -> Result<(), ToolError> {
        match self.commit(text).await? {
            (_, Some(ending)) => ending.await.map(drop),
            (_, None) => Ok(()),
        }
    }

    pub(super) async fn bring_into_force(&mut self, name: String, mut step: Step) {
        let mut text = match self.make_room(&name, &step).await {
            Ok(text) => text,
            Err(error) => return self.failed(name, &step, error).await,
        };
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
        if let Some(cluster) = self.clusters.get_mut(&name) {
            cluster.committed(step.structural);
        }
        let inherits = self.inherited.remove(&name);
        if core::mem::take(&mut self.clear) {
            self.inherited.clear();
            if inherits {
                // It goes on with clients that have just gone.
                self.send(KernelEvent::StickyLost { cluster: name.clone() }).await;
            }
        }
        let rewritten = step.rewritten;
        let must_rest = step.forgotten != Forgotten::Nobody;
        if must_rest {
            // nft ends a grace period of the kernel later: no packet is under way any more that
            // the rules let in before.
            let rested = match ending {
                Some(ending) => ending.await.map(drop).map_err(KernelError::from),
                None => Ok(()),
            };
            let swept = match rested {
                Ok(()) => self.sweep(&step.installed, &step.forgotten).await,
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
        if rewritten || self.fingerprint.is_none() {
            self.take_fingerprint().await;
        }
    }

    /// What must go in the same transaction before a batch: everything, or, before the first rules
    /// of a cluster, what an earlier life left and nobody goes on with.
    async fn make_room(&mut self, name: &str, step: &Step) -> Result<String, KernelError> {
        let mut batch = Ruleset::new();
        if self.clear {
            batch.clear(self.capabilities.arp);
        } else if self.clusters.get(name).is_some_and(|cluster| cluster.installed().is_none()) {
            let found = self.query.inventory().await?;
            let heirs = self.clusters.keys().chain(&self.inherited).map(String::as_str).collect();
            batch.remove_heirless(&found, &heirs, step.installed.rules());
        }
        Ok(batch.into_text())
    }

    pub(super) async fn settled(&mut self, name: String, step: Step, took: Duration) {
        let Some(cluster) = self.clusters.get_mut(&name) else { return };
        let revision = step.revision;
        let (generation, repaired) = cluster.done(step);
        if let Some(since) = repaired {
            let took = since.elapsed();
            info!(cluster = name, ?took, "the kernel's rules are as they should be again");
            self.send(KernelEvent::Repaired { cluster: name.clone(), took }).await;
        }
        if let Some(generation) = generation {
            let applied = KernelEvent::Applied { cluster: name, generation, revision, took };
            self.send(applied).await;
        }
    }

    pub(super) async fn failed(&mut self, name: String, step: &Step, reason: KernelError) {
        let Some(cluster) = self.clusters.get_mut(&name) else { return };
        match cluster.failed(step, Instant::now()) {
            Failure::Quiet => {
                debug!(cluster = name, %reason, "a change was refused; the whole is said again");
                return;
            }
            Failure::Plain => {}
            Failure::Lasting => self.begin_anew().await,
        }
        warn!(cluster = name, %reason, "the kernel's rules cannot be set");
        self.send(KernelEvent::Failed { cluster: name, reason }).await;
    }

    /// Makes sure that nobody is kept who was to be forgotten.
    ///
    /// While nft's transaction is being prepared, a packet of such a client still finds it in the
    /// set, but the refresh behind that finds an entry about to go and adds a new one, which then
    /// outlives the transaction. A busy client all but always does so. Such clients are taken out
    /// again while the rules refresh nobody; nothing is lost meanwhile.
    async fn sweep(&mut self, installed: &Installed, who: &Forgotten) -> Result<(), KernelError> {
        let rules = installed.rules();
        let mut kept = self.still_kept(rules, who).await?;
        if kept.is_empty() {
            return Ok(());
        }
        debug!(cluster = rules.cluster, clients = kept.len(), "taken out once more");
        self.refresh(installed, Refresh::Off).await?;
        for _ in 0..MAX_SWEEPS {
            let mut batch = Ruleset::new();
            batch.forget(rules, &kept);
            self.run_batch(batch.into_text()).await?;
            kept = self.still_kept(rules, who).await?;
            if kept.is_empty() {
                return self.refresh(installed, Refresh::On).await;
            }
        }
        Err(KernelError::StillKept)
    }

    async fn refresh(&mut self, at: &Installed, refresh: Refresh) -> Result<(), KernelError> {
        // The rules of a chain are set anew: they are not those any more that were looked at.
        self.fingerprint = None;
        let mut batch = Ruleset::new();
        batch.refresh(at.rules(), at.decision(), refresh);
        Ok(self.run_batch(batch.into_text()).await?)
    }

    async fn still_kept(
        &mut self,
        rules: &ClusterRules,
        who: &Forgotten,
    ) -> Result<Vec<IpAddr>, KernelError> {
        let mut kept = Vec::new();
        match who {
            Forgotten::Nobody => {}
            Forgotten::These(clients) => {
                for client in clients {
                    if self.query.keeps(&sticky_set(&rules.cluster, *client), *client).await? {
                        kept.push(*client);
                    }
                }
            }
            Forgotten::Everybody => {
                for set in sticky_sets(&rules.cluster) {
                    let clients = self.query.sticky(&set).await?;
                    kept.extend(clients.into_iter().map(|(client, _)| client));
                }
            }
        }
        Ok(kept)
    }

    pub(super) async fn remove(&mut self, rules: &ClusterRules) {
        let mut batch = Ruleset::new();
        batch.retire(rules, None);
        if let Err(error) = self.run_batch(batch.into_text()).await {
            warn!(cluster = rules.cluster, %error, "rules cannot be removed; all are made anew");
            self.begin_anew().await;
        } else {
            self.take_fingerprint().await;
        }
    }

    /// Nothing of ours stays.
    pub(super) async fn remove_all(&mut self) -> bool {
        let mut batch = Ruleset::new();
        batch.clear(self.capabilities.arp);
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

    pub(super) async fn end(&mut self) {
        self.clusters.clear();
        for _ in 0..MAX_LAST_TRIES {
            if self.remove_all().await {
                break;
            }
        }
        if self.capabilities.queue == QueuePath::Iptables {
            if let Err(error) = fallback::remove().await {
                warn!(%error, "nlbd's chain in iptables' raw tables cannot be removed");
            }
            for family in &self.made {
                fallback::remove_if_empty(*family).await;
            }
        }
    }
}

async fn end_of(ending: Option<Ending>) -> Option<Result<String, ToolError>> {
    match ending {
        Some(ending) => Some(ending.await),
        None => None,
    }
}
