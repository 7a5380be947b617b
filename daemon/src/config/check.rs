//! From what the files say to a configuration that can be run: defaults, and what must fit
//! together. Nothing of it is applied before all of it holds.

use core::net::IpAddr;
use core::time::Duration;
use std::path::PathBuf;

use nlb_engine::Timing;
use nlb_protocol::addr::DEFAULT_ETHERTYPE;
use nlb_protocol::{ClusterId, ClusterMac, MacAddr, MacMode, NodeId};
use sha2::{Digest as _, Sha256};

use super::error::{KeyError, Reason};
use super::keys::{self, Keys};
use super::model::{
    ClusterConfig, Config, Location, MAX_ADDRESSES, MAX_CLUSTERS, MAX_INTERFACES, MAX_NODE_NAME,
    MAX_PORTS, NodeConfig, Port,
};
use super::read::{Raw, RawCluster};
use super::source::{At, Sources, Spot};
use super::system::System;
use super::{address, values};
use crate::check::{CheckMode, CheckRules, Kind, MAX_CHECKS, OnFailure, WhenAllFail};
use crate::weight::{LoadCommand, ShareBounds, WeightRules};

/// A peer is dead after at least so many heartbeats, or a single lost frame shakes the cluster
/// (SPEC 6.2).
const MIN_HEARTBEATS: u32 = 5;
/// And after at most so many: the engine remembers when it sent that many (SPEC 6.2).
const MAX_HEARTBEATS: u32 = 800;
/// What the default is limited to, as whatever is configured (SPEC 6.2).
const MAX_DEAD_AFTER: Duration = Duration::from_secs(15);
/// And after so many unless configured otherwise.
const DEFAULT_HEARTBEATS: u32 = 10;

/// Ethertypes that carry something else on every network.
const TAKEN_ETHERTYPES: [u16; 9] =
    [0x0800, 0x0806, 0x8100, 0x86dd, 0x8808, 0x8809, 0x8847, 0x88a8, 0x88cc];

/// The first 8 bytes of SHA-256 over a label and a text: ids that are the same everywhere and tell
/// nothing of what they were made of.
fn fingerprint(label: &str, text: &str) -> u64 {
    let hash = Sha256::new().chain_update(label).chain_update([0]).chain_update(text).finalize();
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The id of a cluster that has none configured: the first 16 bits of SHA-256 over
/// `nlbd cluster id`, a zero byte and the name; 1 in place of 0.
#[must_use]
pub fn cluster_id_of(name: &str) -> ClusterId {
    let [high, low, ..] = fingerprint("nlbd cluster id", name).to_be_bytes();
    ClusterId(u16::from_be_bytes([high, low]).max(1))
}

/// The id of a node that has none configured: the first 64 bits of SHA-256 over `nlbd node id`, a
/// zero byte and the machine-id, which is secret and never shown itself; 1 in place of 0.
#[must_use]
pub fn node_id_of(machine_id: &str) -> NodeId {
    NodeId(fingerprint("nlbd node id", machine_id.trim()).max(1))
}

/// What is checked, and against what.
pub(super) struct Check<'c> {
    pub(super) sources: &'c mut Sources,
    pub(super) location: &'c Location,
    pub(super) system: &'c dyn System,
}

impl Check<'_> {
    /// The configuration. What is wrong is noted in the sources; the caller looks there.
    pub(super) fn configuration(&mut self, raw: &Raw) -> Option<Config> {
        if let Some(extra) = raw.clusters.get(MAX_CLUSTERS) {
            let found = format!("{} clusters", raw.clusters.len());
            self.refuse(extra.name.spot, "clusters", found, &format!("up to {MAX_CLUSTERS}"));
        }
        let node = self.node(raw);
        let mut clusters: Vec<_> =
            raw.clusters.iter().filter_map(|cluster| self.cluster(cluster)).collect();
        self.unique(raw);
        clusters.sort_by(|a, b| a.name.cmp(&b.name));
        let metrics = raw.metrics.as_ref().map(|listen| listen.value);
        Some(Config { node: node?, clusters, metrics, files: self.sources.paths() })
    }

    fn refuse(&mut self, spot: Spot, field: &str, found: String, allowed: &str) {
        let (field, allowed) = (field.to_owned(), allowed.to_owned());
        self.sources.error(spot, Reason::Value { field, found, allowed });
    }

    fn refuse_value(&mut self, spot: Spot, field: &str, allowed: &str) {
        let found = self.sources.snippet(spot);
        self.refuse(spot, field, found, allowed);
    }

    fn missing(&mut self, cluster: &At<String>, field: &str, allowed: &str) {
        let reason = Reason::Missing {
            cluster: cluster.value.clone(),
            field: field.to_owned(),
            allowed: allowed.to_owned(),
        };
        self.sources.error(cluster.spot, reason);
    }

    fn node(&mut self, raw: &Raw) -> Option<NodeConfig> {
        let id = match &raw.node_id {
            Some(id) => NodeId(id.value),
            None => match self.system.machine_id().filter(|id| !id.trim().is_empty()) {
                Some(machine_id) => node_id_of(&machine_id),
                None => {
                    let found = "no `id`, and this host has no /etc/machine-id".to_owned();
                    let start = self.sources.start();
                    self.refuse(start, "node", found, "node: (id: 1 to 18446744073709551615)");
                    return None;
                }
            },
        };
        let name = match &raw.node_name {
            Some(name) => name.value.clone(),
            None => host_name(self.system, id),
        };
        Some(NodeConfig { id, name })
    }

    fn cluster(&mut self, raw: &RawCluster) -> Option<ClusterConfig> {
        let name = &raw.name.value;
        let id = raw.id.as_ref().map_or_else(|| cluster_id_of(name), |id| ClusterId(id.value));
        self.interfaces(raw);
        self.addresses(raw);
        let mode = raw.mode.as_ref().map_or(MacMode::default(), |mode| mode.value);
        let mac = match address::cluster_mac(mode, id, raw.mac.as_ref().map(|mac| mac.value)) {
            Ok(mac) => Some(mac),
            Err(allowed) => {
                let spot = raw.mac.as_ref().map_or(raw.name.spot, |mac| mac.spot);
                self.refuse_value(spot, "mac", allowed);
                None
            }
        };
        let ethertype = raw.ethertype.as_ref().map_or(DEFAULT_ETHERTYPE, |e| e.value);
        if let Some(at) = raw.ethertype.as_ref().filter(|e| TAKEN_ETHERTYPES.contains(&e.value)) {
            let allowed = "one that carries nothing else, like 0x88b5 or 0x8870";
            self.refuse_value(at.spot, "ethertype", allowed);
        }
        let timing = self.timing(raw);
        let (key_file, keys) = self.keys(raw)?;
        Some(ClusterConfig {
            name: name.clone(),
            id,
            interfaces: values(&raw.interfaces),
            addresses: values(&raw.addresses),
            mode,
            mac: mac?,
            ethertype,
            ports: self.ports(raw),
            keys,
            key_file,
            weight: raw.weight.as_ref().map(|weight| weight.value.source).unwrap_or_default(),
            load_command: self.load_command(raw),
            weight_rules: self.weight_rules(raw),
            checks: self.checks(raw),
            timing,
            sticky_idle: value_or(&raw.sticky_idle, Duration::from_secs(1800)),
            offload: value_or(&raw.offload, true),
            min_members: usize::from(value_or(&raw.min_members, 1)),
        })
    }

    fn interfaces(&mut self, raw: &RawCluster) {
        if !raw.has_interfaces {
            self.missing(&raw.name, "interfaces", values::INTERFACES);
        }
        if let Some(extra) = raw.interfaces.get(MAX_INTERFACES) {
            let found = format!("{} interfaces", raw.interfaces.len());
            self.refuse(extra.spot, "interfaces", found, &format!("up to {MAX_INTERFACES}"));
        }
        // One that is not there may come: the daemon waits for it, and says so.
        for interface in &raw.interfaces {
            if interface.value == raw.name.value {
                let allowed = "an interface to the other servers, not the cluster's own link";
                self.refuse_value(interface.spot, "interfaces", allowed);
            } else if interface.value == "lo" {
                let allowed = "an interface to the other servers, not the loopback";
                self.refuse_value(interface.spot, "interfaces", allowed);
            }
        }
    }

    fn addresses(&mut self, raw: &RawCluster) {
        if !raw.has_addresses {
            self.missing(&raw.name, "addresses", values::ADDRESSES);
        }
        if let Some(extra) = raw.addresses.get(MAX_ADDRESSES) {
            let found = format!("{} addresses", raw.addresses.len());
            self.refuse(extra.spot, "addresses", found, &format!("up to {MAX_ADDRESSES}"));
        }
        if !self.system.has_ipv6() {
            for address in raw.addresses.iter().filter(|address| address.value.is_ipv6()) {
                let allowed = "IPv4 addresses: this host has no IPv6";
                self.refuse_value(address.spot, "addresses", allowed);
            }
        }
    }

    fn ports(&mut self, raw: &RawCluster) -> Option<Vec<Port>> {
        let ports = raw.ports.as_ref()?;
        if let Some(extra) = ports.value.get(MAX_PORTS) {
            let found = format!("{} ports", ports.value.len());
            self.refuse(extra.spot, "ports", found, &format!("up to {MAX_PORTS}"));
        }
        Some(values(&ports.value))
    }

    fn timing(&mut self, raw: &RawCluster) -> Timing {
        let heartbeat = value_or(&raw.heartbeat, Timing::default().heartbeat);
        let usual = (heartbeat * DEFAULT_HEARTBEATS).min(MAX_DEAD_AFTER);
        let dead_after = value_or(&raw.dead_after, usual);
        let spot = raw.dead_after.as_ref().map_or(raw.name.spot, |at| at.spot);
        if dead_after > heartbeat * MAX_HEARTBEATS {
            let most = (heartbeat * MAX_HEARTBEATS).as_millis();
            let allowed = format!(
                "at most {most}, which is {MAX_HEARTBEATS} × heartbeat_ms ({})",
                heartbeat.as_millis()
            );
            self.refuse_value(spot, "dead_after_ms", &allowed);
        }
        if dead_after < heartbeat * MIN_HEARTBEATS {
            let least = (heartbeat * MIN_HEARTBEATS).as_millis();
            let allowed = format!(
                "at least {least}, which is {MIN_HEARTBEATS} × heartbeat_ms ({})",
                heartbeat.as_millis()
            );
            self.refuse_value(spot, "dead_after_ms", &allowed);
        }
        Timing { heartbeat, dead_after }
    }

    fn weight_rules(&mut self, raw: &RawCluster) -> WeightRules {
        let default = WeightRules::default();
        let min_percent = value_or(&raw.min_share, default.bounds.min_percent);
        let max_percent = value_or(&raw.max_share, default.bounds.max_percent);
        if min_percent > max_percent
            && let Some(at) = raw.min_share.as_ref().or(raw.max_share.as_ref())
        {
            let allowed = format!("at most max_share_percent ({max_percent})");
            self.refuse_value(at.spot, "min_share_percent", &allowed);
        }
        WeightRules {
            interval: value_or(&raw.weight_interval, default.interval),
            warm_up: value_or(&raw.warm_up, default.warm_up),
            bounds: ShareBounds { min_percent, max_percent },
        }
    }

    fn load_command(&mut self, raw: &RawCluster) -> Option<LoadCommand> {
        let at = raw.weight.as_ref()?;
        let command = at.value.command.clone()?;
        self.program("weight", &command.words, at.spot);
        Some(command)
    }

    fn program(&mut self, field: &str, words: &[String], spot: Spot) {
        let program = words.first().map_or("", String::as_str);
        if !self.system.is_program(program.as_ref()) {
            let allowed = format!("a program: there is none at {program}");
            self.refuse_value(spot, field, &allowed);
        }
    }

    fn checks(&mut self, raw: &RawCluster) -> CheckRules {
        if let Some(extra) = raw.checks.get(MAX_CHECKS) {
            let found = format!("{} checks", raw.checks.len());
            self.refuse(extra.spot, "checks", found, &format!("up to {MAX_CHECKS}"));
        }
        for at in &raw.checks {
            if let Kind::Command(words) = &at.value.kind {
                self.program("checks", words, at.spot);
            }
        }
        CheckRules {
            checks: values(&raw.checks),
            mode: value_or(&raw.checks_mode, CheckMode::default()),
            on_failure: value_or(&raw.on_failure, OnFailure::default()),
            when_all_fail: value_or(&raw.when_all_fail, WhenAllFail::default()),
        }
    }

    fn keys(&mut self, raw: &RawCluster) -> Option<(Option<PathBuf>, Keys)> {
        let insecure = raw.insecure.as_ref().is_some_and(|insecure| insecure.value);
        let directory = self.location.directory();
        let (path, spot) = match &raw.key_file {
            Some(at) if insecure => {
                self.sources.error(at.spot, Reason::Key(KeyError::Insecure));
                return None;
            }
            None if insecure => return Some((None, Keys::default())),
            Some(at) => (directory.join(&at.value), at.spot),
            None => (self.location.default_key(&raw.name.value), raw.name.spot),
        };
        match keys::load(&path, self.system) {
            Ok(keys) => Some((Some(path), keys)),
            Err(error) => {
                self.sources.error(spot, Reason::Key(error));
                None
            }
        }
    }

    /// No two clusters share an id, an address or a MAC: each must know which one is meant.
    fn unique(&mut self, raw: &Raw) {
        let mut ids: Vec<(ClusterId, &RawCluster, Spot)> = Vec::new();
        let mut macs: Vec<(MacAddr, &RawCluster, Spot)> = Vec::new();
        let mut addresses: Vec<(IpAddr, &RawCluster, Spot)> = Vec::new();
        for cluster in &raw.clusters {
            let (id, spot) = match &cluster.id {
                Some(id) => (ClusterId(id.value), id.spot),
                None => (cluster_id_of(&cluster.name.value), cluster.name.spot),
            };
            match ids.iter().find(|(other, ..)| *other == id) {
                Some((_, other, first)) => {
                    let derived = if cluster.id.is_none() { " (from the name)" } else { "" };
                    let what = format!("`id` {id}{derived}");
                    self.shared(spot, what, other, *first, "an id of 1 to 65535 for each");
                }
                None => ids.push((id, cluster, spot)),
            }
            // One that is configured may be what another derives from its id.
            let configured = cluster.mac.as_ref().map(|mac| mac.value);
            let mode = value_or(&cluster.mode, MacMode::default());
            if let Ok(ClusterMac { mac, .. }) = address::cluster_mac(mode, id, configured) {
                let spot = cluster.mac.as_ref().map_or(spot, |mac| mac.spot);
                match macs.iter().find(|(other, other_cluster, _)| {
                    let derived = [cluster, *other_cluster].map(|it| it.mac.is_none());
                    // Two that derive the same have the same id, which was said.
                    *other == mac && derived != [true, true]
                }) {
                    Some((_, other, first)) => {
                        let what = format!("cluster MAC {mac}");
                        self.shared(spot, what, other, *first, "one cluster a MAC");
                    }
                    None => macs.push((mac, cluster, spot)),
                }
            }
            for address in &cluster.addresses {
                match addresses.iter().find(|(other, ..)| *other == address.value) {
                    Some((_, other, first)) => {
                        let what = format!("address {}", address.value);
                        self.shared(address.spot, what, other, *first, "one cluster an address");
                    }
                    None => addresses.push((address.value, cluster, address.spot)),
                }
            }
        }
    }

    fn shared(&mut self, at: Spot, what: String, other: &RawCluster, first: Spot, allowed: &str) {
        let reason = Reason::Shared {
            what,
            other: other.name.value.clone(),
            first: self.sources.place(first),
            allowed: allowed.to_owned(),
        };
        self.sources.error(at, reason);
    }
}

fn values<T: Clone>(list: &[At<T>]) -> Vec<T> {
    list.iter().map(|at| at.value.clone()).collect()
}

fn value_or<T: Copy>(slot: &Option<At<T>>, default: T) -> T {
    slot.as_ref().map_or(default, |at| at.value)
}

/// The host's name, cut to what the protocol carries.
fn host_name(system: &dyn System, id: NodeId) -> String {
    let mut name: String = system.host_name().chars().filter(|c| !c.is_control()).collect();
    while name.len() > MAX_NODE_NAME {
        name.pop();
    }
    if name.is_empty() { id.to_string() } else { name }
}
