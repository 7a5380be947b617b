//! What the tests on the real kernel share: two hosts on one wire, each in a network namespace
//! of its own that ends with the test.
//!
//! They need root. Without it each test runs itself again as root of a user namespace, where the
//! kernel allows that, and else says that it was skipped.

use std::process::Command;
use std::time::Duration;

use nlb_protocol::MacAddr;
use nlb_tests::netns::Namespace;

use crate::link::{Interface, InterfaceIndex};

/// Set in the environment of a test that runs in a user namespace already.
const INNER: &str = "NLBD_TEST_IN_USER_NAMESPACE";

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) const NODE_MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x01]);
pub(crate) const CLIENT_MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x02]);

/// A node with the interface `n0` (10.9.0.1, fd09::1) and a client with `c0` (10.9.0.2, fd09::2).
pub(crate) struct Pair {
    pub(crate) node: Namespace,
    pub(crate) client: Namespace,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let node = Namespace::new("node").unwrap();
        let client = Namespace::new("client").unwrap();
        // Addresses without DAD, the link-local ones included, so that they can be used at once.
        for namespace in [&node, &client] {
            for of in ["all", "default"] {
                namespace.set_sysctl(&format!("net/ipv6/conf/{of}/accept_dad"), "0").unwrap();
            }
        }
        node.ip(&format!(
            "link add n0 address {NODE_MAC} type veth peer name c0 address {CLIENT_MAC} netns {}\n\
             address add 10.9.0.1/24 dev n0\n\
             address add fd09::1/64 dev n0 nodad\n\
             link set n0 up\n",
            client.path().display()
        ))
        .unwrap();
        client
            .ip("address add 10.9.0.2/24 dev c0\naddress add fd09::2/64 dev c0 nodad\n\
                 link set c0 up\n")
            .unwrap();
        // Who asks in vain gives up after a second instead of three.
        for family in ["ipv4", "ipv6"] {
            client.set_sysctl(&format!("net/{family}/neigh/c0/retrans_time_ms"), "300").unwrap();
        }
        // The kernel makes link-local addresses a little later, and asks in their name.
        for (namespace, link) in [(&node, "n0"), (&client, "c0")] {
            let line = format!("ip -6 address show dev {link} scope link -tentative");
            eventually("link-local address", || namespace.sh(&line).unwrap().contains("fe80:"));
        }
        Self { node, client }
    }

    /// The node's end of the wire.
    pub(crate) fn node_interface(&self) -> Interface {
        interface(&self.node, "n0")
    }

    /// The client's end of the wire.
    pub(crate) fn client_interface(&self) -> Interface {
        interface(&self.client, "c0")
    }
}

/// Runs asynchronous code inside a namespace, on a runtime of its own thread.
pub(crate) fn inside<T: Send, F: Future<Output = T>>(
    namespace: &Namespace,
    f: impl FnOnce() -> F + Send,
) -> T {
    namespace
        .run(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(async {
                tokio::time::timeout(PATIENCE * 4, f()).await.expect("a test that ends")
            })
        })
        .unwrap()
}

/// Runs a test that needs the right to make network namespaces.
pub(crate) fn privileged(test: impl FnOnce()) {
    if nix::unistd::geteuid().is_root() {
        return test();
    }
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let again = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture"])
        .env(INNER, "1")
        .status();
    match again {
        Ok(status) if status.success() => {}
        Ok(status) if status.code() == Some(101) => panic!("failed in a user namespace"),
        other => eprintln!("SKIPPED {name}: needs root or user namespaces ({other:?})"),
    }
}

/// Waits until something holds. What a closed socket held is not always free at once: a program
/// that another test starts at that moment has a copy of the socket until it is there.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let step = Duration::from_millis(10);
    for _ in 0..PATIENCE.as_millis() / step.as_millis() {
        if holds() {
            return;
        }
        std::thread::sleep(step);
    }
    panic!("never: {what}");
}

fn interface(namespace: &Namespace, name: &str) -> Interface {
    let (index, mac) = namespace
        .run(|| {
            let index = nix::net::if_::if_nametoindex(name).unwrap();
            let mac = nix::ifaddrs::getifaddrs()
                .unwrap()
                .filter(|one| one.interface_name == name)
                .find_map(|one| one.address?.as_link_addr()?.addr())
                .unwrap();
            (index, mac)
        })
        .unwrap();
    let name = name.to_owned();
    Interface { name, index: InterfaceIndex(index), mac: MacAddr(mac), carrier: true }
}
