//! The D-Bus front end: translates between `nlb-dbus` and the [`Handle`]. It decides nothing.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

use futures_util::stream::{BoxStream, StreamExt as _, unfold};
use nlb_dbus::{self as wire, Answer, Call, Error, Moving, State};
use nlb_engine::manage::{ClientView, Explanation, NodeView, Outcome};
use nlb_protocol::{ClusterId, NodeId, Weight};
use tokio::sync::broadcast::error::RecvError;

use super::event::state_name;
use super::handle::{Caller, Handle};
use super::permit::Denied;
use super::request::{InterfaceChange, ManageError, Reply, Request};
use super::signals::Signals;
use super::surroundings::{Stranger, Unused};
use super::view::{DaemonView, StatusView};
use super::words::{self, milliseconds, text};
use crate::check::CheckView;
use crate::config::AddInterface;
use crate::weight::WeightSource;

/// What the bus is served from.
#[derive(Debug, Clone)]
pub struct DbusBackend(pub Handle);

impl wire::Backend for DbusBackend {
    async fn state(&self) -> Option<State> {
        let (daemon, clusters) = self.0.status().await?;
        let clusters = clusters.iter().map(wire_cluster).collect();
        Some(State { manager: wire_manager(&daemon), clusters })
    }

    async fn call(&self, caller: wire::Caller, call: Call) -> Result<Answer, Error> {
        let offset = match &call {
            Call::Clients { offset, .. } => *offset,
            _ => 0,
        };
        let request = request(call).map_err(error)?;
        let subject = Some(wire::Subject::BusName(caller.name));
        let caller = Caller { user: caller.user, subject, interactive: caller.interactive };
        let reply = self.0.ask(&caller, request).await.map_err(error)?;
        answer(reply, offset)
    }

    fn events(&self) -> BoxStream<'static, Vec<wire::Signal>> {
        let next = |(mut events, mut signals)| async move {
            let said = match tokio::sync::broadcast::Receiver::recv(&mut events).await {
                Ok(event) => Signals::of(&mut signals, &event),
                Err(RecvError::Lagged(_)) => Vec::new(),
                Err(RecvError::Closed) => return None,
            };
            Some((said, (events, signals)))
        };
        unfold((self.0.events(), Signals::default()), next).boxed()
    }
}

fn request(call: Call) -> Result<Request, ManageError> {
    Ok(match call {
        Call::Reload => Request::Reload,
        Call::AddInterface { interface, cluster, addresses, mode, id } => {
            let addresses = words::addresses(&addresses)?;
            let mode = mode.as_deref().map(words::mac_mode).transpose()?;
            let id = match id {
                Some(0) => return Err(words::invalid("id", 0, "1 to 65535")),
                id => id.map(ClusterId),
            };
            Request::AddInterface(AddInterface { interface, cluster, addresses, mode, id })
        }
        Call::RemoveInterface { interface, cluster } => {
            Request::RemoveInterface { interface, cluster }
        }
        Call::CheckConfig { file } => Request::CheckConfig { file: file.map(PathBuf::from) },
        Call::SetWeight { cluster, weight } => {
            let weight = Weight::new(weight)
                .ok_or_else(|| words::invalid("weight", weight, "1 to 65535"))?;
            Request::SetWeight { cluster: Some(cluster), weight }
        }
        Call::SetWeightMode { cluster, mode } => {
            let source = words::weight_source(&mode)?;
            Request::SetWeightSource { cluster: Some(cluster), source }
        }
        Call::Drain { cluster, timeout_s } => {
            let timeout = timeout_s.map(|seconds| Duration::from_secs(seconds.into()));
            Request::Drain { cluster: Some(cluster), timeout, force: false }
        }
        Call::Undrain { cluster } => Request::Undrain { cluster: Some(cluster) },
        Call::Leave { cluster } => Request::Leave { cluster: Some(cluster) },
        Call::Explain { cluster, address } => {
            Request::Explain { cluster: Some(cluster), client: words::address(&address)? }
        }
        Call::Clients { cluster, offset, limit } => {
            let limit = usize::try_from(offset.saturating_add(limit)).unwrap_or(usize::MAX);
            Request::Clients { cluster: Some(cluster), limit }
        }
        Call::Buckets { cluster } => Request::Buckets { cluster: Some(cluster) },
    })
}

fn error(error: ManageError) -> Error {
    match error {
        ManageError::UnknownCluster { .. } => Error::UnknownCluster(error.to_string()),
        ManageError::NotPermitted {
            denied: Denied::Password { interactive: false, .. }, ..
        } => Error::AskInteractively(error.to_string()),
        ManageError::NotPermitted { .. } => Error::NotPermitted(error.to_string()),
        ManageError::InvalidValue { field, found, allowed } => {
            Error::InvalidValue { field: field.to_owned(), found, allowed }
        }
        ManageError::Config(errors) => Error::InvalidConfig(errors.to_string()),
        ManageError::Refused { reason } => Error::Refused(reason),
        ManageError::TooMany => Error::Busy("for permission"),
        ManageError::NoAnswer => Error::NoAnswer,
    }
}

fn answer(reply: Reply, offset: u32) -> Result<Answer, Error> {
    Ok(match reply {
        Reply::Done(done) => Answer::Changed(wire::Changed {
            changed: done.outcome == Outcome::Changed,
            notes: done.notes,
        }),
        Reply::Interface(change) => Answer::Interface(wire_interface(change)),
        Reply::Checked(checked) => {
            Answer::Checked(checked.files.iter().map(|file| text(file)).collect(), checked.clusters)
        }
        Reply::Explanation(_, explanation, names) => {
            Answer::Explanation(wire_explanation(&explanation, &names))
        }
        Reply::Clients(_, total, clients, _) => {
            let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
            Answer::Clients(total as u64, clients.iter().skip(skipped).map(wire_client).collect())
        }
        Reply::Buckets(_, buckets, _) => {
            Answer::Buckets(words::ranges(&buckets).iter().map(wire_range).collect())
        }
        // Nothing that is called here is answered with it.
        Reply::Status(..) | Reply::Recording(_) => return Err(Error::NoAnswer),
    })
}

fn wire_manager(daemon: &DaemonView) -> wire::Manager {
    wire::Manager {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node_id: daemon.node.to_string(),
        node_name: daemon.name.clone(),
        config: text(&daemon.config),
        uptime_ms: Moving(milliseconds(daemon.uptime)),
    }
}

/// Durations of the configuration, which are far below the bound.
fn short(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Counts of buckets, of which there are 4096.
fn few(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn named(map: BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    map.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

fn wire_cluster(view: &StatusView) -> wire::Cluster {
    let StatusView { facts, snapshot } = view;
    let local = snapshot.nodes.iter().find(|node| node.local);
    // One that was set counts from then on, also before the engine shows it.
    let weight = match facts.weight {
        WeightSource::Manual(weight) => Some(weight),
        _ => local.map(|node| node.weight),
    };
    wire::Cluster {
        name: facts.name.clone(),
        id: snapshot.cluster.0,
        converged: snapshot.converged,
        epoch: snapshot.epoch.0,
        digest: snapshot.digest.to_string(),
        state: state_name(snapshot.state).to_owned(),
        cause: snapshot.cause.clone().unwrap_or_default(),
        local_node: snapshot.local_node.to_string(),
        addresses: facts.addresses.iter().map(IpAddr::to_string).collect(),
        interfaces: facts.interfaces.clone(),
        mode: format!("{:?}", facts.mode),
        mac: facts.mac.to_string(),
        ethertype: facts.ethertype,
        insecure: facts.insecure,
        ordinary_priority: facts.ordinary_priority,
        heartbeat_ms: short(facts.timing.heartbeat),
        dead_after_ms: short(facts.timing.dead_after),
        weight: weight.map(Weight::get).unwrap_or_default(),
        weight_mode: facts.weight.name().to_owned(),
        weight_problem: facts.weight_problem.clone().unwrap_or_default(),
        kernel_path: facts.kernel_path.name().to_owned(),
        uptime_ms: Moving(milliseconds(facts.uptime)),
        buckets_accepted: few(snapshot.buckets_accepted),
        clients: Moving(snapshot.clients as u64),
        pins: Moving(snapshot.pins as u64),
        held: Moving(snapshot.held as u64),
        drops: Moving(named(view.drops())),
        counters: Moving(named(view.counters())),
        nodes: snapshot.nodes.iter().map(wire_node).collect(),
        health: words::health_name(local.map(|node| node.health).unwrap_or_default()).to_owned(),
        checks: facts.checks.iter().map(wire_check).collect(),
        unused_interfaces: facts.unused.iter().map(wire_unused).collect(),
        strangers: facts.strangers.iter().map(wire_stranger).collect(),
        lost: facts.lost.iter().map(|lost| (lost.node.to_string(), lost.name.clone())).collect(),
    }
}

/// Name, trouble, and the interface that may be meant.
fn wire_unused(unused: &Unused) -> (String, String, String) {
    let trouble = unused.trouble.name().to_owned();
    (unused.interface.clone(), trouble, unused.meant.clone().unwrap_or_default())
}

/// Address, and what is wrong.
fn wire_stranger(stranger: &Stranger) -> (String, String) {
    (stranger.mac.to_string(), stranger.kind.name().to_owned())
}

fn wire_check(check: &CheckView) -> wire::HealthCheck {
    wire::HealthCheck {
        name: check.name.clone(),
        passes: check.passes,
        message: Moving(check.message.clone()),
        changed_ms: Moving(check.changed.map_or(u64::MAX, milliseconds)),
        runs: Moving(check.runs),
        failures: Moving(check.failures),
    }
}

fn wire_node(node: &NodeView) -> wire::Node {
    wire::Node {
        id: node.id.to_string(),
        name: node.name.clone(),
        state: state_name(node.state).to_owned(),
        weight: node.weight.get(),
        buckets: few(node.buckets),
        local: node.local,
        hears_us: node.hears_us,
        last_heard_ms: Moving(milliseconds(node.last_heard)),
        incarnation: node.incarnation.to_string(),
        software: node.software.clone(),
        pins: Moving(node.pins as u64),
        health: words::health_name(node.health).to_owned(),
        differs: node.differs.iter().map(words::difference).collect(),
    }
}

fn wire_interface(change: InterfaceChange) -> wire::InterfaceChange {
    wire::InterfaceChange {
        changed: change.outcome == Outcome::Changed,
        cluster: change.cluster,
        file: text(&change.file),
        key_file: change.key_file.as_deref().map(text).unwrap_or_default(),
        key_created: change.key_created,
        whole_cluster: change.whole_cluster,
    }
}

fn id(node: Option<NodeId>) -> String {
    node.map(|node| node.to_string()).unwrap_or_default()
}

fn wire_client(client: &ClientView) -> wire::Client {
    wire::Client {
        address: client.client.to_string(),
        bucket: words::number(client.bucket),
        node: client.node.to_string(),
        pinned: client.pinned,
        seen_ms: client.seen.map_or(u64::MAX, milliseconds),
    }
}

fn wire_range(range: &words::Range) -> wire::BucketRange {
    wire::BucketRange {
        first: range.first,
        last: range.last,
        owner: id(range.owner),
        accepted_by: id(range.accepted_by),
    }
}

fn wire_explanation(e: &Explanation, names: &words::Names) -> wire::Explanation {
    wire::Explanation {
        address: e.client.to_string(),
        bucket: words::number(e.bucket),
        owner: id(e.owner),
        accepted_by: id(e.accepted_by),
        pinned_to: id(e.pinned_to),
        sticky_here_ms: e.sticky_here.map(milliseconds),
        node: id(e.node),
        successor: id(e.successor()),
        because: words::because(e, names),
    }
}
