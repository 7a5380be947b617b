//! What people see, line by line.

#[allow(dead_code)] // the other test file uses the rest
mod fake;

use nlb_varlink::{Changed, Checked, Lost, Status, Stranger, UnusedInterface};
use nlbctl::render::{self, Paint};

#[track_caller]
fn same(found: &str, expected: &str) {
    assert_eq!(found.trim_end(), expected.trim_matches('\n'), "\n{found}");
}

#[test]
fn all_is_well() {
    same(
        &render::status(&fake::status(), Paint::PLAIN),
        "
nlb0: all is well: 3 nodes share the clients.

  addresses   192.0.2.50, 2001:db8::50
  interfaces  eth0; cluster MAC 02:4e:4c:42:00:01 (Unicast)
  this node   active, up 2 h 2 min, weight 100 (loadavg), new clients by nft-queue
  clients     812 here

  NODE  STATE   WEIGHT  BUCKETS   SHARE  HEARD
  n1 *  active     100     1366  33.3 %  this node
  n2    active     100     1365  33.3 %  42 ms ago
  n3    active     100     1365  33.3 %  43 ms ago
",
    );
}

#[test]
fn not_all_is_well() {
    let mut status = fake::status();
    let cluster = &mut status.clusters[0];
    cluster.converged = false;
    cluster.state = "fenced".into();
    cluster.cause = Some("n2 does not hear this node".into());
    cluster.pins = 3;
    cluster.held = 1;
    cluster.insecure = true;
    cluster.ordinary_priority = true;
    cluster.weight_problem = Some("/usr/lib/load: timed out; the weight is 100".into());
    cluster.drops.insert("bad_tag".into(), 12);
    cluster.drops.insert("own_node_id".into(), 1);
    cluster.counters.insert("overlaps".into(), 2);
    cluster.nodes[0].state = "fenced".into();
    cluster.nodes[0].buckets = 0;
    cluster.nodes[1].hears_us = false;
    cluster.nodes[2].name = String::new();
    cluster.nodes[2].state = "draining".into();
    cluster.nodes[2].last_heard_ms = 800;
    let lost = |id: &str, name: &str, silent_ms| Lost {
        id: id.into(),
        name: name.into(),
        state: "active".into(),
        silent_ms,
    };
    cluster.lost =
        vec![lost("0000000000000004", "n4", 4000), lost("0000000000000005", "", 3_700_000)];
    for (fate, packets, bytes) in [
        ("known", 1_200_000, 150_000_000),
        ("admitted", 34_567, 2_000_000),
        ("foreign", 80, 0),
        ("pinned", 8, 0),
        ("no_lease", 5, 0),
    ] {
        cluster.counters.insert(format!("kernel_{fate}_packets"), packets);
        cluster.counters.insert(format!("kernel_{fate}_bytes"), bytes);
    }
    same(
        &render::status(&status, Paint::PLAIN),
        "
nlb0: NOT all is well.
  ! this node is fenced: n2 does not hear this node
  ! n2 does not hear this node
  ! 0000000000000003 is draining
  ! 0000000000000003 has been silent for 800 ms
  ! n4 has not been heard for 4 s (lost; it was active)
  ! 0000000000000005 has not been heard for 1 h 1 min (lost; it was active)
  ! 1366 of 4096 buckets are served by nobody
  ! another machine has this node's id
  - no key: anybody on the segment can join or disturb the cluster
  - heartbeats have no priority here: work that keeps the processors busy can cost this node its rights (docs/tuning.md)
  - 12 frames under another key were dropped, none lately
  - the weight does not follow the load: /usr/lib/load: timed out; the weight is 100
  - two nodes accepted the same buckets 2 times since the start

  addresses   192.0.2.50, 2001:db8::50
  interfaces  eth0; cluster MAC 02:4e:4c:42:00:01 (Unicast)
  this node   fenced, up 2 h 2 min, weight 100 (loadavg), new clients by nft-queue
  clients     812 here, 3 of them pinned; 1 packet held
  packets     1234567 taken (152 MB), 88 left to other nodes, 5 dropped while this node was fenced

  NODE              STATE     WEIGHT  BUCKETS   SHARE  HEARD
  n1 *              fenced       100        0   0.0 %  this node
  n2                active       100     1365  33.3 %  42 ms ago
  0000000000000003  draining     100     1365  33.3 %  800 ms ago
",
    );
}

#[test]
fn services_that_are_ill_are_named() {
    let mut status = fake::status();
    let cluster = &mut status.clusters[0];
    cluster.nodes.iter_mut().for_each(|node| node.health = "ill".into());
    (cluster.nodes[2].state, cluster.nodes[2].buckets) = ("fenced".into(), 0);
    let text = render::status(&status, Paint::PLAIN);
    let problems: Vec<&str> = text.lines().filter(|line| line.starts_with("  !")).collect();
    let expected = [
        "  ! n3 is fenced",
        "  ! the service on n1 fails its checks",
        "  ! the service on n2 fails its checks",
        "  ! the service on n3 fails its checks",
        "  ! 1365 of 4096 buckets are served by nobody",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn what_is_configured_otherwise_than_meant() {
    let mut status = fake::status();
    let cluster = &mut status.clusters[0];
    cluster.nodes[1].differs = vec!["dead_after_ms 2000 there, 1000 here".into()];
    let unused = |interface: &str, trouble: &str, meant: Option<&str>| UnusedInterface {
        interface: interface.into(),
        trouble: trouble.into(),
        text: format!("{interface} is {trouble}"),
        since_ms: 90_000,
        meant: meant.map(Into::into),
    };
    cluster.unused_interfaces = vec![
        unused("eht1", "absent", Some("eth1")),
        unused("wlan7", "absent", None),
        unused("eth2", "down", None),
    ];
    cluster.strangers = vec![Stranger {
        mac: "02:00:00:00:00:09".into(),
        kind: "other-key".into(),
        text: "signed with another key, or forged".into(),
        since_ms: 30_000,
        last_ms: 80,
        frames: 300,
    }];
    cluster.drops.insert("bad_tag".into(), 300);
    assert!(!render::is_well(&status));
    let text = render::status(&status, Paint::PLAIN);
    let said: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
    let expected = [
        "nlb0: NOT all is well.",
        "  ! eht1: no such interface, for 1 min; did you mean eth1?",
        "  ! wlan7: no such interface, for 1 min; it is waited for",
        "  ! eth2 is down, for 1 min",
        "  ! frames from 02:00:00:00:00:09 are signed with another key, or forged, for 30 s \
         (nothing proves that address)",
        "  ! n2 is configured otherwise: dead_after_ms 2000 there, 1000 here",
        "  - has every server the same key file? nlbctl key export",
    ];
    assert_eq!(said, expected);
}

/// What an older daemon does not say is not there; what a newer one says beside it is skipped.
#[test]
fn daemons_of_other_versions_are_understood() {
    let old = include_str!("old-status.json");
    let status: Status = serde_json::from_str(old).expect("the oldest status");
    let text = render::status(&status, Paint::PLAIN);
    assert_eq!(
        text.lines().next(),
        Some("nlb0: all is well: 3 nodes share the clients."),
        "{text}"
    );
    assert!(render::nodes(&status).contains("n3"));
    let newer = old.replacen("\"name\"", "\"news\": [{\"a\": 1}], \"name\"", 1);
    assert_eq!(serde_json::from_str::<Status>(&newer).expect("a newer status"), status);
    let event = serde_json::json!({
        "sequence": 9, "time_ms": 1, "cluster": "nlb0", "kind": "of-tomorrow", "text": "a word",
        "severity": "high",
    });
    let event: nlb_varlink::Event = serde_json::from_value(event).expect("a newer event");
    assert!(render::event(&event, Paint::PLAIN).contains("of-tomorrow    a word"));
}

#[test]
fn few_words_for_few_nodes() {
    let mut status = fake::status();
    let cluster = &mut status.clusters[0];
    cluster.nodes.truncate(1);
    cluster.nodes[0].buckets = 4096;
    let text = render::status(&status, Paint::PLAIN);
    assert_eq!(
        text.lines().next(),
        Some("nlb0: all is well: one node serves alone; nobody takes over if it fails.")
    );
    same(
        &render::status(&Status::default(), Paint::PLAIN),
        "
No cluster runs on this server.
One that was left comes back with: nlbctl reload
Start or join one: nlbctl addif INTERFACE --address ADDRESS
",
    );
}

#[test]
fn nodes() {
    same(
        &render::nodes(&fake::status()),
        "
nlb0: 3 nodes; all hear this one; nlbd 0.1.0

  NODE  ID                STATE   WEIGHT  BUCKETS  PINS  HEARD
  n1 *  0000000000000001  active     100     1366     0  this node
  n2    0000000000000002  active     100     1365     0  42 ms ago
  n3    0000000000000003  active     100     1365     0  43 ms ago
",
    );
    let mut status = fake::status();
    status.clusters[0].nodes[2].hears_us = false;
    status.clusters[0].nodes[0].health = "well".into();
    status.clusters[0].nodes[2].software = "nlbd 0.2.0".into();
    same(
        &render::nodes(&status),
        "
nlb0: 3 nodes

  NODE  ID                STATE   WEIGHT  BUCKETS  PINS  HEARD      HEARS US  SERVICE  SOFTWARE
  n1 *  0000000000000001  active     100     1366     0  this node  yes       well     nlbd 0.1.0
  n2    0000000000000002  active     100     1365     0  42 ms ago  yes       unknown  nlbd 0.1.0
  n3    0000000000000003  active     100     1365     0  43 ms ago  NO        unknown  nlbd 0.2.0
",
    );
}

#[test]
fn buckets() {
    same(
        &render::buckets(&fake::buckets()),
        "
nlb0: 4096 buckets

n1: 2000 (48.8 %)
  0-1999

n2: 80 (2.0 %)
  2001-2002, 2003-2004, 2005-2006, 2007-2008, 2009-2010, 2011-2012, 2013-2014,
  2015-2016, 2017-2018, 2019-2020, 2021-2022, 2023-2024, 2025-2026, 2027-2028,
  2029-2030, 2031-2032, 2033-2034, 2035-2036, 2037-2038, 2039-2040, 2041-2042,
  2043-2044, 2045-2046, 2047-2048, 2049-2050, 2051-2052, 2053-2054, 2055-2056,
  2057-2058, 2059-2060, 2061-2062, 2063-2064, 2065-2066, 2067-2068, 2069-2070,
  2071-2072, 2073-2074, 2075-2076, 2077-2078, 2079-2080

n2: 1 (0.0 %), accepted by nobody yet
  2000

n3: 2015 (49.2 %)
  2081-4095
",
    );
}

#[test]
fn clients_and_one_of_them() {
    same(
        &render::clients(&fake::clients()),
        "
nlb0: 812 clients here, 2 of them shown (--limit)

  CLIENT         BUCKET  NODE  SEEN
  198.51.100.7       17  n1    3 s ago
  2001:db8:1::7      17  n1    3 s ago  pinned: the bucket is another's
",
    );
    same(
        &render::explanation(&fake::explanation()),
        "
198.51.100.7 goes to n2 in nlb0.
Because the table gives bucket 17 to n2.

  hash                  01100000
  bucket                17 of 4096
  owner by the table    n2
  accepts new clients   n2
  pinned to             no node
  known to this node    no
  if that node died     n3 takes it; connections open with n2 break, new ones succeed
",
    );
}

#[test]
fn a_new_cluster_says_how_to_go_on() {
    let options = ["--address 192.0.2.50".to_owned(), "--mode igmp".to_owned()];
    same(
        &render::added("eth0", &options, &fake::added()),
        "
eth0 serves nlb0 now, which is new on this server.
Kept in /etc/nlbd/nlbd.d/90-nlbctl-nlb0.ron.

A new key was made: /etc/nlbd/nlb0.key
Every server of the cluster needs this very key. For each other server, first:
    nlbctl key export nlb0 | ssh root@SERVER nlbctl key import nlb0
then, on that server:
    nlbctl addif eth0 --cluster nlb0 --address 192.0.2.50 --mode igmp
If the cluster runs on another server already, bring its key here instead.
",
    );
    let mut change = fake::added();
    change.whole_cluster = false;
    change.key_created = false;
    same(
        &render::added("eth1", &[], &change),
        "eth1 serves nlb0 now.\nKept in /etc/nlbd/nlbd.d/90-nlbctl-nlb0.ron.",
    );
    change.changed = false;
    same(&render::added("eth1", &[], &change), "eth1 served nlb0 already: nothing was changed.");
    change.changed = true;
    same(
        &render::removed("eth1", &change),
        "eth1 no longer serves nlb0. Kept in /etc/nlbd/nlbd.d/90-nlbctl-nlb0.ron.",
    );
    change.whole_cluster = true;
    same(
        &render::removed("eth1", &change),
        "eth1 was the last interface of nlb0: this server has left it.",
    );
}

#[test]
fn short_answers() {
    let changed = Changed { changed: true, notes: vec!["One thing more.".to_owned()] };
    same(&render::changed(&changed, "Done.", "As it was."), "Done.\nOne thing more.");
    same(&render::changed(&Changed::default(), "Done.", "As it was."), "As it was.");
    let files = vec!["/a".into(), "/b".into()];
    let mut checked = Checked { files, clusters: Vec::new(), warnings: Vec::new() };
    same(&render::checked(&checked), "The configuration is valid: no cluster.\nRead: /a, /b");
    checked.warnings.push("nlb0: eht0: no such interface now".into());
    assert!(render::checked(&checked).ends_with("\nwarning: nlb0: eht0: no such interface now\n"));
    same(&render::gap(3, "no longer kept"), "(3 events no longer kept)");
    same(
        &render::event(&fake::event(9), Paint::PLAIN),
        "
2026-11-21T05:46:40.123Z  nlb0  peer-gone      n3 is silent and counts as dead; it was active
",
    );
}

#[test]
fn causes_are_said_once() {
    let mut event = fake::event(9);
    event.cause = Some("counts as dead".into());
    assert_eq!(render::event(&event, Paint::PLAIN), render::event(&fake::event(9), Paint::PLAIN));
    event.cause = Some("n3 is gone".into());
    let text = render::event(&event, Paint::PLAIN);
    assert!(text.ends_with("it was active [because n3 is gone]\n"), "{text}");
}

#[test]
fn colour_only_where_it_is_wanted() {
    use std::ffi::OsStr;

    let (none, set) = (None, Some(OsStr::new("1")));
    let xterm = Some(OsStr::new("xterm"));
    assert_eq!(Paint::choose(true, none, xterm), Paint::COLOUR);
    assert_eq!(Paint::choose(true, Some(OsStr::new("")), xterm), Paint::COLOUR);
    assert_eq!(Paint::choose(true, set, xterm), Paint::PLAIN);
    assert_eq!(Paint::choose(false, none, xterm), Paint::PLAIN);
    assert_eq!(Paint::choose(true, none, Some(OsStr::new("dumb"))), Paint::PLAIN);
    let mut status = fake::status();
    assert!(render::status(&status, Paint::COLOUR).contains("\x1b[1;32mall is well\x1b[0m"));
    assert!(!render::status(&status, Paint::PLAIN).contains('\x1b'));
    assert!(render::is_well(&status));
    status.clusters[0].nodes[1].state = "fenced".into();
    assert!(!render::is_well(&status));
    assert!(render::status(&status, Paint::COLOUR).contains("\x1b[1;31mNOT all is well\x1b[0m"));
}
