//! From the configuration that runs to another: what is applied, and what is said of it.
//!
//! Only what differs is touched. A cluster leaves and joins anew only for what its peers rely on
//! (`config/difference.rs` says which fields), and every change is named.

use nlb_engine::manage::Outcome;

use super::running::Running;
use super::supervisor::{SuperviseError, Supervisor};
use crate::config::{ClusterConfig, Config, Edit, NodeConfig};
use crate::manage::{Done, InterfaceChange, ManageError, Reply};

/// What becomes of a cluster that runs.
enum Fate {
    /// It runs on, with these changes if there are any.
    Stays(Vec<String>),
    /// It leaves and joins anew; why.
    Restarts(String),
    /// It leaves.
    Goes,
}

impl Supervisor {
    /// Goes over to a configuration: what is gone leaves, what is new starts, what changed is
    /// taken up, with a new start where it cannot be done otherwise. Gives what changed, in words;
    /// nothing where nothing did.
    ///
    /// # Errors
    /// The first thing that could not be done. What ran before runs on, unless it had to be
    /// restarted for what failed.
    pub async fn apply(&mut self, config: Config) -> Result<Vec<String>, SuperviseError> {
        let mut changes = Vec::new();
        let (mut restarting, mut leaving) = (Vec::new(), Vec::new());
        let node = node_changes(&self.config.node, &config.node);
        changes.extend(node.iter().map(|change| format!("node: {change}")));
        if self.config.metrics != config.metrics {
            let [old, new] = [self.config.metrics, config.metrics].map(|listen| {
                listen.map_or_else(|| "off".to_owned(), |address| address.to_string())
            });
            changes.push(format!("metrics: listen {old} -> {new}"));
            self.metrics.send_replace(config.metrics);
        }
        self.observed.retain(|name, _| config.cluster(name).is_some());
        self.lost.retain(|name, _| config.cluster(name).is_some());
        let names: Vec<String> = self.clusters.keys().cloned().collect();
        for name in names {
            let Some(running) = self.clusters.get(&name) else { continue };
            match fate(running, config.cluster(&name), &node) {
                Fate::Stays(all) => {
                    changes.extend(all.iter().map(|change| format!("{name}: {change}")));
                }
                Fate::Restarts(why) => {
                    restarting.push(name.clone());
                    changes.push(format!("{name}: restarted because {why}"));
                    leaving.push(name);
                }
                Fate::Goes => {
                    changes.push(format!("{name}: left, it is not configured any more"));
                    leaving.push(name);
                }
            }
        }
        self.leave(&leaving).await?;
        self.watch_links(&config).await?;
        for cluster in &config.clusters {
            if self.clusters.contains_key(&cluster.name) {
                self.take_up(cluster).await;
            } else {
                if !restarting.contains(&cluster.name) {
                    changes.push(format!("{}: started", cluster.name));
                }
                self.start(cluster, &config).await?;
            }
        }
        self.config = config;
        self.install().await?;
        // Those that a new cluster names were not among those watched.
        if self.find_obstacles() {
            self.tell_interfaces().await;
        }
        Ok(changes)
    }

    async fn take_up(&mut self, cluster: &ClusterConfig) {
        let Some(running) = self.clusters.get_mut(&cluster.name) else { return };
        if running.config == *cluster {
            return;
        }
        let other = running.config.interfaces != cluster.interfaces;
        running.take_up(cluster).await;
        if other {
            self.tell_interfaces().await;
        }
    }

    /// Goes over to the configuration as the files are now, and says in the log what changed.
    pub(super) async fn reload(&mut self, config: Config) -> Result<Done, SuperviseError> {
        let absent = self.absent(&config).await;
        let mut changes = self.go_over(config).await?;
        for change in &changes {
            tracing::info!("reload: {change}");
        }
        if changes.is_empty() {
            tracing::info!("reload: the configuration says nothing new");
        }
        let outcome = if changes.is_empty() { Outcome::Unchanged } else { Outcome::Changed };
        changes.extend(absent);
        Ok(Done { outcome, notes: changes })
    }

    /// Applies a change of the configuration, then writes it down. When either fails, everything
    /// is as it was.
    pub(super) async fn carry_out(&mut self, edit: Edit) -> Result<Reply, ManageError> {
        let before = self.config.clone();
        self.go_over(edit.config.clone()).await?;
        if let Err(error) = edit.commit() {
            self.go_back(before).await;
            return Err(error.into());
        }
        let mut change = InterfaceChange::from(&edit);
        if edit.config.cluster(&edit.cluster).is_some() {
            let ours = format!("{}: ", edit.cluster);
            let absent = self.absent(&edit.config).await.into_iter();
            change.notes = absent.filter(|note| note.starts_with(&ours)).collect();
        }
        Ok(Reply::Interface(change))
    }

    /// Goes over to a configuration, or stays with the present one when that fails: a cluster
    /// that was ended for it runs again.
    async fn go_over(&mut self, config: Config) -> Result<Vec<String>, SuperviseError> {
        let before = self.config.clone();
        let applied = self.apply(config).await;
        if applied.is_err() {
            self.go_back(before).await;
        }
        applied
    }

    async fn go_back(&mut self, before: Config) {
        if let Err(error) = self.apply(before).await {
            tracing::error!(%error, "a change failed, and so did taking it back");
        }
    }
}

fn fate(running: &Running, new: Option<&ClusterConfig>, node: &[String]) -> Fate {
    let Some(new) = new else { return Fate::Goes };
    if running.is_leaving() {
        return Fate::Restarts("it was left by hand".to_owned());
    }
    if !node.is_empty() {
        return Fate::Restarts(format!("of the node's {}", node.join(", ")));
    }
    let differences = running.config.differences(new);
    let restarts: Vec<String> =
        differences.iter().filter(|one| one.restarts).map(ToString::to_string).collect();
    if restarts.is_empty() {
        Fate::Stays(differences.iter().map(ToString::to_string).collect())
    } else {
        Fate::Restarts(format!("of {}", restarts.join(", ")))
    }
}

/// What is new of this node itself: every cluster shows it to its peers.
fn node_changes(old: &NodeConfig, new: &NodeConfig) -> Vec<String> {
    let NodeConfig { id, name } = old;
    let mut changes = Vec::new();
    if *id != new.id {
        changes.push(format!("id {id} -> {}", new.id));
    }
    if *name != new.name {
        changes.push(format!("name {name} -> {}", new.name));
    }
    changes
}
