//! The supervisor's side of the host: which interfaces the clusters have, and that addresses and
//! settings are there as long as the clusters are.
//!
//! A node whose service address has gone would go on taking its share of the clients, and answer
//! none of them. So whatever changes on the host is followed by a look, and one comes now and then
//! without it. What cannot be put right is said and tried again: it is no reason to end, because
//! an ended daemon leaves more behind.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::request::{ClusterEvent, ClusterRequest, What};
use super::running::Running;
use super::supervisor::{SuperviseError, Supervisor};
use crate::config::{ClusterConfig, Config};
use crate::host::{HostError, LinkChange, LinkState, Obstacle, ServiceLink, Wanted};
use crate::link::Interface;
use crate::manage::Trouble;
use crate::ticks::{Ticks, every};

/// Between two looks at the host without a reason.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// From a change to the look that it causes: many changes are one look, and whoever changes
/// things in a circle does not keep the daemon busy.
const LOOK_AFTER: Duration = Duration::from_millis(50);

/// Until what failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// After so many looks in a row that found the service without what it needs, the node does not
/// serve: others do. One may be somebody's doing that the next puts right.
const PATIENCE: u32 = 2;

/// When the host is looked at, and what the last looks found.
pub(super) struct Upkeep {
    ticks: Ticks,
    /// One that something calls for. Until then there is no other: see [`RETRY_AFTER`].
    soon: Option<Instant>,
    /// Looks in a row that found something wrong which could not be put right.
    failures: u32,
    /// No cluster gets an interface.
    withheld: bool,
    /// What was found to keep interfaces from serving.
    obstacles: BTreeMap<String, Obstacle>,
}

impl Upkeep {
    /// Nothing was looked at yet.
    pub(super) fn new() -> io::Result<Self> {
        let (ticks, obstacles) = (every(LOOK_EVERY)?.later()?, BTreeMap::new());
        Ok(Self { ticks, soon: None, failures: 0, withheld: false, obstacles })
    }

    /// Until the next look; cancel-safe.
    pub(super) async fn due(&mut self) {
        match self.soon {
            Some(at) => sleep_until(at).await,
            None => self.ticks.tick().await,
        }
    }

    fn no_later_than(&mut self, after: Duration) {
        let at = Instant::now() + after;
        self.soon = Some(self.soon.map_or(at, |soon| soon.min(at)));
    }
}

impl Supervisor {
    /// A link changed: the host's settings follow, and the clusters that use it are told.
    pub async fn handle_link(&mut self, change: &LinkChange) {
        let name = match change {
            LinkChange::Appeared(link) => {
                tracing::debug!(interface = link.name, up = link.up, "interface appeared");
                &link.name
            }
            LinkChange::Vanished(link) => {
                tracing::warn!(interface = link.name, "interface is gone");
                &link.name
            }
            LinkChange::Changed { to, .. } => {
                tracing::info!(interface = to.name, up = to.up, "interface changed");
                &to.name
            }
            LinkChange::Elsewhere => return self.upkeep.no_later_than(LOOK_AFTER),
        };
        self.look_at_interfaces(&self.config.clone());
        if self.clusters.values().any(|running| running.config.interfaces.contains(name)) {
            // The settings first: on a new interface the kernel speaks for the addresses.
            self.keep_up().await;
            self.tell_interfaces().await;
        }
    }

    /// Looks whether the host is as the running clusters need it, and puts right what is not.
    /// Where that fails again and again, the clusters get no interface: the node falls silent,
    /// and others take its clients.
    pub async fn keep_up(&mut self) {
        let installed = self.install().await;
        let upkeep = &mut self.upkeep;
        let withheld = upkeep.withheld;
        match installed {
            Ok(()) => {
                if upkeep.failures > 0 {
                    tracing::info!("the host is as the service needs it again");
                }
                (upkeep.soon, upkeep.failures, upkeep.withheld) = (None, 0, false);
            }
            Err(error) => {
                upkeep.soon = Some(Instant::now() + RETRY_AFTER);
                upkeep.failures = upkeep.failures.saturating_add(1);
                upkeep.withheld = upkeep.failures >= PATIENCE && is_needed(&error);
                if upkeep.failures == 1 {
                    tracing::error!(%error, "the host cannot be kept as the service needs it");
                } else if upkeep.withheld && !withheld {
                    tracing::error!(%error, "without it this node does not serve");
                }
            }
        }
        self.look_at_interfaces(&self.config.clone());
        if self.find_obstacles() || self.upkeep.withheld != withheld {
            self.tell_interfaces().await;
        }
    }

    /// Looks which interfaces cannot serve although they are up, and says what is new of that.
    /// Whether anything is. Some of it comes without a word from the kernel.
    pub(super) fn find_obstacles(&mut self) -> bool {
        let up = self.watch.known().filter(|link| link.up);
        let found: BTreeMap<String, Obstacle> =
            up.filter_map(|link| Some((link.name.clone(), link.obstacle()?))).collect();
        let before = std::mem::replace(&mut self.upkeep.obstacles, found);
        let found = &self.upkeep.obstacles;
        for (interface, obstacle) in
            found.iter().filter(|(name, it)| before.get(*name) != Some(*it))
        {
            self.say_of(interface, &format!("{interface} cannot be used: {obstacle}"));
        }
        for interface in before.keys().filter(|name| !found.contains_key(*name)) {
            tracing::info!(interface, "nothing keeps it from being used any more");
        }
        before != *found
    }

    /// Tells whoever follows the clusters that are to use an interface.
    fn say_of(&self, interface: &str, text: &str) {
        let used = |running: &&Running| running.config.interfaces.iter().any(|it| it == interface);
        for running in self.clusters.values().filter(used) {
            let what = What::Driver("interface-unusable", text.to_owned());
            let event = ClusterEvent { cluster: running.config.name.clone(), what };
            // Where nobody reads any more, nobody is to be told.
            let _ = self.cluster_events.try_send(event);
        }
    }

    /// Watches the interfaces of a configuration, and looks at them once, so that they are known.
    pub(super) async fn watch_links(&mut self, config: &Config) -> Result<(), SuperviseError> {
        self.watch.set_names(config.clusters.iter().flat_map(|one| one.interfaces.clone()));
        for change in self.watch.changes(&self.netlink).await? {
            self.handle_link(&change).await;
        }
        self.look_at_interfaces(config);
        let names = self.interface_names().await;
        for cluster in &config.clusters {
            for unused in self.unused(cluster, &names) {
                if unused.trouble == Trouble::Absent {
                    tracing::warn!(cluster = cluster.name, "{unused}");
                }
            }
        }
        Ok(())
    }

    /// The interfaces of a cluster that are there, up, fit for it and not withheld.
    pub(super) fn up(&self, cluster: &ClusterConfig) -> Vec<Interface> {
        if self.upkeep.withheld {
            return Vec::new();
        }
        let up = self.watch.known().filter(|link| link.up && link.obstacle().is_none());
        let used = up.filter(|link| cluster.interfaces.contains(&link.name));
        used.filter_map(LinkState::interface).collect()
    }

    pub(super) async fn tell_interfaces(&self) {
        for running in self.clusters.values() {
            let (up, several) = (self.up(&running.config), running.config.interfaces.len() > 1);
            running.tell(ClusterRequest::Interfaces { up, several }).await;
        }
    }

    /// Brings the host's addresses and settings to what the running clusters need.
    pub(super) async fn install(&mut self) -> Result<(), HostError> {
        let link = |running: &Running| ServiceLink {
            name: running.config.name.clone(),
            addresses: running.config.addresses.clone(),
        };
        let clusters = self.clusters.values();
        let interfaces: BTreeSet<String> =
            clusters.clone().flat_map(|running| running.config.interfaces.clone()).collect();
        let wanted = Wanted { links: clusters.map(link).collect(), interfaces };
        let installed = self.installer.install(&self.netlink, &wanted).await?;
        if !installed.repaired.is_empty() {
            let what = installed.repaired.join(", ");
            tracing::warn!(
                "somebody took away or changed what the service needs; put back: {what}"
            );
        }
        for interface in installed.missing {
            tracing::debug!(interface, "the interface is not there; waiting for it");
        }
        Ok(())
    }
}

/// Whether clients go unanswered where this is wrong. Without the record, or with a setting that
/// somebody else wants otherwise, they do not: the gate stops what the kernel might say. Nor is
/// anything known to be wrong while the kernel does not answer.
fn is_needed(error: &HostError) -> bool {
    match error {
        HostError::Netlink(_)
        | HostError::Refused { .. }
        | HostError::AddressTaken { .. }
        | HostError::LinkTaken { .. }
        | HostError::Ipv6Disabled { .. } => true,
        HostError::NoAnswer { .. }
        | HostError::Setting { .. }
        | HostError::File { .. }
        | HostError::Record { .. }
        | HostError::RecordDamaged { .. } => false,
    }
}
