//! The varlink front end: translates between `nlb-varlink` and the [`Handle`]. It decides nothing.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

use futures_util::stream::{self, BoxStream, StreamExt as _, unfold};
use nlb_dbus::Subject;
use nlb_engine::manage::{ClientView, Explanation, NodeView, Outcome};
use nlb_protocol::{ClusterId, NodeId, Weight};
use nlb_varlink::{self as wire, Answer, Error, Method};
use tokio::sync::broadcast::error::RecvError;

use super::event::{Event, state_name};
use super::handle::{Caller, Handle};
use super::lost::Lost;
use super::record::MAX_TIME;
use super::request::{ManageError, Reply, Request};
use super::surroundings::{Stranger, Unused};
use super::view::{DaemonView, StatusView};
use super::words::{self, Names, milliseconds, text};
use crate::check::CheckView;
use crate::config::AddInterface;

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

fn wire_daemon(daemon: &DaemonView) -> wire::Daemon {
    wire::Daemon {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_ms: milliseconds(daemon.uptime),
        node_id: daemon.node.to_string(),
        node_name: daemon.name.clone(),
        config: text(&daemon.config),
    }
}

fn named(map: BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    map.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

fn wire_cluster(view: &StatusView) -> wire::Cluster {
    let StatusView { facts, snapshot } = view;
    wire::Cluster {
        name: facts.name.clone(),
        id: snapshot.cluster.0,
        converged: snapshot.converged,
        epoch: snapshot.epoch.0,
        digest: snapshot.digest.to_string(),
        state: state_name(snapshot.state).to_owned(),
        cause: snapshot.cause.clone(),
        local_node: snapshot.local_node.to_string(),
        addresses: facts.addresses.iter().map(IpAddr::to_string).collect(),
        interfaces: facts.interfaces.clone(),
        mode: format!("{:?}", facts.mode),
        mac: facts.mac.to_string(),
        ethertype: facts.ethertype,
        insecure: facts.insecure,
        heartbeat_ms: milliseconds(facts.timing.heartbeat),
        dead_after_ms: milliseconds(facts.timing.dead_after),
        weight_mode: facts.weight.name().to_owned(),
        weight_problem: facts.weight_problem.clone(),
        kernel_path: facts.kernel_path.name().to_owned(),
        uptime_ms: milliseconds(facts.uptime),
        buckets_accepted: snapshot.buckets_accepted as u64,
        clients: snapshot.clients as u64,
        pins: snapshot.pins as u64,
        held: snapshot.held as u64,
        drain: snapshot.drain.map(|drain| wire::Drain {
            clients: drain.clients as u64,
            clients_at_start: drain.clients_at_start as u64,
            left_ms: drain.time_left.map(milliseconds),
        }),
        nodes: snapshot.nodes.iter().map(wire_node).collect(),
        lost: facts.lost.iter().map(wire_lost).collect(),
        unused_interfaces: facts.unused.iter().map(wire_unused).collect(),
        strangers: facts.strangers.iter().map(wire_stranger).collect(),
        checks: facts.checks.iter().map(wire_check).collect(),
        drops: named(view.drops()),
        counters: named(view.counters()),
    }
}

fn wire_lost(lost: &Lost) -> wire::Lost {
    wire::Lost {
        id: lost.node.to_string(),
        name: lost.name.clone(),
        state: state_name(lost.state).to_owned(),
        silent_ms: milliseconds(lost.silent),
    }
}

fn wire_unused(unused: &Unused) -> wire::UnusedInterface {
    wire::UnusedInterface {
        interface: unused.interface.clone(),
        trouble: unused.trouble.name().to_owned(),
        text: unused.to_string(),
        since_ms: milliseconds(unused.since),
        meant: unused.meant.clone(),
    }
}

fn wire_stranger(stranger: &Stranger) -> wire::Stranger {
    wire::Stranger {
        mac: stranger.mac.to_string(),
        kind: stranger.kind.name().to_owned(),
        text: stranger.kind.words().to_owned(),
        since_ms: milliseconds(stranger.since),
        last_ms: milliseconds(stranger.last),
        frames: stranger.frames,
    }
}

fn wire_check(check: &CheckView) -> wire::Check {
    wire::Check {
        name: check.name.clone(),
        passes: check.passes,
        changed_ms: check.changed.map(milliseconds),
        message: check.message.clone(),
        runs: check.runs,
        failures: check.failures,
    }
}

fn wire_node(node: &NodeView) -> wire::Node {
    wire::Node {
        id: node.id.to_string(),
        name: node.name.clone(),
        state: state_name(node.state).to_owned(),
        weight: node.weight.get(),
        buckets: node.buckets as u64,
        local: node.local,
        last_heard_ms: milliseconds(node.last_heard),
        incarnation: node.incarnation.to_string(),
        software: node.software.clone(),
        pins: node.pins as u64,
        hears_us: node.hears_us,
        health: words::health_name(node.health).to_owned(),
        differs: node.differs.iter().map(words::difference).collect(),
    }
}

fn name(node: NodeId, names: &Names) -> wire::NodeName {
    wire::NodeName { id: node.to_string(), name: words::name(node, names) }
}

fn wire_range(range: &words::Range, names: &Names) -> wire::BucketRange {
    wire::BucketRange {
        first: range.first,
        last: range.last,
        owner: range.owner.map(|node| name(node, names)),
        accepted_by: range.accepted_by.map(|node| name(node, names)),
    }
}

fn wire_client(client: &ClientView, names: &Names) -> wire::Client {
    wire::Client {
        address: client.client.to_string(),
        bucket: words::number(client.bucket),
        node: name(client.node, names),
        pinned: client.pinned,
        seen_ms: client.seen.map(milliseconds),
    }
}

fn wire_explanation(cluster: String, e: &Explanation, names: &Names) -> wire::Explanation {
    let named = |node: Option<NodeId>| node.map(|node| name(node, names));
    wire::Explanation {
        cluster,
        address: e.client.to_string(),
        hash: format!("{:08x}", e.hash),
        bucket: words::number(e.bucket),
        owner: named(e.owner),
        accepted_by: named(e.accepted_by),
        pinned_to: named(e.pinned_to),
        sticky_here_ms: e.sticky_here.map(milliseconds),
        node: named(e.node),
        successor: named(e.successor()),
        because: words::because(e, names),
    }
}

fn wire_event(event: &Event) -> wire::Event {
    wire::Event {
        sequence: event.sequence,
        time_ms: event.time_ms,
        cluster: event.cluster.to_string(),
        kind: event.kind.to_owned(),
        text: event.text.clone(),
        cause: event.cause.clone(),
    }
}
