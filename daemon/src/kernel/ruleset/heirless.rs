//! What an earlier life left in our tables that nobody goes on with: a cluster that is not
//! configured any more would go on to drop what its successor on the same address lets pass, and
//! an interface that is no longer one of a cluster would keep it from being removed.

use std::collections::BTreeSet;

use super::batch::{Batch, Table, interface_chain};
use crate::kernel::inventory::{Inventory, Names};
use crate::kernel::spec::ClusterRules;

/// The kind of those chains that belong to the way through iptables, not to a cluster.
const NOTE: &str = "made";

/// Takes away what belongs to none of these clusters, and the chains of `rules`'s cluster on
/// interfaces that it does not have.
pub(super) fn remove(
    batch: &mut Batch,
    found: &Inventory,
    stays: &BTreeSet<&str>,
    rules: &ClusterRules,
) {
    let Inventory { gate, stage, arp } = found;
    for (table, names) in [(Table::Stage, stage), (Table::Gate, gate), (Table::Arp, arp)] {
        let Names { chains, sets, counters } = names;
        let gone = |name: &&String| is_heirless(name, stays, rules);
        // Those that jump to each other are emptied before any of them goes.
        chains.iter().filter(gone).for_each(|chain| batch.empty_chain(table, chain));
        chains.iter().filter(gone).for_each(|chain| batch.delete_chain(table, chain));
        sets.iter().filter(gone).for_each(|set| batch.delete_set(table, set));
        counters.iter().filter(gone).for_each(|counter| batch.remove_counter(table, counter));
    }
}

/// Names are `KIND.CLUSTER`, and those of an interface's chains `KIND.CLUSTER.INTERFACE`. What is
/// named otherwise is none of ours.
fn is_heirless(name: &str, stays: &BTreeSet<&str>, rules: &ClusterRules) -> bool {
    let mut parts = name.splitn(3, '.');
    let (Some(kind), Some(cluster)) = (parts.next(), parts.next()) else { return false };
    if kind == NOTE {
        return false;
    }
    match parts.next() {
        _ if !stays.contains(cluster) => true,
        Some(interface) if cluster == rules.cluster => {
            !rules.interfaces.iter().any(|one| interface_chain(one) == interface)
        }
        _ => false,
    }
}
