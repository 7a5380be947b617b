//! A cluster that runs: its thread, and the ways to and from it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nlb_engine::manage::{Command, CommandError, Outcome};
use nlb_engine::{Config as EngineConfig, Engine, Saved, Time};
use nlb_protocol::addr::heartbeat_group;
use nlb_protocol::frame::{Load, State};
use nlb_record::Begin;
use tokio::sync::{mpsc, oneshot, watch};

use super::alarm::Alarm;
use super::applier::Applier;
use super::asking::Asking;
use super::clock::now;
use super::idle::Watch;
use super::links::{LinkSettings, Links};
use super::opener::Opener;
use super::ordered::Ordered;
use super::request::{ClusterEvent, ClusterRequest, ClusterView, REQUEST_QUEUE};
use super::runtime::{Parts, Runtime};
use super::service::Checking;
use super::settings::{engine_config, random_incarnation, rules, shared};
use super::stage::Stage;
use super::state::StateFile;
use super::taped::Taped;
use super::witness::Witness;
use crate::check::{CheckReport, Checks, Commands, Tools};
use crate::config::{ClusterConfig, NodeConfig};
use crate::host::Netlink;
use crate::kernel::kept_clients;
use crate::link::Interface;
use crate::manage::{ManageError, TapeEnd};
use crate::priority::{self, Priority};
use crate::pulse::Heart;
use crate::queue;
use crate::weight::Weigher;

/// How long the rules of a cluster may take to be in force.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// How long a task may take to answer, or to end when it is told to. It looks at its requests
/// many times a second; one that does not is stuck in the kernel, and the main thread must not be
/// stuck with it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether a task has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Why a cluster could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No thread, no runtime or no sockets.
    #[error("cluster \"{cluster}\": {source}")]
    System {
        /// Which.
        cluster: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The rules were not in force in time.
    #[error("cluster \"{cluster}\": the kernel did not take the rules within 10 seconds")]
    NotReady {
        /// Which.
        cluster: String,
    },
}

/// A cluster that runs.
pub(super) struct Running {
    /// What it runs by.
    pub(super) config: ClusterConfig,
    /// Since when.
    pub(super) started: Time,
    /// What decides on its weight.
    pub(super) weigher: Weigher,
    /// How loaded the peers were told that this node is.
    pub(super) load: Load,
    /// The command that says the load, while the weight comes from it.
    pub(super) asking: Option<Asking>,
    /// Runs it.
    pub(super) commands: Commands,
    /// What looks after its service.
    pub(super) checking: Checking,
    /// Its queue.
    pub(super) queue: u16,
    requests: mpsc::Sender<ClusterRequest>,
    views: watch::Receiver<Arc<ClusterView>>,
    thread: std::thread::JoinHandle<()>,
}

/// What the supervisor gives to every cluster.
pub(super) struct Surroundings<'a> {
    /// Who this node is.
    pub(super) node: &'a NodeConfig,
    /// The interfaces that are up now.
    pub(super) interfaces: Vec<Interface>,
    /// The queue to use.
    pub(super) queue: u16,
    /// Whether the kernel has nftables for ARP.
    pub(super) arp: bool,
    /// Where events go.
    pub(super) events: mpsc::Sender<ClusterEvent>,
    /// What checks use.
    pub(super) tools: Tools,
    /// Where they report.
    pub(super) reports: mpsc::Sender<CheckReport>,
    /// Where its start is recorded, if it is.
    pub(super) tape: Option<TapeEnd>,
    /// Whom its search for signs of life asks.
    pub(super) netlink: Arc<Netlink>,
    /// Says that its loop moves.
    pub(super) heart: Heart,
    /// Where what an earlier process left is found.
    pub(super) run_dir: &'a Path,
}

impl Running {
    /// Starts a cluster and waits until its rules are in force; it joins by itself.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub(super) async fn start(
        config: &ClusterConfig,
        around: Surroundings<'_>,
        applier: &Applier,
    ) -> Result<Self, StartError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| StartError::System {
            cluster: config.name.clone(),
            source,
        };
        let incarnation = random_incarnation().map_err(|error| failed(error.into()))?;
        let mut weigher = Weigher::new(config.weight, config.weight_rules);
        let commands = around.tools.commands.clone();
        let checks = Checks::start(&config.name, &config.checks, around.tools, around.reports);
        let (requests, inbox) = mpsc::channel(REQUEST_QUEUE);
        let engine_config = engine_config(config, around.node, incarnation, weigher.weight());
        let rules = rules(config, &engine_config, &around.interfaces, around.queue, around.arp);
        let (state, found) = StateFile::open(around.run_dir, config, around.node);
        let goes_on = found.as_ref().and_then(|saved| saved.life).map(|life| life.weight);
        let anew = goes_on.and_then(|weight| weigher.go_on(weight));
        let (made, begun) = (engine_config.clone(), now());
        let nothing = Saved { life: None, drain: None, away: Vec::new() };
        let (engine, made) = match found {
            Some(saved) if saved != nothing => (resume(config, engine_config, saved).await, None),
            _ => (Engine::new(engine_config, begun), Some(Begin::New(Box::new(made)))),
        };
        let mut engine = Taped::new(engine);
        if let Some(tape) = around.tape
            && let Err(error) = engine.record(tape, made, begun)
        {
            tracing::warn!(cluster = config.name, %error, "the start is not recorded");
        }
        engine.handle_settings(shared(config));
        let snapshot = engine.snapshot(now());
        let (view, views) = watch::channel(Arc::new(ClusterView::first(snapshot)));
        let (ready, is_ready) = oneshot::channel();
        applier.register(&config.name, requests.clone()).await;
        let (name, cluster, keys) = (config.name.clone(), config.id, config.keys.ring());
        let seed = keys.hash_seed(cluster);
        let (addresses, several) = (config.addresses.clone(), config.interfaces.len() > 1);
        let settings = LinkSettings {
            ethertype: config.ethertype,
            group: heartbeat_group(cluster),
            mac: config.mac,
        };
        let kernel = applier.kernel.clone();
        let (fresh, slow) = (config.timing.frame_delay(), config.timing.rights() / 2);
        let idle = Watch {
            cluster: name.clone(),
            offload: config.offload,
            idle: config.sticky_idle,
            answers: requests.downgrade(),
        };
        let idle = idle.start().map_err(|error| failed(error.into()))?;
        let (opened, opening) = oneshot::channel();
        // The future is made in its thread: what it holds stays there.
        let body = move || async move {
            let made = (|| {
                let stage = Stage::open(around.queue, addresses.clone(), cluster, seed, fresh)?;
                Ok((stage, Alarm::new()?, Opener::start(&name)?))
            })();
            let (stage, alarm, opener) = match made {
                Ok(made) => made,
                Err(error) => return drop(opened.send(Err(error))),
            };
            let mut links = Links::new(settings, addresses, opener);
            links.set_interfaces(around.interfaces, several);
            let _ = opened.send(Ok(()));
            let parts = Parts {
                name,
                cluster,
                keys,
                engine,
                alarm,
                heart: around.heart,
                links,
                stage,
                state,
                ordered: Ordered::new(kernel, rules, ready),
                witness: Witness::new(around.netlink),
                requests: inbox,
                views: view,
                events: around.events,
                idle,
            };
            Box::pin(Runtime::new(parts, slow).run()).await;
        };
        let thread = priority::spawn(&config.name, Priority::Realtime, move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(body()),
                Err(error) => tracing::error!(%error, "no runtime for a cluster"),
            }
        })
        .map_err(|error| failed(error.into()))?;
        let running = Self {
            config: config.clone(),
            started: now(),
            weigher,
            load: Load::default(),
            asking: None,
            commands,
            checking: Checking::new(checks),
            queue: around.queue,
            requests,
            views,
            thread,
        };
        let outcome = match opening.await {
            Ok(Ok(())) => match tokio::time::timeout(READY_LIMIT, is_ready).await {
                Ok(Ok(())) => {
                    if anew.is_some() {
                        running.tell_weight().await;
                    }
                    return Ok(running);
                }
                _ => StartError::NotReady { cluster: config.name.clone() },
            },
            Ok(Err(error)) => failed(error),
            Err(error) => failed(error.into()),
        };
        running.stop().await;
        applier.remove(&config.name).await;
        Err(outcome)
    }

    /// The cluster as its task last saw it. Whoever reads it holds nothing that the task waits
    /// for: the lock is held for as long as it takes to count one reader more.
    #[must_use]
    pub(super) fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.views.borrow())
    }

    /// What the driver and the kernel dropped on its behalf, by reason. It reads a file of the
    /// kernel, so only for whoever asks for it.
    #[must_use]
    pub(super) fn drops(&self) -> BTreeMap<&'static str, u64> {
        let mut drops = self.view().drops.clone();
        let (full, unread) = queue::dropped(self.queue).unwrap_or_default();
        drops.insert("queue_full", full);
        drops.insert("queue_unread", unread);
        drops
    }

    /// Whether the task has ended.
    #[must_use]
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Whether it is on its way out of the cluster.
    #[must_use]
    pub(super) fn is_leaving(&self) -> bool {
        self.has_ended() || self.view().snapshot.state == State::Leaving
    }

    /// The way to the task.
    #[must_use]
    pub(super) fn requests(&self) -> mpsc::Sender<ClusterRequest> {
        self.requests.clone()
    }

    /// Tells the task something.
    pub(super) async fn tell(&self, request: ClusterRequest) {
        // It fails when the task has ended or is stuck, which the supervisor sees by itself.
        let _ = self.requests.send_timeout(request, PATIENCE).await;
    }

    /// Asks the task something.
    ///
    /// # Errors
    /// When it ends before it answers, or does not answer.
    pub(super) async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> ClusterRequest,
    ) -> Result<T, ManageError> {
        let (reply, answer) = oneshot::channel();
        self.tell(question(reply)).await;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(CommandError::Leaving.into()),
            Err(_) => Err(ManageError::NoAnswer),
        }
    }

    /// Has the engine carry out a command.
    ///
    /// # Errors
    /// When the engine refuses, or does not answer.
    pub(super) async fn command(&self, command: Command) -> Result<Outcome, ManageError> {
        Ok(self.ask(|reply| ClusterRequest::Command(command, reply)).await??)
    }

    /// Waits until the task has ended by itself, at most so long; then it is ended. `false`: it
    /// panicked, or is stuck.
    pub(super) async fn finish(self, limit: Duration) -> bool {
        if !self.ends_within(limit).await {
            tracing::warn!(cluster = self.config.name, "leaving took too long; ending without");
        }
        self.stop().await
    }

    /// Ends the task at once, without handing over. `false`: it panicked, or is stuck.
    async fn stop(self) -> bool {
        self.tell(ClusterRequest::Stop).await;
        // Only one that has ended is joined: whoever waits for a stuck one never ends either.
        self.ends_within(PATIENCE).await && self.thread.join().is_ok()
    }

    /// Until the task has ended, however it does.
    pub(super) fn gone(&self) -> impl Future<Output = ()> + use<> {
        let mut views = self.views.clone();
        async move { while views.changed().await.is_ok() {} }
    }

    pub(super) async fn ends_within(&self, limit: Duration) -> bool {
        let ended = async {
            while !self.thread.is_finished() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(limit, ended).await.is_ok()
    }

    /// Takes up what can change while the cluster runs.
    pub(super) async fn take_up(&mut self, config: &ClusterConfig) {
        let old = &self.config;
        if old.addresses != config.addresses || old.ports != config.ports {
            let addresses = config.addresses.clone();
            let ports = config.ports.clone().unwrap_or_default();
            let (in_force, is_in_force) = oneshot::channel();
            self.tell(ClusterRequest::Service { addresses, ports, in_force }).await;
            // An address comes behind its rules. If the kernel refuses, the node serves nobody.
            let _ = tokio::time::timeout(READY_LIMIT, is_in_force).await;
        }
        if old.keys != config.keys {
            self.tell(ClusterRequest::Keys(config.keys.ring())).await;
        }
        if shared(old) != shared(config) {
            // When they are in force.
            self.tell(ClusterRequest::Settings(shared(config))).await;
        }
        if old.weight_rules != config.weight_rules {
            self.weigher.set_rules(config.weight_rules);
        }
        if self.config.weight != config.weight {
            self.set_weight_source(Some(config.weight)).await;
        }
        if self.config.checks != config.checks {
            self.checking.checks.take_up(&config.checks);
        }
        self.config = config.clone();
        self.tell_health().await;
    }
}

/// An engine that goes on with what another process left, as far as it can.
async fn resume(config: &ClusterConfig, engine: EngineConfig, mut saved: Saved) -> Engine {
    let mut clients = Vec::new();
    if saved.life.is_some() {
        match kept_clients(&config.name).await {
            Ok(kept) => {
                clients = kept;
                let clients = clients.len();
                tracing::info!(cluster = config.name, clients, "goes on with an earlier process");
            }
            Err(error) => {
                tracing::warn!(cluster = config.name, %error, "the kernel's clients are not known");
                saved.life = None;
            }
        }
    }
    Engine::resume(engine, &saved, &clients, now())
}
