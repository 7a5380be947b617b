//! The stage, `table inet nlb`: which packets for the service are accepted, dropped, or put to
//! the queue for user space to decide (SPEC 7.2).

use core::fmt::{Arguments, Display};
use core::net::IpAddr;
use core::time::Duration;

use nlb_protocol::ids::BUCKETS;

use super::batch::{Batch, Table, chain_of};
use super::count::{self, Fate, count};
use super::mark::Mark;
use super::{Decision, Emptied, indices};
use crate::config::Port;
use crate::kernel::probe::QueuePath;
use crate::kernel::spec::{ClusterRules, Interface};

/// Before the gate, which lets nothing pass that the stage did not.
const INGRESS: i32 = -510;
/// Before defragmentation (-400) and connection tracking (-200): what is not ours costs neither.
const QUEUE: i32 = -450;
/// Where a packet goes on that user space accepted: right behind the queue.
const BEHIND: i32 = -449;
/// The same behind iptables' raw table (-300), before connection tracking.
const BEHIND_RAW: i32 = -290;
/// Before everybody else's rules for packets that are delivered or handed on: with what did not
/// meet the hooks above, none of them has to do.
const REMAINS: i32 = -500;

/// How often the kernel looks for clients whose time is over. They count for nothing before that,
/// but take room. It looks through a whole set at once, which on a kernel without preemption
/// nobody interrupts: 60 ms for a million, and by itself it would do so every second.
const GC_INTERVAL: Duration = Duration::from_secs(30);

/// The most ICMP errors of a family that user space is asked about in a second. All of them come to
/// every node, whoever's client they concern, and wait in the queue that new clients wait in; a
/// large site sees some ten in a second.
const ERRORS: u32 = 1000;

/// The hooks behind prerouting, and what their chains are called.
const REMAINING: [&str; 2] = ["input", "forward"];

const STAGE: Table = Table::Stage;

pub(super) fn filter(cluster: &str) -> String {
    format!("filter.{cluster}")
}

/// The sets that keep clients, for IPv4 and IPv6.
pub(crate) fn sticky(cluster: &str) -> [String; 2] {
    [format!("sticky4.{cluster}"), format!("sticky6.{cluster}")]
}

/// The sets of clients that other nodes keep.
pub(super) fn foreign(cluster: &str) -> [String; 2] {
    [format!("foreign4.{cluster}"), format!("foreign6.{cluster}")]
}

/// A duration as nft writes it.
pub(super) fn millis(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// How long the kernel keeps a client.
pub(super) fn timeout(rules: &ClusterRules) -> String {
    millis(rules.sticky_timeout)
}

/// The service addresses, as sets of a table.
pub(super) fn addresses(batch: &mut Batch, table: Table, rules: &ClusterRules) {
    let cluster = &rules.cluster;
    let (v4, v6): (Vec<&IpAddr>, Vec<&IpAddr>) = rules.addresses.iter().partition(|a| a.is_ipv4());
    replace(batch, table, &format!("addr4.{cluster}"), "type ipv4_addr;", v4);
    replace(batch, table, &format!("addr6.{cluster}"), "type ipv6_addr;", v6);
}

pub(super) fn remove_addresses(batch: &mut Batch, table: Table, rules: &ClusterRules) {
    let cluster = &rules.cluster;
    batch.remove_set(table, &format!("addr4.{cluster}"), "type ipv4_addr;");
    batch.remove_set(table, &format!("addr6.{cluster}"), "type ipv6_addr;");
}

pub(super) fn replace<T: Display>(
    batch: &mut Batch,
    table: Table,
    name: &str,
    definition: &str,
    elements: impl IntoIterator<Item = T>,
) {
    batch.add_set(table, name, definition);
    batch.flush_set(table, name);
    batch.add_elements(table, name, elements);
}

/// The sets beside the addresses, with their definitions.
fn sets(rules: &ClusterRules) -> [(String, String); 7] {
    let ClusterRules { cluster, sticky_limit, foreign_limit, .. } = rules;
    let ([sticky4, sticky6], [foreign4, foreign6]) = (sticky(cluster), foreign(cluster));
    let timed = |kind, size| {
        let gc = GC_INTERVAL.as_secs();
        format!("type {kind}; size {size}; flags dynamic,timeout; gc-interval {gc}s;")
    };
    [
        (sticky4, timed("ipv4_addr", sticky_limit)),
        (sticky6, timed("ipv6_addr", sticky_limit)),
        (foreign4, timed("ipv4_addr", foreign_limit)),
        (foreign6, timed("ipv6_addr", foreign_limit)),
        (filter(cluster), format!("type mark; size {BUCKETS};")),
        (format!("tcp.{cluster}"), "type inet_service;".to_owned()),
        (format!("udp.{cluster}"), "type inet_service;".to_owned()),
    ]
}

/// Takes sets of clients away, and every rule that names them.
pub(super) fn remove_sets(
    batch: &mut Batch,
    rules: &ClusterRules,
    path: QueuePath,
    which: Emptied,
) {
    let cluster = &rules.cluster;
    behind_chain(batch, rules, path);
    batch.chain(STAGE, &format!("clients.{cluster}"));
    let (kept, others) = (sticky(cluster), foreign(cluster));
    let gone = |name: &String| {
        (which.sticky && kept.contains(name)) || (which.foreign && others.contains(name))
    };
    for (name, definition) in sets(rules).iter().filter(|(name, _)| gone(name)) {
        batch.remove_set(STAGE, name, definition);
    }
}

/// What [`remove_sets`] took away is there again, the sets without elements.
pub(super) fn put_back_sets(
    batch: &mut Batch,
    rules: &ClusterRules,
    decision: &Decision,
    path: QueuePath,
) {
    for (name, definition) in sets(rules) {
        batch.add_set(STAGE, &name, &definition);
    }
    behind(batch, rules, decision, path);
    clients(batch, rules, decision, Refresh::On);
}

pub(super) fn install(
    batch: &mut Batch,
    rules: &ClusterRules,
    decision: &Decision,
    path: QueuePath,
) {
    let ClusterRules { cluster, mac, .. } = rules;
    addresses(batch, STAGE, rules);
    for (name, definition) in sets(rules) {
        batch.add_set(STAGE, &name, &definition);
    }
    count::install(batch, STAGE, cluster);
    let ports = |wanted: fn(&Port) -> Option<u16>| rules.ports.iter().filter_map(wanted);
    let tcp = ports(|port| if let Port::Tcp(port) = port { Some(*port) } else { None });
    let udp = ports(|port| if let Port::Udp(port) = port { Some(*port) } else { None });
    replace(batch, STAGE, &format!("tcp.{cluster}"), "type inet_service;", tcp);
    replace(batch, STAGE, &format!("udp.{cluster}"), "type inet_service;", udp);
    replace_filter(batch, rules, decision);

    // From the end of a packet's way to its beginning: chains are there before rules name them.
    remains(batch, rules);
    behind(batch, rules, decision, path);
    queue(batch, rules, path);
    clients(batch, rules, decision, Refresh::On);
    service(batch, rules);
    for interface in &rules.interfaces {
        let chain = chain_of("in", cluster, interface);
        let device = interface.name();
        let hook = format!("ingress device \"{device}\" priority {INGRESS}");
        batch.base_chain(STAGE, &chain, &hook);
        batch.rule(STAGE, &chain, format_args!("ether daddr {mac} goto stage.{cluster}"));
    }
}

fn replace_filter(batch: &mut Batch, rules: &ClusterRules, decision: &Decision) {
    let name = filter(&rules.cluster);
    batch.flush_set(STAGE, &name);
    batch.add_elements(STAGE, &name, indices(&decision.filter));
}

/// Is it for the service at all?
fn service(batch: &mut Batch, rules: &ClusterRules) {
    let cluster = &rules.cluster;
    let ports = format!("ports.{cluster}");
    batch.chain(STAGE, &ports);
    if !rules.ports.is_empty() {
        let mut rule = |rule: Arguments<'_>| batch.rule(STAGE, &ports, rule);
        rule(format_args!("tcp dport @tcp.{cluster} goto clients.{cluster}"));
        rule(format_args!("udp dport @udp.{cluster} goto clients.{cluster}"));
        rule(format_args!("meta l4proto {{ icmp, ipv6-icmp }} goto clients.{cluster}"));
        // Later fragments carry no ports: they follow the address alone. Without the first one,
        // which must have a port of the cluster, nothing is made of them.
        rule(format_args!("ip frag-off & 0x1fff != 0 goto clients.{cluster}"));
        rule(format_args!("frag frag-off != 0 goto clients.{cluster}"));
        rule(format_args!("{} drop", count(Fate::NotService, cluster)));
    }

    let next = if rules.ports.is_empty() { "clients" } else { "ports" };
    let stage = format!("stage.{cluster}");
    batch.chain(STAGE, &stage);
    let mut rule = |rule: Arguments<'_>| batch.rule(STAGE, &stage, rule);
    let pass = format!("meta mark set 0x{:08x} accept", Mark::passed(rules.queue));
    rule(format_args!("ip6 daddr @addr6.{cluster} icmpv6 type nd-neighbor-solicit {pass}"));
    rule(format_args!(
        "icmpv6 type {{ nd-router-solicit, nd-router-advert, nd-neighbor-solicit, \
         nd-neighbor-advert, nd-redirect }} drop"
    ));
    rule(format_args!("ip daddr @addr4.{cluster} goto {next}.{cluster}"));
    rule(format_args!("ip6 daddr @addr6.{cluster} goto {next}.{cluster}"));
    rule(format_args!("{} drop", count(Fate::NotService, cluster)));
}

/// Whether packets of clients that the kernel keeps refresh their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refresh {
    /// As a rule.
    On,
    /// While clients are taken out that must not come back by it.
    Off,
}

/// Whose client is it?
pub(super) fn clients(
    batch: &mut Batch,
    rules: &ClusterRules,
    decision: &Decision,
    refresh: Refresh,
) {
    let ClusterRules { cluster, queue, .. } = rules;
    let chain = format!("clients.{cluster}");
    batch.chain(STAGE, &chain);
    let mut rule = |rule: Arguments<'_>| batch.rule(STAGE, &chain, rule);
    if decision.divert {
        let mark = Mark::Divert.waiting(*queue);
        rule(format_args!("meta mark set 0x{mark:08x} accept comment \"all to the queue\""));
        return;
    }
    let (error, too_many) = (Mark::Error.waiting(*queue), count(Fate::TooManyErrors, cluster));
    for errors in ["icmp type { 3, 4, 11, 12 }", "icmpv6 type { 1, 2, 3, 4 }"] {
        rule(format_args!(
            "{errors} limit rate over {ERRORS}/second burst {ERRORS} packets {too_many} drop"
        ));
        rule(format_args!("{errors} meta mark set 0x{error:08x} accept"));
    }
    let ([sticky4, sticky6], [foreign4, foreign6]) = (sticky(cluster), foreign(cluster));
    let pass = format!("meta mark set 0x{:08x} accept", Mark::passed(*queue));
    for (source, set) in [("ip saddr", sticky4), ("ip6 saddr", sticky6)] {
        let (timeout, known) = (timeout(rules), count(Fate::Known, cluster));
        match refresh {
            Refresh::On => rule(format_args!(
                "{source} @{set} update @{set} {{ {source} timeout {timeout} }} {known} {pass}"
            )),
            Refresh::Off => rule(format_args!("{source} @{set} {known} {pass}")),
        }
    }
    // Looked at only: what passes here does not prolong a refusal (SPEC 6.9).
    for (source, set) in [("ip saddr", &foreign4), ("ip6 saddr", &foreign6)] {
        rule(format_args!("{source} @{set} {} drop", count(Fate::Pinned, cluster)));
    }
    // The mark holds the bucket for the next rule. (A verdict map over `jhash` makes nft 1.0.6
    // crash on listing.)
    for source in ["ip saddr", "ip6 saddr"] {
        let seed = decision.seed;
        rule(format_args!("meta mark set jhash {source} mod {BUCKETS} seed 0x{seed:x}"));
    }
    let client = Mark::Client.waiting(*queue);
    rule(format_args!("meta mark @{} meta mark set 0x{client:08x} accept", filter(cluster)));
    rule(format_args!("{} drop", count(Fate::Foreign, cluster)));
}

/// To user space. Without a listener, and when the queue is full, the packet is dropped.
fn queue(batch: &mut Batch, rules: &ClusterRules, path: QueuePath) {
    let ClusterRules { cluster, queue, .. } = rules;
    let chain = format!("queue.{cluster}");
    match path {
        QueuePath::Nft => {
            batch.base_chain(STAGE, &chain, &format!("prerouting priority {QUEUE}"));
            for mark in Mark::ALL {
                let (waiting, asked) = (mark.waiting(*queue), mark.asked(*queue));
                batch.rule(
                    STAGE,
                    &chain,
                    format_args!(
                        "meta mark 0x{waiting:08x} meta mark set 0x{asked:08x} queue num {queue}"
                    ),
                );
            }
        }
        // The chain in iptables' raw table does the same.
        QueuePath::Iptables => {}
    }
}

/// The chain of [`behind`], empty. Its name.
fn behind_chain(batch: &mut Batch, rules: &ClusterRules, path: QueuePath) -> String {
    let chain = format!("behind.{}", rules.cluster);
    let priority = match path {
        QueuePath::Nft => BEHIND,
        QueuePath::Iptables => BEHIND_RAW,
    };
    batch.base_chain(STAGE, &chain, &format!("prerouting priority {priority}"));
    chain
}

/// What user space accepted or refused.
fn behind(batch: &mut Batch, rules: &ClusterRules, decision: &Decision, path: QueuePath) {
    let ClusterRules { cluster, queue, .. } = rules;
    let chain = behind_chain(batch, rules, path);
    let mut rule = |rule: Arguments<'_>| batch.rule(STAGE, &chain, rule);
    let refused = Mark::refused(*queue);
    if !decision.divert {
        // Rules of their own: a full set ends the rule, and the mark must be cleared, or the
        // packet dropped, all the same.
        let asked = Mark::Client.asked(*queue);
        let kept = (asked, sticky(cluster), timeout(rules));
        let others = (refused, foreign(cluster), millis(rules.foreign_timeout));
        for (mark, sets, timeout) in [kept, others] {
            for (source, set) in ["ip saddr", "ip6 saddr"].iter().zip(sets) {
                rule(format_args!(
                    "meta mark 0x{mark:08x} update @{set} {{ {source} timeout {timeout} }}"
                ));
            }
        }
    }
    rule(format_args!(
        "meta mark 0x{refused:08x} {} drop comment \"another node keeps the client\"",
        count(Fate::Pinned, cluster)
    ));
    let list = |of: fn(Mark, u16) -> u32| {
        Mark::ALL.map(|mark| format!("0x{:08x}", of(mark, *queue))).join(", ")
    };
    rule(format_args!(
        "meta mark {{ {} }} meta mark set 0 {} accept",
        list(Mark::asked),
        count(Fate::Admitted, cluster)
    ));
    rule(format_args!(
        "meta mark {{ {} }} {} drop comment \"user space was not asked\"",
        list(Mark::waiting),
        count(Fate::Unasked, cluster)
    ));
}

/// Where prerouting was left out, nobody was asked: a bridge whose ports have their packets called
/// there before the bridge itself sees them (`bridge-nf-call-iptables`) calls it no second time.
/// Behind prerouting no packet has a mark of ours any more.
fn remains(batch: &mut Batch, rules: &ClusterRules) {
    let ClusterRules { cluster, queue, .. } = rules;
    for hook in REMAINING {
        let chain = format!("{hook}.{cluster}");
        batch.base_chain(STAGE, &chain, &format!("{hook} priority {REMAINS}"));
        batch.rule(
            STAGE,
            &chain,
            format_args!(
                "meta mark & 0x{:08x} == 0x{:08x} {} drop comment \"prerouting was left out\"",
                Mark::OF_QUEUE,
                Mark::any(*queue),
                count(Fate::Unasked, cluster)
            ),
        );
    }
}

pub(super) fn remove_interface(batch: &mut Batch, rules: &ClusterRules, interface: &Interface) {
    let chain = chain_of("in", &rules.cluster, interface);
    batch.empty_chain(STAGE, &chain);
    batch.delete_chain(STAGE, &chain);
}

/// When no chain of an interface leads to it any more.
pub(super) fn remove(batch: &mut Batch, rules: &ClusterRules) {
    let cluster = &rules.cluster;
    let chains = ["stage", "ports", "clients", "queue", "behind"].into_iter().chain(REMAINING);
    let chains: Vec<String> = chains.map(|chain| format!("{chain}.{cluster}")).collect();
    chains.iter().for_each(|chain| batch.empty_chain(STAGE, chain));
    chains.iter().for_each(|chain| batch.delete_chain(STAGE, chain));
    for (name, definition) in sets(rules) {
        batch.remove_set(STAGE, &name, &definition);
    }
    count::remove(batch, STAGE, cluster);
    remove_addresses(batch, STAGE, rules);
}
