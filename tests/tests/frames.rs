//! Frames that are no frames of the cluster: dropped, each under its own counter.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nlb_protocol::auth::KeyRing;
use nlb_protocol::frame::{Frame, Header, Information, Load, MAX_FRAME, Message};
use nlb_protocol::{ClusterId, Incarnation, MacAddr, NodeId, Sequence, addr};
use nlb_tests::cluster::Cluster;
use nlb_tests::inject::{Injector, ethernet};
use nlb_tests::lab::{LabOptions, server_mac};
use nlb_tests::netns::Namespace;
use nlb_tests::random::Random;
use nlb_tests::spec::{ClusterSpec, KEY};
use nlb_tests::wait::wait_for;
use socket2::{Domain, Protocol, Socket, Type};

/// How many of each kind are sent.
const COPIES: u8 = 5;

/// An authentic frame that changes nothing, of a node that nobody knows.
fn frame(cluster: u16, keys: &KeyRing, sequence: u64) -> Vec<u8> {
    let header = Header {
        cluster: ClusterId(cluster),
        node: NodeId(99),
        incarnation: Incarnation(0x1234_5678_9abc),
        sequence: Sequence(sequence),
    };
    let message = Message::Information(Information {
        name: "stranger".into(),
        software: "0".into(),
        load: Load::default(),
        settings: None,
    });
    let mut bytes = [0; MAX_FRAME];
    let length = Frame { header, message }.encode(keys, &mut bytes);
    bytes[..length].to_vec()
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn every_bad_frame_has_its_own_counter() {
    let spec = ClusterSpec::default();
    Cluster::test(&LabOptions::default(), &spec, &[100, 100], |cluster| {
        // A frame longer than any that is allowed needs a wider way into the bridge.
        cluster.lab.switch.ip("link set p-outsider mtu 1600")?;
        cluster.lab.outsider.ip("link set eth0 mtu 1600")?;
        let keys = KeyRing::new(&[KEY]).context("keys")?;
        let foreign = KeyRing::new(&[*b"another key than the tests' own!"]).context("keys")?;
        let good = |sequence| frame(spec.id, &keys, sequence);
        let change = |at: usize, to: u8| {
            let mut bytes = good(1);
            bytes[at] = to;
            bytes
        };
        let long = [good(1), vec![0; 1502]].concat()[..1502].to_vec();
        check(cluster, "truncated", |_| good(1)[..40].to_vec())?;
        // Names a length beyond its end.
        check(cluster, "truncated", |_| change(6, 2))?;
        check(cluster, "oversized", |_| long.clone())?;
        check(cluster, "bad_magic", |_| change(0, b'X'))?;
        check(cluster, "other_version", |_| change(2, 2))?;
        check(cluster, "other_cluster", |_| frame(spec.id + 1, &keys, 1))?;
        check(cluster, "bad_length", |_| change(7, 3))?;
        check(cluster, "bad_tag", |_| frame(spec.id, &foreign, 1))?;
        check(cluster, "bad_tag", |copy| change(20, 0xa0 ^ copy))?;
        check_replay(cluster)?;
        // The cluster took no notice.
        cluster.wait_settled(2)?;
        Ok(())
    });
}

/// Recorded heartbeats of n2, sent again: n1 must drop every one.
fn check_replay(cluster: &mut Cluster) -> Result<()> {
    let recorded = record(&cluster.lab.outsider, addr::DEFAULT_ETHERTYPE, |frame| {
        frame.get(6..12) == Some(&server_mac(2).0)
    })?;
    // Newer ones must have arrived, or it would be news.
    cluster.wait_settled(2)?;
    let before = cluster.nodes[0].status()?.drops_for("replayed");
    for frame in &recorded {
        send(cluster, &frame[14..])?;
    }
    let sent = recorded.len() as u64;
    wait_for("replayed on n1", Duration::from_secs(3), || {
        let now = cluster.nodes[0].status().map_err(|error| format!("{error:#}"))?;
        let rose = now.drops_for("replayed") - before;
        if rose == sent { Ok(()) } else { Err(format!("{rose} of {sent}: {:?}", now.drops)) }
    })
}

/// The next frames of an ethertype that `keep` selects, as a namespace's `eth0` receives them.
fn record(
    namespace: &Namespace,
    ethertype: u16,
    keep: impl Fn(&[u8]) -> bool,
) -> Result<Vec<Vec<u8>>> {
    let protocol = Some(Protocol::from(i32::from(ethertype.to_be())));
    let mut socket = namespace.run(|| Socket::new(Domain::PACKET, Type::RAW, protocol))??;
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    let mut frames = Vec::new();
    while frames.len() < usize::from(COPIES) {
        let mut bytes = [0; MAX_FRAME + 14];
        let length = socket.read(&mut bytes).context("no heartbeat is to be heard")?;
        if keep(&bytes[..length]) {
            frames.push(bytes[..length].to_vec());
        }
    }
    Ok(frames)
}

/// Sends what `make` gives for copy 0, 1, …; that counter must rise by as many on every node, and
/// no other of those that frames are dropped under.
fn check(cluster: &mut Cluster, counter: &str, make: impl Fn(u8) -> Vec<u8>) -> Result<()> {
    let before: Vec<_> =
        cluster.nodes[..2].iter().map(nlb_tests::node::Node::status).collect::<Result<_>>()?;
    for copy in 0..COPIES {
        send(cluster, &make(copy))?;
    }
    for (node, before) in cluster.nodes.iter().zip(&before) {
        wait_for(&format!("{counter} on {}", node.name), Duration::from_secs(3), || {
            let now = node.status().map_err(|error| format!("{error:#}"))?;
            let rose = now.drops_for(counter).saturating_sub(before.drops_for(counter));
            if rose == u64::from(COPIES) { Ok(()) } else { Err(format!("{rose}: {:?}", now.drops)) }
        })?;
        let now = node.status()?;
        for (other, count) in &now.drops {
            let risen = other != counter
                && !other.starts_with("packet")
                && before.drops.get(other) != Some(count);
            ensure!(!risen, "{counter}: on {} {other} rose to {count} too", node.name);
        }
    }
    Ok(())
}

/// The payload as a heartbeat goes over the wire.
fn on_wire(cluster: &Cluster, payload: &[u8]) -> Vec<u8> {
    let group = addr::heartbeat_group(ClusterId(cluster.spec.id));
    ethernet(group, MacAddr([2, 0x10, 0, 0, 1, 1]), addr::DEFAULT_ETHERTYPE, payload)
}

fn send(cluster: &Cluster, payload: &[u8]) -> Result<()> {
    Injector::new(&cluster.lab.outsider, "eth0")?.send(&on_wire(cluster, payload))
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn noise_disturbs_nobody() {
    let spec = ClusterSpec::default();
    Cluster::test(&LabOptions::default(), &spec, &[100, 100], |cluster| {
        let epoch = cluster.nodes[0].status()?.epoch;
        let keys = KeyRing::new(&[KEY]).context("keys")?;
        let good = frame(spec.id, &keys, 1);
        let mut random = Random::new(5);
        let injector = Injector::new(&cluster.lab.outsider, "eth0")?;
        for round in 0..5000_u32 {
            let mut bytes = good.clone();
            if round % 2 == 0 {
                for _ in 0..=random.below(4) {
                    let at = random.below(bytes.len());
                    bytes[at] = random.next16().to_le_bytes()[0];
                }
            } else {
                bytes = (0..random.below(1500)).map(|_| random.next16().to_le_bytes()[0]).collect();
            }
            injector.send(&on_wire(cluster, &bytes))?;
        }
        let settled = cluster.wait_settled(2)?;
        ensure!(settled.iter().all(|status| status.epoch == epoch), "the view changed");
        Ok(())
    });
}
