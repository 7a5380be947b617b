//! What the front ends have in common: how values are read from text, and facts put into words.

use core::net::IpAddr;
use core::time::Duration;
use std::path::Path;

use nlb_engine::manage::{BucketView, Difference, Explanation};
use nlb_protocol::frame::Health;
use nlb_protocol::{Bucket, MacMode, NodeId};
use nlb_varlink::OTHER_KEYS;

use super::request::ManageError;
use crate::weight::WeightSource;

/// Nodes by id and name, as far as the name is known.
pub(super) type Names = [(NodeId, String)];

pub(super) fn invalid(field: &'static str, found: impl ToString, allowed: &str) -> ManageError {
    ManageError::InvalidValue { field, found: found.to_string(), allowed: allowed.to_owned() }
}

pub(super) fn address(text: &str) -> Result<IpAddr, ManageError> {
    let allowed = "an IPv4 or IPv6 address like 192.0.2.50 or 2001:db8::50";
    text.parse().map_err(|_| invalid("address", text, allowed))
}

pub(super) fn addresses(texts: &[String]) -> Result<Vec<IpAddr>, ManageError> {
    texts.iter().map(|text| address(text)).collect()
}

/// `None`: manual, with the weight that the node has.
pub(super) fn weight_source(mode: &str) -> Result<Option<WeightSource>, ManageError> {
    const MODES: &str = "manual, loadavg, loadavg5, loadavg15, cpu, memory, connections or command";
    match WeightSource::measured(mode) {
        Some(source) => Ok(Some(source)),
        None if mode == "manual" => Ok(None),
        None => Err(invalid("mode", mode, MODES)),
    }
}

pub(super) fn mac_mode(text: &str) -> Result<MacMode, ManageError> {
    match text.to_ascii_lowercase().as_str() {
        "unicast" => Ok(MacMode::Unicast),
        "multicast" => Ok(MacMode::Multicast),
        "igmp" => Ok(MacMode::Igmp),
        _ => Err(invalid("mode", text, "unicast, multicast or igmp")),
    }
}

/// What the checks of a service say of it.
pub(crate) fn health_name(health: Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Well => "well",
        Health::Ill => "ill",
    }
}

/// In what a node is configured otherwise than this one.
pub(super) fn difference(difference: &Difference) -> String {
    let mode = |code: u8| match MacMode::from_code(code) {
        Some(mode) => format!("{mode:?}"),
        None => format!("unknown ({code})"),
    };
    match difference {
        Difference::Heartbeat { here_ms, there_ms } => {
            format!("heartbeat_ms {there_ms} there, {here_ms} here")
        }
        Difference::DeadAfter { here_ms, there_ms } => {
            format!("dead_after_ms {there_ms} there, {here_ms} here")
        }
        Difference::Mode { here, there } => {
            format!("mode {} there, {} here", mode(*there), mode(*here))
        }
        Difference::Mac { here, there } => format!("cluster MAC {there} there, {here} here"),
        Difference::Addresses => "other service addresses".to_owned(),
        Difference::Ports => "other ports".to_owned(),
        Difference::Keys => OTHER_KEYS.to_owned(),
    }
}

pub(super) fn text(path: &Path) -> String {
    path.display().to_string()
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A bucket's index, which is below 4096.
pub(super) fn number(bucket: Bucket) -> u16 {
    u16::try_from(bucket.index()).unwrap_or(u16::MAX)
}

/// The name of a node, empty while it is not known.
pub(super) fn name(node: NodeId, names: &Names) -> String {
    let found = names.iter().find(|(id, _)| *id == node);
    found.map(|(_, name)| name.clone()).unwrap_or_default()
}

/// Neighbouring buckets that agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) owner: Option<NodeId>,
    pub(super) accepted_by: Option<NodeId>,
}

/// Neighbouring buckets that agree become one range.
pub(super) fn ranges(buckets: &[BucketView]) -> Vec<Range> {
    let same = |a: &BucketView, b: &BucketView| {
        a.owner == b.owner
            && a.accepted_by == b.accepted_by
            && a.bucket.index() + 1 == b.bucket.index()
    };
    let range = |run: &[BucketView]| {
        let (first, last) = (run.first()?, run.last()?);
        Some(Range {
            first: number(first.bucket),
            last: number(last.bucket),
            owner: first.owner,
            accepted_by: first.accepted_by,
        })
    };
    buckets.chunk_by(same).filter_map(range).collect()
}

/// Why the client goes where it goes, in a sentence.
pub(super) fn because(e: &Explanation, names: &Names) -> String {
    let who = |node: NodeId| {
        let name = name(node, names);
        if name.is_empty() { format!("node {node}") } else { name }
    };
    let bucket = e.bucket;
    if let Some(node) = e.pinned_to {
        let node = who(node);
        return format!("{node} keeps the client, although bucket {bucket} is another's now");
    }
    if let (Some(seen), Some(node)) = (e.sticky_here, e.node) {
        let (node, seen) = (who(node), seen.as_secs());
        return format!("{node} knows the client, which was last seen {seen} s ago");
    }
    match (e.owner, e.accepted_by) {
        (None, _) => format!("no node is active, so nobody has bucket {bucket}"),
        (Some(owner), None) => {
            format!("bucket {bucket} is on its way to {}, which may hold the packet", who(owner))
        }
        (Some(owner), Some(node)) if owner == node => {
            format!("the table gives bucket {bucket} to {}", who(owner))
        }
        (Some(owner), Some(node)) => {
            let (owner, node) = (who(owner), who(node));
            format!("{node} still accepts bucket {bucket}, which is to become {owner}'s")
        }
    }
}
