//! Clusters that leave, and what goes on meanwhile.
//!
//! Handing over takes as long as the peers need, up to several times dead-after. Whatever else
//! happens to the host and the other clusters is taken in meanwhile, and whoever only wants to know
//! something is answered; who wants a change waits until this one is made.

use std::time::Duration;

use futures_util::future::join_all;
use nlb_engine::manage::Command;
use tokio::time::{sleep, timeout};

use super::clock::wall_clock_ms;
use super::running::Running;
use super::supervisor::{Happened, SuperviseError, Supervisor};

/// How long leaving may take beside what the engine's own bound says.
const LEAVE_MARGIN: Duration = Duration::from_secs(5);

/// From a task's last word to the end of its thread.
const END_MARGIN: Duration = Duration::from_secs(1);

/// How long to wait after an error of the link monitor, so that a lasting one keeps nobody busy.
const WATCH_PAUSE: Duration = Duration::from_millis(200);

fn limit(running: &Running) -> Duration {
    running.config.timing.dead_after * 4 + LEAVE_MARGIN
}

impl Supervisor {
    /// Does what there is to do, and clears up behind clusters that have left by themselves,
    /// because somebody asked them to.
    ///
    /// # Errors
    /// When a task broke off: without it the daemon must not go on as if all were well.
    pub async fn take_in(
        &mut self,
        happened: Result<Happened, SuperviseError>,
    ) -> Result<(), SuperviseError> {
        match happened {
            Ok(Happened::Call(call)) => {
                let answer = self.answer(call.request).await;
                // Whoever asked may have gone.
                let _ = call.reply.send(answer);
            }
            happened => self.take_in_beside(happened).await,
        }
        self.clear_up().await
    }

    /// What is done also while clusters leave: everything that changes none.
    async fn take_in_beside(&mut self, happened: Result<Happened, SuperviseError>) {
        match happened {
            Ok(Happened::Call(call)) if call.request.privilege().is_none() => {
                let answer = self.tell(call.request).await;
                let _ = call.reply.send(answer);
            }
            Ok(Happened::Call(call)) => self.later.push_back(call),
            Ok(Happened::Event(event)) => self.handle_event(event, wall_clock_ms()),
            Ok(Happened::Check(report)) => self.handle_check(report, wall_clock_ms()).await,
            Ok(Happened::Link(change)) => self.handle_link(&change).await,
            Ok(Happened::Upkeep) => self.keep_up().await,
            Ok(Happened::Weigh) => self.weigh(wall_clock_ms()).await,
            Err(error) => {
                tracing::warn!(%error, "the host's links cannot be watched");
                sleep(WATCH_PAUSE).await;
            }
        }
    }

    /// Hands everything over, of all these clusters at once, then ends them.
    ///
    /// # Errors
    /// When the host could not be put back.
    pub(super) async fn leave(&mut self, names: &[String]) -> Result<(), SuperviseError> {
        let leaving: Vec<&Running> =
            names.iter().filter_map(|name| self.clusters.get(name)).collect();
        join_all(leaving.iter().map(|running| running.command(Command::Leave))).await;
        let longest = leaving.iter().map(|running| limit(running)).max().unwrap_or_default();
        let gone = join_all(leaving.iter().map(|running| running.gone()));
        let mut gone = std::pin::pin!(timeout(longest, gone));
        loop {
            tokio::select! {
                _ = &mut gone => break,
                happened = self.next_but_later() => self.take_in_beside(happened).await,
            }
        }
        let mut ended = Ok(());
        for name in names {
            let end = self.end_within(name, END_MARGIN).await;
            ended = ended.and(end);
        }
        ended
    }

    /// Waits until a leaving cluster is gone, and clears up behind it.
    ///
    /// # Errors
    /// As [`Self::end_within`].
    pub(super) async fn end(&mut self, name: &str) -> Result<(), SuperviseError> {
        let Some(running) = self.clusters.get(name) else { return Ok(()) };
        self.end_within(name, limit(running)).await
    }

    /// Ends a cluster that should be gone by then, and clears up behind it: the address first,
    /// because without the rules the kernel would take every frame that it is given.
    ///
    /// # Errors
    /// When its task broke off, or the host could not be put back: then its rules stay, and keep
    /// everything out.
    async fn end_within(&mut self, name: &str, limit: Duration) -> Result<(), SuperviseError> {
        let Some(running) = self.clusters.remove(name) else { return Ok(()) };
        let ended = running.finish(limit).await;
        self.install().await?;
        self.applier.remove(name).await;
        if !ended {
            return Err(SuperviseError::Broke { cluster: name.to_owned() });
        }
        tracing::info!(cluster = name, "the cluster was left");
        Ok(())
    }

    async fn clear_up(&mut self) -> Result<(), SuperviseError> {
        if self.applier.has_ended() {
            return Err(SuperviseError::ApplierBroke);
        }
        let ended = self.clusters.iter().filter(|(_, running)| running.has_ended());
        let ended: Vec<String> = ended.map(|(name, _)| name.clone()).collect();
        for name in ended {
            self.end(&name).await?;
        }
        Ok(())
    }

    /// Leaves all clusters at once and puts everything back, as far as it can be.
    ///
    /// # Errors
    /// The first thing that could not be put back.
    pub async fn shutdown(mut self) -> Result<(), SuperviseError> {
        let names: Vec<String> = self.clusters.keys().cloned().collect();
        let ended = self.leave(&names).await;
        let removed = self.installer.remove(&self.netlink).await?;
        for setting in removed.left_alone {
            tracing::warn!(setting, "somebody else changed this meanwhile; it stays as it is");
        }
        // Not where an address stayed: then the rules keep everything out.
        self.applier.shutdown().await;
        ended
    }
}
