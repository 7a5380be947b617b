//! What `nlbctl preflight` says about hosts that are folders, and what it prints for switches.

#[allow(dead_code)] // the other test files use the rest
mod fake;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nlb_varlink::{Limits, Server};
use nlbctl::args::Mode;
use nlbctl::preflight::{self, Level, Question, Report, advice};
use nlbctl::render::Paint;

/// A host with one good interface, below a folder.
fn host() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    for (path, text) in [
        ("sys/class/net/eth7/type", "1"),
        ("sys/class/net/eth7/flags", "0x1003"),
        ("sys/class/net/eth7/carrier", "1"),
        ("sys/class/net/eth7/operstate", "up"),
        ("sys/class/net/eth7/mtu", "1500"),
        ("sys/class/net/lo/type", "772"),
        ("sys/class/net/lo/flags", "0x9"),
        ("proc/sys/kernel/osrelease", "6.18.0"),
        ("proc/1/comm", "systemd"),
    ] {
        set(root.path(), path, text);
    }
    root
}

fn set(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, format!("{text}\n")).expect("a file");
}

fn question(interface: Option<&str>) -> Question {
    Question {
        interface: interface.map(str::to_owned),
        addresses: vec!["192.0.2.50".parse().expect("an address")],
        mode: None,
        id: None,
        listen: Duration::from_secs(1),
    }
}

async fn look(root: &Path, question: &Question) -> Report {
    preflight::run(root, &root.join("no socket"), question).await
}

/// What is said of a topic that contains the words, and how good it is.
#[track_caller]
fn level(report: &Report, topic: &str, words: &str) -> Level {
    let found = report.findings.iter().find(|f| f.topic == topic && f.found.contains(words));
    let Some(found) = found else { panic!("{topic}: {words}\n{:#?}", report.findings) };
    assert_eq!(found.level != Level::Ok, found.todo.is_some(), "{found:?}");
    found.level
}

#[tokio::test]
async fn a_good_host() {
    let root = host();
    let report = look(root.path(), &question(None)).await;
    assert_eq!(level(&report, "eth7", "link is up"), Level::Ok);
    assert_eq!(level(&report, "eth7", "rp_filter is 0"), Level::Ok);
    assert_eq!(level(&report, "programs", "no firewalld"), Level::Ok);
    assert_eq!(level(&report, "hypervisor", "none"), Level::Ok);
    assert_eq!(level(&report, "daemon", "does not run"), Level::Warn);
    assert!(report.findings.iter().all(|finding| finding.topic != "lo"));
    let worst = report.findings.iter().map(|finding| finding.level).max();
    assert_eq!(Some(report.verdict), worst);
}

#[tokio::test]
async fn what_is_wrong_is_named_with_what_to_do() {
    let root = host();
    let path = root.path();
    for (file, text, topic, words, expected) in [
        ("sys/class/net/eth7/carrier", "0", "eth7", "link is up", Level::Fail),
        ("sys/class/net/eth7/flags", "0x3", "eth7", "takes no multicast", Level::Fail),
        ("sys/class/net/eth7/mtu", "1400", "eth7", "mtu 1400", Level::Fail),
        ("sys/class/net/eth7/brport/state", "3", "eth7", "port of a bridge", Level::Fail),
        ("sys/class/net/eth7/master/bonding/mode", "1", "eth7", "port of a bond", Level::Fail),
        ("proc/sys/net/ipv4/conf/all/rp_filter", "1", "eth7", "rp_filter is 1", Level::Warn),
        ("proc/sys/net/ipv4/conf/all/arp_ignore", "5", "eth7", "arp_ignore of all", Level::Fail),
        ("proc/77/comm", "firewalld", "programs", "firewalld runs here", Level::Warn),
        ("proc/78/comm", "NetworkManager", "programs", "NetworkManager runs", Level::Warn),
    ] {
        set(path, file, text);
        let words = if file.ends_with("carrier") { "driver" } else { words };
        let report = look(path, &question(Some("eth7"))).await;
        assert_eq!(level(&report, topic, words), expected, "{file}");
    }
    for odd in ["eth8", "../eth7", "", ".", "eth7/brport"] {
        let report = look(path, &question(Some(odd))).await;
        assert_eq!(level(&report, odd, "there is no such interface"), Level::Fail);
        // Nothing is said of what it is set to.
        let about = report.findings.iter().filter(|finding| finding.topic == odd).count();
        assert_eq!(about, 1, "{odd}");
    }
}

#[tokio::test]
async fn a_bridge_whose_packets_go_past_the_rules() {
    let words = "br_netfilter shows its packets";
    let root = host();
    let filtered = async || {
        let report = look(root.path(), &question(Some("eth7"))).await;
        report.findings.iter().any(|one| one.found.contains(words) && one.level == Level::Fail)
    };
    set(root.path(), "sys/class/net/eth7/bridge/nf_call_iptables", "0");
    assert!(!filtered().await);
    // Without the module the bridge's own setting means nothing.
    set(root.path(), "sys/class/net/eth7/bridge/nf_call_iptables", "1");
    assert!(!filtered().await);
    set(root.path(), "proc/sys/net/bridge/bridge-nf-call-iptables", "0");
    assert!(filtered().await);
    set(root.path(), "sys/class/net/eth7/bridge/nf_call_iptables", "0");
    assert!(!filtered().await);
    set(root.path(), "proc/sys/net/bridge/bridge-nf-call-ip6tables", "1");
    assert!(filtered().await);
}

#[tokio::test]
async fn hypervisors_and_their_settings() {
    for (file, text, words, setting, expected) in [
        ("sys/class/dmi/id/sys_vendor", "VMware, Inc.", "VMware", "Promiscuous mode", Level::Warn),
        ("sys/class/dmi/id/sys_vendor", "QEMU", "KVM", "no-arp-spoofing", Level::Warn),
        ("sys/class/dmi/id/sys_vendor", "Amazon EC2", "AWS", "load balancer", Level::Fail),
        ("sys/class/dmi/id/product_name", "OpenStack Nova", "OpenStack", "port set", Level::Warn),
        ("sys/hypervisor/type", "xen", "Xen", "locking-mode", Level::Warn),
        ("proc/cpuinfo", "flags\t: fpu hypervisor sse", "KVM", "libvirt", Level::Warn),
        ("sys/class/dmi/id/sys_vendor", "Dell Inc.", "none", "", Level::Ok),
        ("sys/class/dmi/id/sys_vendor", "Microsoft Corporation", "none", "", Level::Ok),
    ] {
        let root = host();
        set(root.path(), file, text);
        let report = look(root.path(), &question(Some("eth7"))).await;
        assert_eq!(level(&report, "hypervisor", words), expected, "{text}");
        let text = preflight::render(&report, Paint::PLAIN);
        assert!(text.contains(setting), "{text}");
    }
    let root = host();
    set(root.path(), "sys/class/dmi/id/sys_vendor", "Microsoft Corporation");
    set(root.path(), "sys/class/dmi/id/product_name", "Virtual Machine");
    let report = look(root.path(), &question(Some("eth7"))).await;
    assert_eq!(level(&report, "hypervisor", "Hyper-V"), Level::Warn);
    set(root.path(), "sys/class/dmi/id/chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77");
    let report = look(root.path(), &question(Some("eth7"))).await;
    assert_eq!(level(&report, "hypervisor", "Azure"), Level::Fail);
}

/// The daemon knows cluster MAC, interfaces and mode, and the other nodes.
#[tokio::test]
async fn the_daemon_is_asked() {
    let root = host();
    let socket = root.path().join("socket");
    let server = Server::bind(&socket, Limits::default()).expect("a socket");
    let look = futures_util::stream::pending();
    let serving = tokio::spawn(async move { server.serve(Arc::new(fake::Fake), look).await });
    let question = Question { addresses: Vec::new(), ..question(None) };
    let report = preflight::run(root.path(), &socket, &question).await;
    serving.abort();
    assert_eq!(level(&report, "eth0", "there is no such interface"), Level::Fail);
    assert_eq!(level(&report, "nlb0", "3 nodes are seen, all run nlbd 0.1.0"), Level::Ok);
    assert_eq!(level(&report, "nlb0", "no frame under another key"), Level::Ok);
    assert!(report.network[0].lines.contains("02:4e:4c:42:00:01"), "{:?}", report.network);
}

/// SPEC 2.2 and 2.3: the addresses of each mode.
#[test]
fn every_mode_has_what_to_paste_for_every_vendor() {
    let addresses = ["192.0.2.50".to_owned(), "2001:db8::50".to_owned()];
    for (mode, mac, id, expected) in [
        (Mode::Unicast, "02:4e:4c:42:01:02", 0x102, &["024e.4c42.0102", "flood on"][..]),
        (
            Mode::Multicast,
            "03:4e:4c:42:01:02",
            0x102,
            &["034e.4c42.0102", "mcast_router 2", "arp 192.0.2.50 034e.4c42.0102 arpa"],
        ),
        (
            Mode::Igmp,
            "01:00:5e:7f:01:02",
            0x102,
            &["239.255.1.2", "mcast_querier 1", "2001:db8::50 lladdr 01:00:5e:7f:01:02"],
        ),
    ] {
        let all = advice(mode, Some(id), mac, &addresses);
        let text: String = all.iter().map(|n| format!("{}\n{}\n", n.device, n.lines)).collect();
        for words in ["Cisco IOS", "NX-OS", "Juniper", "Arista", "Comware", "MikroTik", "Linux"]
            .iter()
            .chain(expected)
        {
            assert!(text.contains(words), "{mode:?}: {words}\n{text}");
        }
        // Unicast needs no static entries: routers learn it.
        assert_eq!(text.contains(", router"), mode != Mode::Unicast, "{text}");
    }
}
