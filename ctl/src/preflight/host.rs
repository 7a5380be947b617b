//! Interfaces, their settings, and programs that may get in the way, as `/proc` and `/sys` show
//! them.

use std::path::Path;

use super::{Finding, kernel, read};
use crate::args::Mode;

/// The bits of `/sys/class/net/IF/flags` (linux/if.h).
const IFF_UP: u32 = 0x1;
const IFF_MULTICAST: u32 = 0x1000;
/// `/sys/class/net/IF/type` of Ethernet (linux/if_arp.h).
const ETHERNET: &str = "1";
/// The longest payload of the protocol (SPEC 2.1).
const MAX_FRAME: u32 = 1500;

/// The Ethernet interfaces that are up and can be meant: no bridge port, nothing made by
/// containers.
pub(super) fn interfaces(root: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root.join("sys/class/net"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| {
            let made = ["docker", "br-", "virbr", "cni", "nlb"];
            !made.iter().any(|prefix| name.starts_with(prefix))
                && attribute(root, name, "type").as_deref() == Some(ETHERNET)
                && !root.join(format!("sys/class/net/{name}/brport")).exists()
                && flags(root, name) & IFF_UP != 0
                && name != "lo"
        })
        .collect();
    names.sort();
    names
}

fn attribute(root: &Path, interface: &str, name: &str) -> Option<String> {
    read(root, format!("sys/class/net/{interface}/{name}"))
}

fn flags(root: &Path, interface: &str) -> u32 {
    let flags = attribute(root, interface, "flags").unwrap_or_default();
    u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0)
}

/// Whether there is an interface of this name.
pub(super) fn exists(root: &Path, interface: &str) -> bool {
    // A name is one component of a path.
    !interface.is_empty()
        && !interface.contains('/')
        && !interface.starts_with('.')
        && root.join(format!("sys/class/net/{interface}")).is_dir()
}

/// The network card.
pub(super) fn interface(root: &Path, interface: &str, mode: Mode) -> Vec<Finding> {
    if !exists(root, interface) {
        let todo = "ip -brief link shows those that there are";
        return vec![Finding::fail(interface, "there is no such interface", todo)];
    }
    let mut findings = Vec::new();
    if attribute(root, interface, "type").as_deref() != Some(ETHERNET) {
        let todo = "nlbd shares an Ethernet address: take an interface that has one";
        findings.push(Finding::fail(interface, "is no Ethernet", todo));
    }
    let link = root.join(format!("sys/class/net/{interface}/device/driver"));
    let driver = std::fs::read_link(link).ok();
    let driver =
        driver.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
    let driver = driver.map_or_else(|| "none: it is virtual".to_owned(), |name| name.into_owned());
    let carrier = attribute(root, interface, "carrier");
    let state = attribute(root, interface, "operstate").unwrap_or_else(|| "unknown".to_owned());
    if carrier.as_deref() == Some("1") {
        let speed = attribute(root, interface, "speed").filter(|speed| !speed.starts_with('-'));
        let speed = speed.map(|speed| format!(", {speed} Mbit/s")).unwrap_or_default();
        findings.push(Finding::ok(interface, format!("link is up{speed}; driver {driver}")));
    } else {
        let todo = format!("cable, port or: ip link set {interface} up");
        findings.push(Finding::fail(interface, format!("link is {state}; driver {driver}"), todo));
    }
    if flags(root, interface) & IFF_MULTICAST == 0 {
        let todo = format!("heartbeats are multicast: ip link set {interface} multicast on");
        findings.push(Finding::fail(interface, "takes no multicast", todo));
    }
    let mtu =
        attribute(root, interface, "mtu").and_then(|mtu| mtu.parse().ok()).unwrap_or(MAX_FRAME);
    if mtu < MAX_FRAME {
        let todo = format!("ip link set {interface} mtu {MAX_FRAME}");
        findings.push(Finding::fail(interface, format!("mtu {mtu}: frames do not fit"), todo));
    }
    findings.extend(bridged(root, interface));
    if root.join(format!("sys/class/net/{interface}/bonding")).is_dir() {
        let todo = "with two switches that share the load, both must flood alike";
        findings.push(Finding::warn(interface, "is a bond", todo));
    }
    findings.push(filter(root, interface, mode));
    findings
}

/// What keeps frames from the cluster where the interface has to do with a bridge or a bond.
fn bridged(root: &Path, interface: &str) -> Vec<Finding> {
    let has = |path: &str| root.join(format!("sys/class/net/{interface}/{path}")).exists();
    let mut findings = Vec::new();
    if has("brport") {
        let todo = "name the bridge itself: --interface BRIDGE";
        findings.push(Finding::fail(interface, "is a port of a bridge", todo));
    }
    if has("master/bonding") {
        let todo = "name the bond itself: --interface BOND";
        findings.push(Finding::fail(interface, "is a port of a bond", todo));
    }
    let on = |path: String| read(root, path).is_some_and(|value| value != "0");
    let filtered = ["iptables", "ip6tables"].iter().any(|which| {
        on(format!("proc/sys/net/bridge/bridge-nf-call-{which}"))
            || on(format!("sys/class/net/{interface}/bridge/nf_call_{which}"))
    });
    if has("bridge") && root.join("proc/sys/net/bridge").is_dir() && filtered {
        let todo = format!(
            "sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0\n\
             ip link set dev {interface} type bridge nf_call_iptables 0 nf_call_ip6tables 0"
        );
        let what = "br_netfilter shows its packets to nftables before the bridge has them";
        findings.push(Finding::fail(interface, what, todo));
    }
    findings
}

/// What the card does with VLAN tags, as ethtool tells: it must pass those of the cluster's VLAN.
pub(super) async fn vlan_offloads(interface: &str) -> Option<Finding> {
    let Ok(text) = kernel::run("ethtool", &["--show-features", interface], "").await else {
        return None;
    };
    let features: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("rx-vlan") || line.starts_with("tx-vlan"))
        .collect();
    Some(Finding::ok(
        interface,
        format!("VLAN offloads, all of them fine: {}", features.join(", ")),
    ))
}

/// How many group addresses the card holds already: cards filter a few exactly, and then all.
fn filter(root: &Path, interface: &str, mode: Mode) -> Finding {
    let text = read(root, "proc/net/dev_mcast").unwrap_or_default();
    let groups =
        text.lines().filter(|line| line.split_whitespace().nth(1) == Some(interface)).count();
    match mode {
        Mode::Unicast => Finding::ok(
            interface,
            format!("takes {groups} groups; nlbd adds the cluster MAC as a second address"),
        ),
        Mode::Multicast | Mode::Igmp => {
            Finding::ok(interface, format!("takes {groups} groups; nlbd adds that of the cluster"))
        }
    }
}

/// Settings of the kernel for an interface that there is.
pub(super) fn settings(root: &Path, interface: &str) -> Vec<Finding> {
    let value = |name: &str, of: &str| -> u32 {
        let text = read(root, format!("proc/sys/net/ipv4/conf/{of}/{name}"));
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let effective = |name: &str| value(name, "all").max(value(name, interface));
    let mut findings = Vec::new();
    findings.push(match effective("rp_filter") {
        1 => Finding::warn(
            interface,
            "rp_filter is 1 (strict): clients that come by another way than the route back are \
             dropped",
            format!(
                "with one interface nothing is to be done; with several, loose is enough:\n\
                 sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.{interface}.rp_filter=2"
            ),
        ),
        value => Finding::ok(interface, format!("rp_filter is {value}")),
    });
    // `all` wins where it is greater, and 4 to 7 mean nothing.
    let ignore = value("arp_ignore", "all");
    findings.push(if matches!(ignore, 4..=7) {
        Finding::fail(
            interface,
            format!("arp_ignore of all is {ignore}, which makes the kernel answer for everything"),
            "sysctl -w net.ipv4.conf.all.arp_ignore=1",
        )
    } else {
        let (ignore, announce) = (effective("arp_ignore"), effective("arp_announce"));
        let set = "nlbd sets 1 and 2 on its interfaces";
        Finding::ok(interface, format!("arp_ignore {ignore}, arp_announce {announce}; {set}"))
    });
    findings
}

/// A program that may get in the way, by the name of its process.
const PROGRAMS: [(&str, &str); 6] = [
    (
        "firewalld",
        "its reload leaves nlbd's tables alone, and it filters the service's ports as ever:\n\
      firewall-cmd --permanent --add-service=… for whatever the service address serves",
    ),
    (
        "NetworkManager",
        "keep it from nlbd's own interfaces, in /etc/NetworkManager/conf.d/nlbd.conf:\n\
      [keyfile]\nunmanaged-devices=interface-name:nlb*",
    ),
    ("keepalived", "it must not hold the same addresses as nlbd"),
    ("corosync", "IPaddr2 with clusterip_hash must not hold the same addresses as nlbd"),
    ("ucarp", "it must not hold the same addresses as nlbd"),
    ("arpwatch", "it reports that the cluster MAC is nobody's own: that is so"),
];

/// Programs that run here and may get in the way.
pub(super) fn programs(root: &Path) -> Vec<Finding> {
    let running: Vec<String> = std::fs::read_dir(root.join("proc"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect();
    let found: Vec<_> = PROGRAMS
        .iter()
        // The kernel keeps 15 characters of a name.
        .filter(|(name, _)| running.iter().any(|known| *known == name[..name.len().min(15)]))
        .map(|(name, todo)| Finding::warn("programs", format!("{name} runs here"), *todo))
        .collect();
    if found.is_empty() {
        return vec![Finding::ok(
            "programs",
            "no firewalld, NetworkManager or other failover runs",
        )];
    }
    found
}
