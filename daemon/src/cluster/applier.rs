//! The thread that the rules' applier runs in, and the way of its events to the clusters.
//!
//! A thread of its own, because a fence waits for the applier's word: management must not be able
//! to hold that up.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::request::ClusterRequest;
use crate::kernel::{Capabilities, Kernel, KernelEvent, KernelHandle, Leftovers};
use crate::priority::{self, Priority};
use crate::pulse::Heart;
use crate::ticks::{Ticks, every};

/// How often the thread says that it moves: it sleeps while there is nothing to do.
const BEAT_EVERY: Duration = Duration::from_secs(2);

/// Registrations that may wait: there are few clusters, and they come one by one.
const REGISTRATIONS: usize = 16;

/// Where the events of a cluster go; `None`: nowhere any more.
type Registration = (String, Option<mpsc::Sender<ClusterRequest>>);

/// The applier, for the supervisor.
pub(super) struct Applier {
    /// Gives it orders.
    pub(super) kernel: KernelHandle,
    registrations: mpsc::Sender<Registration>,
    thread: std::thread::JoinHandle<()>,
}

impl Applier {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there is no thread, or the kernel cannot be listened to.
    pub(super) async fn start(
        capabilities: Capabilities,
        leftovers: Leftovers,
        heart: Heart,
    ) -> io::Result<Self> {
        let (registrations, registered) = mpsc::channel(REGISTRATIONS);
        let (started, starting) = oneshot::channel();
        let thread = priority::spawn("nlb-kernel", Priority::Favoured, move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            runtime.block_on(async {
                let beats = every(BEAT_EVERY);
                let made =
                    beats.and_then(|beats| Ok((beats, Kernel::start(capabilities, leftovers)?)));
                match made {
                    Ok((beats, (kernel, events))) => {
                        let _ = started.send(Ok(kernel));
                        route(events, registered, heart, beats).await;
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
        })?;
        let kernel = starting.await.map_err(io::Error::other)??;
        Ok(Self { kernel, registrations, thread })
    }

    /// Sends the events of a cluster there from now on.
    pub(super) async fn register(&self, cluster: &str, requests: mpsc::Sender<ClusterRequest>) {
        let _ = self.registrations.send((cluster.to_owned(), Some(requests))).await;
    }

    /// Whether the task has ended, which it does when it is told to, or when it panicked.
    pub(super) fn has_ended(&self) -> bool {
        self.kernel.has_ended() || self.thread.is_finished()
    }

    /// Removes the rules of a cluster that has ended.
    pub(super) async fn remove(&self, cluster: &str) {
        let _ = self.registrations.send((cluster.to_owned(), None)).await;
        self.kernel.remove_cluster(cluster);
    }

    /// Removes all rules and ends the thread.
    pub(super) async fn shutdown(self) {
        self.kernel.shutdown().await;
        drop(self.registrations);
        drop(self.kernel);
        // The thread has nothing left to wait for.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

/// Hands on events until nobody can register any more.
async fn route(
    mut events: mpsc::Receiver<KernelEvent>,
    mut registered: mpsc::Receiver<Registration>,
    heart: Heart,
    mut beats: Ticks,
) {
    let mut routes = BTreeMap::new();
    loop {
        tokio::select! {
            biased;
            registration = registered.recv() => match registration {
                Some((cluster, Some(requests))) => drop(routes.insert(cluster, requests)),
                Some((cluster, None)) => drop(routes.remove(&cluster)),
                None => return,
            },
            () = beats.tick() => heart.beat(),
            Some(event) = events.recv() => {
                if let Some(requests) = routes.get(cluster_of(&event)) {
                    // A cluster that does not read any more is ending.
                    let _ = requests.send(ClusterRequest::Kernel(event)).await;
                }
            }
        }
    }
}

fn cluster_of(event: &KernelEvent) -> &str {
    match event {
        KernelEvent::Applied { cluster, .. }
        | KernelEvent::Failed { cluster, .. }
        | KernelEvent::StickyLost { cluster }
        | KernelEvent::Repaired { cluster, .. } => cluster,
    }
}
