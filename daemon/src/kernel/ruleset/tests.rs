//! The text of batches, word by word, and the kernel's own judgement of each.

use core::time::Duration;

use nlb_protocol::{ClusterId, MacAddr};

use super::*;
use crate::config::Port;
use crate::kernel::inventory::Names;
use crate::kernel::testing::{in_namespace, ip, nft};

const MODULE: &str = "kernel::ruleset::tests";

fn rules() -> ClusterRules {
    crate::kernel::testing::rules("nlb0", 5)
}

fn decision(filter: &[u16], divert: bool) -> Decision {
    let filter = filter.iter().map(|index| Bucket::new(*index).unwrap()).collect();
    Decision { filter, divert, seed: 0x1234 }
}

fn text(build: impl FnOnce(&mut Ruleset)) -> String {
    let mut ruleset = Ruleset::new();
    build(&mut ruleset);
    ruleset.into_text()
}

/// Every state that has a golden text, with the file's name.
fn states() -> Vec<(&'static str, String)> {
    let two_interfaces = ClusterRules {
        cluster: "web-1_x".to_owned(),
        id: ClusterId(0xfffe),
        interfaces: vec![Interface::new("lan0", 7).unwrap(), Interface::new("lan+1", 8).unwrap()],
        mac: MacAddr([0x01, 0x00, 0x5e, 0x7f, 0xff, 0xfe]),
        ethertype: 0x8870,
        addresses: vec![
            "2001:db8::50".parse().unwrap(),
            "2001:db8::51".parse().unwrap(),
            "192.0.2.50".parse().unwrap(),
            "192.0.2.51".parse().unwrap(),
        ],
        ports: vec![Port::Tcp(80), Port::Tcp(443), Port::Udp(53)],
        lease: Duration::from_millis(20),
        queue: u16::MAX,
        ..rules()
    };
    let only_v4 = ClusterRules { addresses: vec!["192.0.2.50".parse().unwrap()], ..rules() };
    let some = decision(&[0, 1, 4095], false);
    vec![
        ("plain", text(|r| r.install(&rules(), &some, QueuePath::Iptables))),
        (
            "nothing_owned",
            text(|r| r.install(&only_v4, &decision(&[], false), QueuePath::Iptables)),
        ),
        ("divert", text(|r| r.install(&rules(), &decision(&[], true), QueuePath::Iptables))),
        ("ports", text(|r| r.install(&two_interfaces, &some, QueuePath::Iptables))),
        (
            "no_refresh",
            text(|r| {
                r.install(&rules(), &some, QueuePath::Iptables);
                r.refresh(&rules(), &some, Refresh::Off);
            }),
        ),
        ("queue", text(|r| r.install(&rules(), &some, QueuePath::Nft))),
        ("clear", text(|r| r.clear(true))),
        ("remove", text(|r| r.retire(&two_interfaces, None))),
        (
            "changes",
            text(|r| {
                r.install(&rules(), &some, QueuePath::Iptables);
                r.change_filter(&rules(), &some.filter, &decision(&[1, 2, 3], false).filter);
                let clients = ["198.51.100.7", "2001:db8::7", "198.51.100.8", "198.51.100.7"];
                let clients = clients.map(|client| client.parse().unwrap());
                let all = Emptied { sticky: true, foreign: true };
                r.replace_sets(&rules(), QueuePath::Iptables, all);
                r.put_back(&rules(), &some, QueuePath::Iptables);
                r.forget(&rules(), &clients);
                r.remember(&rules(), &clients[..2]);
                r.renew(&rules(), &clients[2..]);
            }),
        ),
    ]
}

/// Set `NLBD_BLESS=1` to write the golden texts anew; the difference is then to be read.
#[test]
fn the_text_of_every_state_is_the_golden_one() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernel/ruleset/golden");
    for (name, text) in states() {
        let file = folder.join(format!("{name}.nft"));
        if std::env::var_os("NLBD_BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(golden, text, "{}", file.display());
    }
}

#[test]
fn the_kernel_takes_every_state_twice_and_leaves_nothing_when_removed() {
    in_namespace(
        &format!("{MODULE}::the_kernel_takes_every_state_twice_and_leaves_nothing_when_removed"),
        async || {
            ip("link add lan0 index 7 type veth peer name peer0");
            ip("link add lan+1 index 8 type veth peer name peer1");
            let queue = crate::kernel::probe().await.unwrap().queue;
            for (name, state) in states() {
                if name == "queue" && queue != QueuePath::Nft {
                    eprintln!("this kernel has no nft queue: that text is not tried");
                    continue;
                }
                if name == "queue" {
                    // A chain of another priority cannot be put over the one that is there.
                    nft(&["-f", "-"], &text(|r| r.clear(true))).unwrap();
                }
                for round in ["first", "second"] {
                    nft(&["-f", "-"], &state).unwrap_or_else(|e| panic!("{name}, {round}: {e}"));
                }
            }
            nft(&["-f", "-"], &text(|r| r.clear(true))).unwrap();
            assert_eq!(nft(&["list", "ruleset"], "").unwrap(), "");
        },
    );
}

#[test]
fn one_cluster_goes_without_the_other() {
    in_namespace(&format!("{MODULE}::one_cluster_goes_without_the_other"), async || {
        ip("link add lan0 index 7 type veth peer name peer0");
        let second = ClusterRules {
            cluster: "other".to_owned(),
            id: ClusterId(2),
            mac: MacAddr([2, 0, 0, 0, 0, 2]),
            queue: 6,
            ..rules()
        };
        let some = decision(&[3], false);
        nft(&["-f", "-"], &text(|r| r.install(&rules(), &some, QueuePath::Iptables))).unwrap();
        let alone = nft(&["list", "ruleset"], "").unwrap();
        nft(&["-f", "-"], &text(|r| r.install(&second, &some, QueuePath::Iptables))).unwrap();
        assert_ne!(nft(&["list", "ruleset"], "").unwrap(), alone);
        nft(&["-f", "-"], &text(|r| r.retire(&second, None))).unwrap();
        assert_eq!(nft(&["list", "ruleset"], "").unwrap(), alone);
    });
}

#[test]
fn a_rebuild_keeps_the_clients_that_the_kernel_keeps() {
    let name = format!("{MODULE}::a_rebuild_keeps_the_clients_that_the_kernel_keeps");
    in_namespace(&name, async || {
        ip("link add lan0 index 7 type veth peer name peer0");
        ip("link add lan1 index 8 type veth peer name peer1");
        let before = rules();
        let after = ClusterRules {
            interfaces: vec![Interface::new("lan1", 8).unwrap()],
            sticky_timeout: Duration::from_secs(60),
            ports: vec![Port::Tcp(80)],
            addresses: vec!["192.0.2.99".parse().unwrap()],
            ..rules()
        };
        let clients = ["198.51.100.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        let first = text(|r| {
            r.install(&before, &decision(&[1], false), QueuePath::Iptables);
            r.remember(&before, &clients);
        });
        nft(&["-f", "-"], &first).unwrap();
        let second = text(|r| {
            r.retire(&before, Some(&after));
            r.install(&after, &decision(&[2], true), QueuePath::Iptables);
        });
        nft(&["-f", "-"], &second).unwrap();
        let listing = nft(&["list", "ruleset"], "").unwrap();
        for wanted in ["198.51.100.7 ", "2001:db8::7 ", "in.nlb0.8.lan1", "192.0.2.99"] {
            assert!(listing.contains(wanted), "{wanted} is missing in\n{listing}");
        }
        for gone in ["lan0", "192.0.2.50"] {
            assert!(!listing.contains(gone), "{gone} is left in\n{listing}");
        }
    });
}

#[test]
fn only_what_has_no_heir_goes() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let found = Inventory {
        gate: Names {
            chains: names(&["in.nlb0.7.lan0", "out.nlb0.9.lan0", "in.old.7.lan0", "in.new.9.a.b"]),
            sets: names(&["lease.nlb0", "lease.old"]),
            counters: names(&["no_lease.nlb0", "no_lease.old"]),
        },
        stage: Names {
            chains: names(&["made.iptables", "somebody", "stage.nlb0", "stage.old", "in.nlb0.7.l"]),
            ..Names::default()
        },
        arp: Names {
            chains: names(&["out.nlb0", "out.old"]),
            sets: names(&["addr4.nlb0", "addr4.old"]),
            ..Names::default()
        },
    };
    let heirs = BTreeSet::from(["nlb0", "new"]);
    let batch = text(|batch| batch.remove_heirless(&found, &heirs, &rules()));
    let deleted: Vec<&str> =
        batch.lines().filter_map(|line| line.strip_prefix("delete ")).collect();
    assert_eq!(
        deleted,
        [
            "chain inet nlb in.nlb0.7.l",
            "chain inet nlb stage.old",
            "chain netdev nlb_gate in.old.7.lan0",
            "chain netdev nlb_gate out.nlb0.9.lan0",
            "set netdev nlb_gate lease.old",
            "counter netdev nlb_gate no_lease.old",
            "chain arp nlb out.old",
            "set arp nlb addr4.old",
        ]
    );
}

#[test]
fn no_mark_means_two_things() {
    let mut seen = std::collections::BTreeSet::new();
    for queue in [0, 1, 5, 0x0fff, u16::MAX] {
        for mark in Mark::ALL {
            assert!(seen.insert(mark.waiting(queue)));
            assert!(seen.insert(mark.asked(queue)));
        }
        assert!(seen.insert(Mark::passed(queue)) && seen.insert(Mark::refused(queue)));
        for mark in Mark::ALL.map(|mark| mark.waiting(queue)) {
            assert_eq!(mark & Mark::OF_QUEUE, Mark::any(queue));
        }
    }
}

#[test]
fn names_that_nft_would_read_otherwise_are_refused() {
    for name in ["", "a\"b", "eth*", "a b", "a\\b", "sixteencharacter", "ä", "a/b"] {
        assert!(Interface::new(name, 1).is_err(), "{name:?}");
    }
    for name in ["", "Nlb0", "nlb.0", "nlb 0", "sixteencharacter", "x}"] {
        let rules = ClusterRules { cluster: name.to_owned(), ..rules() };
        assert!(rules.check().is_err(), "{name:?}");
    }
}
