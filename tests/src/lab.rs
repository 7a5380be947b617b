//! A segment of a network: a bridge, servers, clients, a bystander, perhaps a router.
//!
//! Addresses: server `i` (from 1) has 192.0.2.i and 2001:db8::i, the client 192.0.2.200 and
//! 2001:db8::c8, the router 192.0.2.254 and 2001:db8::fe. The service has 192.0.2.50 and
//! 2001:db8::50. Behind the client lie 10.0.0.0/8 and 2001:db8:20::/64: every address of them is
//! the client's own, so that it can speak with as many sources as a test wants.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nlb_protocol::MacAddr;

use crate::netns::Namespace;
use crate::wait::wait_until;

/// The service address of every test, IPv4.
pub const SERVICE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
/// The service address of every test, IPv6.
pub const SERVICE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50);
/// The MAC of the client.
pub const CLIENT_MAC: MacAddr = MacAddr([2, 0x10, 0, 0, 1, 0]);
/// The widest packet of the link behind the router.
pub const NARROW_MTU: u32 = 1280;

/// What a segment shall have.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// How many servers.
    pub servers: usize,
    /// Whether the bridge snoops on IGMP and MLD, and asks for members itself.
    pub snooping: bool,
    /// Whether there is a router with a narrow link and a client behind it.
    pub router: bool,
    /// Whether the watcher leaves out what the bridge copies to servers, because there is much.
    pub lean_watcher: bool,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self { servers: 3, snooping: false, router: false, lean_watcher: false }
    }
}

/// The segment. Dropping it takes everything down and checks that nothing stayed behind.
#[derive(Debug)]
pub struct Lab {
    /// The bridge `br0` with a port for everybody: `p-n1` …, `p-client`, `p-outsider`, `p-router`.
    pub switch: Arc<Namespace>,
    /// The servers; each has `eth0`.
    pub servers: Vec<Arc<Namespace>>,
    /// The client with its many source addresses.
    pub client: Arc<Namespace>,
    /// Has a port of the bridge and nothing to do with the cluster.
    pub outsider: Arc<Namespace>,
    /// The router, and the client behind its narrow link.
    pub router: Option<(Arc<Namespace>, Arc<Namespace>)>,
    folder: tempfile::TempDir,
}

impl Lab {
    /// Builds a segment.
    ///
    /// # Errors
    /// When namespaces are not allowed here, or a tool is missing.
    pub fn new(options: &LabOptions) -> Result<Self> {
        raise_descriptor_limit();
        let switch = Arc::new(Namespace::new("switch")?);
        build_bridge(&switch, options.snooping)?;
        let mut servers = Vec::new();
        for number in 1..=options.servers {
            let server = attach(&switch, &format!("n{number}"), server_mac(number))?;
            server.ip(&format!(
                "addr add 192.0.2.{number}/24 dev eth0\n\
                 addr add 2001:db8::{number:x}/64 dev eth0 nodad\n\
                 route add 10.0.0.0/8 via 192.0.2.200\n\
                 route add 2001:db8:20::/64 via 2001:db8::c8\n\
                 route add 203.0.113.0/24 via 192.0.2.254\n\
                 route add 2001:db8:71::/64 via 2001:db8::fe"
            ))?;
            servers.push(Arc::new(server));
        }
        let client = attach(&switch, "client", CLIENT_MAC)?;
        client.set_sysctl("net/ipv6/ip_nonlocal_bind", "1")?;
        client.ip("addr add 192.0.2.200/24 dev eth0\n\
             addr add 2001:db8::c8/64 dev eth0 nodad\n\
             route add local 10.0.0.0/8 dev lo\n\
             route add local 2001:db8:20::/64 dev lo")?;
        let outsider = attach(&switch, "outsider", MacAddr([2, 0x10, 0, 0, 1, 1]))?;
        let router = if options.router { Some(build_router(&switch)?) } else { None };
        let folder = tempfile::Builder::new().prefix("nlb-lab-").tempdir()?;
        Ok(Self {
            switch,
            servers,
            client: Arc::new(client),
            outsider: Arc::new(outsider),
            router,
            folder,
        })
    }

    /// A folder that lives as long as the segment.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A folder in it, made if need be.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn subfolder(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Every namespace of the segment.
    #[must_use]
    pub fn namespaces(&self) -> Vec<&Arc<Namespace>> {
        let mut all = vec![&self.switch, &self.client, &self.outsider];
        all.extend(&self.servers);
        all.extend(self.router.iter().flat_map(|(router, far)| [router, far]));
        all
    }

    /// Takes a port of the bridge down or up: a pulled cable.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn set_port(&self, name: &str, up: bool) -> Result<()> {
        self.switch.ip(&format!("link set p-{name} {}", if up { "up" } else { "down" }))
    }

    /// What the bridge has learned: lines of `bridge fdb`.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn learned(&self) -> Result<String> {
        self.switch.sh("bridge fdb show br br0")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let mut left = String::new();
        let _ = wait_until("the processes of the lab", Duration::from_secs(3), || {
            left.clear();
            for namespace in self.namespaces() {
                if let Ok(processes) = namespace.processes()
                    && !processes.is_empty()
                {
                    left += &format!("{}: processes {processes:?}; ", namespace.name());
                }
            }
            left.is_empty()
        });
        if !std::thread::panicking() {
            assert!(left.is_empty(), "the test leaves something behind: {left}");
        }
    }
}

/// The MAC of server `number` (from 1).
#[must_use]
pub const fn server_mac(number: usize) -> MacAddr {
    MacAddr([2, 0x10, 0, 0, 0, number.to_le_bytes()[0]])
}

/// Source `index` of the client's range, IPv4.
#[must_use]
pub const fn source4(index: u32) -> IpAddr {
    // From 10.0.0.1 on, sixteen million of them.
    let [_, high, middle, low] = (1 + index).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, high, middle, low))
}

/// Source `index` of the client's range, IPv6.
#[must_use]
pub const fn source6(index: u32) -> IpAddr {
    let [a, b, c, d] = (1 + index).to_be_bytes();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, high, low))
}

fn build_bridge(switch: &Namespace, snooping: bool) -> Result<()> {
    // The bridge itself speaks to nobody: no address, no MLD of its own.
    switch.set_sysctl("net/ipv6/conf/default/disable_ipv6", if snooping { "0" } else { "1" })?;
    switch.ip("link add br0 type bridge stp_state 0 mcast_snooping 0\n\
         link set br0 addrgenmode none up")?;
    if snooping {
        // It asks for IPv6 members from this address; without one it would not ask, and flood.
        switch.ip("addr add fe80::b/64 dev br0 nodad")?;
        // Short intervals first: the bridge believes in its own querier only after one answer
        // time, as long as that is at the moment it becomes querier. Units are 10 ms.
        switch.ip("link set br0 type bridge mcast_snooping 1 mcast_query_response_interval 20 \
             mcast_startup_query_interval 20 mcast_query_interval 100\n\
             link set br0 type bridge mcast_querier 1")?;
    }
    switch.ip("link set br0 up")
}

/// A new namespace whose `eth0` hangs on the bridge.
fn attach(switch: &Namespace, name: &str, mac: MacAddr) -> Result<Namespace> {
    let namespace = Namespace::new(name)?;
    switch.ip(&format!(
        "link add p-{name} type veth peer name eth0 address {mac} netns {}\n\
         link set p-{name} master br0\n\
         link set p-{name} up",
        namespace.path().display()
    ))?;
    // Own link-local address without the second of duplicate detection; everything else about
    // duplicate detection stays as the kernel has it.
    let [.., last] = mac.0;
    let kind = mac.0[4];
    namespace.ip(&format!(
        "link set eth0 addrgenmode none\n\
         link set eth0 up\n\
         addr add fe80::{kind:x}:{last:x}/64 dev eth0 nodad"
    ))?;
    Ok(namespace)
}

fn build_router(switch: &Namespace) -> Result<(Arc<Namespace>, Arc<Namespace>)> {
    let router = attach(switch, "router", MacAddr([2, 0x10, 0, 0, 1, 0xfe]))?;
    let far = Namespace::new("far")?;
    router.ip(&format!(
        "link add eth1 type veth peer name eth0 netns {}\n\
         addr add 192.0.2.254/24 dev eth0\n\
         addr add 2001:db8::fe/64 dev eth0 nodad\n\
         addr add 203.0.113.1/24 dev eth1\n\
         addr add 2001:db8:71::1/64 dev eth1 nodad\n\
         link set eth1 mtu {NARROW_MTU} up",
        far.path().display()
    ))?;
    router.set_sysctl("net/ipv4/ip_forward", "1")?;
    router.set_sysctl("net/ipv6/conf/all/forwarding", "1")?;
    far.ip("addr add 203.0.113.2/24 dev eth0\n\
         addr add 2001:db8:71::2/64 dev eth0 nodad\n\
         link set eth0 up\n\
         route add default via 203.0.113.1\n\
         route add default via 2001:db8:71::1")?;
    Ok((Arc::new(router), Arc::new(far)))
}

/// Load and probes need a descriptor per attempt under way.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(65_536), hard);
    }
}
