//! A whole cluster on a segment: servers with daemon and services, and a watcher on the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nlb_protocol::auth::KeyRing;
use nlb_protocol::table::{Table, View};
use nlb_protocol::{ClusterId, MacAddr, NodeId, Weight, hash};

use crate::lab::{Lab, LabOptions, SERVICE4, SERVICE6, server_mac};
use crate::netns::Namespace;
use crate::node::Node;
use crate::service::Services;
use crate::spec::{ClusterSpec, KEY};
use crate::status::ClusterStatus;
use crate::wait::{wait_for, wait_until};
use crate::wire::Watcher;
use crate::wire::rules::Subject;

/// Starting and agreeing may take so long on a busy machine.
pub const SETTLE: Duration = Duration::from_secs(15);

/// A cluster. Fields are dropped in this order: daemons before the segment.
#[derive(Debug)]
pub struct Cluster {
    /// The servers' daemons, in the order of their ids from 1.
    pub nodes: Vec<Node>,
    /// The servers' services.
    pub services: Vec<Services>,
    /// Sees every frame.
    pub watcher: Watcher,
    /// The segment.
    pub lab: Lab,
    /// What the nodes are configured with.
    pub spec: ClusterSpec,
    key_file: PathBuf,
    before: Vec<String>,
    tables: Mutex<BTreeMap<Vec<(usize, u16)>, Table>>,
}

impl Cluster {
    /// A segment with services and a watcher; no daemon runs yet.
    ///
    /// # Errors
    /// When the segment cannot be built.
    pub fn new(options: &LabOptions, spec: &ClusterSpec) -> Result<Self> {
        let lab = Lab::new(options)?;
        let key_file = lab.folder().join("nlb0.key");
        write_private(&key_file, &ClusterSpec::key_text())?;
        let subject =
            Subject { mac: spec.mac(), addresses: vec![SERVICE4.into(), SERVICE6.into()] };
        let start = if options.lean_watcher { Watcher::start_lean } else { Watcher::start };
        let watcher = start(&lab.switch, subject, &["client", "client-b", "router"])?;
        let (mut nodes, mut services, mut before) = (Vec::new(), Vec::new(), Vec::new());
        for server in &lab.servers {
            services.push(Services::start(server, server.name())?);
            nodes.push(Node::new(server.name(), server, &lab.subfolder(server.name())?)?);
            wait_for_addresses(server)?;
            before.push(traces(server)?);
        }
        let (spec, tables) = (spec.clone(), Mutex::default());
        Ok(Self { nodes, services, watcher, lab, spec, key_file, before, tables })
    }

    /// Runs a test: a cluster with a daemon per weight, started and agreed, is handed to `body`.
    /// Afterwards every rule of the wire must have held, and the daemons must end and leave no
    /// trace.
    ///
    /// # Panics
    /// When anything of that fails; the nodes' logs are shown then.
    pub fn test(
        options: &LabOptions,
        spec: &ClusterSpec,
        weights: &[u16],
        body: impl FnOnce(&mut Self) -> Result<()>,
    ) {
        let options = LabOptions { servers: options.servers.max(weights.len()), ..options.clone() };
        let mut cluster = match Self::new(&options, spec) {
            Ok(cluster) => cluster,
            Err(error) => panic!("{error:?}"),
        };
        // The cluster must live while this panics: its nodes show their logs.
        let outcome = cluster
            .start(weights)
            .and_then(|()| body(&mut cluster))
            .and_then(|()| cluster.check_wire())
            .and_then(|()| cluster.end());
        if let Err(error) = outcome {
            panic!("{error:?}");
        }
    }

    /// Configures and starts one daemon per weight, and waits until they agree.
    ///
    /// # Errors
    /// When they do not in time.
    pub fn start(&mut self, weights: &[u16]) -> Result<()> {
        for (index, weight) in weights.iter().enumerate() {
            self.start_node(index, *weight)?;
        }
        self.wait_settled(weights.len()).map(drop)
    }

    /// Configures and starts one daemon.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_node(&mut self, index: usize, weight: u16) -> Result<()> {
        let text = self.spec.file(index + 1, weight, &self.key_file);
        let node = self.nodes.get_mut(index).context("no such server")?;
        node.configure(&text)?;
        node.start()
    }

    /// Waits until every daemon that runs (and is not stopped) says that `active` nodes are
    /// active and everything lies where the table says.
    ///
    /// # Errors
    /// When that takes too long, with what each node says.
    pub fn wait_settled(&mut self, active: usize) -> Result<Vec<ClusterStatus>> {
        self.wait_settled_within(active, SETTLE)
    }

    /// The same with another limit.
    ///
    /// # Errors
    /// When that takes too long, with what each node says.
    pub fn wait_settled_within(
        &mut self,
        active: usize,
        limit: Duration,
    ) -> Result<Vec<ClusterStatus>> {
        let what = format!("{active} nodes to agree");
        let nodes = &mut self.nodes;
        wait_for(&what, limit, || {
            let mut seen = Vec::new();
            for node in nodes.iter_mut().filter(|node| node.runs()) {
                node.check_alive().map_err(|error| format!("{error:#}"))?;
                seen.push(node.status().map_err(|error| format!("{error:#}"))?);
            }
            if settled(&seen, active) { Ok(seen) } else { Err(describe(&seen)) }
        })
    }

    /// The node that the tables give `client` when nodes of these ids (from 1) and weights share.
    #[must_use]
    pub fn owner(&self, client: IpAddr, members: &[(usize, u16)]) -> Option<usize> {
        let bucket = hash::bucket(client, self.seed());
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        // Tests ask for every packet, and each would build a table of its own.
        let table = tables.entry(members.to_vec()).or_insert_with(|| table(members));
        usize::try_from(table.owner(bucket)?.0).ok()
    }

    /// The hash seed that the cluster begins with.
    #[must_use]
    pub fn seed(&self) -> u32 {
        KeyRing::new(&[KEY]).map_or(0, |keys| keys.hash_seed(ClusterId(self.spec.id)))
    }

    /// The number (from 1) of the server with this MAC.
    #[must_use]
    pub fn number_of(&self, mac: MacAddr) -> Option<usize> {
        (1..=self.lab.servers.len()).find(|number| server_mac(*number) == mac)
    }

    /// Everything that must hold on the wire, at any time.
    ///
    /// # Errors
    /// With what did not hold.
    pub fn check_wire(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.check_alive()?;
        }
        self.watcher.check()?;
        let learned = self.lab.learned()?;
        let mac = self.spec.mac().to_string();
        ensure!(!learned.contains(&mac), "the bridge has learned the cluster MAC:\n{learned}");
        Ok(())
    }

    /// Ends every daemon by SIGTERM and checks that each put everything back.
    ///
    /// # Errors
    /// When one does not end well, or leaves something behind.
    pub fn end(&mut self) -> Result<()> {
        for node in self.nodes.iter_mut().filter(|node| node.runs()) {
            let status = node.terminate(Duration::from_secs(10))?;
            ensure!(status.success(), "{} ended with {status}", node.name);
        }
        for index in 0..self.nodes.len() {
            self.check_restored(index)?;
        }
        Ok(())
    }

    /// Fails if the server is not as it was before its daemon ever ran.
    ///
    /// # Errors
    /// With what differs.
    pub fn check_restored(&self, index: usize) -> Result<()> {
        let after = traces(self.lab.servers.get(index).context("no such server")?)?;
        let before = self.before.get(index).context("no such server")?;
        let (was, is): (BTreeSet<_>, BTreeSet<_>) =
            (before.lines().collect(), after.lines().collect());
        ensure!(
            was == is,
            "n{} is not as it was: gone {:?}, new {:?}",
            index + 1,
            was.difference(&is).collect::<Vec<_>>(),
            is.difference(&was).collect::<Vec<_>>()
        );
        Ok(())
    }
}

/// Whether all nodes say the same and every bucket is accepted exactly once, by count.
#[must_use]
pub fn settled(seen: &[ClusterStatus], active: usize) -> bool {
    let Some(first) = seen.first() else { return active == 0 };
    let agreed = seen.iter().all(|status| {
        status.converged
            && status.epoch == first.epoch
            && status.digest == first.digest
            && status.nodes.iter().filter(|node| node.active()).count() == active
    });
    let accepted: usize = first.nodes.iter().map(|node| node.buckets).sum();
    agreed && accepted == nlb_protocol::ids::BUCKETS
}

/// The table of nodes with these ids (from 1) and weights.
#[must_use]
pub fn table(members: &[(usize, u16)]) -> Table {
    let members = members
        .iter()
        .filter_map(|(id, weight)| Some((NodeId(u64::try_from(*id).ok()?), Weight::new(*weight)?)));
    Table::build(&View::new(members))
}

fn describe(seen: &[ClusterStatus]) -> String {
    seen.iter().fold(String::new(), |mut text, status| {
        let nodes: Vec<String> = status
            .nodes
            .iter()
            .map(|node| format!("{} {} {}", node.name, node.state, node.buckets))
            .collect();
        text += &format!(
            "\n  {} says: {} converged {} epoch {} digest {}: {nodes:?}",
            status.local_node, status.state, status.converged, status.epoch, status.digest,
        );
        text
    })
}

/// The kernel takes addresses of IPv6 into use in its own time, whoever added them.
fn wait_for_addresses(server: &Namespace) -> Result<()> {
    wait_until("addresses of IPv6 in use", Duration::from_secs(10), || {
        let shown = server.sh("ip -o -6 addr show").unwrap_or_default();
        let routes = server.sh("ip -6 route show table local").unwrap_or_default();
        let address =
            |line: &str| line.split_whitespace().nth(3)?.split('/').next().map(String::from);
        let mut addresses = shown.lines().filter_map(address);
        addresses.all(|address| routes.contains(&format!("local {address} ")))
    })
}

/// Everything of a server that a daemon could leave changed, one fact a line.
///
/// # Errors
/// When a tool fails.
pub fn traces(server: &Namespace) -> Result<String> {
    let mut text = String::new();
    for line in [
        "nft list ruleset",
        "ip -o link show",
        "ip -o addr show",
        "ip route show table all",
        "ip -6 route show table all",
        "ip rule show",
        "ip -6 rule show",
        "ip maddr show",
    ] {
        text += &server.sh(line)?;
    }
    for family in ["ipv4", "ipv6"] {
        let folder = format!("/proc/sys/net/{family}/conf");
        text += &server.run(|| -> Result<String> {
            let mut text = String::new();
            for interface in std::fs::read_dir(&folder)?.flatten() {
                for file in std::fs::read_dir(interface.path())?.flatten() {
                    // Some are write-only or not set: those cannot be compared.
                    let value = std::fs::read_to_string(file.path()).unwrap_or_default();
                    text += &format!("{} = {}\n", file.path().display(), value.trim());
                }
            }
            Ok(text)
        })??;
    }
    Ok(text)
}

/// Writes a file that only its owner can read.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &std::path::Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| path.display().to_string())
}
