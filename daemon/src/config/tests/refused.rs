//! Golden errors: the place, the value found, what is allowed. Fields of `cluster()` begin at line
//! 6, column 13.

use super::*;

#[track_caller]
fn refused(fields: &str, words: &str) {
    assert_eq!(Fake::with(&cluster(fields)).errors(), words);
}

#[test]
fn weights() {
    let at = "/etc/nlbd/nlbd.ron:6:28: `weight`: found";
    refused("weight: Manual(0),", &format!("{at} 0; allowed: 1 to 65535"));
    refused("weight: Manual(65536),", &format!("{at} 65536; allowed: 1 to 65535"));
    refused("weight: Manual(-1),", &format!("{at} -1; allowed: 1 to 65535"));
    refused("weight: Manual(\"9\"),", &format!("{at} \"9\"; allowed: 1 to 65535"));
    let allowed = "LoadAverage, LoadAverage5, LoadAverage15, Cpu, Memory, Connections, \
                   Manual(1 to 65535) or Command([\"/PATH\", …])";
    let at = "/etc/nlbd/nlbd.ron:6:21: `weight`: found";
    refused("weight: Gpu,", &format!("{at} Gpu; allowed: {allowed}"));
    refused("weight: 100,", &format!("{at} 100; allowed: {allowed}"));
    refused("weight: Manual(1, 2),", &format!("{at} Manual(1, 2); allowed: {allowed}"));
}

#[test]
fn numbers() {
    let line = |field: &str, value: &str, column: usize, allowed: &str| {
        refused(
            &format!("{field}: {value},"),
            &format!("/etc/nlbd/nlbd.ron:6:{column}: `{field}`: found {value}; allowed: {allowed}"),
        );
    };
    line("id", "0", 17, "1 to 65535");
    line("id", "65536", 17, "1 to 65535");
    line("heartbeat_ms", "4", 27, "5 to 3000");
    line("heartbeat_ms", "3001", 27, "5 to 3000");
    line("heartbeat_ms", "1.5", 27, "5 to 3000");
    line("dead_after_ms", "0", 28, "1 to 15000");
    line("sticky_idle_s", "0", 28, "1 to 604800");
    line("weight_interval_s", "3601", 32, "1 to 3600");
    line("warm_up_s", "3601", 24, "0 to 3600");
    line("min_share_percent", "51", 32, "0 to 50");
    line("max_share_percent", "0", 32, "1 to 100");
    line("min_members", "65", 26, "1 to 64");
    line("min_members", "99999999999999999999999999999999999999999", 26, "1 to 64");
    line("ethertype", "0x05ff", 24, "0x0600 to 0xffff");
    let other = "one that carries nothing else, like 0x88b5 or 0x8870";
    line("ethertype", "0x0800", 24, other);
    line("offload", "maybe", 22, "true or false");
    line("mode", "Anycast", 19, "Unicast, Multicast or Igmp");
}

#[test]
fn where_metrics_are_served() {
    for listen in ["9187", "\"localhost:9187\"", "\"127.0.0.1\"", "\"127.0.0.1:0\""] {
        let text = format!("(\n  metrics: (listen: {listen})\n)");
        let errors = Fake::with(&text).errors();
        assert_eq!(
            errors,
            format!(
                "/etc/nlbd/nlbd.ron:2:21: `listen`: found {listen}; allowed: an address and a \
                 port like \"127.0.0.1:9187\""
            )
        );
    }
    assert_eq!(Fake::with("()").load().unwrap().metrics, None);
    let text = "(metrics: (listen: \"[::1]:9187\"))";
    let metrics = Fake::with(text).load().unwrap().metrics;
    assert_eq!(metrics, Some("[::1]:9187".parse().unwrap()));
}

#[test]
fn dead_after_against_heartbeat() {
    refused(
        "dead_after_ms: 499,",
        "/etc/nlbd/nlbd.ron:6:28: `dead_after_ms`: found 499; allowed: at least 500, which is 5 × \
         heartbeat_ms (100)",
    );
    refused(
        "heartbeat_ms: 500, dead_after_ms: 1000,",
        "/etc/nlbd/nlbd.ron:6:47: `dead_after_ms`: found 1000; allowed: at least 2500, which is 5 \
         × heartbeat_ms (500)",
    );
    refused(
        "heartbeat_ms: 5, dead_after_ms: 4001,",
        "/etc/nlbd/nlbd.ron:6:45: `dead_after_ms`: found 4001; allowed: at most 4000, which is \
         800 × heartbeat_ms (5)",
    );
}

#[test]
fn addresses() {
    let text = |address: &str| {
        format!(
            "(clusters: {{\"nlb0\": (interfaces: [\"eth0\"],\n addresses: [\"192.0.2.1\", \
             \"{address}\"])}})"
        )
    };
    let wrong = |address: &str, allowed: &str| {
        assert_eq!(
            Fake::with(&text(address)).errors(),
            format!(
                "/etc/nlbd/nlbd.ron:2:27: `addresses`: found \"{address}\"; allowed: {allowed}"
            )
        );
    };
    wrong("192.0.2.256", "an IPv4 or IPv6 unicast address like \"192.0.2.50\" or \"2001:db8::50\"");
    wrong("192.0.2.9/24", "the address alone, without a prefix length");
    wrong("224.0.0.1", "a unicast address, not multicast or broadcast");
    wrong("255.255.255.255", "a unicast address, not multicast or broadcast");
    let host = "a unicast host address, not 0.0.0.0/8, 127.0.0.0/8 or 240.0.0.0/4";
    wrong("127.0.0.1", host);
    wrong("0.0.0.0", host);
    wrong("250.0.0.1", host);
    wrong("ff02::1", "a unicast address, not multicast");
    wrong("::1", "a unicast host address, not :: or ::1");
    wrong("::ffff:192.0.2.7", "an IPv4 address written as such, like \"192.0.2.50\"");
    wrong("fe80::1", "a global or unique local address (link-local ones cannot be balanced)");
    wrong("fe80::1%eth0", "an address without a zone (link-local addresses cannot be balanced)");
    wrong("02:00:00:00:00:01", "an IPv4 or IPv6 address; an Ethernet address goes into `mac`");

    let mut fake = Fake::with(&text("2001:db8::1"));
    fake.load().expect("with IPv6");
    fake.ipv6 = false;
    assert_eq!(
        fake.errors(),
        "/etc/nlbd/nlbd.ron:2:27: `addresses`: found \"2001:db8::1\"; allowed: IPv4 addresses: \
         this host has no IPv6"
    );
}

#[test]
fn unknown_fields() {
    refused(
        "wieght: 7,",
        "/etc/nlbd/nlbd.ron:6:13: unknown field `wieght`; allowed: id, interfaces, addresses, \
         mode, mac, ethertype, ports, key_file, insecure, weight, weight_interval_s, \
         warm_up_s, min_share_percent, max_share_percent, checks, checks_mode, on_failure, \
         when_all_fail, heartbeat_ms, dead_after_ms, sticky_idle_s, offload, min_members",
    );
    assert!(
        Fake::with(&cluster("healths: [Tcp(port: 80)],"))
            .errors()
            .starts_with("/etc/nlbd/nlbd.ron:6:13: unknown field `healths`; allowed: id,")
    );
    assert_eq!(
        Fake::with("(\n  nodes: ()\n)").errors(),
        "/etc/nlbd/nlbd.ron:2:3: unknown field `nodes`; allowed: node, clusters, metrics"
    );
    assert_eq!(
        Fake::with("(node: (uuid: 1))").errors(),
        "/etc/nlbd/nlbd.ron:1:9: unknown field `uuid`; allowed: name, id"
    );
}

#[test]
fn twice() {
    refused(
        "id: 1, id: 1,",
        "/etc/nlbd/nlbd.ron:6:20: `id` is given twice, first at /etc/nlbd/nlbd.ron:6:13; allowed: \
         once",
    );
    assert_eq!(
        Fake::with("(clusters: {\n\"a\": (),\n\"a\": ()})").errors().lines().next(),
        Some("/etc/nlbd/nlbd.ron:2:1: cluster \"a\": no `interfaces`; allowed: 1 to 8 interfaces")
    );
    let listed = "(clusters: {\"nlb0\": (addresses: [\"192.0.2.1\"],\n  interfaces: [\"eth0\", \
                  \"eth0\"])})";
    assert_eq!(
        Fake::with(listed).errors(),
        "/etc/nlbd/nlbd.ron:2:24: `interfaces: \"eth0\"` is given twice, first at \
         /etc/nlbd/nlbd.ron:2:16; allowed: once"
    );
}

#[test]
fn two_clusters_in_each_others_way() {
    let text = |first: &str, second: &str| {
        format!(
            "(clusters: {{\n\"nlb0\": (interfaces: [\"eth0\"], insecure: true, {first}),\n\
             \"nlb1\": (interfaces: [\"eth0\"], insecure: true, {second}),\n}})"
        )
    };
    let a = "addresses: [\"192.0.2.1\"]";
    let b = "addresses: [\"192.0.2.2\"]";
    assert_eq!(
        Fake::with(&text(&format!("id: 7, {a}"), &format!("id: 7, {b}"))).errors(),
        "/etc/nlbd/nlbd.ron:3:52: `id` 7 is that of cluster \"nlb0\" too, see \
         /etc/nlbd/nlbd.ron:2:52; allowed: an id of 1 to 65535 for each"
    );
    let derived = cluster_id_of("nlb1");
    assert_eq!(
        Fake::with(&text(&format!("id: {derived}, {a}"), b)).errors(),
        format!(
            "/etc/nlbd/nlbd.ron:3:1: `id` {derived} (from the name) is that of cluster \"nlb0\" \
             too, see /etc/nlbd/nlbd.ron:2:52; allowed: an id of 1 to 65535 for each"
        )
    );
    assert_eq!(
        Fake::with(&text(a, a)).errors(),
        "/etc/nlbd/nlbd.ron:3:60: address 192.0.2.1 is that of cluster \"nlb0\" too, see \
         /etc/nlbd/nlbd.ron:2:60; allowed: one cluster an address"
    );
    assert_eq!(
        Fake::with(&text(
            &format!("{a}, mac: \"02:00:00:00:00:01\""),
            &format!("{b}, mac: \"02:00:00:00:00:01\"")
        ))
        .errors(),
        "/etc/nlbd/nlbd.ron:3:79: cluster MAC 02:00:00:00:00:01 is that of cluster \"nlb0\" too, \
         see /etc/nlbd/nlbd.ron:2:79; allowed: one cluster a MAC"
    );
    // One that is configured, and that the other cluster has by its id.
    assert_eq!(
        Fake::with(&text(&format!("{a}, id: 7"), &format!("{b}, mac: \"02:4e:4c:42:00:07\"")))
            .errors(),
        "/etc/nlbd/nlbd.ron:3:79: cluster MAC 02:4e:4c:42:00:07 is that of cluster \"nlb0\" too, \
         see /etc/nlbd/nlbd.ron:2:78; allowed: one cluster a MAC"
    );
}

#[test]
fn interfaces() {
    let text = |name: &str| {
        format!("(clusters: {{\"nlb0\": (addresses: [\"192.0.2.1\"],\n interfaces: [{name}])}})")
    };
    let at = "/etc/nlbd/nlbd.ron:2:15: `interfaces`:";
    let words = |name: &str| Fake::with(&text(name)).errors();
    assert_eq!(
        words("\"lo\""),
        format!("{at} found \"lo\"; allowed: an interface to the other servers, not the loopback")
    );
    assert_eq!(
        words("\"nlb0\""),
        format!(
            "{at} found \"nlb0\"; allowed: an interface to the other servers, not the cluster's \
             own link"
        )
    );
    assert_eq!(
        words("eth0"),
        format!("{at} found eth0; allowed: the name of an interface in double quotes")
    );
    assert_eq!(
        words(""),
        "/etc/nlbd/nlbd.ron:2:14: `interfaces`: found []; allowed: 1 to 8 interfaces"
    );
}

#[test]
fn names() {
    for name in ["", "Nlb0", "0nlb", "nlb0nlb0nlb0nlb0", "nlb/0", "nlb 0", "../x"] {
        assert_eq!(
            Fake::with(&format!("(clusters: {{\n  \"{name}\": ()}})")).errors(),
            format!(
                "/etc/nlbd/nlbd.ron:2:3: `clusters`: found \"{name}\"; allowed: a text of 1 to 15 \
                 characters: a letter a to z, then a to z, 0 to 9, _ and -"
            )
        );
    }
    assert_eq!(
        Fake::with("(node: (name: \"a\\nb\"))").errors(),
        "/etc/nlbd/nlbd.ron:1:15: `name`: found \"a\\nb\"; allowed: a text of 1 to 64 bytes \
         without control characters"
    );
    assert_eq!(
        Fake::with("(node: (id: 0))").errors(),
        "/etc/nlbd/nlbd.ron:1:13: `id`: found 0; allowed: 1 to 18446744073709551615"
    );
    let mut fake = Fake::with("()");
    fake.machine_id = None;
    assert_eq!(
        fake.errors(),
        "/etc/nlbd/nlbd.ron:1:1: `node`: found no `id`, and this host has no /etc/machine-id; \
         allowed: node: (id: 1 to 18446744073709551615)"
    );
}

#[test]
fn ports_and_macs() {
    refused(
        "ports: [Tcp(80), Tcp(0)],",
        "/etc/nlbd/nlbd.ron:6:34: `ports`: found 0; allowed: 1 to 65535",
    );
    refused(
        "ports: [Sctp(80)],",
        "/etc/nlbd/nlbd.ron:6:21: `ports`: found Sctp(80); allowed: Tcp(1 to 65535) or Udp(1 to \
         65535)",
    );
    refused(
        "ports: [],",
        "/etc/nlbd/nlbd.ron:6:20: `ports`: found []; allowed: 1 to 64 ports; leave the field out \
         for all ports",
    );
    refused(
        "mac: \"03:00:00:00:00:01\",",
        "/etc/nlbd/nlbd.ron:6:18: `mac`: found \"03:00:00:00:00:01\"; allowed: for mode Unicast: \
         a locally administered unicast address, first byte x2, x6, xa or xe",
    );
    refused(
        "mode: Igmp, mac: \"02:00:00:00:00:01\",",
        "/etc/nlbd/nlbd.ron:6:30: `mac`: found \"02:00:00:00:00:01\"; allowed: for mode Igmp: \
         01:00:5e:xx:xx:xx with xx from 01 to 7f after 5e",
    );
    refused(
        "mac: \"02:00:00:00:00\",",
        "/etc/nlbd/nlbd.ron:6:18: `mac`: found \"02:00:00:00:00\"; allowed: a text like \
         \"02:4e:4c:42:00:01\"",
    );
}
