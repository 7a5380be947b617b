//! The configuration as the rest of the daemon uses it: complete, valid, compared on reload.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::path::{Path, PathBuf};

use nlb_engine::Timing;
use nlb_protocol::{ClusterId, ClusterMac, MacMode, NodeId};

use super::keys::Keys;
use crate::check::CheckRules;
use crate::weight::{LoadCommand, WeightRules, WeightSource};

/// The most clusters on one host: each has its task, queue and sockets on every interface.
pub const MAX_CLUSTERS: usize = 8;
/// The most service addresses of one cluster.
pub const MAX_ADDRESSES: usize = 64;
/// The most interfaces of one cluster: every heartbeat leaves on each.
pub const MAX_INTERFACES: usize = 8;
/// The most ports of one cluster.
pub const MAX_PORTS: usize = 64;
/// The longest name of a node: what the information message carries (SPEC 4.4).
pub const MAX_NODE_NAME: usize = 64;
/// The most characters of a cluster's name: a network interface carries it, and Linux gives those
/// 15.
pub const MAX_CLUSTER_NAME: usize = 15;

/// Where the configuration lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    file: PathBuf,
    optional: bool,
}

impl Location {
    /// `/etc/nlbd/nlbd.ron`, which need not exist: no file, no clusters.
    #[must_use]
    pub fn standard() -> Self {
        Self { file: PathBuf::from("/etc/nlbd/nlbd.ron"), optional: true }
    }

    /// A file that somebody named, which therefore must exist.
    #[must_use]
    pub fn named(file: &Path) -> Self {
        Self { file: file.to_owned(), optional: false }
    }

    /// The main file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether there may be no main file.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.optional
    }

    /// The main file's directory; every relative path in the configuration begins there.
    #[must_use]
    pub fn directory(&self) -> &Path {
        match self.file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }

    /// The directory of the drop-ins: beside the main file, named as it, with `.d` for `.ron`.
    #[must_use]
    pub fn drop_ins(&self) -> PathBuf {
        self.file.with_extension("d")
    }

    /// The key file of a cluster that names none.
    #[must_use]
    pub fn default_key(&self, cluster: &str) -> PathBuf {
        self.directory().join(format!("{cluster}.key"))
    }
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Who this node is.
    pub node: NodeConfig,
    /// The clusters, by name.
    pub clusters: Vec<ClusterConfig>,
    /// A TCP address where the metrics are to be had, beside their socket; `None`: none.
    pub metrics: Option<SocketAddr>,
    /// The files that were read, in their order.
    pub files: Vec<PathBuf>,
}

impl Config {
    /// The cluster of this name.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<&ClusterConfig> {
        self.clusters.iter().find(|cluster| cluster.name == name)
    }
}

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Its id; from the machine-id unless given.
    pub id: NodeId,
    /// Its name; the host's unless given.
    pub name: String,
}

/// A port of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// A TCP port.
    Tcp(u16),
    /// A UDP port.
    Udp(u16),
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "Tcp({port})"),
            Self::Udp(port) => write!(f, "Udp({port})"),
        }
    }
}

/// One cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterConfig {
    /// Its name, unique on this host.
    pub name: String,
    /// Its id, unique on its segment; from the name unless given.
    pub id: ClusterId,
    /// The interfaces that it is served on.
    pub interfaces: Vec<String>,
    /// The service addresses.
    pub addresses: Vec<IpAddr>,
    /// How the cluster MAC reaches every node.
    pub mode: MacMode,
    /// The cluster MAC; derived from id and mode unless given.
    pub mac: ClusterMac,
    /// The ethertype of the protocol.
    pub ethertype: u16,
    /// The ports that are balanced; `None`: everything for the service addresses.
    pub ports: Option<Vec<Port>>,
    /// The cluster's keys; empty for an `insecure` cluster.
    pub keys: Keys,
    /// Where they come from; `None` for an `insecure` cluster.
    pub key_file: Option<PathBuf>,
    /// Where the weight comes from.
    pub weight: WeightSource,
    /// The command that says the load, where the weight comes from one.
    pub load_command: Option<LoadCommand>,
    /// How a weight is made of it.
    pub weight_rules: WeightRules,
    /// How the service on this node is checked.
    pub checks: CheckRules,
    /// The timers.
    pub timing: Timing,
    /// How long a client that sends nothing stays with its node.
    pub sticky_idle: Duration,
    /// Whether the kernel decides for known clients.
    pub offload: bool,
    /// Below so many active nodes the cluster does not serve.
    pub min_members: usize,
}

impl ClusterConfig {
    /// Whether the cluster runs without a key because its configuration says so.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        self.key_file.is_none()
    }

    /// Whether nodes of the cluster join groups of multicast IP.
    #[must_use]
    pub fn joins_groups(&self) -> bool {
        self.mac.group.is_some() || self.addresses.iter().any(IpAddr::is_ipv6)
    }
}
