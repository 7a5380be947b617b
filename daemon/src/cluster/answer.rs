//! How the supervisor answers management.

use nlb_engine::manage::{Command, Outcome};
use nlb_protocol::NodeId;

use super::clock::now;
use super::request::ClusterRequest;
use super::running::Running;
use super::supervisor::{SuperviseError, Supervisor};
use super::taped::TapeError;
use crate::config::{Config, Host, Location, add_interface, load, remove_interface};
use crate::manage::{
    Checked, ClusterFacts, DaemonView, Done, ManageError, Reply, Request, StatusView, TapeEnd,
    resolve,
};
use crate::weight::WeightSource;

type Answer = Result<Reply, ManageError>;

impl From<SuperviseError> for ManageError {
    fn from(error: SuperviseError) -> Self {
        Self::Refused { reason: error.to_string() }
    }
}

fn gone() -> ManageError {
    ManageError::Refused { reason: "the node is leaving the cluster".to_owned() }
}

impl Supervisor {
    /// Answers a request that is permitted.
    ///
    /// # Errors
    /// Why it is not granted; nothing has changed then.
    pub async fn answer(&mut self, request: Request) -> Answer {
        match request {
            Request::Status
            | Request::Buckets { .. }
            | Request::Clients { .. }
            | Request::Explain { .. } => self.tell(request).await,
            Request::SetWeight { cluster, weight } => {
                let source = Some(WeightSource::Manual(weight));
                self.set_weight_source(cluster.as_deref(), source).await
            }
            Request::SetWeightSource { cluster, source } => {
                self.set_weight_source(cluster.as_deref(), source).await
            }
            Request::AddInterface(wanted) => {
                self.check_fit(&wanted.interface).await?;
                let edit = add_interface(&self.location, &Host, &wanted)?;
                self.carry_out(edit).await
            }
            Request::RemoveInterface { cluster, interface } => {
                let edit = remove_interface(&self.location, &Host, &interface, cluster.as_deref())?;
                self.carry_out(edit).await
            }
            Request::Leave { cluster } => {
                let (_, running) = self.running(cluster.as_deref())?;
                let outcome = running.command(Command::Leave).await?;
                let note = "It stays out until `nlbctl reload` or the daemon's next start; for good: \
                            `nlbctl delif INTERFACE`";
                Ok(Reply::Done(Done { outcome, notes: vec![note.to_owned()] }))
            }
            Request::Drain { cluster, timeout, force } => {
                self.command(cluster.as_deref(), Command::Drain { timeout, force }).await
            }
            Request::RestartHold { hold } => {
                self.expect_restart(hold);
                Ok(Reply::Done(Outcome::Changed.into()))
            }
            Request::Undrain { cluster } => {
                self.command(cluster.as_deref(), Command::Undrain).await
            }
            Request::Reload => {
                let config = load(&self.location, &Host)?;
                Ok(Reply::Done(self.reload(config).await?))
            }
            Request::Record { cluster, from_start, tape } => {
                self.record(cluster.as_deref(), from_start, tape).await
            }
            Request::CheckConfig { file } => {
                let location = file.map_or(self.location.clone(), |file| Location::named(&file));
                let config: Config = load(&location, &Host)?;
                let warnings = self.absent(&config).await;
                Ok(Reply::Checked(Checked { warnings, ..Checked::from(&config) }))
            }
        }
    }

    /// Refuses an interface that nothing could be served on as it is now.
    async fn check_fit(&self, interface: &str) -> Result<(), ManageError> {
        let link = self.netlink.link(interface).await.ok().flatten();
        let Some(obstacle) = link.and_then(|link| link.obstacle()) else { return Ok(()) };
        Err(ManageError::Refused { reason: format!("interface {interface}: {obstacle}") })
    }

    /// Answers who only wants to know something.
    pub(super) async fn tell(&mut self, request: Request) -> Answer {
        match request {
            Request::Status => Ok(self.status().await),
            Request::Buckets { cluster } => {
                let (name, running) = self.running(cluster.as_deref())?;
                let buckets = running.ask(ClusterRequest::Buckets).await?;
                Ok(Reply::Buckets(name, buckets, names(running)))
            }
            Request::Clients { cluster, limit } => {
                let (name, running) = self.running(cluster.as_deref())?;
                let ask = |reply| ClusterRequest::Clients(limit, reply);
                let clients = running.ask(ask).await?;
                let all = running.view().snapshot.clients.max(clients.len());
                Ok(Reply::Clients(name, all, clients, names(running)))
            }
            Request::Explain { cluster, client } => {
                let (name, running) = self.running(cluster.as_deref())?;
                let ask = |reply| ClusterRequest::Explain(client, reply);
                let explanation = running.ask(ask).await?;
                Ok(Reply::Explanation(name, explanation, names(running)))
            }
            other => {
                Err(ManageError::Refused { reason: format!("to {} is a change", other.action()) })
            }
        }
    }

    async fn record(&mut self, cluster: Option<&str>, from_start: bool, tape: TapeEnd) -> Answer {
        let name = if from_start {
            // One that was left is still configured.
            let known: Vec<&str> = self.config.clusters.iter().map(|it| it.name.as_str()).collect();
            let name = resolve(cluster, &known)?.to_owned();
            self.tapes.insert(name.clone(), tape);
            name
        } else {
            let (name, running) = self.running(cluster)?;
            let begun = running.ask(|reply| ClusterRequest::Record(tape, reply)).await;
            let refused = |error: TapeError| ManageError::Refused { reason: error.to_string() };
            begun?.map_err(refused)?;
            name
        };
        tracing::info!(cluster = name, from_start, "what the engine is told is recorded");
        Ok(Reply::Recording(name))
    }

    fn running(&self, cluster: Option<&str>) -> Result<(String, &Running), ManageError> {
        let known: Vec<&str> = self.clusters.keys().map(String::as_str).collect();
        let name = resolve(cluster, &known)?;
        let running = self.clusters.get(name).ok_or_else(gone)?;
        Ok((name.to_owned(), running))
    }

    async fn command(&mut self, cluster: Option<&str>, command: Command) -> Answer {
        let (_, running) = self.running(cluster)?;
        let outcome = running.command(command).await?;
        Ok(Reply::Done(outcome.into()))
    }

    async fn set_weight_source(
        &mut self,
        cluster: Option<&str>,
        source: Option<WeightSource>,
    ) -> Answer {
        let (name, _) = self.running(cluster)?;
        let running = self.clusters.get_mut(&name).ok_or_else(gone)?;
        if source == Some(WeightSource::Command) && running.config.load_command.is_none() {
            let reason = format!(
                "the configuration of {name} has no command that says the load: \
                 `weight: Command([\"/PATH\", …])`"
            );
            return Err(ManageError::Refused { reason });
        }
        let outcome = running.set_weight_source(source).await;
        Ok(Reply::Done(outcome.into()))
    }

    async fn status(&mut self) -> Reply {
        let mut counted = self.counted().await;
        let interfaces = self.interface_names().await;
        let daemon = DaemonView {
            uptime: now().since(self.started),
            node: self.config.node.id,
            name: self.config.node.name.clone(),
            config: self.location.file().to_owned(),
        };
        let clusters = self.clusters.values().map(|running| {
            let view = running.view();
            let path = self.kernel_path(&running.config);
            let mut facts = ClusterFacts::new(&running.config, path);
            facts.weight = running.weigher.source();
            facts.weight_problem =
                running.asking.as_ref().and_then(|asking| asking.answers.problem());
            facts.checks = running.checking.checks.views(now());
            facts.uptime = now().since(running.started);
            facts.drops = running.drops();
            facts.queue = running.queue;
            facts.kernel = counted.remove(&facts.name).unwrap_or_default();
            let lost = self.lost.get(&facts.name).map(|lost| lost.now(&view.snapshot, now()));
            facts.lost = lost.unwrap_or_default();
            facts.unused = self.unused(&running.config, &interfaces);
            facts.strangers.clone_from(&view.strangers);
            facts.ordinary_priority = view.ordinary;
            facts.observed = self.observed.get(&facts.name).cloned().unwrap_or_default();
            StatusView { facts, snapshot: view.snapshot.clone() }
        });
        Reply::Status(daemon, clusters.collect())
    }
}

fn names(running: &Running) -> Vec<(NodeId, String)> {
    let view = running.view();
    view.snapshot.nodes.iter().map(|node| (node.id, node.name.clone())).collect()
}
