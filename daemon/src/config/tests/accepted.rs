//! What is accepted, and what it means.

use core::net::IpAddr;
use core::time::Duration;

use nlb_protocol::{ClusterId, MacAddr, MacMode, NodeId, Weight};

use super::*;
use crate::config::{ClusterConfig, Difference};
use crate::weight::{WeightRules, WeightSource};

#[test]
fn the_design_example() {
    let config = Fake::with(
        r#"(
    node: (name: "n1"),              // optional: host name; id from machine-id
    clusters: {
        "nlb0": (
            id: 1,                   // optional: from the name
            interfaces: ["eth0"],
            addresses: ["192.0.2.50", "2001:db8::50"],
            mode: Unicast,           // Unicast | Multicast | Igmp
            key_file: "/etc/nlbd/nlb0.key",
            weight: LoadAverage,
            heartbeat_ms: 100,
            dead_after_ms: 1000,
            sticky_idle_s: 1800,
        ),
    },
)"#,
    )
    .load()
    .unwrap();
    assert_eq!(config.node.name, "n1");
    let cluster = config.cluster("nlb0").unwrap();
    assert_eq!(cluster.id, ClusterId(1));
    assert_eq!(cluster.addresses.len(), 2);
    assert_eq!(cluster.mac.mac.to_string(), "02:4e:4c:42:00:01");
    assert_eq!(cluster.keys.len(), 1);
    assert_eq!(cluster.key_file.as_deref(), Some(Path::new(KEY)));
    assert!(!cluster.is_insecure());
    // Keys are never shown.
    assert!(!format!("{config:?}").contains("0011"));
}

#[test]
fn defaults() {
    let config = Fake::with(&cluster("")).load().unwrap();
    assert_eq!(config.node.name, "host1");
    assert_eq!(config.node.id, node_id_of("0123456789abcdef0123456789abcdef"));
    let cluster = &config.clusters[0];
    assert_eq!(cluster.id, cluster_id_of("nlb0"));
    assert_eq!(cluster.mode, MacMode::Unicast);
    assert_eq!(cluster.ethertype, 0x88b5);
    assert_eq!(cluster.ports, None);
    assert_eq!(cluster.weight, WeightSource::LoadAverage);
    assert_eq!(cluster.weight_rules, WeightRules::default());
    assert_eq!(cluster.timing, nlb_engine::Timing::default());
    assert_eq!(cluster.sticky_idle, Duration::from_secs(1800));
    assert!(cluster.offload);
    assert_eq!(cluster.min_members, 1);
}

#[test]
fn every_field() {
    let fields = "id: 0xffff, mode: Igmp, mac: \"01:00:5e:01:02:03\", ethertype: 0x8870, ports: \
                  [Tcp(80), Udp(53)], insecure: true, weight: Manual(65535), weight_interval_s: 1, \
                  heartbeat_ms: 5, sticky_idle_s: 60, offload: false, min_members: 2";
    let config = Fake::with(&cluster(fields)).without(KEY).load().unwrap();
    let cluster = &config.clusters[0];
    assert_eq!(cluster.id, ClusterId(65535));
    assert_eq!(cluster.mac.mac, MacAddr([1, 0, 0x5e, 1, 2, 3]));
    assert_eq!(cluster.mac.group, Some("239.1.2.3".parse().unwrap()));
    assert_eq!(cluster.ethertype, 0x8870);
    assert_eq!(cluster.ports, Some(vec![Port::Tcp(80), Port::Udp(53)]));
    assert!(cluster.is_insecure() && cluster.keys.is_empty());
    assert_eq!(cluster.weight, WeightSource::Manual(Weight::new(65535).unwrap()));
    // Ten heartbeats unless given.
    assert_eq!(cluster.timing.dead_after, Duration::from_millis(50));
    assert!(!cluster.offload);
    assert_eq!(cluster.min_members, 2);
}

#[test]
fn nothing_is_a_configuration_too() {
    for text in ["", "()", "(clusters: {})", "// later\n"] {
        assert!(Fake::with(text).load().unwrap().clusters.is_empty());
    }
    // The standard file need not be there.
    let fake = Fake::with("").without(MAIN);
    assert!(load(&Location::standard(), &fake).unwrap().clusters.is_empty());
}

/// The ids are part of what two servers must agree on, so they are held by value.
#[test]
fn derived_ids() {
    assert_eq!(cluster_id_of("nlb0"), ClusterId(13524));
    assert_eq!(node_id_of("0123456789abcdef0123456789abcdef\n"), NodeId(0x216976b185ce1931));
    assert_ne!(cluster_id_of("nlb1"), cluster_id_of("nlb0"));
}

#[test]
fn drop_ins_are_merged_in_the_order_of_their_names() {
    let config = Fake::with(&cluster("id: 5,"))
        .file(
            "/etc/nlbd/nlbd.d/20-more.ron",
            "(clusters: {\"nlb0\": (interfaces: [\"eth1\"], addresses: [\"192.0.2.52\"], weight: \
             Manual(9), id: 5)})",
        )
        .file(
            "/etc/nlbd/nlbd.d/10-more.ron",
            "(clusters: {\"nlb0\": (addresses: [\"192.0.2.51\", \"192.0.2.50\"]), \"web\": \
             (interfaces: [\"eth1\"], addresses: [\"192.0.2.60\"], insecure: true)})",
        )
        .file("/etc/nlbd/nlbd.d/README", "not read")
        .file("/etc/nlbd/nlbd.d/.10-more.ron.swp.ron", "not read")
        .load()
        .unwrap();
    let names: Vec<_> = config.clusters.iter().map(|cluster| &cluster.name).collect();
    assert_eq!(names, ["nlb0", "web"]);
    let cluster = config.cluster("nlb0").unwrap();
    let addresses: Vec<_> = cluster.addresses.iter().map(IpAddr::to_string).collect();
    assert_eq!(addresses, ["192.0.2.50", "192.0.2.51", "192.0.2.52"]);
    assert_eq!(cluster.interfaces, ["eth0", "eth1"]);
    assert_eq!(cluster.weight, WeightSource::Manual(Weight::new(9).unwrap()));
    assert_eq!(config.files.len(), 3);
}

#[test]
fn paths_begin_beside_the_main_file() {
    let location = Location::named(Path::new("/tmp/n2/second.ron"));
    assert_eq!(location.drop_ins(), Path::new("/tmp/n2/second.d"));
    assert_eq!(location.default_key("nlb0"), Path::new("/tmp/n2/nlb0.key"));
    assert_eq!(Location::named(Path::new("x.ron")).directory(), Path::new("."));
}

#[test]
fn several_keys_and_comments() {
    let other = DIGITS.replace('0', "A");
    let keys = format!("# new\n{DIGITS}\n\n  {other}  \r\n");
    let config = Fake::with(&cluster("")).secret(KEY, &keys).load().unwrap();
    assert_eq!(config.clusters[0].keys.len(), 2);
}

#[test]
fn what_a_running_cluster_can_take_up() {
    let config = |fields: &str| Fake::with(&cluster(fields)).load().unwrap().clusters.remove(0);
    let now = config("");
    assert!(now.can_become(&config("weight: Manual(3), ports: [Tcp(80)],")));
    assert!(!now.can_become(&config("heartbeat_ms: 50,")));
    assert!(!now.can_become(&config("mode: Igmp,")));
}

/// The differences in words; `!` in front of those that cannot be taken up.
fn differences(old: &ClusterConfig, new: &ClusterConfig) -> Vec<String> {
    let mark = |one: &Difference| if one.restarts { "!" } else { "" };
    old.differences(new).iter().map(|one| format!("{}{one}", mark(one))).collect()
}

#[test]
fn what_differs_is_named() {
    let config = |fields: &str| Fake::with(&cluster(fields)).load().unwrap().clusters.remove(0);
    let now = config("weight: Manual(100),");
    assert_eq!(differences(&now, &now), [""; 0]);
    let other = "weight: Cpu, ports: [Tcp(80), Udp(53)], warm_up_s: 5, id: 9, min_members: 2,";
    let mut new = config(other);
    new.addresses = vec!["192.0.2.51".parse().unwrap()];
    let said = differences(&now, &new);
    let id = format!("!id {} -> 9", now.id);
    assert!(said.contains(&id), "{said:?}");
    assert!(said.contains(&"addresses +192.0.2.51 -192.0.2.50".to_owned()), "{said:?}");
    let mac = said.iter().find(|one| one.starts_with("!mac ")).expect("the MAC has the id in it");
    assert!(mac.contains(" -> "), "{mac}");
    for words in [
        "ports all -> [Tcp(80), Udp(53)]",
        "weight Manual(100) -> Cpu",
        "warm_up_s 30 -> 5",
        "!min_members 1 -> 2",
    ] {
        assert!(said.contains(&words.to_owned()), "{words}: {said:?}");
    }
    assert_eq!(said.len(), 7, "{said:?}");
}

#[test]
fn keys_that_differ_are_counted_and_not_shown() {
    let other = DIGITS.replace('0', "a");
    let load = |keys: &str| Fake::with(&cluster("")).secret(KEY, keys).load().unwrap();
    let (old, new) = (load(DIGITS), load(&format!("{other}\n{DIGITS}\n")));
    let said = differences(&old.clusters[0], &new.clusters[0]);
    assert_eq!(said, ["keys changed (1 -> 2)"]);
}

#[test]
fn this_host_can_be_asked() {
    assert!(Host.interfaces().contains(&"lo".to_owned()));
    assert!(!Host.host_name().is_empty());
    assert!(Host.read(Path::new("/"), 10).is_err());
    assert!(Host.list(Path::new("/no/such/directory")).unwrap().is_empty());
}
