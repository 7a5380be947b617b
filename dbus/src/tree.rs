//! The objects as clients see them, built whole from a [`State`], and what differs between two.

use std::collections::BTreeMap;

use zbus::{ObjectPath, OwnedVariant, Variant};

use crate::path::{ROOT, cluster_path, node_path};
use crate::types::{Cluster, HealthCheck, Manager, Moving, Node, State};
use crate::{CLUSTER, MANAGER, NODE};

/// A property's value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Property {
    pub(crate) value: OwnedVariant,
    /// Whether a change of it is announced. Ages and counts that move with every packet are not:
    /// who wants them reads them.
    pub(crate) announced: bool,
}

/// The properties of an interface, by name.
pub(crate) type Properties = BTreeMap<&'static str, Property>;

/// An object. Each has one interface of ours.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    pub(crate) interface: &'static str,
    /// The cluster that it is, or belongs to; empty for the manager.
    pub(crate) cluster: String,
    pub(crate) properties: Properties,
}

/// All objects, by path.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Tree(pub(crate) BTreeMap<String, Object>);

/// One thing that is different.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// An object came.
    Added(String),
    /// These properties of an object changed.
    Changed(String, Vec<&'static str>),
    /// An object with this interface went.
    Removed(String, &'static str),
}

impl Tree {
    /// The objects of a state.
    pub(crate) fn build(state: &State) -> Self {
        let mut objects = BTreeMap::new();
        let clusters = state.clusters.iter().map(|cluster| cluster_path(&cluster.name)).collect();
        let object = |interface, cluster: &str, properties| Object {
            interface,
            cluster: cluster.to_owned(),
            properties,
        };
        objects.insert(ROOT.to_owned(), object(MANAGER, "", manager(&state.manager, clusters)));
        for one in &state.clusters {
            let name = &one.name;
            objects.insert(cluster_path(name), object(CLUSTER, name, cluster(one)));
            for each in &one.nodes {
                objects.insert(node_path(name, &each.id), object(NODE, name, node(each)));
            }
        }
        Self(objects)
    }

    /// What a client that knows `before` must be told to know `self`; parents come before their
    /// children and go after them.
    pub(crate) fn since(&self, before: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (path, object) in before.0.iter().rev() {
            if !self.0.contains_key(path) {
                changes.push(Change::Removed(path.clone(), object.interface));
            }
        }
        for (path, object) in &self.0 {
            let Some(old) = before.0.get(path) else {
                changes.push(Change::Added(path.clone()));
                continue;
            };
            let differs = |(name, property): &(&&'static str, &Property)| {
                property.announced && old.properties.get(**name) != Some(*property)
            };
            let names: Vec<_> =
                object.properties.iter().filter(differs).map(|(name, _)| *name).collect();
            if !names.is_empty() {
                changes.push(Change::Changed(path.clone(), names));
            }
        }
        changes
    }

    /// The next elements of the paths below `path`; `None` when nothing is there or below.
    pub(crate) fn children(&self, path: &str) -> Option<Vec<&str>> {
        let below = format!("{}/", path.trim_end_matches('/'));
        let from = self.0.range(below.clone()..);
        let inside = from.map_while(|(path, _)| path.strip_prefix(&below));
        let mut names: Vec<&str> = inside.filter_map(|rest| rest.split('/').next()).collect();
        names.dedup();
        (!names.is_empty() || self.0.contains_key(path)).then_some(names)
    }
}

/// Builds a list of properties.
struct List(Properties);

impl List {
    fn put<'v>(
        mut self,
        name: &'static str,
        value: impl Into<Variant<'v>>,
        announced: bool,
    ) -> Self {
        // It fails for descriptors only, and there are none here.
        if let Ok(value) = OwnedVariant::try_from(value.into()) {
            self.0.insert(name, Property { value, announced });
        }
        self
    }

    /// One whose changes are announced.
    fn with<'v>(self, name: &'static str, value: impl Into<Variant<'v>>) -> Self {
        self.put(name, value, true)
    }

    /// One that always moves.
    fn moving<'v>(self, name: &'static str, Moving(value): Moving<impl Into<Variant<'v>>>) -> Self {
        self.put(name, value, false)
    }
}

fn paths(paths: Vec<String>) -> Vec<ObjectPath<'static>> {
    paths.into_iter().filter_map(|path| ObjectPath::try_from(path).ok()).collect()
}

fn manager(manager: &Manager, clusters: Vec<String>) -> Properties {
    List(Properties::new())
        .with("Version", manager.version.as_str())
        .with("NodeId", manager.node_id.as_str())
        .with("NodeName", manager.node_name.as_str())
        .with("Config", manager.config.as_str())
        .with("Clusters", paths(clusters))
        .moving("UptimeMs", manager.uptime_ms)
        .0
}

fn cluster(cluster: &Cluster) -> Properties {
    let nodes = cluster.nodes.iter().map(|node| node_path(&cluster.name, &node.id)).collect();
    let local = paths(vec![node_path(&cluster.name, &cluster.local_node)]);
    let list = List(Properties::new())
        .with("Name", cluster.name.as_str())
        .with("Id", cluster.id)
        .with("Converged", cluster.converged)
        .with("Epoch", cluster.epoch)
        .with("Digest", cluster.digest.as_str())
        .with("State", cluster.state.as_str())
        .with("Cause", cluster.cause.as_str())
        .with("Nodes", paths(nodes))
        .with("Addresses", cluster.addresses.clone())
        .with("Interfaces", cluster.interfaces.clone())
        .with("Mode", cluster.mode.as_str())
        .with("Mac", cluster.mac.as_str())
        .with("Ethertype", cluster.ethertype)
        .with("Insecure", cluster.insecure)
        .with("OrdinaryPriority", cluster.ordinary_priority)
        .with("HeartbeatMs", cluster.heartbeat_ms)
        .with("DeadAfterMs", cluster.dead_after_ms)
        .with("Weight", cluster.weight)
        .with("WeightMode", cluster.weight_mode.as_str())
        .with("WeightProblem", cluster.weight_problem.as_str())
        .with("KernelPath", cluster.kernel_path.as_str())
        .with("BucketsAccepted", cluster.buckets_accepted)
        .with("Health", cluster.health.as_str())
        .with("FailingChecks", failing(&cluster.checks))
        .with("LostNodes", cluster.lost.clone())
        .with("UnusedInterfaces", cluster.unused_interfaces.clone())
        .with("Strangers", cluster.strangers.clone())
        .moving("Checks", Moving(cluster.checks.iter().map(check).collect::<Vec<_>>()))
        .moving("UptimeMs", cluster.uptime_ms)
        .moving("Clients", cluster.clients)
        .moving("Pins", cluster.pins)
        .moving("Held", cluster.held)
        .moving("Drops", cluster.drops.clone())
        .moving("Counters", cluster.counters.clone());
    match local.into_iter().next() {
        Some(path) => list.with("LocalNode", path).0,
        None => list.0,
    }
}

fn failing(checks: &[HealthCheck]) -> Vec<String> {
    let failing = checks.iter().filter(|check| check.passes == Some(false));
    failing.map(|check| check.name.clone()).collect()
}

fn check(check: &HealthCheck) -> (String, &'static str, String, u64, u64, u64) {
    let result = match check.passes {
        Some(true) => "passes",
        Some(false) => "fails",
        None => "unknown",
    };
    let HealthCheck { name, message, changed_ms, runs, failures, .. } = check;
    (name.clone(), result, message.0.clone(), changed_ms.0, runs.0, failures.0)
}

fn node(node: &Node) -> Properties {
    List(Properties::new())
        .with("Id", node.id.as_str())
        .with("Name", node.name.as_str())
        .with("State", node.state.as_str())
        .with("Weight", node.weight)
        .with("Buckets", node.buckets)
        .with("Local", node.local)
        .with("HearsUs", node.hears_us)
        .with("Incarnation", node.incarnation.as_str())
        .with("Software", node.software.as_str())
        .with("Health", node.health.as_str())
        .with("Differences", node.differs.clone())
        .moving("LastHeardMs", node.last_heard_ms)
        .moving("Pins", node.pins)
        .0
}

#[cfg(test)]
mod tests;
