//! Looks for a sign that this node's receiver works, while the engine asks for one (SPEC 6.8).
//!
//! Beside the loop, in a task that asks the kernel through a connection with a thread of its own:
//! rtnetlink waits for whoever changes interfaces at the time, a driver that resets its card for
//! instance, and that is just when everybody falls silent.

use std::sync::Arc;
use std::time::Duration;

use nlb_engine::Time;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::host::{Netlink, ProbeTargets};
use crate::link::InterfaceIndex;

/// Between two looks at what the interfaces have received: a fraction of the shortest time that
/// a witness is waited for, 10 ms.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// So many looks without a sign, and frames are provoked again.
const LOOKS_A_PROBE: u32 = 100;

/// Signs that wait for the loop, which takes them at once.
const SIGNS: usize = 4;

/// What the loop is told.
pub(super) enum Sign {
    /// A frame has come since it was asked.
    Seen,
    /// Nothing came yet: these are to be asked something on these interfaces.
    Provoke(Vec<(InterfaceIndex, ProbeTargets)>),
}

/// The search for signs of one cluster.
pub(super) struct Witness {
    netlink: Arc<Netlink>,
    search: Option<Search>,
}

struct Search {
    since: Time,
    interfaces: Vec<InterfaceIndex>,
    signs: mpsc::Receiver<Sign>,
    task: JoinHandle<()>,
}

impl Drop for Search {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Witness {
    /// No search yet.
    #[must_use]
    pub(super) fn new(netlink: Arc<Netlink>) -> Self {
        Self { netlink, search: None }
    }

    /// A sign is wanted since then, on these interfaces, or not at all.
    pub(super) fn follow(
        &mut self,
        wanted: Option<Time>,
        interfaces: impl Iterator<Item = InterfaceIndex>,
    ) {
        let Some(since) = wanted else {
            self.search = None;
            return;
        };
        let interfaces: Vec<_> = interfaces.collect();
        let same = |search: &Search| search.since == since && search.interfaces == interfaces;
        if !self.search.as_ref().is_some_and(same) {
            let (sender, signs) = mpsc::channel(SIGNS);
            let search = search(Arc::clone(&self.netlink), interfaces.clone(), sender);
            let task = tokio::spawn(search);
            self.search = Some(Search { since, interfaces, signs, task });
        }
    }

    /// The next sign; never, while none is wanted. Cancel-safe.
    pub(super) async fn sign(&mut self) -> Sign {
        if let Some(search) = &mut self.search
            && let Some(sign) = search.signs.recv().await
        {
            return sign;
        }
        std::future::pending().await
    }
}

async fn search(netlink: Arc<Netlink>, on: Vec<InterfaceIndex>, signs: mpsc::Sender<Sign>) {
    let before = received(&netlink, &on).await;
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for look in 0_u32.. {
        if look.is_multiple_of(LOOKS_A_PROBE) {
            let mut whom = Vec::new();
            for index in &on {
                if let Ok(targets) = netlink.probe_targets(*index).await {
                    whom.push((*index, targets));
                }
            }
            let _ = signs.send(Sign::Provoke(whom)).await;
        }
        looks.tick().await;
        if received(&netlink, &on).await > before {
            let _ = signs.send(Sign::Seen).await;
            return;
        }
    }
}

/// Frames that the interfaces received so far, whoever they were for.
async fn received(netlink: &Netlink, on: &[InterfaceIndex]) -> u64 {
    let mut frames = 0_u64;
    for index in on {
        let received = netlink.rx_packets(*index).await;
        frames = frames.saturating_add(received.ok().flatten().unwrap_or(0));
    }
    frames
}
