//! The varlink front end: translates between `nlb-varlink` and the [`Handle`]. It decides nothing.

use core::time::Duration;
use std::path::PathBuf;

use futures_util::stream::{self, BoxStream, StreamExt as _, unfold};
use nlb_dbus::Subject;
use nlb_engine::manage::Outcome;
use nlb_protocol::{ClusterId, Weight};
use nlb_varlink::{self as wire, Answer, Error, Method};
use tokio::sync::broadcast::error::RecvError;

use super::event::Event;
use super::handle::{Caller, Handle};
use super::record::MAX_TIME;
use super::request::{ManageError, Reply, Request};
use super::words::{self, text};
use crate::config::AddInterface;

mod form;

use form::{wire_client, wire_cluster, wire_daemon, wire_event, wire_explanation, wire_range};

/// Clients that are listed unless more or fewer are asked for, and at most.
const CLIENTS: usize = 100;
const MAX_CLIENTS: i64 = 10_000;
/// The longest drain: a week.
const MAX_DRAIN_S: i64 = 604_800;
/// How long is recorded unless more or less is asked for.
const RECORD_S: i64 = 30;
/// The longest hold that heartbeats can carry (SPEC 3.1).
const MAX_HOLD_S: u64 = 65;

/// What the varlink server serves from.
#[derive(Debug, Clone)]
pub struct VarlinkBackend(pub Handle);

impl wire::Backend for VarlinkBackend {
    async fn call(&self, caller: wire::Caller, method: Method) -> Result<Answer, Error> {
        // The past is at hand; the daemon's task need not be asked for it.
        if let Method::Events { after } = method {
            let events = self.0.history(past(after)?);
            return Ok(Answer::Events(wire::Events {
                events: events.iter().map(wire_event).collect(),
            }));
        }
        let request = request(method)?;
        let reply = self.0.ask(&subject(caller), request).await.map_err(error)?;
        Ok(answer(reply))
    }

    fn monitor(&self, after: Option<i64>) -> Result<BoxStream<'static, wire::Event>, Error> {
        let (past, coming) = self.0.follow(after.map(|after| past(Some(after))).transpose()?);
        let next = |mut events: tokio::sync::broadcast::Receiver<Event>| async move {
            loop {
                match events.recv().await {
                    Ok(event) => return Some((wire_event(&event), events)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        };
        let past = stream::iter(past).map(|event| wire_event(&event));
        Ok(past.chain(unfold(coming, next)).boxed())
    }

    async fn record(
        &self,
        caller: wire::Caller,
        wanted: wire::Record,
    ) -> Result<BoxStream<'static, Vec<String>>, Error> {
        let seconds = wanted.seconds.unwrap_or(RECORD_S);
        let most = MAX_TIME.as_secs();
        let time = u64::try_from(seconds).ok().filter(|seconds| (1..=most).contains(seconds));
        let time = time.ok_or_else(|| invalid("seconds", seconds, &format!("1 to {most}")))?;
        let from_start = wanted.from_start.unwrap_or(false);
        let time = Duration::from_secs(time);
        let lines = self.0.record(&subject(caller), wanted.cluster, time, from_start).await;
        lines.map_err(error)
    }

    fn is_privileged(&self, caller: wire::Caller) -> bool {
        self.0.is_privileged(caller.user)
    }
}

/// Whoever runs `nlbctl` is there to give a password, if polkit wants one.
fn subject(caller: wire::Caller) -> Caller {
    let process = caller.process.and_then(|process| u32::try_from(process).ok());
    let user = caller.user;
    let subject = process.map(|process| Subject::Process { process, user });
    Caller { user, subject, interactive: true }
}

/// The number that events are wanted after; all that are kept, if none is named.
fn past(after: Option<i64>) -> Result<u64, Error> {
    let after = after.unwrap_or(0);
    u64::try_from(after).map_err(|_| invalid("after", after, "0 or more"))
}

fn invalid(field: &'static str, found: impl ToString, allowed: &str) -> Error {
    error(words::invalid(field, found, allowed))
}

fn request(method: Method) -> Result<Request, Error> {
    Ok(match method {
        // Events and recordings have answers of their own.
        Method::Status | Method::Events { .. } | Method::Monitor { .. } | Method::Record(_) => {
            Request::Status
        }
        Method::Buckets { cluster } => Request::Buckets { cluster },
        Method::Clients { cluster, limit } => {
            let limit = match limit {
                None => CLIENTS,
                Some(limit) => usize::try_from(limit)
                    .ok()
                    .filter(|_| (1..=MAX_CLIENTS).contains(&limit))
                    .ok_or_else(|| invalid("limit", limit, &format!("1 to {MAX_CLIENTS}")))?,
            };
            Request::Clients { cluster, limit }
        }
        Method::Explain { cluster, address: text } => {
            Request::Explain { cluster, client: words::address(&text).map_err(error)? }
        }
        Method::SetWeight { cluster, weight } => {
            let weight = u16::try_from(weight)
                .ok()
                .and_then(Weight::new)
                .ok_or_else(|| invalid("weight", weight, "1 to 65535"))?;
            Request::SetWeight { cluster, weight }
        }
        Method::SetWeightMode { cluster, mode } => {
            let source = words::weight_source(&mode).map_err(error)?;
            Request::SetWeightSource { cluster, source }
        }
        Method::AddInterface { interface, cluster, addresses, mode, id } => {
            let addresses = words::addresses(&addresses).map_err(error)?;
            let mode = mode.as_deref().map(words::mac_mode).transpose().map_err(error)?;
            let id = id.map(|id| match u16::try_from(id) {
                Ok(id @ 1..) => Ok(ClusterId(id)),
                _ => Err(invalid("id", id, "1 to 65535")),
            });
            let id = id.transpose()?;
            Request::AddInterface(AddInterface { interface, cluster, addresses, mode, id })
        }
        Method::RemoveInterface { interface, cluster } => {
            Request::RemoveInterface { interface, cluster }
        }
        Method::Leave { cluster } => Request::Leave { cluster },
        Method::Drain { cluster, timeout_s, force } => {
            let timeout = timeout_s.map(|timeout| match u64::try_from(timeout) {
                Ok(seconds) if timeout <= MAX_DRAIN_S => Ok(Duration::from_secs(seconds)),
                _ => Err(invalid("timeout_s", timeout, &format!("0 to {MAX_DRAIN_S}"))),
            });
            let force = force.unwrap_or(false);
            Request::Drain { cluster, timeout: timeout.transpose()?, force }
        }
        Method::RestartHold { hold_s } => {
            let seconds = u64::try_from(hold_s).ok().filter(|s| (1..=MAX_HOLD_S).contains(s));
            let allowed = format!("1 to {MAX_HOLD_S}");
            let seconds = seconds.ok_or_else(|| invalid("hold_s", hold_s, &allowed))?;
            Request::RestartHold { hold: Duration::from_secs(seconds) }
        }
        Method::Undrain { cluster } => Request::Undrain { cluster },
        Method::Reload => Request::Reload,
        Method::CheckConfig { file } => Request::CheckConfig { file: file.map(PathBuf::from) },
    })
}

fn error(error: ManageError) -> Error {
    match error {
        ManageError::UnknownCluster { name, known } => {
            Error::UnknownCluster { cluster: name, known }
        }
        ManageError::NotPermitted { action, denied, .. } => {
            Error::NotPermitted { action: action.to_owned(), message: denied.to_string() }
        }
        ManageError::InvalidValue { field, found, allowed } => {
            Error::InvalidValue { field: field.to_owned(), found, allowed }
        }
        ManageError::Config(errors) => {
            Error::InvalidConfig { errors: errors.to_string().lines().map(str::to_owned).collect() }
        }
        ManageError::Refused { reason } => Error::Refused { reason },
        ManageError::NoAnswer | ManageError::TooMany => {
            Error::Refused { reason: error.to_string() }
        }
    }
}

fn answer(reply: Reply) -> Answer {
    match reply {
        Reply::Status(daemon, clusters) => Answer::Status(wire::Status {
            daemon: wire_daemon(&daemon),
            clusters: clusters.iter().map(wire_cluster).collect(),
        }),
        Reply::Buckets(cluster, buckets, names) => {
            let ranges = words::ranges(&buckets);
            let ranges = ranges.iter().map(|range| wire_range(range, &names)).collect();
            Answer::Buckets(wire::Buckets { cluster, ranges })
        }
        Reply::Clients(cluster, total, clients, names) => Answer::Clients(wire::Clients {
            cluster,
            total: total as u64,
            clients: clients.iter().map(|client| wire_client(client, &names)).collect(),
        }),
        Reply::Explanation(cluster, explanation, names) => {
            Answer::Explanation(wire_explanation(cluster, &explanation, &names))
        }
        Reply::Done(done) => Answer::Changed(wire::Changed {
            changed: done.outcome == Outcome::Changed,
            notes: done.notes,
        }),
        Reply::Interface(change) => Answer::InterfaceChange(wire::InterfaceChange {
            changed: change.outcome == Outcome::Changed,
            cluster: change.cluster,
            file: text(&change.file),
            key_file: change.key_file.as_deref().map(text),
            key_created: change.key_created,
            whole_cluster: change.whole_cluster,
            notes: change.notes,
        }),
        Reply::Checked(checked) => Answer::Checked(wire::Checked {
            files: checked.files.iter().map(|file| text(file)).collect(),
            clusters: checked.clusters,
            warnings: checked.warnings,
        }),
        // It is begun elsewhere, where its lines are given out.
        Reply::Recording(_) => Answer::Changed(wire::Changed::default()),
    }
}
