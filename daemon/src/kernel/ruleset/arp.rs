//! The `table arp nlb`: the kernel says nothing of its own in the name of a service address, on
//! whatever interface (SPEC 2.4.4). The settings of the known interfaces and the gate say the same
//! for those; this holds for one that has just appeared too, which the kernel answers on at once,
//! before anybody could have set anything.
//!
//! Only for IPv4: of IPv6 the kernel answers for the addresses of the very interface that was
//! asked. The daemon's own answers leave through packet sockets, which do not pass here.

use super::batch::{Batch, Table};
use super::stage::replace;
use crate::kernel::spec::ClusterRules;

const ARP: Table = Table::Arp;
const ADDRESSES: &str = "type ipv4_addr;";
const HOOK: &str = "output priority 0";

fn set(rules: &ClusterRules) -> String {
    format!("addr4.{}", rules.cluster)
}

fn chain(rules: &ClusterRules) -> String {
    format!("out.{}", rules.cluster)
}

pub(super) fn install(batch: &mut Batch, rules: &ClusterRules) {
    if !rules.arp {
        return;
    }
    let (set, chain) = (set(rules), chain(rules));
    batch.add_table(ARP);
    replace(batch, ARP, &set, ADDRESSES, rules.addresses.iter().filter(|one| one.is_ipv4()));
    batch.base_chain(ARP, &chain, HOOK);
    batch.rule(ARP, &chain, format_args!("arp saddr ip @{set} drop"));
}

pub(super) fn remove(batch: &mut Batch, rules: &ClusterRules) {
    if !rules.arp {
        return;
    }
    let (set, chain) = (set(rules), chain(rules));
    batch.add_table(ARP);
    batch.base_chain(ARP, &chain, HOOK);
    batch.delete_chain(ARP, &chain);
    batch.remove_set(ARP, &set, ADDRESSES);
}
