//! Whether all is well, in words, and why not.

use nlb_varlink::{Check, Cluster, Node, Status, Stranger, UnusedInterface};

use super::{Paint, count, table, time};

/// How many buckets there are to be served.
const BUCKETS: u64 = 4096;

/// What to say where there is nothing to tell of. A cluster that was left by hand is still in the
/// configuration, but the daemon does not tell of it.
pub(crate) const NO_CLUSTER: &str = "\
No cluster runs on this server.
One that was left comes back with: nlbctl reload
Start or join one: nlbctl addif INTERFACE --address ADDRESS
";

/// Whether every cluster is well.
#[must_use]
pub fn is_well(status: &Status) -> bool {
    status.clusters.iter().all(|cluster| problems(cluster).is_empty())
}

/// The status of every cluster.
#[must_use]
pub fn status(status: &Status, paint: Paint) -> String {
    if status.clusters.is_empty() {
        return NO_CLUSTER.to_owned();
    }
    let cluster = |cluster| self::cluster(cluster, paint);
    status.clusters.iter().map(cluster).collect::<Vec<_>>().join("\n")
}

fn cluster(cluster: &Cluster, paint: Paint) -> String {
    let problems = problems(cluster);
    let mut text = if problems.is_empty() {
        let active = cluster.nodes.iter().filter(|node| node.state == "active").count() as u64;
        let who = match active {
            1 => "one node serves alone; nobody takes over if it fails".to_owned(),
            _ => format!("{active} nodes share the clients"),
        };
        format!("{}: {}: {who}.\n", cluster.name, paint.good("all is well"))
    } else {
        let mut text = format!("{}: {}.\n", cluster.name, paint.bad("NOT all is well"));
        problems
            .iter()
            .for_each(|problem| text.push_str(&format!("  {} {problem}\n", paint.bad("!"))));
        text
    };
    for remark in remarks(cluster) {
        text.push_str(&format!("  {} {remark}\n", paint.warn("-")));
    }
    text.push('\n');
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<12}{value}\n"));
    line("addresses", cluster.addresses.join(", "));
    let interfaces = cluster.interfaces.join(", ");
    line("interfaces", format!("{interfaces}; cluster MAC {} ({})", cluster.mac, cluster.mode));
    line("this node", this_node(cluster));
    line("clients", clients(cluster));
    if let Some(packets) = packets(cluster) {
        line("packets", packets);
    }
    for check in &cluster.checks {
        line("check", self::check(check));
    }
    text.push('\n');
    let row = |node: &Node| {
        vec![
            format!("{}{}", name(node), if node.local { " *" } else { "" }),
            node.state.clone(),
            node.weight.to_string(),
            node.buckets.to_string(),
            share(node.buckets),
            heard(node),
        ]
    };
    let rows = cluster.nodes.iter().map(row).collect();
    let header = ["NODE", "STATE", "WEIGHT", "BUCKETS", "SHARE", "HEARD"];
    text.push_str(&table(&header, &[2, 3, 4], rows));
    text
}

fn this_node(cluster: &Cluster) -> String {
    let uptime = time::span(cluster.uptime_ms);
    let weight = cluster.nodes.iter().find(|node| node.local).map_or(0, |node| node.weight);
    let (state, mode) = (&cluster.state, &cluster.weight_mode);
    let path = &cluster.kernel_path;
    format!("{state}, up {uptime}, weight {weight} ({mode}), new clients by {path}")
}

fn check(check: &Check) -> String {
    let (name, message) = (&check.name, &check.message);
    let word = match check.passes {
        Some(true) => "passes",
        Some(false) => "FAILS",
        None => return format!("{name} has not run yet"),
    };
    let since = time::span(check.changed_ms.unwrap_or_default());
    format!("{name} {word} for {since}: {message}")
}

fn clients(cluster: &Cluster) -> String {
    let mut text = format!("{} here", cluster.clients);
    if cluster.pins > 0 {
        text.push_str(&format!(", {} of them pinned", cluster.pins));
    }
    if cluster.held > 0 {
        text.push_str(&format!("; {} held", count(cluster.held, "packet")));
    }
    text
}

/// What the kernel did with packets for the service, since its rules are there.
fn packets(cluster: &Cluster) -> Option<String> {
    let count =
        |fate: &str, unit: &str| cluster.counters.get(&format!("kernel_{fate}_{unit}")).copied();
    let sum = |fates: [&str; 2], unit: &str| {
        Some(count(fates[0], unit)?.saturating_add(count(fates[1], unit)?))
    };
    let (taken, bytes) =
        (sum(["known", "admitted"], "packets")?, sum(["known", "admitted"], "bytes")?);
    let others = sum(["foreign", "pinned"], "packets")?;
    let mut text = format!("{taken} taken ({}), {others} left to other nodes", size(bytes));
    let lease = count("no_lease", "packets").unwrap_or(0);
    if lease > 0 {
        text.push_str(&format!(", {lease} dropped while this node was fenced"));
    }
    Some(text)
}

/// Bytes with a unit.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut whole, mut unit) = (bytes, 0);
    while whole >= 10_000 && unit + 1 < UNITS.len() {
        (whole, unit) = (whole / 1000, unit + 1);
    }
    format!("{whole} {}", UNITS[unit])
}

/// What keeps a cluster from being well.
pub(crate) fn problems(cluster: &Cluster) -> Vec<String> {
    let mut problems = Vec::new();
    if cluster.state != "active" {
        let cause = cluster.cause.as_ref().map(|cause| format!(": {cause}"));
        problems.push(format!("this node is {}{}", cluster.state, cause.unwrap_or_default()));
    }
    for node in cluster.nodes.iter().filter(|node| !node.local) {
        if node.state != "active" {
            problems.push(format!("{} is {}", name(node), node.state));
        }
        if !node.hears_us {
            problems.push(format!("{} does not hear this node", name(node)));
        }
        if node.last_heard_ms > cluster.dead_after_ms / 2 {
            let ago = time::span(node.last_heard_ms);
            problems.push(format!("{} has been silent for {ago}", name(node)));
        }
    }
    for unused in &cluster.unused_interfaces {
        problems.push(self::unused(unused));
    }
    for stranger in &cluster.strangers {
        problems.push(self::stranger(stranger));
    }
    for node in cluster.nodes.iter().filter(|node| !node.differs.is_empty()) {
        let differs = node.differs.join("; ");
        problems.push(format!("{} is configured otherwise: {differs}", name(node)));
    }
    for lost in &cluster.lost {
        let (ago, state) = (time::span(lost.silent_ms), &lost.state);
        let name = if lost.name.is_empty() { &lost.id } else { &lost.name };
        problems.push(format!("{name} has not been heard for {ago} (lost; it was {state})"));
    }
    for node in cluster.nodes.iter().filter(|node| node.health == "ill") {
        // Of a node that withdrew for it, its state has been said.
        if !node.local || node.state == "active" {
            problems.push(format!("the service on {} fails its checks", name(node)));
        }
    }
    let served: u64 = cluster.nodes.iter().map(|node| node.buckets).sum();
    if served < BUCKETS {
        let missing = BUCKETS - served;
        problems.push(format!("{} of {BUCKETS} buckets are served by nobody", missing));
    }
    if served > BUCKETS {
        problems.push(format!("{} buckets are served twice", served - BUCKETS));
    }
    if !cluster.converged && problems.is_empty() {
        problems.push("the nodes do not agree yet".to_owned());
    }
    let own_id = cluster.drops.get("own_node_id").copied().unwrap_or(0);
    if own_id > 0 {
        problems.push("another machine has this node's id".to_owned());
    }
    problems
}

/// An interface that is not in use, and since when.
fn unused(unused: &UnusedInterface) -> String {
    let UnusedInterface { interface, text, since_ms, meant, .. } = unused;
    let since = time::span(*since_ms);
    match (unused.trouble.as_str(), meant) {
        ("absent", Some(meant)) => {
            format!("{interface}: no such interface, for {since}; did you mean {meant}?")
        }
        ("absent", None) => {
            format!("{interface}: no such interface, for {since}; it is waited for")
        }
        _ => format!("{text}, for {since}"),
    }
}

/// Who sends what cannot be taken. Anybody on the segment can look like that.
fn stranger(stranger: &Stranger) -> String {
    let Stranger { mac, text, since_ms, .. } = stranger;
    let since = time::span(*since_ms);
    format!("frames from {mac} are {text}, for {since} (nothing proves that address)")
}

/// What an administrator should know although all may be well.
fn remarks(cluster: &Cluster) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(drain) = &cluster.drain {
        remarks.push(format!("draining: {}", crate::drain::words(drain)));
    }
    if cluster.insecure {
        remarks.push("no key: anybody on the segment can join or disturb the cluster".to_owned());
    }
    if cluster.ordinary_priority {
        let text = "heartbeats have no priority here: work that keeps the processors busy can \
                    cost this node its rights (docs/tuning.md)";
        remarks.push(text.to_owned());
    }
    let wrong_key = cluster.drops.get("bad_tag").copied().unwrap_or(0);
    if cluster.strangers.iter().any(|stranger| stranger.kind == "other-key") {
        remarks.push("has every server the same key file? nlbctl key export".to_owned());
    } else if wrong_key > 0 {
        let frames = count(wrong_key, "frame");
        remarks.push(format!("{frames} under another key were dropped, none lately"));
    }
    if let Some(problem) = &cluster.weight_problem {
        remarks.push(format!("the weight does not follow the load: {problem}"));
    }
    let overlaps = cluster.counters.get("overlaps").copied().unwrap_or(0);
    if overlaps > 0 {
        let times = count(overlaps, "time");
        remarks.push(format!("two nodes accepted the same buckets {times} since the start"));
    }
    remarks
}

/// What a node is called.
pub(crate) fn name(node: &Node) -> &str {
    if node.name.is_empty() { &node.id } else { &node.name }
}

pub(crate) fn share(buckets: u64) -> String {
    let tenths = (buckets * 1000 + BUCKETS / 2) / BUCKETS;
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn heard(node: &Node) -> String {
    if node.local { "this node".to_owned() } else { time::ago(node.last_heard_ms) }
}

/// The nodes of every cluster, with all that is known of them. What is the same of all is said
/// above: the table fits a terminal of 80 columns then.
#[must_use]
pub fn nodes(status: &Status) -> String {
    if status.clusters.is_empty() {
        return self::status(status, Paint::PLAIN);
    }
    status.clusters.iter().map(nodes_of).collect::<Vec<_>>().join("\n")
}

fn nodes_of(cluster: &Cluster) -> String {
    let deaf = cluster.nodes.iter().any(|node| !node.local && !node.hears_us);
    let software = cluster.nodes.first().map_or("", |node| node.software.as_str());
    let checked = cluster.nodes.iter().any(|node| node.health != "unknown");
    let mixed = cluster.nodes.iter().any(|node| node.software != software);
    let row = |node: &Node| {
        let mut row = vec![
            format!("{}{}", name(node), if node.local { " *" } else { "" }),
            node.id.clone(),
            node.state.clone(),
            node.weight.to_string(),
            node.buckets.to_string(),
            node.pins.to_string(),
            heard(node),
        ];
        if deaf {
            row.push(if node.local || node.hears_us { "yes" } else { "NO" }.to_owned());
        }
        if checked {
            row.push(node.health.clone());
        }
        if mixed {
            row.push(node.software.clone());
        }
        row
    };
    let mut header = vec!["NODE", "ID", "STATE", "WEIGHT", "BUCKETS", "PINS", "HEARD"];
    header.extend(deaf.then_some("HEARS US"));
    header.extend(checked.then_some("SERVICE"));
    header.extend(mixed.then_some("SOFTWARE"));
    let mut text = format!("{}: {}", cluster.name, count(cluster.nodes.len() as u64, "node"));
    if !deaf && cluster.nodes.len() > 1 {
        text.push_str("; all hear this one");
    }
    if !mixed && !software.is_empty() {
        text.push_str(&format!("; {software}"));
    }
    let rows = cluster.nodes.iter().map(row).collect();
    format!("{text}\n\n{}", table(&header, &[3, 4, 5], rows))
}
