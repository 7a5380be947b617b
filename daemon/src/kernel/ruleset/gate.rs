//! The gate, `table netdev nlb_gate`: the kernel takes cluster traffic in on an interface only
//! while heartbeats really leave through it, and no frame leaves that would teach anybody a
//! wrong address (SPEC 7.1).

use core::net::{IpAddr, Ipv6Addr};
use nlb_protocol::frame::{MAGIC, VERSION};

use super::batch::{Batch, Table, chain_of};
use super::count::{self, Fate, count};
use super::mark::Mark;
use super::stage::{addresses, millis};
use crate::kernel::spec::{ClusterRules, Interface};

/// Behind the stage, which says what it let pass. While somebody takes the rules away, a frame may
/// meet one of the two as it was and the other as it is. In this order that is no harm: without
/// the gate nobody takes frames to a foreign MAC, and without the stage's word the gate drops.
const INGRESS: i32 = -500;
/// Behind everybody else's rules: a heartbeat that those drop has not left.
const EGRESS: i32 = 510;
/// The type of a heartbeat (SPEC 4.2).
const HEARTBEAT: u8 = 1;
/// One element for each interface, and room for those that were there a moment ago.
const LEASE: &str = "type iface_index; size 64; flags dynamic,timeout;";

const GATE: Table = Table::Gate;

/// What the names of the lease's sets begin with.
const LEASE_SET: &str = "lease.";

fn lease(cluster: &str) -> String {
    format!("{LEASE_SET}{cluster}")
}

/// Whether a set is a lease: its elements come with heartbeats and from a process that restarts,
/// and are no rules.
pub(crate) fn is_lease(set: &str) -> bool {
    set.starts_with(LEASE_SET)
}

pub(super) fn install(batch: &mut Batch, rules: &ClusterRules) {
    let cluster = &rules.cluster;
    batch.add_set(GATE, &lease(cluster), LEASE);
    addresses(batch, GATE, rules);
    count::install(batch, GATE, cluster);
    for interface in &rules.interfaces {
        ingress(batch, rules, interface);
        egress(batch, rules, interface);
    }
}

fn ingress(batch: &mut Batch, rules: &ClusterRules, interface: &Interface) {
    let ClusterRules { cluster, mac, queue, .. } = rules;
    let chain = chain_of("in", cluster, interface);
    let device = interface.name();
    batch.base_chain(GATE, &chain, &format!("ingress device \"{device}\" priority {INGRESS}"));
    let mut rule = |rule: std::fmt::Arguments<'_>| batch.rule(GATE, &chain, rule);
    let open = format!("ether daddr {mac} iif @{}", lease(cluster));
    let passed = Mark::passed(*queue);
    // `pkttype set host`: IP takes frames to a foreign unicast MAC, TCP those to a multicast one.
    rule(format_args!(
        "{open} meta mark 0x{passed:08x} meta mark set 0 meta pkttype set host accept"
    ));
    let waiting = Mark::ALL.map(|mark| format!("0x{:08x}", mark.waiting(*queue))).join(", ");
    rule(format_args!("{open} meta mark {{ {waiting} }} meta pkttype set host accept"));
    // A neighbour that checks its cache asks the cluster MAC itself. The daemon answers, and its
    // packet socket sits behind this hook. The stage sees nothing but IP.
    rule(format_args!("{open} meta protocol arp meta pkttype set host accept"));
    rule(format_args!(
        "ether daddr {mac} {} drop comment \"no heartbeat left within the lease, or no stage\"",
        count(Fate::NoLease, cluster)
    ));
    // A packet for the service in any other frame, a broadcast for instance, would reach the
    // node without passing the stage.
    for (family, set) in [("ip", "addr4"), ("ip6", "addr6")] {
        rule(format_args!("{family} daddr @{set}.{cluster} drop"));
    }
}

fn egress(batch: &mut Batch, rules: &ClusterRules, interface: &Interface) {
    let ClusterRules { cluster, mac, ethertype, id, node, .. } = rules;
    let chain = chain_of("out", cluster, interface);
    let device = interface.name();
    batch.base_chain(GATE, &chain, &format!("egress device \"{device}\" priority {EGRESS}"));
    let mut rule = |rule: std::fmt::Arguments<'_>| batch.rule(GATE, &chain, rule);
    let raw_mac = raw(&mac.0);

    // Raw offsets: what nft makes of `ether saddr` asks for the type of the INCOMING interface,
    // which not every kernel knows here.
    rule(format_args!("@ll,48,48 0x{raw_mac} drop comment \"nobody sends from the cluster MAC\""));
    let [m0, m1] = MAGIC;
    let heartbeat = raw(&[m0, m1, VERSION, HEARTBEAT]);
    // Of this node: a guest of this host that is a node of the cluster too sends through here.
    rule(format_args!(
        "@ll,96,64 0x{ethertype:04x}{heartbeat}{:04x} @ll,176,64 0x{:016x} update @{} {{ oif timeout {} }} accept \
         comment \"a heartbeat leaves\"",
        id.0,
        node.0,
        lease(cluster),
        millis(rules.lease),
    ));
    // The daemon's own answers carry the cluster MAC inside (SPEC 2.4). Whatever the kernel says
    // for a service address carries the interface's.
    rule(format_args!(
        "meta protocol arp arp saddr ip @addr4.{cluster} arp saddr ether != {mac} drop"
    ));
    let targets: Vec<String> = rules
        .addresses
        .iter()
        .filter_map(|address| match address {
            IpAddr::V6(address) => Some(format!("0x{}", raw(&address.octets()))),
            IpAddr::V4(_) => None,
        })
        .collect();
    if targets.is_empty() {
        return;
    }
    let targets = targets.join(", ");
    rule(format_args!(
        "icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit }} ip6 saddr @addr6.{cluster} drop"
    ));
    rule(format_args!(
        "icmpv6 type nd-neighbor-solicit ip6 saddr {} @th,64,128 {{ {targets} }} drop \
         comment \"duplicate address detection\"",
        Ipv6Addr::UNSPECIFIED
    ));
    // The first option is a target link-layer address (type 2, length 1) with the cluster MAC. An
    // advertisement without it is too short for the match and falls to the rule behind.
    rule(format_args!(
        "icmpv6 type nd-neighbor-advert @th,64,128 {{ {targets} }} @th,192,64 0x0201{raw_mac} \
         accept"
    ));
    rule(format_args!("icmpv6 type nd-neighbor-advert @th,64,128 {{ {targets} }} drop"));
}

pub(super) fn remove_interface(batch: &mut Batch, rules: &ClusterRules, interface: &Interface) {
    for kind in ["in", "out"] {
        let chain = chain_of(kind, &rules.cluster, interface);
        batch.empty_chain(GATE, &chain);
        batch.delete_chain(GATE, &chain);
    }
}

/// When every chain of it has gone.
pub(super) fn remove(batch: &mut Batch, rules: &ClusterRules) {
    batch.remove_set(GATE, &lease(&rules.cluster), LEASE);
    count::remove(batch, GATE, &rules.cluster);
    super::stage::remove_addresses(batch, GATE, rules);
}

fn raw(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
