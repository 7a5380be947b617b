//! What keeps an interface from serving: by its state, and as the kernel tells it.

use super::*;
use crate::host::{BridgeState, Netlink};
use crate::testing::{Pair, inside, privileged};

fn link() -> LinkState {
    LinkState::well("eth0", 2)
}

#[test]
fn a_bridge_is_filtered_by_its_own_setting_or_the_hosts() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("bridge");
    let bridge =
        |calls_iptables| LinkState { bridge: Some(BridgeState { calls_iptables }), ..link() };
    let of = |link: LinkState| link.obstacle_under(&settings);
    assert_eq!(of(bridge(true)), None, "without the module");
    std::fs::create_dir(&settings).unwrap();
    for (name, value) in [("bridge-nf-call-iptables", "1\n"), ("bridge-nf-call-ip6tables", "1\n")] {
        assert_eq!(of(bridge(false)), None);
        assert_eq!(of(bridge(true)), Some(Obstacle::Filtered));
        std::fs::write(settings.join(name), value).unwrap();
        assert_eq!(of(bridge(false)), Some(Obstacle::Filtered), "{name}");
        assert_eq!(of(link()), None, "no bridge");
        std::fs::write(settings.join(name), "0\n").unwrap();
    }
    let port = LinkState { port_of: Some(InterfaceIndex(7)), ..link() };
    assert_eq!(of(port), Some(Obstacle::Port { of: InterfaceIndex(7) }));
    assert_eq!(of(LinkState { mtu: 1499, ..link() }), Some(Obstacle::Narrow { mtu: 1499 }));
}

#[test]
fn the_kernel_tells_ports_and_bridges() {
    privileged(|| {
        let pair = Pair::new();
        let setting = "net/bridge/bridge-nf-call-iptables";
        let has_module = pair.node.set_sysctl(setting, "0").is_ok();
        if has_module {
            pair.node.set_sysctl("net/bridge/bridge-nf-call-ip6tables", "0").unwrap();
        }
        let obstacle = |name: &str| {
            let name = name.to_owned();
            inside(&pair.node, || async move {
                let link = Netlink::connect().unwrap().link(&name).await.unwrap().unwrap();
                link.obstacle()
            })
        };
        pair.node.ip("link add br0 type bridge\n").unwrap();
        assert_eq!((obstacle("n0"), obstacle("br0")), (None, None));
        pair.node.ip("link set n0 master br0\n").unwrap();
        assert!(matches!(obstacle("n0"), Some(Obstacle::Port { .. })), "{:?}", obstacle("n0"));
        pair.node.ip("link set n0 nomaster\n").unwrap();
        assert_eq!(obstacle("n0"), None);
        // A VRF takes no frames away. Not every kernel has it.
        if pair.node.ip("link add vrf0 type vrf table 10\n").is_ok() {
            pair.node.ip("link set n0 master vrf0\n").unwrap();
            assert_eq!(obstacle("n0"), None);
        }
        if has_module {
            pair.node.set_sysctl(setting, "1").unwrap();
            assert_eq!(obstacle("br0"), Some(Obstacle::Filtered));
            pair.node.set_sysctl(setting, "0").unwrap();
            pair.node.ip("link set br0 type bridge nf_call_iptables 1\n").unwrap();
            assert_eq!(obstacle("br0"), Some(Obstacle::Filtered));
        }
    });
}

#[test]
fn an_interface_is_as_wide_as_the_kernel_says() {
    privileged(|| {
        let pair = Pair::new();
        inside(&pair.node, || async {
            let netlink = Netlink::connect().unwrap();
            let obstacle = async || netlink.link("n0").await.unwrap().unwrap().obstacle();
            assert_eq!(obstacle().await, None);
            pair.node.ip("link set n0 mtu 1400\n").unwrap();
            let narrow = obstacle().await.unwrap();
            assert_eq!(
                narrow.to_string(),
                "its mtu is 1400, and frames of the cluster have up to 1500 bytes"
            );
        });
    });
}
