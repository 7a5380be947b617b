//! What a node of a test is configured with, and the file that says so.

use std::fmt::Write;
use std::path::Path;

use nlb_protocol::{ClusterId, ClusterMac, MacAddr, MacMode};

use crate::lab::{SERVICE4, SERVICE6};

/// The cluster of a test. What is `None` or empty is left to the daemon's own default.
#[derive(Debug, Clone)]
pub struct ClusterSpec {
    /// The cluster's id.
    pub id: u16,
    /// How the cluster MAC reaches every node.
    pub mode: MacMode,
    /// The interfaces of the cluster.
    pub interfaces: Vec<String>,
    /// `heartbeat_ms` and `dead_after_ms`.
    pub timing: Option<(u32, u32)>,
    /// Whether the kernel decides for known clients.
    pub offload: bool,
    /// `sticky_idle_s`.
    pub sticky_idle_s: Option<u32>,
    /// Further lines for the cluster, verbatim.
    pub extra: String,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            id: 7,
            mode: MacMode::Unicast,
            interfaces: vec!["eth0".to_owned()],
            timing: None,
            offload: true,
            sticky_idle_s: None,
            extra: String::new(),
        }
    }
}

/// The key of every test cluster.
pub const KEY: [u8; 32] = *b"a key that only the tests know!!";

impl ClusterSpec {
    /// The profile for takeover within 100 ms.
    #[must_use]
    pub fn fast() -> Self {
        Self { timing: Some((5, 50)), ..Self::default() }
    }

    /// The same on both switches.
    #[must_use]
    pub fn on_both_switches(mut self) -> Self {
        self.interfaces = vec!["eth0".to_owned(), "eth1".to_owned()];
        self
    }

    /// The same with another way to decide for known clients.
    #[must_use]
    pub fn offload(mut self, offload: bool) -> Self {
        self.offload = offload;
        self
    }

    /// The address that clients are told.
    #[must_use]
    pub const fn mac(&self) -> MacAddr {
        ClusterMac::derive(self.mode, ClusterId(self.id)).mac
    }

    /// How long a peer is silent before it is dead.
    #[must_use]
    pub fn dead_after(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.timing.map_or(1000, |(_, dead)| dead).into())
    }

    /// The configuration file of the node with this id.
    #[must_use]
    pub fn file(&self, node: usize, weight: u16, key_file: &Path) -> String {
        let mut text = String::new();
        let Self { mode, interfaces, .. } = self;
        let (id, key) = (self.id, key_file.display());
        let _ = write!(
            text,
            r#"(
    node: (name: "n{node}", id: {node}),
    clusters: {{
        "nlb0": (
            id: {id},
            interfaces: {interfaces:?},
            addresses: ["{SERVICE4}", "{SERVICE6}"],
            mode: {mode:?},
            key_file: "{key}",
            weight: Manual({weight}),
"#
        );
        if let Some((heartbeat, dead)) = self.timing {
            let _ = writeln!(text, "            heartbeat_ms: {heartbeat},");
            let _ = writeln!(text, "            dead_after_ms: {dead},");
        }
        if !self.offload {
            text.push_str("            offload: false,\n");
        }
        if let Some(seconds) = self.sticky_idle_s {
            let _ = writeln!(text, "            sticky_idle_s: {seconds},");
        }
        text.push_str(&self.extra);
        text.push_str("        ),\n    },\n)\n");
        text
    }

    /// The key file's text.
    #[must_use]
    pub fn key_text() -> String {
        KEY.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }) + "\n"
    }
}
