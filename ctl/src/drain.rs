//! `nlbctl drain`: tells the node, and with `--wait` looks on until nobody is left. Whoever stops
//! looking on changes nothing.

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nlb_varlink::{ClientError, Cluster, Connection, Drain};
use serde_json::json;
use tokio::signal::ctrl_c;

use crate::failure::Failure;
use crate::render;
use crate::render::time::span;
use crate::run::{only, print, to_json};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Lines are not written more often than this.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// A daemon that restarts is back by then: a little more than the longest hold.
const RESTART: Duration = Duration::from_secs(70);
/// A daemon that answers later than this does not answer.
const ANSWER_TIME: Duration = Duration::from_secs(3);

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The cluster; the only one if none is named.
    pub(crate) cluster: Option<&'a str>,
    /// When the node shall leave at the latest, in seconds.
    pub(crate) timeout: Option<u32>,
    /// Also if no other node is active.
    pub(crate) force: bool,
    /// Look on until it is over.
    pub(crate) wait: bool,
    /// For programs.
    pub(crate) json: bool,
}

/// How looking on ended without that nobody was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// The time was over, and so many clients were left.
    TimeOver(u64),
    /// Somebody took it back, or ended the node.
    NotDraining,
    /// Whoever looked on was interrupted.
    Interrupted,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nobody is left; the node leaves, or goes on draining.
    Nobody { leaves: bool },
    /// Otherwise.
    Unfinished(Unfinished),
}

/// Drains, and perhaps looks on.
pub(crate) async fn drain(socket: &Path, wanted: Wanted<'_>) -> Result<(), Failure> {
    let mut daemon = Connection::connect(socket).await?;
    let timeout = wanted.timeout.map(i64::from);
    let changed = daemon.drain(wanted.cluster, timeout, wanted.force).await?;
    if !wanted.wait {
        let (done, same) = ("This node takes no new clients.", "This node was draining already.");
        let text = match wanted.json {
            true => to_json(&changed)?,
            false => render::changed(&changed, done, same),
        };
        return print(&text).map(drop);
    }
    // Where none is named there is only one; later there may be none.
    let status = only(daemon.status().await?, wanted.cluster)?;
    let Some(cluster) = status.clusters.into_iter().next() else { return Err(Failure::Ended) };
    let mut show = Show::new(&cluster.name, wanted.json);
    tokio::select! {
        end = watch(socket, &cluster.name, &mut show) => show.end(end?),
        _ = ctrl_c() => Err(Failure::Drain(Unfinished::Interrupted)),
    }
}

/// Looks until the drain is over.
#[expect(clippy::disallowed_methods, reason = "people wait in real time")]
async fn watch(socket: &Path, name: &str, show: &mut Show) -> Result<End, Failure> {
    let mut last: Option<Drain> = None;
    let mut looked = Instant::now();
    loop {
        match look(socket, name).await {
            Ok(cluster) => {
                let since = looked.elapsed();
                looked = Instant::now();
                if let Some(drain) = cluster.as_ref().and_then(|cluster| cluster.drain.clone()) {
                    show.progress(&drain)?;
                    if let Some(end) = judge(cluster.as_ref(), None, since) {
                        return Ok(end);
                    }
                    last = Some(drain);
                } else if let Some(end) = judge(cluster.as_ref(), last.as_ref(), since) {
                    return Ok(end);
                }
            }
            // A restart does not end a drain.
            Err(
                ClientError::NotRunning { .. }
                | ClientError::Silent { .. }
                | ClientError::Broken(_),
            ) if looked.elapsed() < RESTART => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The cluster, if the node still has it.
async fn look(socket: &Path, name: &str) -> Result<Option<Cluster>, ClientError> {
    let asked = async { Connection::connect(socket).await?.status().await };
    let late = |_| ClientError::Silent { waited: ANSWER_TIME };
    let status = tokio::time::timeout(ANSWER_TIME, asked).await.map_err(late)??;
    Ok(status.clusters.into_iter().find(|cluster| cluster.name == name))
}

/// Whether the drain is over, and how: by what is seen, or by what was seen last, so long ago.
fn judge(cluster: Option<&Cluster>, last: Option<&Drain>, since: Duration) -> Option<End> {
    let unfinished = |how| Some(End::Unfinished(how));
    let nobody = |leaves| Some(End::Nobody { leaves });
    let Some(cluster) = cluster else {
        // It has left since.
        let left = |drain: &Drain| drain.left_ms.map(Duration::from_millis);
        return match last {
            Some(drain) if drain.clients == 0 => nobody(true),
            Some(drain) if left(drain).is_some_and(|left| left <= since) => {
                unfinished(Unfinished::TimeOver(drain.clients))
            }
            _ => unfinished(Unfinished::NotDraining),
        };
    };
    let Some(drain) = &cluster.drain else { return unfinished(Unfinished::NotDraining) };
    match (cluster.state.as_str(), drain.clients) {
        ("leaving", 0) => nobody(true),
        ("leaving", clients) if drain.left_ms == Some(0) => {
            unfinished(Unfinished::TimeOver(clients))
        }
        ("leaving", _) => unfinished(Unfinished::NotDraining),
        // With a time given it leaves now.
        (_, 0) if drain.left_ms.is_none() && cluster.buckets_accepted == 0 => nobody(false),
        _ => None,
    }
}

/// How far a drain has come, in words.
pub(crate) fn words(drain: &Drain) -> String {
    let mut text = format!("{} of {} clients left", drain.clients, drain.clients_at_start);
    if let Some(left) = drain.left_ms {
        text.push_str(&format!(", {} at most", span(left)));
    }
    text
}

/// What is shown meanwhile: a bar on a terminal, else lines.
struct Show {
    cluster: String,
    json: bool,
    bar: Option<ProgressBar>,
    said: Option<(Instant, u64)>,
}

impl Show {
    fn new(cluster: &str, json: bool) -> Self {
        let bar = (!json && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // The template is checked by a test.
            bar.set_style(style().unwrap_or_else(ProgressStyle::default_bar));
            bar.with_prefix(cluster.to_owned())
        });
        Self { cluster: cluster.to_owned(), json, bar, said: None }
    }

    #[expect(clippy::disallowed_methods, reason = "people wait in real time")]
    fn progress(&mut self, drain: &Drain) -> Result<(), Failure> {
        if let Some(bar) = &self.bar {
            bar.set_length(drain.clients_at_start);
            bar.set_position(drain.clients_at_start.saturating_sub(drain.clients));
            bar.set_message(words(drain));
            return Ok(());
        }
        let due =
            |(at, clients): (Instant, u64)| clients != drain.clients && at.elapsed() >= SAY_EVERY;
        if self.said.is_none_or(due) {
            self.said = Some((Instant::now(), drain.clients));
            let text = match self.json {
                true => to_json(&json!({ "cluster": self.cluster, "drain": drain }))?,
                false => format!("{}: {}\n", self.cluster, words(drain)),
            };
            print(&text)?;
        }
        Ok(())
    }

    fn end(&self, end: End) -> Result<(), Failure> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let leaves = match end {
            End::Unfinished(how) => return Err(Failure::Drain(how)),
            End::Nobody { leaves } => leaves,
        };
        let what = if leaves { "it leaves" } else { "it goes on draining" };
        print(&match self.json {
            true => to_json(&json!({ "cluster": self.cluster, "done": true, "leaves": leaves }))?,
            false => format!("{}: nobody is left with this node; {what}.\n", self.cluster),
        })
        .map(drop)
    }
}

fn style() -> Option<ProgressStyle> {
    ProgressStyle::with_template("{prefix} [{wide_bar}] {msg}").ok()
}

#[cfg(test)]
mod tests;
