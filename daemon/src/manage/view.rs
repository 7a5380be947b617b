//! What the daemon knows beside the engine: together they are the status.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

use nlb_engine::Timing;
use nlb_engine::manage::{Counters, Snapshot};
use nlb_protocol::{MacAddr, MacMode, NodeId};

use super::lost::Lost;
use super::observed::Observed;
use super::surroundings::{Stranger, Unused};
use crate::check::CheckView;
use crate::config::ClusterConfig;
use crate::kernel::{Fate, Fates};
use crate::weight::WeightSource;

/// The daemon itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonView {
    /// How long it has run.
    pub uptime: Duration,
    /// This node's id.
    pub node: NodeId,
    /// This node's name.
    pub name: String,
    /// The main configuration file.
    pub config: PathBuf,
}

/// How new clients reach the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelPath {
    /// By the `queue` statement of nftables.
    NftQueue,
    /// By the NFQUEUE target of iptables, where the kernel has no `queue`.
    IptablesNfqueue,
    /// Every packet, not only those of new clients (`offload: false`).
    UserSpace,
}

impl KernelPath {
    /// Its name in the status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NftQueue => "nft-queue",
            Self::IptablesNfqueue => "iptables-nfqueue",
            Self::UserSpace => "user-space",
        }
    }
}

/// What the daemon knows of a cluster beside the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterFacts {
    /// Its name.
    pub name: String,
    /// The service addresses.
    pub addresses: Vec<IpAddr>,
    /// The interfaces.
    pub interfaces: Vec<String>,
    /// How the cluster MAC reaches every node.
    pub mode: MacMode,
    /// The cluster MAC.
    pub mac: MacAddr,
    /// The ethertype.
    pub ethertype: u16,
    /// Whether it runs without a key.
    pub insecure: bool,
    /// The timers.
    pub timing: Timing,
    /// Where the weight comes from now.
    pub weight: WeightSource,
    /// Why the weight does not follow it, if it does not.
    pub weight_problem: Option<String>,
    /// How new clients reach the stage.
    pub kernel_path: KernelPath,
    /// The checks of its service here.
    pub checks: Vec<CheckView>,
    /// How long this node has been at it.
    pub uptime: Duration,
    /// What the driver dropped, by reason: frames that did not decode, packets that the queue
    /// lost. The engine's own drops are added by [`StatusView::drops`].
    pub drops: BTreeMap<&'static str, u64>,
    /// What else the driver counts.
    pub counters: BTreeMap<&'static str, u64>,
    /// What the kernel did with packets for the service.
    pub kernel: Fates,
    /// The netfilter queue.
    pub queue: u16,
    /// What was counted of its notices.
    pub observed: Observed,
    /// Nodes that went without a word.
    pub lost: Vec<Lost>,
    /// Interfaces that are not in use.
    pub unused: Vec<Unused>,
    /// Who sends frames that cannot be taken.
    pub strangers: Vec<Stranger>,
    /// Whether heartbeats have no priority over other work, as far as that is known.
    pub ordinary_priority: bool,
}

impl ClusterFacts {
    /// What the configuration says; the rest is for the driver to fill in.
    #[must_use]
    pub fn new(config: &ClusterConfig, kernel_path: KernelPath) -> Self {
        Self {
            name: config.name.clone(),
            addresses: config.addresses.clone(),
            interfaces: config.interfaces.clone(),
            mode: config.mode,
            mac: config.mac.mac,
            ethertype: config.ethertype,
            insecure: config.is_insecure(),
            timing: config.timing,
            weight: config.weight,
            weight_problem: None,
            kernel_path,
            checks: Vec::new(),
            uptime: Duration::ZERO,
            drops: BTreeMap::new(),
            counters: BTreeMap::new(),
            kernel: Fates::new(),
            queue: 0,
            observed: Observed::default(),
            lost: Vec::new(),
            unused: Vec::new(),
            strangers: Vec::new(),
            ordinary_priority: false,
        }
    }
}

/// A cluster as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusView {
    /// What the daemon knows.
    pub facts: ClusterFacts,
    /// What the engine knows.
    pub snapshot: Snapshot,
}

impl StatusView {
    /// Everything that was dropped, by reason, by driver and engine.
    #[must_use]
    pub fn drops(&self) -> BTreeMap<&'static str, u64> {
        let mut drops = self.facts.drops.clone();
        drops.extend(split(&self.snapshot.counters).0);
        drops
    }

    /// What is counted and is no drop.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        let mut counters = self.facts.counters.clone();
        counters.extend(split(&self.snapshot.counters).1);
        // Those that were not counted yet are there with 0.
        for fate in Fate::ALL {
            let counted = self.facts.kernel.get(&fate).copied().unwrap_or_default();
            let [packets, bytes] = kernel_names(fate);
            counters.extend([(packets, counted.packets), (bytes, counted.bytes)]);
        }
        counters
    }
}

/// What is counted of a fate, in the status.
const fn kernel_names(fate: Fate) -> [&'static str; 2] {
    match fate {
        Fate::Known => ["kernel_known_packets", "kernel_known_bytes"],
        Fate::Admitted => ["kernel_admitted_packets", "kernel_admitted_bytes"],
        Fate::Foreign => ["kernel_foreign_packets", "kernel_foreign_bytes"],
        Fate::Pinned => ["kernel_pinned_packets", "kernel_pinned_bytes"],
        Fate::NotService => ["kernel_not_service_packets", "kernel_not_service_bytes"],
        Fate::TooManyErrors => ["kernel_too_many_errors_packets", "kernel_too_many_errors_bytes"],
        Fate::Unasked => ["kernel_unasked_packets", "kernel_unasked_bytes"],
        Fate::NoLease => ["kernel_no_lease_packets", "kernel_no_lease_bytes"],
    }
}

type Counts = Vec<(&'static str, u64)>;

/// The engine's counters by name: drops, and the others. A new counter does not compile until it
/// has its place here.
fn split(counters: &Counters) -> (Counts, Counts) {
    let Counters {
        heartbeats_sent,
        heartbeats_received,
        frames_sent,
        replayed,
        old_incarnation,
        own_node_id,
        unusable,
        too_many_peers,
        pins_unusable,
        pins_astray,
        pins_unknown,
        admitted,
        held,
        held_admitted,
        dropped_foreign,
        dropped_pinned,
        dropped_no_right,
        dropped_held_too_long,
        dropped_held_too_many,
        dropped_maybe_answered,
        dropped_sticky_full,
        fenced,
        overlaps,
    } = *counters;
    let drops = vec![
        ("replayed", replayed),
        ("old_incarnation", old_incarnation),
        ("own_node_id", own_node_id),
        ("unusable", unusable),
        ("too_many_peers", too_many_peers),
        ("pins_unusable", pins_unusable),
        ("pins_astray", pins_astray),
        ("pins_unknown", pins_unknown),
        ("packet_foreign", dropped_foreign),
        ("packet_pinned", dropped_pinned),
        ("packet_no_right", dropped_no_right),
        ("packet_held_too_long", dropped_held_too_long),
        ("packet_held_too_many", dropped_held_too_many),
        ("packet_maybe_answered", dropped_maybe_answered),
        ("packet_sticky_full", dropped_sticky_full),
    ];
    let others = vec![
        ("heartbeats_sent", heartbeats_sent),
        ("heartbeats_received", heartbeats_received),
        ("frames_sent", frames_sent),
        ("admitted", admitted),
        ("held", held),
        ("held_admitted", held_admitted),
        ("fenced", fenced),
        ("overlaps", overlaps),
    ];
    (drops, others)
}
