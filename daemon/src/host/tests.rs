//! The host on the real kernel, in a namespace of its own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nlb_tests::netns::Namespace;
use tokio::time::timeout;

use super::*;
use crate::testing::{PATIENCE, Pair, inside, privileged};

const V4: &str = "10.9.0.50";
const V6: &str = "fd09::50";

fn wanted() -> Wanted {
    Wanted {
        links: vec![ServiceLink {
            name: "nlb0".to_owned(),
            addresses: vec![V4.parse().unwrap(), V6.parse().unwrap()],
        }],
        interfaces: ["n0".to_owned()].into(),
    }
}

/// Everything of a host that an installation may change.
fn state(namespace: &Namespace) -> String {
    let addresses = namespace.sh("ip -oneline address show").unwrap();
    let links = namespace.sh("ip -oneline link show type dummy").unwrap_or_default();
    let settings = ["n0", "all", "lo"].map(|interface| {
        ["arp_ignore", "arp_announce"].map(|name| setting(namespace, interface, name))
    });
    // Link-local addresses are the kernel's own and may come while a test runs.
    let addresses: String = addresses.lines().filter(|line| !line.contains(" fe80:")).collect();
    format!("{addresses}{links}{settings:?}")
}

fn setting(namespace: &Namespace, interface: &str, name: &str) -> String {
    namespace.sysctl(&format!("net/ipv4/conf/{interface}/{name}")).unwrap_or_default()
}

fn set(namespace: &Namespace, interface: &str, name: &str, value: &str) {
    namespace.set_sysctl(&format!("net/ipv4/conf/{interface}/{name}"), value).unwrap();
}

fn install(namespace: &Namespace, run: &Path, wanted: &Wanted) -> Result<Installed, HostError> {
    inside(namespace, || async {
        let netlink = Netlink::connect()?;
        // A process of its own each time: all that is known comes from the record.
        Installer::open(run)?.install(&netlink, wanted).await
    })
}

#[test]
fn everything_is_put_back() {
    privileged(|| {
        let (pair, run) = (Pair::new(), tempfile::tempdir().unwrap());
        set(&pair.node, "n0", "arp_announce", "1");
        let before = state(&pair.node);
        let installed = install(&pair.node, run.path(), &wanted()).unwrap();
        let link = installed.links["nlb0"].clone();
        let addresses = pair.node.sh(&format!("ip -oneline address show dev {link}")).unwrap();
        assert!(addresses.contains("inet 10.9.0.50/32 scope host"), "{addresses}");
        let v6 = addresses.lines().find(|line| line.contains("inet6 fd09::50/128")).unwrap();
        assert!(!addresses.contains(" fe80:"), "{addresses}");
        assert!(v6.contains("deprecated") && v6.contains("nodad"), "{v6}");
        assert!(!v6.contains("tentative"), "{v6}");
        assert_eq!(setting(&pair.node, "n0", "arp_ignore"), "1");
        assert_eq!(setting(&pair.node, "n0", "arp_announce"), "2");
        assert!(run.path().join("host.ron").exists());
        install(&pair.node, run.path(), &Wanted::default()).unwrap();
        assert_eq!(state(&pair.node), before);
        assert!(!run.path().join("host.ron").exists());
    });
}

/// A run that was killed leaves everything; the next doubles nothing and knows what was before.
#[test]
fn a_crash_costs_nothing() {
    privileged(|| {
        let (pair, run) = (Pair::new(), tempfile::tempdir().unwrap());
        let before = state(&pair.node);
        install(&pair.node, run.path(), &wanted()).unwrap();
        let after = state(&pair.node);
        for _ in 0..3 {
            install(&pair.node, run.path(), &wanted()).unwrap();
            assert_eq!(state(&pair.node), after);
        }
        // One address fewer, and one other.
        let mut changed = wanted();
        changed.links[0].addresses = vec!["10.9.0.51".parse().unwrap()];
        install(&pair.node, run.path(), &changed).unwrap();
        let now = state(&pair.node);
        assert!(now.contains("10.9.0.51") && !now.contains(V4) && !now.contains(V6), "{now}");
        install(&pair.node, run.path(), &Wanted::default()).unwrap();
        assert_eq!(state(&pair.node), before);
    });
}

/// One who looks and finds everything in its place writes nothing, whatever links the kernel has.
#[test]
fn the_record_is_written_for_changes_only() {
    privileged(|| {
        let (pair, run) = (Pair::new(), tempfile::tempdir().unwrap());
        let (path, wanted) = (run.path().join("host.ron"), wanted());
        inside(&pair.node, || async {
            let netlink = Netlink::connect().unwrap();
            let mut installer = Installer::open(run.path()).unwrap();
            installer.install(&netlink, &wanted).await.unwrap();
            // Each time it is written it is another file; with a second name this one keeps its number.
            std::fs::hard_link(&path, run.path().join("kept")).unwrap();
            let first = std::fs::metadata(&path).unwrap().ino();
            installer.install(&netlink, &wanted).await.unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().ino(), first);
        });
    });
}

#[test]
fn what_is_the_administrators_stays() {
    privileged(|| {
        let (pair, run) = (Pair::new(), tempfile::tempdir().unwrap());
        pair.node.ip(&format!("address add {V6}/64 dev n0 nodad")).unwrap();
        let before = state(&pair.node);
        let error = install(&pair.node, run.path(), &wanted()).unwrap_err();
        assert!(matches!(&error, HostError::AddressTaken { link, .. } if link == "n0"), "{error}");
        assert_eq!(state(&pair.node), before);
        assert!(!run.path().join("host.ron").exists());
        pair.node.ip(&format!("address delete {V6}/64 dev n0")).unwrap();

        pair.node.ip("link add nlb0 type bridge").unwrap();
        let error = install(&pair.node, run.path(), &wanted()).unwrap_err();
        assert!(matches!(error, HostError::LinkTaken { .. }), "{error}");
        pair.node.ip("link delete nlb0").unwrap();

        // A stricter setting is kept, and one that was changed meanwhile is left alone.
        set(&pair.node, "n0", "arp_ignore", "2");
        install(&pair.node, run.path(), &wanted()).unwrap();
        assert_eq!(setting(&pair.node, "n0", "arp_ignore"), "2");
        set(&pair.node, "n0", "arp_announce", "1");
        let installed = install(&pair.node, run.path(), &Wanted::default()).unwrap();
        assert_eq!(installed.left_alone, ["arp_announce of n0"]);
        assert_eq!(setting(&pair.node, "n0", "arp_announce"), "1");
    });
}

#[test]
fn what_cannot_work_is_refused_with_a_reason() {
    privileged(|| {
        let (pair, run) = (Pair::new(), tempfile::tempdir().unwrap());
        pair.node.set_sysctl("net/ipv6/conf/n0/disable_ipv6", "1").unwrap();
        let error = install(&pair.node, run.path(), &wanted()).unwrap_err();
        assert!(matches!(&error, HostError::Ipv6Disabled { link, .. } if link == "n0"));
        assert!(error.to_string().contains("net.ipv6.conf.n0.disable_ipv6"), "{error}");
        // The kernel is silent there all the same: the addresses may be in use elsewhere.
        assert_eq!(setting(&pair.node, "n0", "arp_ignore"), "1");
        install(&pair.node, run.path(), &Wanted::default()).unwrap();
        pair.node.set_sysctl("net/ipv6/conf/n0/disable_ipv6", "0").unwrap();

        set(&pair.node, "all", "arp_ignore", "5");
        let error = install(&pair.node, run.path(), &wanted()).unwrap_err();
        assert!(matches!(error, HostError::Setting { name: "arp_ignore", value: 5 }), "{error}");
        set(&pair.node, "all", "arp_ignore", "0");
        let state = state(&pair.node);
        assert!(!state.contains(V4) && !state.contains(V6), "{state}");
        assert_eq!(setting(&pair.node, "n0", "arp_announce"), "0");

        std::fs::write(run.path().join("host.ron"), "(nonsense").unwrap();
        let error = install(&pair.node, run.path(), &wanted()).unwrap_err();
        assert!(matches!(error, HostError::RecordDamaged { .. }), "{error}");
    });
}

/// A record of another namespace, or of the time before a reboot, is void.
#[test]
fn a_record_of_another_place_is_void() {
    privileged(|| {
        let (first, second, run) = (Pair::new(), Pair::new(), tempfile::tempdir().unwrap());
        install(&first.node, run.path(), &wanted()).unwrap();
        let before = state(&second.node);
        install(&second.node, run.path(), &wanted()).unwrap();
        assert_ne!(state(&second.node), before);
        install(&second.node, run.path(), &Wanted::default()).unwrap();
        assert_eq!(state(&second.node), before);
    });
}

#[test]
fn a_missing_interface_is_told_and_made_up_for() {
    privileged(|| {
        let (pair, run) = (Pair::new(), tempfile::tempdir().unwrap());
        pair.node.ip("link set n0 down\nlink set n0 name other").unwrap();
        let installed = install(&pair.node, run.path(), &wanted()).unwrap();
        assert_eq!(installed.missing, ["n0"]);
        pair.node.ip("link set other name n0").unwrap();
        let installed = install(&pair.node, run.path(), &wanted()).unwrap();
        assert!(installed.missing.is_empty());
        // Settings follow the interface, not its name.
        pair.node.ip("link set n0 name other").unwrap();
        assert_eq!(setting(&pair.node, "other", "arp_ignore"), "1");
        install(&pair.node, run.path(), &Wanted::default()).unwrap();
        assert_eq!(setting(&pair.node, "other", "arp_ignore"), "0");
    });
}

/// SPEC 2.4: with the service addresses in place the kernel answers nobody who asks for them, and
/// asks nobody in their name.
#[test]
fn the_kernel_is_silent_about_the_service_addresses() {
    privileged(|| {
        let (pair, run) = (Pair::new(), tempfile::tempdir().unwrap());
        install(&pair.node, run.path(), &wanted()).unwrap();
        let asks = |address: &str| {
            let _ = pair.client.sh(&format!("ping -n -c 1 -W 1 {address}"));
            pair.client.sh(&format!("ip neigh show {address}")).unwrap()
        };
        for address in [V4, V6] {
            let entry = asks(address);
            assert!(!entry.contains("lladdr"), "{entry}");
        }
        // Asked at its own unicast address, as by a cache with a wrong entry.
        let mac = pair.node_interface().mac;
        for address in [V4, V6] {
            pair.client
                .ip(&format!("neigh replace {address} lladdr {mac} dev c0 nud probe"))
                .unwrap();
            let entry = (0..300).find_map(|_| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                let entry = pair.client.sh(&format!("ip neigh show {address}")).unwrap();
                (entry.contains("FAILED") || entry.contains("REACHABLE")).then_some(entry)
            });
            let entry = entry.unwrap_or_default();
            assert!(entry.contains("FAILED"), "{entry:?}");
        }
        // The node talks from the service address to a client that it must resolve first: the
        // question comes from the interface's own address, which is what the client learns.
        pair.client.ip("neigh flush dev c0").unwrap();
        for (source, own) in [(V4, "10.9.0.1"), (V6, "fe80::")] {
            let to = if source == V4 { "10.9.0.2" } else { "fd09::2" };
            pair.node.ip("neigh flush dev n0").unwrap();
            let _ = pair.node.sh(&format!("ping -n -c 1 -W 1 -I {source} {to}"));
            assert!(pair.node.sh(&format!("ip neigh show {to}")).unwrap().contains("lladdr"));
            let learned = pair.client.sh("ip neigh show").unwrap();
            assert!(
                !learned.lines().any(|line| {
                    line.starts_with(&format!("{source} "))
                        && line.contains(&mac.to_string())
                        && !line.contains("FAILED")
                }),
                "{learned}"
            );
            assert!(learned.contains(own), "{learned}");
        }
        // And it does not take them as its own source unasked.
        for to in ["10.9.0.2", "fd09::2"] {
            let route = pair.node.sh(&format!("ip route get {to}")).unwrap();
            assert!(!route.contains(V4) && !route.contains(V6), "{route}");
        }
    });
}

#[test]
fn links_are_watched() {
    privileged(|| {
        let pair = Pair::new();
        inside(&pair.node, || async {
            let netlink = Netlink::connect().unwrap();
            let mut watch = LinkWatch::open(["n0".to_owned(), "later".to_owned()]).unwrap();
            let next = async |watch: &mut LinkWatch| {
                loop {
                    match timeout(PATIENCE, watch.next(&netlink)).await.unwrap().unwrap() {
                        LinkChange::Elsewhere => {}
                        change => return change,
                    }
                }
            };
            let LinkChange::Appeared(link) = next(&mut watch).await else { panic!("appears") };
            assert_eq!(link.interface().unwrap(), pair.node_interface());
            assert!(link.up);
            pair.node.ip("link set n0 down").unwrap();
            // Up and carrier may go in two steps.
            while watch.known().any(|link| link.up) {
                assert!(matches!(next(&mut watch).await, LinkChange::Changed { .. }));
            }
            pair.node.ip("link set n0 name later").unwrap();
            let mut seen = Vec::new();
            while seen.len() < 2 {
                match next(&mut watch).await {
                    LinkChange::Vanished(link) => seen.push(("vanished", link.name)),
                    LinkChange::Appeared(link) => seen.push(("appeared", link.name)),
                    LinkChange::Changed { .. } | LinkChange::Elsewhere => {}
                }
            }
            let expected = [("vanished", "n0".to_owned()), ("appeared", "later".to_owned())];
            assert_eq!(seen, expected);
            pair.node.ip("link delete later").unwrap();
            while !matches!(next(&mut watch).await, LinkChange::Vanished(_)) {}
            // Far more changes than the socket holds notifications of: the end is what counts.
            let storm: String = (0..150)
                .map(|i| format!("link add b{i} type bridge\nlink delete b{i}\n"))
                .collect();
            pair.node.ip(&storm).unwrap();
            pair.node.ip("link add later type bridge").unwrap();
            assert!(matches!(next(&mut watch).await, LinkChange::Appeared(_)));
        });
    });
}

/// An address that an administrator takes away is missed at once, and put back; looking on
/// whether all is there wakes nobody.
#[test]
fn a_lost_address_is_noticed() {
    privileged(|| {
        let (pair, run) = (Pair::new(), tempfile::tempdir().unwrap());
        let link = install(&pair.node, run.path(), &wanted()).unwrap().links["nlb0"].clone();
        let before = state(&pair.node);
        inside(&pair.node, || async {
            let netlink = Netlink::connect().unwrap();
            let mut installer = Installer::open(run.path()).unwrap();
            let mut watch = LinkWatch::open(["n0".to_owned()]).unwrap();
            assert_eq!(watch.changes(&netlink).await.unwrap().len(), 1);
            for (address, length) in [(V4, 32), (V6, 128)] {
                pair.node.ip(&format!("address delete {address}/{length} dev {link}")).unwrap();
                let change = timeout(PATIENCE, watch.next(&netlink)).await.unwrap().unwrap();
                assert_eq!(change, LinkChange::Elsewhere);
                installer.install(&netlink, &wanted()).await.unwrap();
                assert_eq!(state(&pair.node), before);
                timeout(PATIENCE, watch.next(&netlink)).await.unwrap().unwrap();
            }
            installer.install(&netlink, &wanted()).await.unwrap();
            let quiet = timeout(std::time::Duration::from_millis(200), watch.next(&netlink)).await;
            assert!(quiet.is_err(), "{quiet:?}");
        });
    });
}

/// Without room for the record everything is put back all the same.
#[test]
fn a_full_disk_keeps_nothing_on_the_host() {
    privileged(|| {
        let (pair, run) = (Pair::new(), tempfile::tempdir().unwrap());
        let before = state(&pair.node);
        let path = run.path().to_owned();
        inside(&pair.node, || async {
            let netlink = Netlink::connect().unwrap();
            let mut installer = Installer::open(&path).unwrap();
            installer.install(&netlink, &wanted()).await.unwrap();
            std::fs::remove_dir_all(&path).unwrap();
            assert!(installer.install(&netlink, &more()).await.is_err());
            installer.remove(&netlink).await.unwrap();
            assert!(!installer.has_changes());
        });
        assert_eq!(state(&pair.node), before);
    });
}

/// One address more than [`wanted`].
fn more() -> Wanted {
    let mut more = wanted();
    more.links[0].addresses.push("10.9.0.52".parse().unwrap());
    more
}

#[test]
fn a_link_that_was_replaced_went_and_came() {
    let link = |index, up| LinkState { up, running: up, ..LinkState::well("n0", index) };
    let one = |link: LinkState| BTreeMap::from([(link.name.clone(), link)]);
    let compare = |a, b| watch::compare(&one(a), &one(b));
    assert_eq!(compare(link(1, true), link(1, true)), []);
    let (from, to) = (link(1, true), link(1, false));
    let changed = LinkChange::Changed { from: from.clone(), to: to.clone() };
    assert_eq!(compare(from, to), [changed]);
    assert_eq!(
        compare(link(1, true), link(2, true)),
        [LinkChange::Vanished(link(1, true)), LinkChange::Appeared(link(2, true))]
    );
    let addresses: [IpAddr; 2] = [V4.parse().unwrap(), V6.parse().unwrap()];
    assert_eq!(wanted().links[0].addresses, addresses);
}
