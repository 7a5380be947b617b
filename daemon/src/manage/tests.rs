//! Who may ask what, how it is answered over a real socket, how events and status look.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt as _;
use nlb_dbus::Polkit;
use nlb_engine::manage::{
    BucketView, ClientView, Counters, Explanation, NodeView, Outcome, Snapshot,
};
use nlb_engine::{FenceCause, Notice, Timing};
use nlb_protocol::frame::State;
use nlb_protocol::table::View;
use nlb_protocol::{
    Bucket, ClusterId, Digest, Epoch, Incarnation, MacAddr, MacMode, NodeId, PinVersion, Weight,
};
use nlb_varlink::{ClientError, Connection, Error, Limits, Server};
use serde_json::json;

use super::*;
use crate::check::CheckView;
use crate::ticks::{LOOK_EVERY, every};
use crate::weight::WeightSource;

mod events;
mod signals;

const ROOT: Caller = caller(0);
const USER: Caller = caller(1000);

/// Somebody whom no polkit knows.
const fn caller(user: u32) -> Caller {
    Caller { user, subject: None, interactive: false }
}

fn weight(value: u16) -> Weight {
    Weight::new(value).unwrap()
}

fn node(id: u64, name: &str) -> NodeView {
    NodeView {
        id: NodeId(id),
        incarnation: Incarnation(id + 0xa0),
        name: name.to_owned(),
        software: "0.1.0".to_owned(),
        load: nlb_protocol::frame::Load::default(),
        health: nlb_protocol::frame::Health::default(),
        state: State::Active,
        weight: weight(100),
        buckets: 2048,
        pins: 0,
        local: id == 1,
        hears_us: id != 1,
        last_heard: Duration::from_millis(if id == 1 { 0 } else { 43 }),
        differs: Vec::new(),
    }
}

fn status() -> StatusView {
    StatusView {
        facts: ClusterFacts {
            name: "nlb0".to_owned(),
            addresses: vec!["192.0.2.50".parse().unwrap(), "2001:db8::50".parse().unwrap()],
            interfaces: vec!["eth0".to_owned()],
            mode: MacMode::Unicast,
            mac: MacAddr([2, 0x4e, 0x4c, 0x42, 0, 1]),
            ethertype: 0x88b5,
            insecure: false,
            ordinary_priority: false,
            timing: Timing::default(),
            weight: WeightSource::LoadAverage,
            weight_problem: None,
            kernel_path: KernelPath::IptablesNfqueue,
            checks: vec![
                CheckView {
                    name: "Tcp 127.0.0.1:80".to_owned(),
                    passes: Some(false),
                    changed: Some(Duration::from_millis(2500)),
                    message: "timed out".to_owned(),
                    runs: 9,
                    failures: 4,
                },
                CheckView { name: "Process nginx".to_owned(), ..CheckView::default() },
            ],
            uptime: Duration::from_secs(90),
            drops: [("bad_tag", 3)].into(),
            counters: [("queue_packets", 9)].into(),
            queue: 0,
            observed: Observed::default(),
            kernel: Default::default(),
            lost: vec![Lost {
                node: NodeId(9),
                name: "n9".to_owned(),
                state: State::Active,
                silent: Duration::from_secs(4),
            }],
            unused: vec![Unused {
                interface: "eht1".to_owned(),
                trouble: Trouble::Absent,
                since: Duration::from_secs(90),
                meant: Some("eth1".to_owned()),
            }],
            strangers: vec![Stranger {
                mac: MacAddr([2, 0, 0, 0, 0, 9]),
                kind: StrangerKind::OtherKey,
                since: Duration::from_secs(30),
                last: Duration::from_millis(80),
                frames: 300,
            }],
        },
        snapshot: Snapshot {
            cluster: ClusterId(1),
            converged: true,
            epoch: Epoch(7),
            digest: Digest(0xabc),
            seed: 0x5ec7e7,
            state: State::Active,
            cause: None,
            local_node: NodeId(1),
            buckets_accepted: 2048,
            clients: 12,
            pins: 0,
            pin_version: PinVersion(0),
            held: 0,
            drain: None,
            nodes: vec![node(1, "n1"), node(2, "")],
            counters: Counters { replayed: 5, ..Counters::default() },
        },
    }
}

/// A daemon and a cluster, for other modules' tests.
pub(crate) fn sample() -> (DaemonView, StatusView) {
    let daemon = DaemonView {
        uptime: Duration::from_secs(100),
        node: NodeId(1),
        name: "n1".to_owned(),
        config: PathBuf::from("/etc/nlbd/nlbd.ron"),
    };
    (daemon, status())
}

fn names() -> Vec<(NodeId, String)> {
    vec![(NodeId(1), "n1".to_owned()), (NodeId(2), String::new())]
}

fn bucket(index: u16) -> Bucket {
    Bucket::new(index).unwrap()
}

/// A daemon that answers as a real one would, without having one.
async fn answer(mut inbox: Inbox) {
    while let Some(call) = inbox.calls.recv().await {
        let done = |outcome: Outcome| Ok(Reply::Done(outcome.into()));
        let view = |index, node, accepted| BucketView {
            bucket: bucket(index),
            owner: Some(NodeId(node)),
            accepted_by: accepted,
        };
        let only = |name: &Option<String>| resolve(name.as_deref(), &["nlb0"]).map(str::to_owned);
        let reply = match call.request {
            Request::Status => {
                let daemon = DaemonView {
                    uptime: Duration::from_secs(100),
                    node: NodeId(1),
                    name: "n1".to_owned(),
                    config: PathBuf::from("/etc/nlbd/nlbd.ron"),
                };
                Ok(Reply::Status(daemon, vec![status()]))
            }
            Request::Buckets { cluster } => only(&cluster).map(|cluster| {
                let one = Some(NodeId(1));
                let views =
                    vec![view(0, 1, one), view(1, 1, one), view(2, 2, None), view(4, 1, one)];
                Reply::Buckets(cluster, views, names())
            }),
            Request::Clients { cluster, limit } => only(&cluster).map(|cluster| {
                let client = ClientView {
                    client: "198.51.100.7".parse().unwrap(),
                    bucket: bucket(9),
                    node: NodeId(1),
                    pinned: false,
                    seen: Some(Duration::from_secs(3)),
                };
                Reply::Clients(cluster, 500, vec![client; limit.min(2)], names())
            }),
            Request::Explain { cluster, client } => only(&cluster).map(|cluster| {
                let explanation = Explanation {
                    client,
                    hash: 1,
                    bucket: bucket(9),
                    owner: Some(NodeId(2)),
                    accepted_by: Some(NodeId(2)),
                    pinned_to: None,
                    sticky_here: None,
                    node: Some(NodeId(2)),
                    heirs: View::new([(NodeId(1), weight(100))]),
                };
                Reply::Explanation(cluster, explanation, names())
            }),
            Request::SetWeight { weight, .. } if weight.get() == 100 => done(Outcome::Unchanged),
            Request::Leave { cluster } => {
                only(&cluster).map(|_| Reply::Done(Outcome::Changed.into()))
            }
            Request::CheckConfig { .. } => Err(ManageError::Refused { reason: "no".to_owned() }),
            Request::Reload => {
                inbox.events.say("nlb0", "reload", "read again".to_owned(), 1);
                let noise = Notice::Overlap { node: NodeId(2), buckets: 3 };
                let known = |_| Known { name: "n2".to_owned(), active: true };
                inbox.events.notice("nlb0", noise, 2, NodeId(1), known);
                done(Outcome::Changed)
            }
            _ => done(Outcome::Changed),
        };
        // Whoever asked may be gone.
        let _ = call.reply.send(reply);
    }
}

/// A client of a served handle.
async fn connected(owner: u32) -> (Connection, tempfile::TempDir) {
    let (handle, inbox) = channel(owner, Polkit::absent());
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join(nlb_varlink::SOCKET);
    let server = Server::bind(&socket, Limits::default()).unwrap();
    tokio::spawn(answer(inbox));
    let (backend, look) = (Arc::new(VarlinkBackend(handle)), every(LOOK_EVERY).unwrap());
    tokio::spawn(async move { server.serve(backend, look).await });
    (Connection::connect(&socket).await.unwrap(), directory)
}

fn me() -> u32 {
    nix::unistd::geteuid().as_raw()
}

#[tokio::test]
async fn everybody_may_read_and_few_may_change() {
    let (handle, inbox) = channel(7, Polkit::absent());
    tokio::spawn(answer(inbox));
    for caller in [ROOT, USER, caller(7)] {
        assert!(handle.ask(&caller, Request::Status).await.is_ok());
    }
    let change = [
        Request::SetWeight { cluster: None, weight: weight(1) },
        Request::SetWeightSource { cluster: None, source: None },
        Request::AddInterface(crate::config::AddInterface::default()),
        Request::RemoveInterface { cluster: None, interface: "eth0".to_owned() },
        Request::Leave { cluster: None },
        Request::Drain { cluster: None, timeout: None, force: false },
        Request::Undrain { cluster: None },
        Request::RestartHold { hold: core::time::Duration::from_secs(30) },
        Request::Reload,
        Request::CheckConfig { file: None },
        Request::CheckConfig { file: Some(PathBuf::from("/etc/shadow")) },
    ];
    for request in change {
        let error = handle.ask(&USER, request.clone()).await.unwrap_err();
        assert!(
            matches!(
                error,
                ManageError::NotPermitted { user: 1000, denied: Denied::Nobody { owner: 7 }, .. }
            ),
            "{request:?}"
        );
        for caller in [ROOT, caller(7)] {
            let answer = handle.ask(&caller, request.clone()).await;
            assert!(!matches!(answer, Err(ManageError::NotPermitted { .. })), "{request:?}");
        }
    }
    let error = handle.ask(&USER, Request::Reload).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "user 1000 has no permission to reload the configuration: only root and the daemon's own \
         user (7) may"
    );
}

#[tokio::test]
async fn a_daemon_that_ends_does_not_leave_anybody_waiting() {
    let (handle, inbox) = channel(0, Polkit::absent());
    drop(inbox);
    assert_eq!(handle.ask(&ROOT, Request::Status).await, Err(ManageError::NoAnswer));
    let (handle, mut inbox) = channel(0, Polkit::absent());
    tokio::spawn(async move { inbox.calls.recv().await });
    assert_eq!(handle.ask(&ROOT, Request::Status).await, Err(ManageError::NoAnswer));
}

#[test]
fn which_cluster_is_meant() {
    assert_eq!(resolve(None, &["a"]), Ok("a"));
    assert_eq!(resolve(Some("b"), &["a", "b"]), Ok("b"));
    let error =
        |name: Option<&str>, known: &[&'static str]| resolve(name, known).unwrap_err().to_string();
    assert_eq!(error(Some("c"), &["a", "b"]), "no cluster \"c\" here; there is a, b");
    assert_eq!(error(None, &["a", "b"]), "no cluster \"\" here; there is a, b");
}

/// `nlbctl status --json` is an interface: fields are added, never renamed.
#[tokio::test]
async fn the_shape_of_the_status() {
    let (mut client, _directory) = connected(me()).await;
    let status = serde_json::to_value(client.status().await.unwrap()).unwrap();
    let cluster = &status["clusters"][0];
    let promised = json!({
        "name": "nlb0",
        "id": 1,
        "converged": true,
        "epoch": 7,
        "digest": "0000000000000abc",
        "state": "active",
        "local_node": "0000000000000001",
        "addresses": ["192.0.2.50", "2001:db8::50"],
        "buckets_accepted": 2048,
        "clients": 12,
        "pins": 0,
    });
    for (field, value) in promised.as_object().unwrap() {
        assert_eq!(&cluster[field], value, "{field}");
    }
    let promised = json!({
        "id": "0000000000000002",
        "name": "",
        "state": "active",
        "weight": 100,
        "buckets": 2048,
        "local": false,
        "last_heard_ms": 43,
    });
    for (field, value) in promised.as_object().unwrap() {
        assert_eq!(&cluster["nodes"][1][field], value, "{field}");
    }
    assert_eq!(cluster["nodes"][1]["health"], "unknown");
    let checks = serde_json::json!([
        { "name": "Tcp 127.0.0.1:80", "passes": false, "changed_ms": 2500, "message": "timed out",
          "runs": 9, "failures": 4 },
        { "name": "Process nginx", "passes": null, "changed_ms": null, "message": "",
          "runs": 0, "failures": 0 },
    ]);
    assert_eq!(cluster["checks"], checks);
    assert_eq!(cluster["drops"]["bad_tag"], 3);
    assert_eq!(cluster["drops"]["replayed"], 5);
    assert_eq!(cluster["drops"]["packet_pinned"], 0);
    assert_eq!(cluster["counters"]["queue_packets"], 9);
    assert_eq!(cluster["weight_mode"], "loadavg");
    assert_eq!(cluster["kernel_path"], "iptables-nfqueue");
    // The hash seed lets one aim clients at a node: it is not for everybody.
    assert!(!status.to_string().contains("seed"));
}

#[tokio::test]
async fn reads_over_the_socket() {
    let (mut client, _directory) = connected(me()).await;
    let buckets = client.buckets(None).await.unwrap();
    let ranges: Vec<_> = buckets.ranges.iter().map(|range| (range.first, range.last)).collect();
    assert_eq!(ranges, [(0, 1), (2, 2), (4, 4)]);
    assert_eq!(buckets.ranges[1].accepted_by, None);
    let clients = client.clients(Some("nlb0"), Some(1)).await.unwrap();
    assert_eq!((clients.total, clients.clients.len()), (500, 1));
    let explanation = client.explain(None, "198.51.100.7").await.unwrap();
    assert_eq!(explanation.because, "the table gives bucket 9 to node 0000000000000002");
    assert_eq!(explanation.successor.unwrap().name, "n1");
}

#[tokio::test]
async fn changes_over_the_socket() {
    let (mut client, _directory) = connected(me()).await;
    assert!(client.set_weight(None, 7).await.unwrap().changed);
    assert!(!client.set_weight(None, 100).await.unwrap().changed);
    assert!(client.drain(None, Some(5), false).await.unwrap().changed);
    let invalid = [
        client.set_weight(None, 0).await.map(drop),
        client.set_weight(None, 65536).await.map(drop),
        client.set_weight_mode(None, "guess").await.map(drop),
        client.explain(None, "localhost").await.map(drop),
        client.clients(None, Some(0)).await.map(drop),
        client.drain(None, Some(-1), true).await.map(drop),
        client.add_interface("eth0", None, &[], Some("any"), None).await.map(drop),
        client.add_interface("eth0", None, &[], None, Some(0)).await.map(drop),
        client.add_interface("eth0", None, &["x".to_owned()], None, None).await.map(drop),
    ];
    let words: Vec<_> = invalid.into_iter().map(|error| error.unwrap_err().to_string()).collect();
    assert_eq!(
        words,
        [
            "weight: found 0; allowed: 1 to 65535",
            "weight: found 65536; allowed: 1 to 65535",
            "mode: found guess; allowed: manual, loadavg, loadavg5, loadavg15, cpu, memory, connections or \
             command",
            "address: found localhost; allowed: an IPv4 or IPv6 address like 192.0.2.50 or \
             2001:db8::50",
            "limit: found 0; allowed: 1 to 10000",
            "timeout_s: found -1; allowed: 0 to 604800",
            "mode: found any; allowed: unicast, multicast or igmp",
            "id: found 0; allowed: 1 to 65535",
            "address: found x; allowed: an IPv4 or IPv6 address like 192.0.2.50 or 2001:db8::50",
        ]
    );
    let unknown = client.leave(Some("web")).await.unwrap_err();
    assert_eq!(unknown.to_string(), "there is no cluster \"web\" here, but nlb0");
}

#[tokio::test]
async fn a_stranger_is_told_who_may() {
    if me() != 0 {
        return;
    }
    // The kernel says who calls; so ask as the backend would for somebody else.
    use nlb_varlink::Backend as _;
    let (handle, inbox) = channel(0, Polkit::absent());
    tokio::spawn(answer(inbox));
    let stranger = nlb_varlink::Caller { user: 1000, process: None };
    let error = VarlinkBackend(handle).call(stranger, nlb_varlink::Method::Reload).await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::NotPermitted { .. }));
    assert_eq!(error.to_string(), "no permission to reload the configuration: only root may");
}

/// On a real disk: what `addif` answers is what was written.
#[test]
fn an_edit_becomes_an_answer() {
    use crate::config::{AddInterface, Host, Location, System as _, add_interface};

    let directory = tempfile::tempdir().unwrap();
    let main = directory.path().join("nlbd.ron");
    std::fs::write(&main, "(node: (id: 1))").unwrap();
    let Some(interface) = Host.interfaces().into_iter().find(|name| name != "lo") else { return };
    let addresses = vec!["192.0.2.50".parse().unwrap()];
    let wanted = AddInterface { interface, addresses, ..AddInterface::default() };
    let edit = add_interface(&Location::named(Path::new(&main)), &Host, &wanted).unwrap();
    let change = InterfaceChange::from(&edit);
    assert_eq!(change.outcome, Outcome::Changed);
    assert_eq!(change.key_file.as_deref(), Some(directory.path().join("nlb0.key").as_path()));
    assert!(change.key_created && change.whole_cluster);
}

#[test]
fn client_errors_are_told_apart() {
    let refused: ClientError = Error::Refused { reason: "x".to_owned() }.into();
    assert!(matches!(refused, ClientError::Refused(_)));
}
