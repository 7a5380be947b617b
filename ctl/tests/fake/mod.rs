//! A daemon that is none, with a cluster that is always the same.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use nlb_varlink::{
    Answer, Backend, BucketRange, Buckets, Caller, Changed, Checked, Client, Clients, Cluster,
    Daemon, Error, Event, Events, Explanation, InterfaceChange, Method, Node, NodeName, Record,
    Status,
};

pub(crate) fn name(number: u64) -> NodeName {
    NodeName { id: format!("{number:016x}"), name: format!("n{number}") }
}

fn node(number: u64, buckets: u64) -> Node {
    Node {
        id: format!("{number:016x}"),
        name: format!("n{number}"),
        state: "active".into(),
        weight: 100,
        buckets,
        local: number == 1,
        last_heard_ms: if number == 1 { 0 } else { 40 + number },
        incarnation: "00000000000000aa".into(),
        software: "nlbd 0.1.0".into(),
        pins: 0,
        hears_us: number != 1,
        health: "unknown".into(),
        differs: Vec::new(),
    }
}

/// Three nodes, all well.
pub(crate) fn status() -> Status {
    Status {
        daemon: Daemon {
            version: "0.1.0".into(),
            pid: 7,
            uptime_ms: 100_000,
            node_id: "0000000000000001".into(),
            node_name: "n1".into(),
            config: "/etc/nlbd/nlbd.ron".into(),
        },
        clusters: vec![Cluster {
            name: "nlb0".into(),
            id: 1,
            converged: true,
            epoch: 7,
            digest: "0000000000000abc".into(),
            state: "active".into(),
            cause: None,
            local_node: "0000000000000001".into(),
            addresses: vec!["192.0.2.50".into(), "2001:db8::50".into()],
            interfaces: vec!["eth0".into()],
            mode: "Unicast".into(),
            mac: "02:4e:4c:42:00:01".into(),
            ethertype: 0x88b5,
            insecure: false,
            ordinary_priority: false,
            heartbeat_ms: 100,
            dead_after_ms: 1000,
            weight_mode: "loadavg".into(),
            weight_problem: None,
            kernel_path: "nft-queue".into(),
            uptime_ms: 7_320_000,
            buckets_accepted: 1366,
            clients: 812,
            pins: 0,
            held: 0,
            drain: None,
            nodes: vec![node(1, 1366), node(2, 1365), node(3, 1365)],
            lost: Vec::new(),
            unused_interfaces: Vec::new(),
            strangers: Vec::new(),
            checks: Vec::new(),
            drops: [("bad_tag".to_owned(), 0), ("replayed".to_owned(), 0)].into(),
            counters: [("overlaps".to_owned(), 0)].into(),
        }],
    }
}

pub(crate) fn buckets() -> Buckets {
    let range = |first, last, owner: u64, accepted: Option<u64>| BucketRange {
        first,
        last,
        owner: Some(name(owner)),
        accepted_by: accepted.map(name),
    };
    let mut ranges = vec![range(0, 1999, 1, Some(1)), range(2000, 2000, 2, None)];
    ranges.extend((2001..2081).step_by(2).map(|first| range(first, first + 1, 2, Some(2))));
    ranges.push(range(2081, 4095, 3, Some(3)));
    Buckets { cluster: "nlb0".into(), ranges }
}

pub(crate) fn clients() -> Clients {
    let client = |address: &str, pinned| Client {
        address: address.into(),
        bucket: 17,
        node: name(1),
        pinned,
        seen_ms: Some(3_000),
    };
    let clients = vec![client("198.51.100.7", false), client("2001:db8:1::7", true)];
    Clients { cluster: "nlb0".into(), total: 812, clients }
}

pub(crate) fn explanation() -> Explanation {
    Explanation {
        cluster: "nlb0".into(),
        address: "198.51.100.7".into(),
        hash: "01100000".into(),
        bucket: 17,
        owner: Some(name(2)),
        accepted_by: Some(name(2)),
        pinned_to: None,
        sticky_here_ms: None,
        node: Some(name(2)),
        successor: Some(name(3)),
        because: "the table gives bucket 17 to n2".into(),
    }
}

pub(crate) fn added() -> InterfaceChange {
    InterfaceChange {
        changed: true,
        cluster: "nlb0".into(),
        file: "/etc/nlbd/nlbd.d/90-nlbctl-nlb0.ron".into(),
        key_file: Some("/etc/nlbd/nlb0.key".into()),
        key_created: true,
        whole_cluster: true,
        notes: Vec::new(),
    }
}

pub(crate) fn event(sequence: u64) -> Event {
    Event {
        sequence,
        time_ms: 1_795_240_000_123,
        cluster: "nlb0".into(),
        kind: "peer-gone".into(),
        text: "n3 is silent and counts as dead; it was active".into(),
        cause: None,
    }
}

/// Answers with the above. User 0 of the fake's world may do everything but reload.
pub(crate) struct Fake;

impl Backend for Fake {
    async fn call(&self, _caller: Caller, method: Method) -> Result<Answer, Error> {
        let known = |cluster: &Option<String>| match cluster.as_deref() {
            None | Some("nlb0") => Ok(()),
            Some(name) => Err(Error::UnknownCluster {
                cluster: name.to_owned(),
                known: vec!["nlb0".to_owned()],
            }),
        };
        let changed = |changed| Ok(Answer::Changed(Changed { changed, notes: Vec::new() }));
        match method {
            Method::Events { .. } => {
                Ok(Answer::Events(Events { events: vec![event(3), event(4)] }))
            }
            Method::Status => Ok(Answer::Status(status())),
            Method::Buckets { cluster } => known(&cluster).map(|()| Answer::Buckets(buckets())),
            Method::Clients { .. } => Ok(Answer::Clients(clients())),
            Method::Explain { .. } => Ok(Answer::Explanation(explanation())),
            Method::SetWeight { cluster, weight } => {
                known(&cluster)?;
                changed(weight != 100)
            }
            Method::AddInterface { .. } => Ok(Answer::InterfaceChange(added())),
            Method::CheckConfig { file: Some(file) } => Err(Error::InvalidConfig {
                errors: vec![format!("{file}:6:28: `weight`: found 0; allowed: 1 to 65535")],
            }),
            Method::CheckConfig { file: None } => Ok(Answer::Checked(Checked {
                files: vec!["/etc/nlbd/nlbd.ron".into()],
                clusters: vec!["nlb0".into()],
                warnings: Vec::new(),
            })),
            Method::Reload => Err(Error::NotPermitted {
                action: "reload the configuration".into(),
                message: "only root may".into(),
            }),
            Method::Leave { cluster } => {
                known(&cluster)?;
                Err(Error::Refused { reason: "the node is leaving the cluster".into() })
            }
            _ => changed(true),
        }
    }

    fn monitor(&self, after: Option<i64>) -> Result<BoxStream<'static, Event>, Error> {
        assert_eq!(after, Some(4), "goes on behind the last that was printed");
        Ok(stream::iter([5, 8, 9].map(event)).boxed())
    }

    async fn record(&self, _: Caller, _: Record) -> Result<BoxStream<'static, Vec<String>>, Error> {
        Err(Error::Refused { reason: "not here".to_owned() })
    }

    fn is_privileged(&self, _caller: Caller) -> bool {
        true
    }
}
