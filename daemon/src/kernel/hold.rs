//! The last thing that a process that restarts does to the kernel, and the first that the next
//! one asks it (SPEC 6.11.3).

use core::net::IpAddr;
use core::time::Duration;
use std::fmt::Write as _;
use std::io;

use super::netlink::Query;
use super::probe::Capabilities;
use super::ruleset::{GATE, sticky_sets};
use super::spec::Interface;
use super::tool::{Running, ToolError};

/// Has the gate stay open on these interfaces for so long although no heartbeat leaves. The first
/// heartbeat that does puts the usual lease in its place.
///
/// # Errors
/// When nft does not do it: then the gate closes as always.
pub async fn extend_lease(
    capabilities: &Capabilities,
    cluster: &str,
    interfaces: &[Interface],
    lease: Duration,
) -> Result<(), ToolError> {
    let mut text = String::new();
    let set = format!("netdev {GATE} lease.{cluster}");
    for interface in interfaces {
        let (name, millis) = (interface.name(), lease.as_millis());
        // An element's time is not changed by adding it again, and only what is there goes.
        let add = format!("add element {set} {{ \"{name}\" timeout {millis}ms }}");
        // Writing to a String does not fail.
        let _ = writeln!(text, "{add}\ndelete element {set} {{ \"{name}\" }}\n{add}");
    }
    Running::start(&capabilities.nft, &["-f", "-"], text)?.finish().await.map(drop)
}

/// Closes the gate on these interfaces.
///
/// # Errors
/// When nft does not do it.
pub async fn end_lease(capabilities: &Capabilities, cluster: &str) -> Result<(), ToolError> {
    let text = format!("flush set netdev {GATE} lease.{cluster}\n");
    Running::start(&capabilities.nft, &["-f", "-"], text)?.finish().await.map(drop)
}

/// Whom the kernel keeps, each with how long it does so without a packet.
///
/// # Errors
/// When it cannot be asked.
pub async fn kept_clients(cluster: &str) -> io::Result<Vec<(IpAddr, Duration)>> {
    let mut query = Query::open()?;
    let mut clients = Vec::new();
    for set in sticky_sets(cluster) {
        clients.extend(query.sticky(&set).await?);
    }
    Ok(clients)
}
