//! What the rest of the daemon can ask of a running cluster, and what it sees of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nlb_engine::manage::{
    BucketView, ClientView, Command, CommandError, Explanation, Outcome, Snapshot,
};
use nlb_engine::{Notice, Time, Withdraw};
use nlb_protocol::auth::KeyRing;
use nlb_protocol::frame::{Health, Load, Settings};
use tokio::sync::oneshot;

use super::idle::Answer;
use super::taped::TapeError;
use crate::config::Port;
use crate::kernel::KernelEvent;
use crate::link::Interface;
use crate::manage::{Stranger, TapeEnd};

/// How many requests may wait for a cluster's task.
pub(super) const REQUEST_QUEUE: usize = 64;

/// A question or an order to a cluster's task. Answers go out by the `oneshot`; whoever asked may
/// have gone meanwhile.
pub(super) enum ClusterRequest {
    /// A command for the engine.
    Command(Command, oneshot::Sender<Result<Outcome, CommandError>>),
    /// Every bucket.
    Buckets(oneshot::Sender<Vec<BucketView>>),
    /// At most so many clients.
    Clients(usize, oneshot::Sender<Vec<ClientView>>),
    /// Where a client goes.
    Explain(IpAddr, oneshot::Sender<Explanation>),
    /// The interfaces of the cluster as they are now: new, gone, or changed.
    Interfaces {
        /// Those that are up.
        up: Vec<Interface>,
        /// Whether there is more than one, up or not.
        several: bool,
    },
    /// What is served on them.
    Service {
        /// The service addresses.
        addresses: Vec<IpAddr>,
        /// The ports that are balanced; empty: all.
        ports: Vec<Port>,
        /// Told when the rules say so too.
        in_force: oneshot::Sender<()>,
    },
    /// The keys of the cluster: the first signs from now on.
    Keys(KeyRing),
    /// What all nodes must be configured with alike, as it is here now.
    Settings(Settings),
    /// How loaded this node is.
    Load(Load),
    /// What the checks of its service found, and whether it goes when it is ill.
    Health(Health, Withdraw),
    /// What the kernel's applier reports for this cluster.
    Kernel(KernelEvent),
    /// What was found of clients that the engine asked about.
    Found(Answer),
    /// Put what the engine is told on this tape.
    Record(TapeEnd, oneshot::Sender<Result<(), TapeError>>),
    /// End without handing over.
    Stop,
}

/// A cluster as its task last published it.
#[derive(Debug)]
pub(super) struct ClusterView {
    /// What the engine sees.
    pub(super) snapshot: Snapshot,
    /// What the driver dropped, by reason.
    pub(super) drops: BTreeMap<&'static str, u64>,
    /// Who sends frames that cannot be taken.
    pub(super) strangers: Vec<Stranger>,
    /// The task has ended for a restart: until when the kernel may go on alone.
    pub(super) held: Option<Time>,
    /// The task is known to have no priority over others.
    pub(super) ordinary: bool,
}

impl ClusterView {
    /// Of a task that has not begun yet.
    pub(super) fn first(snapshot: Snapshot) -> Self {
        let (drops, strangers) = (BTreeMap::new(), Vec::new());
        Self { snapshot, drops, strangers, held: None, ordinary: false }
    }
}

/// One event of a cluster, on its way to the log and to whoever follows.
#[derive(Debug, Clone)]
pub struct ClusterEvent {
    /// Which cluster.
    pub(super) cluster: String,
    /// What happened.
    pub(super) what: What,
}

/// What a cluster's thread has to say. It writes no log itself: whoever reads the log may stop,
/// and must not stop heartbeats with it.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// The engine says it.
    Notice(Notice),
    /// The driver does: a short name of the kind, and the words.
    Driver(&'static str, String),
}
