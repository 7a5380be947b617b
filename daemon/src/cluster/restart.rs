//! The end of the daemon: for good, or until the next process goes on (SPEC 6.10, 6.11.3).

use std::time::Duration;

use nlb_engine::Time;
use nlb_engine::manage::Command;
use tokio::sync::{mpsc, oneshot};

use super::clock::now;
use super::request::ClusterRequest;
use super::supervisor::{SuperviseError, Supervisor};
use crate::kernel::{self, end_lease, extend_lease};

/// How long a wish for a restart lasts. One that nobody followed must not make a restart of an end
/// that is meant as one.
const WISH: Duration = Duration::from_secs(60);

/// How long handing over may take beside what the engine's own bounds say.
const MARGIN: Duration = Duration::from_secs(5);

/// The next end is to be a restart.
#[derive(Debug, Clone, Copy)]
pub(super) struct RestartWish {
    hold: Duration,
    until: Time,
}

/// Hurries an end that takes long.
pub struct Hurry(Vec<mpsc::Sender<ClusterRequest>>);

impl Hurry {
    /// Nobody waits for anybody any more.
    pub fn hurry(&self) {
        for requests in &self.0 {
            let (reply, _) = oneshot::channel();
            // A task that is full or has ended needs no hurrying.
            let _ = requests.try_send(ClusterRequest::Command(Command::LeaveNow, reply));
        }
    }
}

impl Supervisor {
    /// The daemon will be ended soon, to be started again within `hold`.
    pub(super) fn expect_restart(&mut self, hold: Duration) {
        self.restart = Some(RestartWish { hold, until: now() + WISH });
    }

    /// To hurry what comes next.
    #[must_use]
    pub fn hurry(&self) -> Hurry {
        Hurry(self.clusters.values().map(|running| running.requests()).collect())
    }

    /// Ends as it is wished: for a restart, or for good.
    ///
    /// # Errors
    /// The first thing that could not be put back.
    pub async fn finish(mut self) -> Result<(), SuperviseError> {
        let wish = self.restart.take().filter(|wish| now() < wish.until);
        let Some(wish) = wish else { return self.shutdown().await };
        let mut longest = Duration::ZERO;
        for running in self.clusters.values() {
            if running.command(Command::Restart { hold: wish.hold }).await.is_err() {
                let _ = running.command(Command::Leave).await;
            }
            longest = longest.max(running.config.timing.dead_after);
        }
        let limit = longest * 8 + wish.hold + MARGIN;
        let mut kept = false;
        for name in self.clusters.keys().cloned().collect::<Vec<_>>() {
            kept |= self.hold(&name, limit).await?;
        }
        if !kept {
            return self.shutdown().await;
        }
        // Rules, addresses and settings stay for the next process, as a crash would leave them.
        tracing::info!("nlbd ends for a restart");
        Ok(())
    }

    /// Waits until a cluster's task has ended and has its kernel go on. `false`: it has left.
    async fn hold(&mut self, name: &str, limit: Duration) -> Result<bool, SuperviseError> {
        let Some(running) = self.clusters.get(name) else { return Ok(false) };
        let ended = running.ends_within(limit).await;
        let Some(until) = running.view().held.filter(|_| ended) else {
            self.end(name).await?;
            return Ok(false);
        };
        let interfaces: Vec<kernel::Interface> =
            super::settings::rule_interfaces(&self.up(&running.config));
        let lease = until.since(now());
        if let Err(error) = extend_lease(&self.capabilities, name, &interfaces, lease).await {
            tracing::warn!(cluster = name, %error, "the kernel does not answer meanwhile");
        }
        // A process that stood still meanwhile may have come too late.
        if now() >= until {
            let _ = end_lease(&self.capabilities, name).await;
        }
        Ok(true)
    }
}
