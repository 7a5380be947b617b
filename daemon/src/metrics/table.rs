//! Every metric: what it is called, what it means, and where its value comes from. The names
//! follow Prometheus: base units, `_total` (which the encoder adds) on what only rises.

use core::fmt::Write as _;

use nlb_protocol::frame::{Health, State};
use nlb_protocol::table::{Table, View};

use super::process::Process;
use crate::check::CheckView;
use crate::kernel::{Counted, Fate};
use crate::manage::{
    Convergence, DaemonView, StatusView, StrangerKind, Trouble, health_name, state_name,
};

/// Values with their labels' values, in the order of the metric's labels.
pub(super) type Samples = Vec<(Vec<String>, f64)>;

/// Where a value comes from.
pub(super) enum Reader<S> {
    /// Something that only rises.
    Counter(fn(&S) -> f64),
    /// The same with labels.
    Counters(&'static [&'static str], fn(&S) -> Samples),
    /// Something that rises and falls.
    Gauge(fn(&S) -> f64),
    /// The same with labels.
    Gauges(&'static [&'static str], fn(&S) -> Samples),
    /// Times, sorted into buckets.
    Histogram(fn(&S) -> &Convergence),
}

/// A metric.
pub(super) struct Metric<S> {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) reader: Reader<S>,
}

/// A cluster, and what is read beside its status.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) view: StatusView,
    /// Packets that wait in the kernel's queue.
    pub(super) queued: u32,
}

/// The daemon.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) view: DaemonView,
    pub(super) process: Process,
}

use Reader::{Counter, Counters, Gauge, Gauges, Histogram};

const fn metric<S>(name: &'static str, help: &'static str, reader: Reader<S>) -> Metric<S> {
    Metric { name, help, reader }
}

/// Of the daemon as a whole.
pub(super) const DAEMON: &[Metric<Daemon>] = &[
    metric(
        "nlbd_build_info",
        "1, with the version of the daemon, and this node's id and name.",
        Gauges(&["version", "node_id", "node"], |daemon| {
            let version = env!("CARGO_PKG_VERSION").to_owned();
            vec![(vec![version, daemon.view.node.to_string(), daemon.view.name.clone()], 1.0)]
        }),
    ),
    metric(
        "nlbd_uptime_seconds",
        "How long the daemon has run.",
        Gauge(|daemon| daemon.view.uptime.as_secs_f64()),
    ),
    metric(
        "process_cpu_seconds",
        "Processor time of the daemon, user and system.",
        Counter(|daemon| daemon.process.cpu_seconds),
    ),
    metric(
        "process_resident_memory_bytes",
        "Resident memory of the daemon.",
        Gauge(|daemon| daemon.process.resident_bytes),
    ),
    metric(
        "process_open_fds",
        "Open descriptors of the daemon.",
        Gauge(|daemon| daemon.process.open_fds),
    ),
];

/// Of each cluster; every sample also has the label `cluster`.
pub(super) const CLUSTER: &[Metric<Cluster>] = &[
    metric(
        "nlbd_converged",
        "Whether all nodes agree and the buckets lie where the table says.",
        Gauge(|cluster| truth(cluster.view.snapshot.converged)),
    ),
    metric(
        "nlbd_view_epoch",
        "The epoch of the view; it rises with every change of the cluster.",
        Gauge(|cluster| cluster.view.snapshot.epoch.0 as f64),
    ),
    metric(
        "nlbd_convergence_seconds",
        "From a change of the view until all nodes agreed on it.",
        Histogram(|cluster| &cluster.view.facts.observed.convergence),
    ),
    metric(
        "nlbd_node_state",
        "1 for the state that this node is in, 0 for the others.",
        Gauges(&["state"], |cluster| {
            let state = cluster.view.snapshot.state;
            let one = |is: &State| (vec![state_name(*is).to_owned()], truth(*is == state));
            STATES.iter().map(one).collect()
        }),
    ),
    metric(
        "nlbd_peers",
        "Other nodes that this node hears, by the state they say they are in.",
        Gauges(&["state"], |cluster| {
            let peers = || cluster.view.snapshot.nodes.iter().filter(|node| !node.local);
            let count = |state| peers().filter(|peer| peer.state == state).count() as f64;
            STATES.iter().map(|is| (vec![state_name(*is).to_owned()], count(*is))).collect()
        }),
    ),
    metric(
        "nlbd_peers_deaf",
        "Other nodes that this node hears and that do not hear it.",
        Gauge(|cluster| {
            let peers = cluster.view.snapshot.nodes.iter().filter(|node| !node.local);
            peers.filter(|peer| !peer.hears_us).count() as f64
        }),
    ),
    metric(
        "nlbd_peers_differing",
        "Other nodes that are configured otherwise than this one, where all must be alike: \
         timers, mode, addresses, ports, keys.",
        Gauge(|cluster| {
            let peers = cluster.view.snapshot.nodes.iter();
            peers.filter(|peer| !peer.differs.is_empty()).count() as f64
        }),
    ),
    metric(
        "nlbd_interfaces_unused",
        "Interfaces of the cluster that are not in use, by what is wrong with them.",
        Gauges(&["trouble"], |cluster| {
            let unused = &cluster.view.facts.unused;
            let count = |is| unused.iter().filter(|one| one.trouble == is).count() as f64;
            Trouble::ALL.map(|is| (vec![is.name().to_owned()], count(is))).into()
        }),
    ),
    metric(
        "nlbd_strangers",
        "Ethernet addresses, which nothing proves, that frames of this cluster came from within a \
         minute that this node cannot take: under another key, or of another version. 4 at most.",
        Gauges(&["kind"], |cluster| {
            let strangers = &cluster.view.facts.strangers;
            let count = |is| strangers.iter().filter(|one| one.kind == is).count() as f64;
            let all = [StrangerKind::OtherKey, StrangerKind::OtherVersion];
            all.map(|is| (vec![is.name().to_owned()], count(is))).into()
        }),
    ),
    metric(
        "nlbd_buckets_accepted",
        "Buckets, of 4096, whose new clients this node takes now.",
        Gauge(|cluster| cluster.view.snapshot.buckets_accepted as f64),
    ),
    metric(
        "nlbd_buckets_owned",
        "Buckets that the table of the active nodes gives this node.",
        Gauge(|cluster| owned(&cluster.view) as f64),
    ),
    metric(
        "nlbd_clients",
        "Clients that this node keeps.",
        Gauge(|cluster| cluster.view.snapshot.clients as f64),
    ),
    metric(
        "nlbd_pins",
        "Clients that this node keeps although their bucket is another node's.",
        Gauge(|cluster| cluster.view.snapshot.pins as f64),
    ),
    metric(
        "nlbd_weight",
        "The weight of this node; the share is proportional to 1/weight.",
        Gauge(|cluster| local(cluster).map_or(0.0, |node| f64::from(node.weight.get()))),
    ),
    metric(
        "nlbd_load_ratio",
        "How loaded this node is, 1 for fully; 0 where nothing is measured.",
        Gauge(|cluster| local(cluster).map_or(0.0, |node| f64::from(node.load.permille) / 1e3)),
    ),
    metric(
        "nlbd_service_health",
        "1 for what the checks say of the service here, 0 for the others.",
        Gauges(&["health"], |cluster| {
            let health = local(cluster).map(|node| node.health).unwrap_or_default();
            let all = [Health::Well, Health::Ill, Health::Unknown];
            all.map(|is| (vec![health_name(is).to_owned()], truth(is == health))).into()
        }),
    ),
    metric(
        "nlbd_check_passes",
        "Whether a health check passes. A check is there once its first run has ended.",
        Gauges(&["check"], |cluster| checks(cluster, |check| Some(truth(check.passes?)))),
    ),
    metric(
        "nlbd_check_unchanged_seconds",
        "For how long a health check has passed, or failed.",
        Gauges(&["check"], |cluster| checks(cluster, |check| Some(check.changed?.as_secs_f64()))),
    ),
    metric(
        "nlbd_check_runs",
        "Runs of a health check.",
        Counters(&["check"], |cluster| checks(cluster, |check| Some(check.runs as f64))),
    ),
    metric(
        "nlbd_check_failures",
        "Of these, runs that failed.",
        Counters(&["check"], |cluster| checks(cluster, |check| Some(check.failures as f64))),
    ),
    metric(
        "nlbd_heartbeats_sent",
        "Heartbeats that left.",
        Counter(|cluster| counter(cluster, "heartbeats_sent")),
    ),
    metric(
        "nlbd_heartbeats_received",
        "Heartbeats of other nodes that were taken.",
        Counter(|cluster| counter(cluster, "heartbeats_received")),
    ),
    metric(
        "nlbd_frames_sent",
        "Frames of the protocol that left, heartbeats included.",
        Counter(|cluster| counter(cluster, "frames_sent")),
    ),
    metric(
        "nlbd_lost_nodes",
        "Nodes that went without a word and were not heard again; for a day.",
        Gauge(|cluster| cluster.view.facts.lost.len() as f64),
    ),
    metric(
        "nlbd_kernel_packets",
        "Packets for the cluster MAC by what the kernel did with them. Taken: known (of clients \
         that it knows), admitted (by the daemon). Dropped: foreign and pinned (another node takes \
         them), not_service, too_many_errors (ICMP errors beyond 1,000 a second), unasked (no way to \
         the daemon), no_lease (this node is fenced).",
        Counters(&["fate"], |cluster| fates(cluster, |counted| counted.packets)),
    ),
    metric(
        "nlbd_kernel_bytes",
        "The bytes of these packets.",
        Counters(&["fate"], |cluster| fates(cluster, |counted| counted.bytes)),
    ),
    metric(
        "nlbd_packets_admitted",
        "Packets of clients that the kernel did not know and that were \
         let in.",
        Counter(|cluster| counter(cluster, "admitted")),
    ),
    metric(
        "nlbd_packets_delayed",
        "Packets that had to wait for a hand-over.",
        Counter(|cluster| counter(cluster, "held")),
    ),
    metric(
        "nlbd_packets_delayed_admitted",
        "Of these, packets that were let in then.",
        Counter(|cluster| counter(cluster, "held_admitted")),
    ),
    metric(
        "nlbd_held_packets",
        "Packets that wait for a hand-over now.",
        Gauge(|cluster| cluster.view.snapshot.held as f64),
    ),
    metric(
        "nlbd_queue_packets",
        "Packets that wait in the kernel's queue for a verdict now.",
        Gauge(|cluster| f64::from(cluster.queued)),
    ),
    metric(
        "nlbd_queue_overflows",
        "Packets that the kernel dropped because the queue was full, \
         or its socket.",
        Counters(&["cause"], |cluster| {
            let drops = cluster.view.drops();
            let count = |name: &str| drops.get(name).copied().unwrap_or(0) as f64;
            vec![
                (vec!["full".to_owned()], count("queue_full")),
                (vec!["unread".to_owned()], count("queue_unread")),
            ]
        }),
    ),
    metric(
        "nlbd_drops",
        "Frames and packets that the daemon did not take, by reason. Packets of \
         other nodes' clients are among them: that is no fault.",
        Counters(&["reason"], |cluster| {
            let drops = cluster.view.drops();
            drops.iter().map(|(name, count)| (vec![(*name).to_owned()], *count as f64)).collect()
        }),
    ),
    metric(
        "nlbd_fences",
        "How often this node gave up its rights, by cause.",
        Counters(&["cause"], |cluster| {
            let fences = &cluster.view.facts.observed.fences;
            fences.iter().map(|(name, count)| (vec![(*name).to_owned()], *count as f64)).collect()
        }),
    ),
    metric(
        "nlbd_overlaps",
        "How often another node was seen to accept a bucket that this one \
         accepted too: a partition healed, or the promise was broken.",
        Counter(|cluster| counter(cluster, "overlaps")),
    ),
];

const STATES: [State; 6] = [
    State::Joining,
    State::Active,
    State::Draining,
    State::Fenced,
    State::Leaving,
    State::Restarting,
];

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn counter(cluster: &Cluster, name: &str) -> f64 {
    cluster.view.counters().get(name).copied().unwrap_or(0) as f64
}

/// A value of each check that has one; their names are unique.
fn checks(cluster: &Cluster, value: fn(&CheckView) -> Option<f64>) -> Samples {
    let checks = cluster.view.facts.checks.iter();
    checks.filter_map(|check| Some((vec![check.name.clone()], value(check)?))).collect()
}

/// What was counted of each fate.
fn fates(cluster: &Cluster, value: fn(&Counted) -> u64) -> Samples {
    let counted = |fate| cluster.view.facts.kernel.get(&fate).copied().unwrap_or_default();
    let one = |fate: Fate| (vec![fate.name().to_owned()], value(&counted(fate)) as f64);
    Fate::ALL.map(one).into()
}

fn local(cluster: &Cluster) -> Option<&nlb_engine::manage::NodeView> {
    cluster.view.snapshot.nodes.iter().find(|node| node.local)
}

/// How many buckets the table of the active nodes gives this node.
fn owned(view: &StatusView) -> usize {
    let nodes = &view.snapshot.nodes;
    let active = nodes.iter().filter(|node| node.state == State::Active);
    let table = Table::build(&View::new(active.map(|node| (node.id, node.weight))));
    let own = view.snapshot.local_node;
    nlb_protocol::Bucket::all().filter(|bucket| table.owner(*bucket) == Some(own)).count()
}

/// The table of all metrics, as `docs/metrics.md` has it.
#[must_use]
pub fn documentation() -> String {
    let mut text = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    rows(&mut text, DAEMON, &[]);
    rows(&mut text, CLUSTER, &["cluster"]);
    text
}

fn rows<S>(text: &mut String, metrics: &[Metric<S>], always: &[&str]) {
    for Metric { name, help, reader } in metrics {
        let (kind, suffix, own): (_, _, &[&str]) = match reader {
            Counter(_) => ("counter", "_total", &[]),
            Counters(labels, _) => ("counter", "_total", labels),
            Gauge(_) => ("gauge", "", &[]),
            Gauges(labels, _) => ("gauge", "", labels),
            Histogram(_) => ("histogram", "", &[]),
        };
        let labels: Vec<String> =
            always.iter().chain(own).map(|name| format!("`{name}`")).collect();
        let labels = labels.join(", ");
        let _ = writeln!(text, "| `{name}{suffix}` | {kind} | {labels} | {help} |");
    }
}
