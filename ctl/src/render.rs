//! Answers in words. Pure: what comes in decides what comes out.

mod paint;
mod status;
pub(crate) mod time;

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use nlb_varlink::{
    Buckets, Changed, Checked, Clients, Event, Explanation, InterfaceChange, NodeName,
};

pub use paint::Paint;
pub(crate) use status::{NO_CLUSTER, name, problems, share};
pub use status::{is_well, nodes, size, status};

/// How wide running text gets: what a terminal has.
const WIDTH: usize = 80;

/// A table without lines; the columns named in `right` are numbers.
fn table(header: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().map(ToString::to_string));
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if index == 0 { 2 } else { 0 }, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A node by its name, or by its id while the name is not known.
fn who(node: &NodeName) -> &str {
    if node.name.is_empty() { &node.id } else { &node.name }
}

fn who_or(node: &Option<NodeName>, nobody: &str) -> String {
    node.as_ref().map_or(nobody, |node| who(node)).to_owned()
}

/// `1 client`, `2 clients`.
fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// Which node has which buckets: ranges, by owner.
#[must_use]
pub fn buckets(buckets: &Buckets) -> String {
    // By owner and, while buckets move, by who still accepts them.
    let mut groups: BTreeMap<(String, Option<String>), (u32, Vec<String>)> = BTreeMap::new();
    for range in &buckets.ranges {
        let owner = who_or(&range.owner, "nobody");
        let moving = range.owner != range.accepted_by;
        let accepted = moving.then(|| who_or(&range.accepted_by, "nobody yet"));
        let (total, ranges) = groups.entry((owner, accepted)).or_default();
        *total += u32::from(range.last) - u32::from(range.first) + 1;
        ranges.push(if range.first == range.last {
            range.first.to_string()
        } else {
            format!("{}-{}", range.first, range.last)
        });
    }
    let mut text = format!("{}: 4096 buckets\n", buckets.cluster);
    for ((owner, accepted), (total, ranges)) in groups {
        let share = f64::from(total) * 100.0 / 4096.0;
        let accepted = accepted.map(|node| format!(", accepted by {node}")).unwrap_or_default();
        text.push_str(&format!("\n{owner}: {total} ({share:.1} %){accepted}\n"));
        text.push_str(&wrap(&ranges, ", "));
    }
    text
}

/// Items in lines of at most [`WIDTH`] characters, indented by two.
fn wrap(items: &[String], separator: &str) -> String {
    let mut text = String::new();
    let mut line = String::new();
    for (index, item) in items.iter().enumerate() {
        let separator = if index + 1 == items.len() { "" } else { separator.trim_end() };
        if !line.is_empty() && line.len() + item.len() + 4 > WIDTH {
            text.push_str(&format!("  {}\n", line.trim_end()));
            line.clear();
        }
        line.push_str(&format!("{item}{separator} "));
    }
    if !line.is_empty() {
        text.push_str(&format!("  {}\n", line.trim_end()));
    }
    text
}

/// The clients of a node.
#[must_use]
pub fn clients(clients: &Clients) -> String {
    if clients.clients.is_empty() {
        return format!("{}: this node keeps no client.\n", clients.cluster);
    }
    let mut text = format!("{}: {} here", clients.cluster, count(clients.total, "client"));
    if clients.total > clients.clients.len() as u64 {
        text.push_str(&format!(", {} of them shown (--limit)", clients.clients.len()));
    }
    text.push_str("\n\n");
    let row = |client: &nlb_varlink::Client| {
        vec![
            client.address.clone(),
            client.bucket.to_string(),
            who(&client.node).to_owned(),
            client.seen_ms.map_or_else(|| "-".to_owned(), time::ago),
            if client.pinned { "pinned: the bucket is another's" } else { "" }.to_owned(),
        ]
    };
    let rows = clients.clients.iter().map(row).collect();
    text.push_str(&table(&["CLIENT", "BUCKET", "NODE", "SEEN", ""], &[1], rows));
    text
}

/// Which node takes a client, and why.
#[must_use]
pub fn explanation(e: &Explanation) -> String {
    let mut text = match &e.node {
        Some(node) => format!("{} goes to {} in {}.\n", e.address, who(node), e.cluster),
        None => format!("{} goes to no node of {} right now.\n", e.address, e.cluster),
    };
    text.push_str(&format!("Because {}.\n\n", e.because));
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<22}{value}\n"));
    line("hash", e.hash.clone());
    line("bucket", format!("{} of 4096", e.bucket));
    line("owner by the table", who_or(&e.owner, "nobody: no node is active"));
    line("accepts new clients", who_or(&e.accepted_by, "nobody yet: it changes hands"));
    line("pinned to", who_or(&e.pinned_to, "no node"));
    let known = e.sticky_here_ms.map(|ms| format!("yes, last seen {}", time::ago(ms)));
    line("known to this node", known.unwrap_or_else(|| "no".to_owned()));
    line("if that node died", if_it_died(e));
    text
}

/// What would become of the client.
fn if_it_died(e: &Explanation) -> String {
    match (&e.node, &e.successor) {
        (Some(node), Some(next)) => format!(
            "{} takes it; connections open with {} break, new ones succeed",
            who(next),
            who(node)
        ),
        (_, None) => "nobody is left to take it".to_owned(),
        (None, Some(next)) => format!("{} takes it", who(next)),
    }
}

/// What a change did: the daemon's own notes, below what is said here.
#[must_use]
pub fn changed(changed: &Changed, done: &str, same: &str) -> String {
    let mut text = format!("{}\n", if changed.changed { done } else { same });
    changed.notes.iter().for_each(|note| text.push_str(&format!("{note}\n")));
    text
}

/// An interface that was added, and what to do on the other servers: the same, with the same
/// `options`.
#[must_use]
pub fn added(interface: &str, options: &[String], change: &InterfaceChange) -> String {
    let cluster = &change.cluster;
    if !change.changed {
        return format!("{interface} served {cluster} already: nothing was changed.\n");
    }
    let news = if change.whole_cluster { ", which is new on this server" } else { "" };
    let mut text = format!("{interface} serves {cluster} now{news}.\nKept in {}.\n", change.file);
    change.notes.iter().for_each(|note| text.push_str(&format!("warning: {note}\n")));
    let Some(key) = change.key_file.as_deref() else {
        text.push_str("The cluster runs without a key: anybody on the segment can join it.\n");
        return text;
    };
    if change.whole_cluster {
        let made = if change.key_created { "A new key was made" } else { "The key was there" };
        let options: String = options.iter().map(|option| format!(" {option}")).collect();
        let which = if key == format!("/etc/nlbd/{cluster}.key") {
            format!(" {cluster}")
        } else {
            format!(" --file {key}")
        };
        // Two clusters of one name with two keys would both answer for the address.
        text.push_str(&format!(
            "\n{made}: {key}\nEvery server of the cluster needs this very key. For each other \
             server, first:\n    nlbctl key export{which} | ssh root@SERVER nlbctl key \
             import{which}\nthen, on that server:\n    nlbctl addif {interface} --cluster \
             {cluster}{options}\n"
        ));
        if change.key_created {
            text.push_str(
                "If the cluster runs on another server already, bring its key here instead.\n",
            );
        }
    }
    text
}

/// An interface that was removed.
#[must_use]
pub fn removed(interface: &str, change: &InterfaceChange) -> String {
    let cluster = &change.cluster;
    if !change.changed {
        return format!("{interface} did not serve {cluster}: nothing was changed.\n");
    }
    if change.whole_cluster {
        format!("{interface} was the last interface of {cluster}: this server has left it.\n")
    } else {
        format!("{interface} no longer serves {cluster}. Kept in {}.\n", change.file)
    }
}

/// A configuration that is valid.
#[must_use]
pub fn checked(checked: &Checked) -> String {
    let clusters = match checked.clusters.as_slice() {
        [] => "no cluster".to_owned(),
        clusters => clusters.join(", "),
    };
    let mut text =
        format!("The configuration is valid: {clusters}.\nRead: {}\n", checked.files.join(", "));
    checked.warnings.iter().for_each(|warning| text.push_str(&format!("warning: {warning}\n")));
    text
}

/// Events that are missing between two others, and why.
#[must_use]
pub fn gap(missing: u64, why: &str) -> String {
    format!("({} {why})\n", count(missing, "event"))
}

/// An event, and why it happened.
#[must_use]
pub fn event(event: &Event, paint: Paint) -> String {
    let time = paint.dim(&time::utc(event.time_ms));
    let kind = format!("{:<13}", event.kind);
    let kind = match event.kind.as_str() {
        "peer-gone" | "peer-settings" | "other-key" | "other-version" | "overlap"
        | "own-node-id" | "rules-refused" | "interface-unusable" => paint.bad(&kind),
        "converged" => paint.good(&kind),
        _ => kind,
    };
    // Some words hold the cause already.
    let cause = event.cause.as_ref().filter(|cause| !event.text.contains(*cause));
    let cause = cause.map(|cause| paint.dim(&format!(" [because {cause}]"))).unwrap_or_default();
    format!("{time}  {}  {kind}  {}{cause}\n", event.cluster, event.text)
}
