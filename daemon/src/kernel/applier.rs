//! Brings the kernel into the state wanted and keeps it there: one task owns nft.
//!
//! [`KernelHandle`] leaves orders and never waits; what was not taken up yet is merged with what
//! comes (the latest plan wins, and takes over what an overtaken one had to do once). The task
//! runs one nft at a time, each with one atomic batch, hears what others do to our rules and
//! puts them right. [`KernelEvent`]s say what became of it all.

mod force;
mod guard;
mod order;
mod state;
mod task;
mod way;

use core::time::Duration;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use nlb_engine::{Generation, KernelPlan};
use tokio::sync::{mpsc, watch};

use self::order::Orders;
use super::netlink::Query;
use super::probe::Capabilities;
use super::spec::{ClusterRules, SpecError};
use super::tool::ToolError;
use super::watch::Watch;

/// Events that wait for the driver. It reads them in its loop; were it ever to stop, the applier
/// waits, since an event lost would leave the engine waiting instead.
const MAX_EVENTS: usize = 256;

/// What happened in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelEvent {
    /// The kernel is in the state of this plan.
    Applied {
        /// Of which cluster.
        cluster: String,
        /// Which plan: tell the engine by `handle_applied`.
        generation: Generation,
        /// Which rules it is in force with: the number that [`KernelHandle::set_cluster`] was given.
        revision: u64,
        /// How long it took from the start of nft until the rules were in force.
        took: Duration,
    },
    /// The kernel refused. It is tried again, at growing intervals, until it works.
    Failed {
        /// Which cluster's rules.
        cluster: String,
        /// Why.
        reason: KernelError,
    },
    /// Somebody took clients out of the kernel's sticky sets.
    StickyLost {
        /// Of which cluster.
        cluster: String,
    },
    /// Somebody changed our rules; they are as they were. The gate stays closed until the next
    /// heartbeat if it lost its lease.
    Repaired {
        /// Of which cluster.
        cluster: String,
        /// How long it took since the change was heard of.
        took: Duration,
    },
}

/// Why the kernel is not in the state wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// nft or iptables did not do it.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// No rules can be made of what was given.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Asking the kernel for what it has failed.
    #[error("the kernel's rules cannot be read: {0}")]
    Read(String),
    /// Clients that were to be forgotten are still kept.
    #[error("the kernel keeps clients that it was told to forget")]
    StillKept,
}

impl From<io::Error> for KernelError {
    fn from(error: io::Error) -> Self {
        Self::Read(error.to_string())
    }
}

/// Makes the applier.
#[derive(Debug)]
pub struct Kernel(());

/// What becomes of rules that an earlier life left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftovers {
    /// They go, with everything that the kernel kept.
    Replace,
    /// Those of these clusters stay, with what the kernel keeps, until they are set anew. Those of
    /// all others go with the first rules that are set.
    Keep(BTreeSet<String>),
}

impl Kernel {
    /// Starts the applier on the current tokio runtime. Rules of an earlier life that do not stay
    /// are followed by the first that are set, in one transaction, or removed when none are set
    /// within a second.
    ///
    /// # Errors
    /// When the kernel cannot be listened to or asked.
    pub fn start(
        capabilities: Capabilities,
        leftovers: Leftovers,
    ) -> io::Result<(KernelHandle, mpsc::Receiver<KernelEvent>)> {
        let (orders, receiver) = watch::channel(Orders::default());
        let orders = Arc::new(orders);
        let (events, event_receiver) = mpsc::channel(MAX_EVENTS);
        let task = task::Task::new(
            capabilities,
            leftovers,
            Watch::open()?,
            Query::open()?,
            Arc::clone(&orders),
            receiver,
            events,
        );
        tokio::spawn(task.run());
        Ok((KernelHandle { orders }, event_receiver))
    }
}

/// Gives the applier its orders. Cheap to clone; nothing here waits but [`Self::shutdown`].
#[derive(Debug, Clone)]
pub struct KernelHandle {
    orders: Arc<watch::Sender<Orders>>,
}

impl KernelHandle {
    /// The engine wants this. Comes to nothing if the cluster has no rules by then.
    pub fn submit(&self, cluster: &str, plan: KernelPlan) {
        self.orders.send_modify(|orders| orders.of(cluster).submit(plan));
    }

    /// A cluster is new, or its interfaces, addresses or times changed. A client that the kernel
    /// keeps stays kept. If no rules can be made of it (`ClusterRules::check`), that is a
    /// [`KernelEvent::Failed`] and nothing else changes. `revision` is a number of the caller's,
    /// rising, by which he knows when these rules are in force.
    pub fn set_cluster(&self, rules: ClusterRules, revision: u64, plan: KernelPlan) {
        let name = rules.cluster.clone();
        self.orders.send_modify(|orders| orders.of(&name).set(rules, revision, plan));
    }

    /// A cluster is gone: everything of it goes.
    pub fn remove_cluster(&self, cluster: &str) {
        self.orders.send_modify(|orders| orders.of(cluster).remove());
    }

    /// Whether the task has ended: nobody follows orders any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.orders.is_closed()
    }

    /// Removes everything of ours from the kernel and waits until that is done. Remove the
    /// service addresses first: without the rules the kernel takes every frame that it is given.
    pub async fn shutdown(&self) {
        self.orders.send_modify(Orders::shut_down);
        self.orders.closed().await;
    }
}

#[cfg(test)]
mod tests;
