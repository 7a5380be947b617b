//! What the daemon tells, in the form that the varlink interface gives it.

use core::net::IpAddr;
use std::collections::BTreeMap;

use nlb_engine::manage::{ClientView, Explanation, NodeView};
use nlb_protocol::NodeId;
use nlb_varlink as wire;

use crate::check::CheckView;
use crate::manage::event::{Event, state_name};
use crate::manage::lost::Lost;
use crate::manage::surroundings::{Stranger, Unused};
use crate::manage::view::{DaemonView, StatusView};
use crate::manage::words::{self, Names, milliseconds, text};

pub(super) fn wire_daemon(daemon: &DaemonView) -> wire::Daemon {
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

pub(super) fn wire_cluster(view: &StatusView) -> wire::Cluster {
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
        ordinary_priority: facts.ordinary_priority,
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

pub(super) fn wire_range(range: &words::Range, names: &Names) -> wire::BucketRange {
    wire::BucketRange {
        first: range.first,
        last: range.last,
        owner: range.owner.map(|node| name(node, names)),
        accepted_by: range.accepted_by.map(|node| name(node, names)),
    }
}

pub(super) fn wire_client(client: &ClientView, names: &Names) -> wire::Client {
    wire::Client {
        address: client.client.to_string(),
        bucket: words::number(client.bucket),
        node: name(client.node, names),
        pinned: client.pinned,
        seen_ms: client.seen.map(milliseconds),
    }
}

pub(super) fn wire_explanation(
    cluster: String,
    e: &Explanation,
    names: &Names,
) -> wire::Explanation {
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

pub(super) fn wire_event(event: &Event) -> wire::Event {
    wire::Event {
        sequence: event.sequence,
        time_ms: event.time_ms,
        cluster: event.cluster.to_string(),
        kind: event.kind.to_owned(),
        text: event.text.clone(),
        cause: event.cause.clone(),
    }
}
