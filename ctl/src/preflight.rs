//! `nlbctl preflight`: whether this host, its kernel, its hypervisor and its network are fit for a
//! cluster, and what to paste into switches and routers.
//!
//! Facts are read below a root folder, so that tests have hosts of their own, and judged by pure
//! functions. Nothing is changed on the host.

mod ethertype;
mod host;
mod hypervisor;
mod kernel;
mod peers;
mod querier;
mod switch;

use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use nlb_varlink::{Cluster, Connection, Status};
use serde::Serialize;

use crate::args::Mode;
use crate::render::Paint;

pub use switch::{Network, advice};

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Look at it: it may be right here.
    Warn,
    /// The cluster would not work.
    Fail,
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How good it is.
    pub level: Level,
    /// What was looked at.
    pub topic: String,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub todo: Option<String>,
}

impl Finding {
    fn ok(topic: &str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, topic: topic.to_owned(), found: found.into(), todo: None }
    }

    fn warn(topic: &str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        let todo = Some(todo.into());
        Self { level: Level::Warn, topic: topic.to_owned(), found: found.into(), todo }
    }

    fn fail(topic: &str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { level: Level::Fail, ..Self::warn(topic, found, todo) }
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Question {
    /// The interface to the other servers; those of the cluster, or all real ones, if not named.
    pub interface: Option<String>,
    /// Service addresses.
    pub addresses: Vec<IpAddr>,
    /// How frames reach every server.
    pub mode: Option<Mode>,
    /// The number of the cluster.
    pub id: Option<u16>,
    /// How long to listen for an IGMP querier; for other servers, three seconds at most.
    pub listen: Duration,
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst of the findings.
    pub verdict: Level,
    /// One after the other.
    pub findings: Vec<Finding>,
    /// What to paste into switches and routers, by vendor.
    pub network: Vec<Network>,
}

/// Looks at everything. The daemon is asked if it runs.
pub async fn run(root: &Path, socket: &Path, question: &Question) -> Report {
    let status = match Connection::connect(socket).await {
        Ok(mut daemon) => daemon.status().await.ok(),
        Err(_) => None,
    };
    let cluster = status.as_ref().and_then(|status| status.clusters.first());
    let mode = question.mode.or(cluster.and_then(mode_of)).unwrap_or(Mode::Unicast);
    let interfaces = match (&question.interface, cluster) {
        (Some(interface), _) => vec![interface.clone()],
        (None, Some(cluster)) => cluster.interfaces.clone(),
        (None, None) => host::interfaces(root),
    };
    let mut findings = kernel::findings(root).await;
    if interfaces.is_empty() {
        let todo = "name the one to the other servers: --interface IF";
        findings.push(Finding::fail("interface", "no Ethernet interface was found", todo));
    }
    for interface in &interfaces {
        findings.extend(host::interface(root, interface, mode));
        if !host::exists(root, interface) {
            continue;
        }
        findings.extend(host::vlan_offloads(interface).await);
        findings.extend(host::settings(root, interface));
    }
    findings.extend(host::programs(root));
    findings.push(hypervisor::finding(root, mode));
    findings.extend(listened(question, status.as_ref(), mode, &interfaces).await);
    findings.extend(peers::findings(status.as_ref()));
    let id = question.id.or(cluster.map(|cluster| cluster.id));
    let mut addresses: Vec<_> = question.addresses.iter().map(ToString::to_string).collect();
    if addresses.is_empty() {
        addresses = cluster.map(|cluster| cluster.addresses.clone()).unwrap_or_default();
    }
    // A cluster MAC that somebody configured is known to the daemon only.
    let mac = match (cluster, question.id, question.mode) {
        (Some(cluster), None, None) => cluster.mac.clone(),
        _ => switch::mac(mode, id),
    };
    let verdict = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    Report { verdict, findings, network: advice(mode, id, &mac, &addresses) }
}

/// What is heard, on all interfaces at the same time.
async fn listened(
    question: &Question,
    status: Option<&Status>,
    mode: Mode,
    interfaces: &[String],
) -> Vec<Finding> {
    let clusters = status.map_or(&[][..], |status| &status.clusters);
    let heard = interfaces.iter().map(|interface| async move {
        let servers = ethertype::findings(interface, question.listen, clusters, question.id);
        if mode != Mode::Igmp {
            return servers.await;
        }
        let (mut findings, querier) =
            tokio::join!(servers, querier::finding(interface, question.listen));
        findings.push(querier);
        findings
    });
    futures_util::future::join_all(heard).await.concat()
}

fn mode_of(cluster: &Cluster) -> Option<Mode> {
    match cluster.mode.as_str() {
        "Unicast" => Some(Mode::Unicast),
        "Multicast" => Some(Mode::Multicast),
        "Igmp" => Some(Mode::Igmp),
        _ => None,
    }
}

/// The report for people.
#[must_use]
pub fn render(report: &Report, paint: Paint) -> String {
    let mut text = match report.verdict {
        Level::Ok => format!("{}: this server is ready.\n\n", paint.good("ok")),
        Level::Warn => {
            format!("{}: this server is ready; look at some things.\n\n", paint.warn("warn"))
        }
        Level::Fail => format!("{}: this server is NOT ready.\n\n", paint.bad("fail")),
    };
    for Finding { level, topic, found, todo } in &report.findings {
        let level = match level {
            Level::Ok => paint.good("ok  "),
            Level::Warn => paint.warn("warn"),
            Level::Fail => paint.bad("fail"),
        };
        text.push_str(&format!("{level}  {topic}: {found}\n"));
        for line in todo.iter().flat_map(|todo| todo.lines()) {
            text.push_str(&format!("        {line}\n"));
        }
    }
    for network in &report.network {
        text.push_str(&format!("\n# {}\n", network.device));
        for line in network.lines.lines() {
            text.push_str(&format!("{line}\n"));
        }
    }
    text
}

/// The text of a file below the root, without the line's end; `None` if it cannot be read.
fn read(root: &Path, path: impl AsRef<Path>) -> Option<String> {
    let text = std::fs::read_to_string(root.join(path)).ok()?;
    Some(text.trim().to_owned())
}

/// Whether somebody waits at a terminal, who wants to know why it takes so long.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}
