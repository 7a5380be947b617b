//! A segment of a network: a bridge, servers, clients, a bystander, perhaps a router.
//!
//! Addresses: server `i` (from 1) has 192.0.2.i and 2001:db8::i, the client 192.0.2.200 and
//! 2001:db8::c8, the router 192.0.2.254 and 2001:db8::fe. The service has 192.0.2.50 and
//! 2001:db8::50. Behind the client lie 10.0.0.0/8 and 2001:db8:20::/64: every address of them is
//! the client's own, so that it can speak with as many sources as a test wants.
//!
//! Where there is a second switch, servers and client have an `eth1` there, with 198.51.100.x and
//! 2001:db8:b::x. The upper half of the client's sources (see [`SECOND`]) speaks through it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nlb_protocol::MacAddr;
use serde_json::Value;

use crate::netns::Namespace;
use crate::wait::{wait_for, wait_until};

/// The service address of every test, IPv4.
pub const SERVICE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
/// The service address of every test, IPv6.
pub const SERVICE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50);
/// The MAC of the client.
pub const CLIENT_MAC: MacAddr = MacAddr([2, 0x10, 0, 0, 1, 0]);
/// The widest packet of the link behind the router.
pub const NARROW_MTU: u32 = 1280;

/// From this index on, sources of the client speak through the second switch.
pub const SECOND: u32 = 1 << 23;
/// How long links may need until they carry frames.
const LINKS: Duration = Duration::from_secs(30);
/// What a port of the second switch is called beside the host's name: `p-n1-b`.
const SECOND_PORT: &str = "-b";

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
    /// Whether there is a second switch, to which servers and client are connected too.
    pub second: bool,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self { servers: 3, snooping: false, router: false, lean_watcher: false, second: false }
    }
}

/// The segment. Dropping it takes everything down and checks that nothing stayed behind.
#[derive(Debug)]
pub struct Lab {
    /// The bridge `br0` with a port for everybody: `p-n1` …, `p-client`, `p-outsider`, `p-router`;
    /// perhaps a bridge `br1` with `p-n1-b` …, `p-client-b`.
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
        build_bridge(&switch, "br0", options.snooping)?;
        let mut servers = Vec::new();
        for number in 1..=options.servers {
            let server = attach(&switch, &format!("n{number}"), server_mac(number))?;
            keep_flows_together(&server, "eth0")?;
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
        if options.second {
            build_bridge(&switch, "br1", options.snooping)?;
            for (index, server) in servers.iter().enumerate() {
                plug_second(&switch, server, index + 1)?;
            }
            plug_second_client(&switch, &client)?;
        }
        let folder = tempfile::Builder::new().prefix("nlb-lab-").tempdir()?;
        let (client, outsider) = (Arc::new(client), Arc::new(outsider));
        let lab = Self { switch, servers, client, outsider, router, folder };
        lab.wait_for_links()?;
        Ok(lab)
    }

    /// Waits until every link carries frames. The kernel takes what is sent through one that is
    /// up and loses it, silently, until it has looked at the carrier; on a busy machine, seconds.
    fn wait_for_links(&self) -> Result<()> {
        let idle = |namespace: &Namespace| -> Result<Vec<String>> {
            let links: Value = serde_json::from_str(&namespace.sh("ip -j link show up")?)?;
            let ports: Value = serde_json::from_str(&namespace.sh("bridge -j link show")?)?;
            let links = links.as_array().into_iter().flatten();
            let ports = ports.as_array().into_iter().flatten();
            let idle = links
                .filter(|link| link["link_type"] == "ether" && link["operstate"] != "UP")
                .chain(ports.filter(|port| port["state"] != "forwarding"));
            Ok(idle.filter_map(|link| link["ifname"].as_str().map(str::to_owned)).collect())
        };
        for namespace in self.namespaces() {
            wait_for(&format!("the links of {}", namespace.name()), LINKS, || {
                let idle = idle(namespace).map_err(|error| format!("{error:#}"))?;
                if idle.is_empty() { Ok(()) } else { Err(idle.join(", ")) }
            })?;
        }
        Ok(())
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

    /// Takes the second switch down or up.
    ///
    /// # Errors
    /// When there is none.
    pub fn set_second_switch(&self, up: bool) -> Result<()> {
        self.switch.ip(&format!("link set br1 {}", if up { "up" } else { "down" }))
    }

    /// Takes `eth1` away from server `number` (from 1), into `spare`, or gives it back, under the
    /// number that it had. What was set on it is lost on the way, as with a card that is pulled.
    ///
    /// # Errors
    /// When it is not where it is taken from.
    pub fn move_second(&self, number: usize, spare: &Namespace, away: bool) -> Result<()> {
        let server = self.servers.get(number - 1).context("no such server")?;
        let (from, to) = if away { (&**server, spare) } else { (spare, &**server) };
        from.ip(&format!("link set eth1 netns {}", to.path().display()))?;
        if away {
            return Ok(());
        }
        start_link(server, "eth1", second_mac(number))?;
        address_second(server, number)
    }

    /// What the bridges have learned: lines of `bridge fdb`.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn learned(&self) -> Result<String> {
        self.switch.sh("bridge fdb show")
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

/// The MAC of server `number` (from 1) at the second switch.
#[must_use]
pub const fn second_mac(number: usize) -> MacAddr {
    MacAddr([2, 0x10, 0, 1, 0, number.to_le_bytes()[0]])
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

fn build_bridge(switch: &Namespace, bridge: &str, snooping: bool) -> Result<()> {
    // The bridge itself speaks to nobody: no address, no MLD of its own.
    switch.set_sysctl("net/ipv6/conf/default/disable_ipv6", if snooping { "0" } else { "1" })?;
    switch.ip(&format!(
        "link add {bridge} type bridge stp_state 0 mcast_snooping 0\n\
         link set {bridge} addrgenmode none up"
    ))?;
    if snooping {
        // It asks for IPv6 members from this address; without one it would not ask, and flood.
        switch.ip(&format!("addr add fe80::b/64 dev {bridge} nodad"))?;
        // Short intervals first: the bridge believes in its own querier only after one answer
        // time, as long as that is at the moment it becomes querier. Units are 10 ms.
        switch.ip(&format!(
            "link set {bridge} type bridge mcast_snooping 1 mcast_query_response_interval 20 \
             mcast_startup_query_interval 20 mcast_query_interval 100\n\
             link set {bridge} type bridge mcast_querier 1"
        ))?;
    }
    switch.ip(&format!("link set {bridge} up"))
}

/// A new namespace whose `eth0` hangs on the bridge.
fn attach(switch: &Namespace, name: &str, mac: MacAddr) -> Result<Namespace> {
    let namespace = Namespace::new(name)?;
    plug(switch, "br0", &format!("p-{name}"), &namespace, "eth0", mac)?;
    Ok(namespace)
}

/// A new interface `device` of `namespace` on a new port of a bridge.
fn plug(
    switch: &Namespace,
    bridge: &str,
    port: &str,
    namespace: &Namespace,
    device: &str,
    mac: MacAddr,
) -> Result<()> {
    switch.ip(&format!(
        "link add {port} type veth peer name {device} address {mac} netns {}\n\
         link set {port} master {bridge}\n\
         link set {port} up",
        namespace.path().display()
    ))?;
    start_link(namespace, device, mac)
}

fn start_link(namespace: &Namespace, device: &str, mac: MacAddr) -> Result<()> {
    // Own link-local address without the second of duplicate detection; everything else about
    // duplicate detection stays as the kernel has it.
    let [.., last] = mac.0;
    let kind = mac.0[4];
    namespace.ip(&format!(
        "link set {device} addrgenmode none\n\
         link set {device} up\n\
         addr add fe80::{kind:x}:{last:x}/64 dev {device} nodad"
    ))
}

/// Has all packets of a flow worked off by one processor, as network cards do. Links between
/// namespaces leave them where they were sent: the end of a client's handshake beside a daemon,
/// whose verdict let the SYN through, what the client says next beside the client. And a kernel
/// (6.18 does) resets a connection whose first words come while it is entered as established.
///
/// Where this is not allowed, or the kernel cannot do it, that may happen, once in some 100,000
/// connections.
fn keep_flows_together(server: &Namespace, device: &str) -> Result<()> {
    let count = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN)?.unwrap_or(1);
    let all = u32::MAX >> (32 - u32::try_from(count)?.clamp(1, 32));
    let file = format!("/sys/class/net/{device}/queues/rx-0/rps_cpus");
    let set = format!("mount -t sysfs sysfs /sys && echo {all:x} > {file}");
    server.output(&["unshare", "--mount", "sh", "-c", &set]).map(drop)
}

fn plug_second(switch: &Namespace, server: &Namespace, number: usize) -> Result<()> {
    let port = format!("p-{}{SECOND_PORT}", server.name());
    plug(switch, "br1", &port, server, "eth1", second_mac(number))?;
    keep_flows_together(server, "eth1")?;
    address_second(server, number)
}

fn address_second(server: &Namespace, number: usize) -> Result<()> {
    server.ip(&format!(
        "addr add 198.51.100.{number}/24 dev eth1\n\
         addr add 2001:db8:b::{number:x}/64 dev eth1 nodad\n\
         route add 10.128.0.0/9 via 198.51.100.200\n\
         route add 2001:db8:20::80:0/105 via 2001:db8:b::c8"
    ))
}

fn plug_second_client(switch: &Namespace, client: &Namespace) -> Result<()> {
    let mac = MacAddr([2, 0x10, 0, 1, 1, 0]);
    plug(switch, "br1", &format!("p-client{SECOND_PORT}"), client, "eth1", mac)?;
    client.ip(&format!(
        "addr add 198.51.100.200/24 dev eth1\n\
         addr add 2001:db8:b::c8/64 dev eth1 nodad\n\
         rule add from 10.128.0.0/9 lookup 100\n\
         route add {SERVICE4}/32 dev eth1 table 100\n\
         route add {SERVICE6}/128 dev eth1 table 100"
    ))?;
    client.sh("ip -6 rule add from 2001:db8:20::80:0/105 lookup 100").map(drop)
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
