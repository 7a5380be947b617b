//! The supervisor: starts and ends clusters, keeps the host's addresses in step, answers
//! management, writes the log.
//!
//! It runs in the main thread. Everything that must be quick runs elsewhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nlb_engine::{Notice, Time};
use nlb_protocol::NodeId;
use nlb_protocol::frame::State;
use tokio::sync::{mpsc, watch};

use super::applier::Applier;
use super::clock::now;
use super::host::Upkeep;
use super::request::{ClusterEvent, What};
use super::restart::RestartWish;
use super::running::{Running, StartError, Surroundings};
use super::state;
use super::troubles::Troubles;
use crate::check::{CheckReport, REPORTS, Tools, Turn};
use crate::config::{ClusterConfig, Config, Location};
use crate::host::{HostError, Installer, LinkChange, LinkWatch, Netlink};
use crate::kernel::{Capabilities, Counters, Fates, Leftovers, QueuePath};
use crate::manage::{
    Call, EventSink, Inbox, KernelPath, Known, LostNodes, MAX_REQUESTS, Observed, TapeEnd,
};
use crate::pulse::{Heart, Pulse};
use crate::queue;
use crate::ticks::{Ticks, every};
use crate::weight::{Meter, Reading, SAMPLE_INTERVAL, WeightSource};

/// The netfilter queue of the first cluster; the others follow. Chosen away from 0, which is what
/// other programs take when nobody told them otherwise.
pub(super) const FIRST_QUEUE: u16 = 20_056;

/// Events that may wait to be logged, of all clusters.
const EVENTS: usize = 256;

/// Names that are remembered for the log; beyond it they are learned anew.
const NAMES: usize = 1024;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The applier's thread.
    #[error("cannot start the applier of rules: {0}")]
    Applier(#[source] std::io::Error),
    /// What weights and the host are looked at by.
    #[error("no timer: {0}")]
    Timer(#[source] std::io::Error),
    /// The host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A cluster.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A cluster's task ended although nobody wanted it to.
    #[error("the task of cluster \"{cluster}\" broke off")]
    Broke {
        /// Which.
        cluster: String,
    },
    /// The applier's task did.
    #[error("the applier of rules broke off")]
    ApplierBroke,
    /// Rules of two daemons would fight.
    #[error(
        "netfilter queue {FIRST_QUEUE} is in use: another nlbd runs in this network namespace, or \
         a program that has taken its queue"
    )]
    Another,
}

/// All clusters of this host.
pub struct Supervisor {
    pub(super) location: Location,
    pub(super) config: Config,
    pub(super) clusters: BTreeMap<String, Running>,
    pub(super) events: EventSink,
    pub(super) started: Time,
    pub(super) capabilities: Capabilities,
    pub(super) applier: Applier,
    pub(super) netlink: Arc<Netlink>,
    pub(super) watch: LinkWatch,
    pub(super) installer: Installer,
    pub(super) upkeep: Upkeep,
    /// Interfaces that are not in use.
    pub(super) troubles: Troubles,
    /// Names of nodes, those that have gone included.
    pub(super) names: BTreeMap<NodeId, String>,
    meter: Meter,
    /// What was counted of each configured cluster's notices.
    pub(super) observed: BTreeMap<String, Observed>,
    /// Who went without a word, by cluster.
    pub(super) lost: BTreeMap<String, LostNodes>,
    /// Requests that are permitted.
    calls: mpsc::Receiver<Call>,
    /// Those of them that wait until a leave is over.
    pub(super) later: VecDeque<Call>,
    /// When weights are looked at.
    weighing: Ticks,
    /// Where the metrics are to be had beside their socket.
    pub(super) metrics: watch::Sender<Option<SocketAddr>>,
    /// The threads that must move.
    pulses: watch::Sender<Vec<Pulse>>,
    run_dir: PathBuf,
    /// The next end is a restart, if it comes until then.
    pub(super) restart: Option<RestartWish>,
    pub(super) cluster_events: mpsc::Sender<ClusterEvent>,
    happened: mpsc::Receiver<ClusterEvent>,
    /// Recordings that wait for their clusters to start.
    pub(super) tapes: BTreeMap<String, TapeEnd>,
    /// Reads what the kernel counted.
    counters: Counters,
    tools: Tools,
    check_reports: mpsc::Sender<CheckReport>,
    checked: mpsc::Receiver<CheckReport>,
}

/// What [`Supervisor::next`] waited for.
pub enum Happened {
    /// A cluster says something.
    Event(ClusterEvent),
    /// A check has looked.
    Check(CheckReport),
    /// A link came, went or changed.
    Link(LinkChange),
    /// It is time to look whether the host is as it should be.
    Upkeep,
    /// It is time to look at loads and weights.
    Weigh,
    /// Somebody asks for something.
    Call(Call),
}

impl Supervisor {
    /// Nothing runs yet: [`Self::apply`] starts what the configuration says.
    ///
    /// # Errors
    /// When the kernel cannot be spoken to, or another daemon has rules in it.
    pub async fn new(
        location: Location,
        run_dir: &Path,
        node: Config,
        capabilities: Capabilities,
        inbox: Inbox,
        tools: Tools,
    ) -> Result<Self, SuperviseError> {
        // Before the applier starts: it takes away whatever rules of nlbd it finds.
        if queue::is_held(FIRST_QUEUE) {
            return Err(SuperviseError::Another);
        }
        state::forget_all_but(run_dir, &node);
        let going_on = state::going_on(run_dir, &node);
        let leftovers =
            if going_on.is_empty() { Leftovers::Replace } else { Leftovers::Keep(going_on) };
        let (cluster_events, happened) = mpsc::channel(EVENTS);
        let (check_reports, checked) = mpsc::channel(REPORTS);
        let (heart, pulse) = Heart::new("nlb-kernel");
        let applier = Applier::start(capabilities.clone(), leftovers, heart)
            .await
            .map_err(SuperviseError::Applier)?;
        Ok(Self {
            location,
            config: Config { clusters: Vec::new(), metrics: None, ..node },
            clusters: BTreeMap::new(),
            events: inbox.events,
            calls: inbox.calls,
            later: VecDeque::new(),
            weighing: every(SAMPLE_INTERVAL).map_err(SuperviseError::Timer)?,
            started: now(),
            capabilities,
            applier,
            netlink: Arc::new(Netlink::connect()?),
            watch: LinkWatch::open([])?,
            installer: Installer::open(run_dir)?,
            upkeep: Upkeep::new().map_err(SuperviseError::Timer)?,
            troubles: Troubles::default(),
            names: BTreeMap::new(),
            meter: Meter::new(),
            observed: BTreeMap::new(),
            lost: BTreeMap::new(),
            metrics: watch::Sender::new(None),
            pulses: watch::Sender::new(vec![pulse]),
            run_dir: run_dir.to_owned(),
            restart: None,
            cluster_events,
            happened,
            tapes: BTreeMap::new(),
            counters: Counters::open().map_err(SuperviseError::Applier)?,
            tools,
            check_reports,
            checked,
        })
    }

    /// Where the metrics are to be had beside their socket, now and later.
    #[must_use]
    pub fn metrics(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.metrics.subscribe()
    }

    /// The threads that must move, now and later.
    #[must_use]
    pub fn pulses(&self) -> watch::Receiver<Vec<Pulse>> {
        self.pulses.subscribe()
    }

    /// Waits for the next thing to do; cancel-safe.
    ///
    /// # Errors
    /// When the kernel cannot be asked about its links.
    pub async fn next(&mut self) -> Result<Happened, SuperviseError> {
        match self.later.pop_front() {
            Some(call) => Ok(Happened::Call(call)),
            None => self.next_but_later().await,
        }
    }

    /// The same, without the requests that wait.
    pub(super) async fn next_but_later(&mut self) -> Result<Happened, SuperviseError> {
        let room = self.later.len() < MAX_REQUESTS;
        tokio::select! {
            Some(call) = self.calls.recv(), if room => Ok(Happened::Call(call)),
            () = self.weighing.tick() => Ok(Happened::Weigh),
            Some(event) = self.happened.recv() => Ok(Happened::Event(event)),
            Some(report) = self.checked.recv() => Ok(Happened::Check(report)),
            change = self.watch.next(&self.netlink) => Ok(Happened::Link(change?)),
            () = self.upkeep.due() => Ok(Happened::Upkeep),
        }
    }

    pub(super) async fn start(
        &mut self,
        cluster: &ClusterConfig,
        config: &Config,
    ) -> Result<(), SuperviseError> {
        let (heart, pulse) = Heart::new(&cluster.name);
        let around = Surroundings {
            node: &config.node,
            interfaces: self.up(cluster),
            queue: self.free_queue(),
            arp: self.capabilities.arp,
            events: self.cluster_events.clone(),
            tools: self.tools.clone(),
            reports: self.check_reports.clone(),
            tape: self.tapes.remove(&cluster.name),
            heart,
            netlink: Arc::clone(&self.netlink),
            run_dir: &self.run_dir,
        };
        let running = Running::start(cluster, around, &self.applier).await?;
        self.clusters.insert(cluster.name.clone(), running);
        self.pulses.send_modify(|pulses| {
            pulses.retain(Pulse::is_there);
            pulses.push(pulse);
        });
        // Only now, behind the gate, may the kernel have the addresses.
        if let Err(error) = self.install().await {
            self.end(&cluster.name).await?;
            return Err(error.into());
        }
        tracing::info!(cluster = cluster.name, "the cluster is being joined");
        Ok(())
    }

    fn free_queue(&self) -> u16 {
        let taken: BTreeSet<u16> = self.clusters.values().map(|running| running.queue).collect();
        (FIRST_QUEUE..=u16::MAX).find(|queue| !taken.contains(queue)).unwrap_or(FIRST_QUEUE)
    }

    /// Writes an event to the log and hands it to whoever follows.
    pub fn handle_event(&mut self, event: ClusterEvent, time_ms: u64) {
        let ClusterEvent { cluster, what } = event;
        let notice = match what {
            What::Notice(notice) => notice,
            What::Driver(kind, text) => {
                tracing::warn!(cluster, "{text}");
                return self.events.say(&cluster, kind, text, time_ms);
            }
        };
        // Not of one that is gone: they would pile up.
        if self.clusters.contains_key(&cluster) {
            self.observed.entry(cluster.clone()).or_default().observe(&notice);
            self.observe_lost(&cluster, &notice);
        }
        let mut active = BTreeSet::new();
        if let Some(running) = self.clusters.get(&cluster) {
            if self.names.len() >= NAMES {
                self.names.clear();
            }
            for node in &running.view().snapshot.nodes {
                if node.state == State::Active {
                    active.insert(node.id);
                }
                if !node.name.is_empty() {
                    self.names.insert(node.id, node.name.clone());
                }
            }
        }
        let known = |id| Known {
            name: self.names.get(&id).cloned().unwrap_or_default(),
            active: active.contains(&id),
        };
        let local = self.config.node.id;
        let warns = matches!(&notice, Notice::PeerSettings { here, there, .. } if here != there);
        let text = self.events.notice(&cluster, notice, time_ms, local, known);
        if warns {
            tracing::warn!(cluster, "{text}");
        } else {
            tracing::info!(cluster, "{text}");
        }
    }

    /// Takes in how a check went.
    pub async fn handle_check(&mut self, report: CheckReport, time_ms: u64) {
        let cluster = report.cluster.clone();
        let Some(running) = self.clusters.get_mut(&*cluster) else { return };
        for turn in running.take_in_check(report).await {
            match turn.kind {
                "nobody-well" => tracing::error!(cluster = &*cluster, "{}", turn.text),
                "check-failed" => tracing::warn!(cluster = &*cluster, "{}", turn.text),
                _ => tracing::info!(cluster = &*cluster, "{}", turn.text),
            }
            self.events.say(&cluster, turn.kind, turn.text, time_ms);
        }
    }

    /// Reads the load and has the weights follow it.
    pub async fn weigh(&mut self, time_ms: u64) {
        let mut sources = self.clusters.values().map(Running::source);
        let memory = sources.clone().any(|source| source == WeightSource::Memory);
        // What is measured costs the more the more processors there are.
        let measured = sources.any(|source| source.measure() != 0);
        let reading = if measured { self.meter.read(memory) } else { Reading::default() };
        for (cluster, running) in &mut self.clusters {
            for Turn { kind, text } in running.weigh(&reading).await {
                match kind {
                    "weight-recovered" => tracing::info!(cluster, "{text}"),
                    _ => tracing::warn!(cluster, "{text}"),
                }
                self.events.say(cluster, kind, text, time_ms);
            }
        }
    }

    /// What the kernel did with the packets of each cluster, as far as it says so.
    pub(super) async fn counted(&mut self) -> BTreeMap<String, Fates> {
        match self.counters.read().await {
            Ok(counted) => counted,
            Err(error) => {
                tracing::debug!(%error, "the kernel's counters cannot be read");
                BTreeMap::new()
            }
        }
    }

    /// How new clients reach the stage of a cluster.
    #[must_use]
    pub(super) fn kernel_path(&self, cluster: &ClusterConfig) -> KernelPath {
        match self.capabilities.queue {
            _ if !cluster.offload => KernelPath::UserSpace,
            QueuePath::Nft => KernelPath::NftQueue,
            QueuePath::Iptables => KernelPath::IptablesNfqueue,
        }
    }
}
