//! From trees to values: which fields there are, of which kind, in which range, and how several
//! files become one.
//!
//! # Merging
//! The main file is read first, then the drop-ins in the order of their names. A cluster that
//! stands in several files is one cluster: its lists are joined in that order, an entry that two
//! files name counts once, and a single value may be given by one file or by several that agree.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::path::PathBuf;

use nlb_protocol::{MacAddr, MacMode};

use super::error::Reason;
use super::model::Port;
use super::source::{At, Sources, Spot, spot};
use super::tree::{Field, Node, Value};
use super::values::{CLUSTER_NAME, is_cluster_name};
use super::weight::RawWeight;
use crate::check::{Check, CheckMode, OnFailure, WhenAllFail};

/// What the files say, before it is known to fit together.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) node_name: Option<At<String>>,
    pub(super) node_id: Option<At<u64>>,
    pub(super) metrics: Option<At<SocketAddr>>,
    pub(super) clusters: Vec<RawCluster>,
}

/// What the files say of one cluster.
#[derive(Debug)]
pub(super) struct RawCluster {
    /// Where it stands first.
    pub(super) name: At<String>,
    pub(super) id: Option<At<u16>>,
    pub(super) interfaces: Vec<At<String>>,
    pub(super) has_interfaces: bool,
    pub(super) addresses: Vec<At<IpAddr>>,
    pub(super) has_addresses: bool,
    pub(super) mode: Option<At<MacMode>>,
    pub(super) mac: Option<At<MacAddr>>,
    pub(super) ethertype: Option<At<u16>>,
    pub(super) ports: Option<At<Vec<At<Port>>>>,
    pub(super) key_file: Option<At<PathBuf>>,
    pub(super) insecure: Option<At<bool>>,
    pub(super) weight: Option<At<RawWeight>>,
    pub(super) weight_interval: Option<At<Duration>>,
    pub(super) warm_up: Option<At<Duration>>,
    pub(super) min_share: Option<At<u8>>,
    pub(super) max_share: Option<At<u8>>,
    pub(super) checks: Vec<At<Check>>,
    pub(super) checks_mode: Option<At<CheckMode>>,
    pub(super) on_failure: Option<At<OnFailure>>,
    pub(super) when_all_fail: Option<At<WhenAllFail>>,
    pub(super) heartbeat: Option<At<Duration>>,
    pub(super) dead_after: Option<At<Duration>>,
    pub(super) sticky_idle: Option<At<Duration>>,
    pub(super) offload: Option<At<bool>>,
    pub(super) min_members: Option<At<u16>>,
}

impl RawCluster {
    fn new(name: At<String>) -> Self {
        Self {
            name,
            id: None,
            interfaces: Vec::new(),
            has_interfaces: false,
            addresses: Vec::new(),
            has_addresses: false,
            mode: None,
            mac: None,
            ethertype: None,
            ports: None,
            key_file: None,
            insecure: None,
            weight: None,
            weight_interval: None,
            warm_up: None,
            min_share: None,
            max_share: None,
            checks: Vec::new(),
            checks_mode: None,
            on_failure: None,
            when_all_fail: None,
            heartbeat: None,
            dead_after: None,
            sticky_idle: None,
            offload: None,
            min_members: None,
        }
    }
}

const CLUSTER_FIELDS: [&str; 23] = [
    "id",
    "interfaces",
    "addresses",
    "mode",
    "mac",
    "ethertype",
    "ports",
    "key_file",
    "insecure",
    "weight",
    "weight_interval_s",
    "warm_up_s",
    "min_share_percent",
    "max_share_percent",
    "checks",
    "checks_mode",
    "on_failure",
    "when_all_fail",
    "heartbeat_ms",
    "dead_after_ms",
    "sticky_idle_s",
    "offload",
    "min_members",
];

/// Reads one file's tree into what the files before it said.
pub(super) fn file(raw: &mut Raw, sources: &mut Sources, file: usize, tree: &Node) {
    let mut reader = Reader { sources, file };
    for field in reader.fields(tree, "the configuration", &["node", "clusters", "metrics"]) {
        match field.name.as_str() {
            "node" => reader.node(raw, &field.value),
            "metrics" => reader.metrics(raw, &field.value),
            _ => reader.clusters(raw, &field.value),
        }
    }
}

/// Reads the values of one file.
pub(super) struct Reader<'s> {
    pub(super) sources: &'s mut Sources,
    pub(super) file: usize,
}

impl Reader<'_> {
    pub(super) fn spot(&self, node: &Node) -> Spot {
        spot(self.file, node.span)
    }

    pub(super) fn at<T>(&self, node: &Node, value: T) -> At<T> {
        At { value, spot: self.spot(node) }
    }

    /// Notes that the value of a field cannot be.
    pub(super) fn refuse<T>(&mut self, field: &str, node: &Node, allowed: &str) -> Option<T> {
        let spot = self.spot(node);
        let reason = Reason::Value {
            field: field.to_owned(),
            found: self.sources.snippet(spot),
            allowed: allowed.to_owned(),
        };
        self.sources.error(spot, reason);
        None
    }

    /// The fields of a struct, each known and given once.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &[&str],
    ) -> Vec<&'n Field> {
        let fields = match &node.value {
            Value::Struct(_, fields) => fields,
            Value::Tuple(_, items) if items.is_empty() => return Vec::new(),
            _ => {
                self.refuse::<()>(what, node, "fields in parentheses: ( name: value, … )");
                return Vec::new();
            }
        };
        let mut kept: Vec<&Field> = Vec::new();
        for field in fields {
            let here = spot(self.file, field.span);
            if !known.contains(&field.name.as_str()) {
                let reason =
                    Reason::UnknownField { found: field.name.clone(), allowed: known.join(", ") };
                self.sources.error(here, reason);
            } else if let Some(earlier) = kept.iter().find(|other| other.name == field.name) {
                let first = self.sources.place(spot(self.file, earlier.span));
                self.sources.error(here, Reason::Twice { field: field.name.clone(), first });
            } else {
                kept.push(field);
            }
        }
        kept
    }

    /// Keeps a single value, unless an earlier file said something else.
    fn put<T: PartialEq>(&mut self, slot: &mut Option<At<T>>, field: &str, new: Option<At<T>>) {
        let Some(new) = new else { return };
        match slot {
            Some(old) if old.value != new.value => {
                let reason = Reason::Conflict {
                    field: field.to_owned(),
                    found: self.sources.snippet(new.spot),
                    other: self.sources.place(old.spot),
                    said: self.sources.snippet(old.spot),
                };
                self.sources.error(new.spot, reason);
            }
            Some(_) => {}
            None => *slot = Some(new),
        }
    }

    fn node(&mut self, raw: &mut Raw, node: &Node) {
        for field in self.fields(node, "node", &["name", "id"]) {
            match field.name.as_str() {
                "name" => {
                    let name = self.node_name(&field.value);
                    self.put(&mut raw.node_name, "name", name);
                }
                _ => {
                    let id = self.number("id", &field.value, 1..=i128::from(u64::MAX));
                    self.put(&mut raw.node_id, "id", id);
                }
            }
        }
    }

    fn metrics(&mut self, raw: &mut Raw, node: &Node) {
        for field in self.fields(node, "metrics", &["listen"]) {
            let listen = self.socket_address("listen", &field.value);
            self.put(&mut raw.metrics, "listen", listen);
        }
    }

    fn clusters(&mut self, raw: &mut Raw, node: &Node) {
        let entries = match &node.value {
            Value::Map(entries) => entries,
            _ => {
                self.refuse::<()>("clusters", node, "a map: { \"nlb0\": ( … ), … }");
                return;
            }
        };
        let mut seen: Vec<(&str, Spot)> = Vec::new();
        for (key, value) in entries {
            let Value::String(name) = &key.value else {
                self.refuse::<()>("clusters", key, CLUSTER_NAME);
                continue;
            };
            let here = self.spot(key);
            if let Some((_, first)) = seen.iter().find(|(other, _)| other == name) {
                let first = self.sources.place(*first);
                self.sources.error(here, Reason::Twice { field: name.clone(), first });
                continue;
            }
            seen.push((name, here));
            if !is_cluster_name(name) {
                self.refuse::<()>("clusters", key, CLUSTER_NAME);
                continue;
            }
            let index = raw.clusters.iter().position(|cluster| cluster.name.value == *name);
            let index = index.unwrap_or_else(|| {
                raw.clusters.push(RawCluster::new(At { value: name.clone(), spot: here }));
                raw.clusters.len() - 1
            });
            self.cluster(&mut raw.clusters[index], value);
        }
    }

    fn cluster(&mut self, raw: &mut RawCluster, node: &Node) {
        for field in self.fields(node, "cluster", &CLUSTER_FIELDS) {
            let (name, value) = (field.name.as_str(), &field.value);
            match name {
                "id" => {
                    let id = self.number(name, value, 1..=65535);
                    self.put(&mut raw.id, name, id);
                }
                "interfaces" => {
                    raw.has_interfaces = true;
                    self.interfaces(&mut raw.interfaces, value);
                }
                "addresses" => {
                    raw.has_addresses = true;
                    self.addresses(&mut raw.addresses, value);
                }
                "mode" => {
                    let mode = self.mode(value);
                    self.put(&mut raw.mode, name, mode);
                }
                "mac" => {
                    let mac = self.mac(value);
                    self.put(&mut raw.mac, name, mac);
                }
                "ethertype" => {
                    let ethertype = self.number(name, value, 0x0600..=0xffff);
                    self.put(&mut raw.ethertype, name, ethertype);
                }
                "ports" => self.ports(&mut raw.ports, value),
                "key_file" => {
                    let path = self
                        .text(name, value, "a path")
                        .map(|text| At { value: PathBuf::from(text.value), spot: text.spot });
                    self.put(&mut raw.key_file, name, path);
                }
                "insecure" => {
                    let insecure = self.boolean(name, value);
                    self.put(&mut raw.insecure, name, insecure);
                }
                "weight" => {
                    let weight = self.weight(value);
                    self.put(&mut raw.weight, name, weight);
                }
                "weight_interval_s" => {
                    let interval = self.duration(name, value, 1..=3600, Duration::from_secs);
                    self.put(&mut raw.weight_interval, name, interval);
                }
                "warm_up_s" => {
                    let length = self.duration(name, value, 0..=3600, Duration::from_secs);
                    self.put(&mut raw.warm_up, name, length);
                }
                "min_share_percent" => {
                    let share = self.number(name, value, 0..=50);
                    self.put(&mut raw.min_share, name, share);
                }
                "max_share_percent" => {
                    let share = self.number(name, value, 1..=100);
                    self.put(&mut raw.max_share, name, share);
                }
                "checks" => self.checks(&mut raw.checks, value),
                "checks_mode" => {
                    let mode = self.checks_mode(value);
                    self.put(&mut raw.checks_mode, name, mode);
                }
                "on_failure" => {
                    let on_failure = self.on_failure(value);
                    self.put(&mut raw.on_failure, name, on_failure);
                }
                "when_all_fail" => {
                    let when_all_fail = self.when_all_fail(value);
                    self.put(&mut raw.when_all_fail, name, when_all_fail);
                }
                "heartbeat_ms" => {
                    let heartbeat = self.duration(name, value, 5..=3_000, Duration::from_millis);
                    self.put(&mut raw.heartbeat, name, heartbeat);
                }
                "dead_after_ms" => {
                    let dead = self.duration(name, value, 1..=15_000, Duration::from_millis);
                    self.put(&mut raw.dead_after, name, dead);
                }
                "sticky_idle_s" => {
                    let idle = self.duration(name, value, 1..=604_800, Duration::from_secs);
                    self.put(&mut raw.sticky_idle, name, idle);
                }
                "offload" => {
                    let offload = self.boolean(name, value);
                    self.put(&mut raw.offload, name, offload);
                }
                _ => {
                    let members = self.number(name, value, 1..=64);
                    self.put(&mut raw.min_members, name, members);
                }
            }
        }
    }
}
