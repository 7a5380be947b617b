//! Buckets with very many clients change hands, in spite of whoever is in the way (SPEC 6.6, 6.11).

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use nlb_protocol::frame::Message;
use nlb_protocol::{NodeId, PinVersion};

use crate::config::Limits;
use crate::engine::moving::TRANSFER;
use crate::engine::tests::Segment;
use crate::notice::Notice;
use crate::packet::{ClientPacket, PacketId, Verdict};
use crate::time::Time;

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(1);
const SLICE: usize = Limits::DEFAULT.slice;

fn client(number: usize) -> IpAddr {
    let number = u32::try_from(number).expect("small");
    IpAddr::V4(Ipv4Addr::from(number.wrapping_mul(0x9e37_79b9)))
}

/// Gives the clients to those of the nodes that accept their buckets. Who got them.
fn admit(
    segment: &mut Segment,
    nodes: &[usize],
    clients: impl Iterator<Item = usize>,
) -> Vec<usize> {
    let now = segment.now;
    let mut keepers = Vec::new();
    for number in clients {
        let client = client(number);
        for index in nodes {
            let engine = segment.node(*index);
            let bucket = engine.bucket(client);
            if engine.accepts().contains(bucket) {
                engine.clients.insert(bucket, client, now);
                keepers.push(*index);
            }
        }
    }
    keepers
}

fn keeps(segment: &mut Segment, index: usize, number: usize) -> bool {
    let (client, engine) = (client(number), segment.node(index));
    engine.clients.get(engine.bucket(client), client).is_some()
}

/// A packet that opens nothing, to one of the nodes.
fn ask(segment: &mut Segment, index: usize, number: usize) -> Verdict {
    let packet = ClientPacket {
        id: PacketId(u32::try_from(number).expect("small")),
        client: client(number),
        opens: false,
        fingerprint: 0,
    };
    let now = segment.now;
    segment.node(index).handle_packet(packet, now, now)
}

/// Three nodes, the first cut off from the others for so long that each side is the whole service;
/// then the cut ends. `near` and `far` clients on the two sides. Gives who keeps those of the far
/// side.
fn healed(near: usize, far: usize) -> (Segment, Vec<usize>) {
    let mut segment = Segment::new(3);
    segment.run(SECOND * 2);
    segment.wire = Some(Box::new(|frame, to| (frame.header.node == NodeId(1)) == (to == 0)));
    segment.run(SECOND * 4);
    assert_eq!(segment.node(0).accepts().len(), 4096);
    assert_eq!(segment.node(1).accepts().len() + segment.node(2).accepts().len(), 4096);
    assert_eq!(admit(&mut segment, &[0], 0..near).len(), near);
    let keepers = admit(&mut segment, &[1, 2], near..near + far);
    assert_eq!(keepers.len(), far);
    segment.wire = None;
    (segment, keepers)
}

/// SPEC 6.11.1: whoever gives a bucket up tells of all its clients, however many, before a third
/// node takes it. Each client is answered by its keeper and by nobody else, at every instant.
fn assert_no_third_takes_a_client(near: usize, far: usize) {
    let (mut segment, keepers) = healed(near, far);
    let start = segment.now;
    let mut round = 0;
    while segment.shares() != [1366, 1365, 1365] || segment.now.since(start) < SECOND {
        segment.run(TICK);
        assert!(segment.now.since(start) < SECOND * 10, "{:?}", segment.shares());
        // Some of them each time, all in the end.
        round += 1;
        for number in (near + round % 97..near + far).step_by(97) {
            for index in [1, 2] {
                let verdict = ask(&mut segment, index, number);
                let keeper = keepers[number - near] == index;
                let late = core::mem::take(&mut segment.verdicts);
                let admitted = late.iter().find(|(_, _, verdict)| *verdict == Verdict::Accept);
                assert_eq!(admitted, None, "after {:?}", segment.now.since(start));
                assert_eq!(verdict == Verdict::Accept, keeper, "{:?} {verdict:?}", client(number));
            }
        }
    }
    // What the two sides have in common is nobody: each keeps its own.
    for number in 0..near {
        assert!(keeps(&mut segment, 0, number) && !keeps(&mut segment, 1, number));
    }
    for number in near..near + far {
        let keeper = keepers[number - near];
        assert!(keeps(&mut segment, keeper, number) && !keeps(&mut segment, 3 - keeper, number));
        assert!(!keeps(&mut segment, 0, number));
    }
    let fenced = |notice: &(usize, Notice)| matches!(notice.1, Notice::PeerGone { .. });
    let gone = segment.notices.iter().filter(|notice| fenced(notice)).count();
    assert_eq!(gone, 4, "nobody was lost since the cut");
}

#[test]
fn a_partition_heals_with_twenty_thousand_clients_on_each_side() {
    assert_no_third_takes_a_client(20_000, 20_000);
}

/// The first node can release at once: the third must wait for the second all the same.
#[test]
fn a_partition_heals_with_everybody_on_one_side() {
    assert_no_third_takes_a_client(0, 100_000);
}

/// Two nodes, of which the first keeps so many clients when the second joins.
fn joined_by_one(clients: usize) -> Segment {
    let mut segment = Segment::new(1);
    segment.run(SECOND * 2);
    assert_eq!(admit(&mut segment, &[0], 0..clients).len(), clients);
    segment.join(2);
    segment
}

/// When the first node begins to wait with its release, and when it has released.
fn released(segment: &mut Segment) -> (Time, Time) {
    let mut began = None;
    while segment.shares() != [2048, 2048] {
        segment.run(TICK);
        began = began.or(segment.node(0).moving.since());
        let limit = segment.now.since(began.unwrap_or(segment.now)) < TRANSFER * 2;
        assert!(limit, "{:?}", segment.shares());
    }
    (began.expect("there was something to release"), segment.now)
}

fn assert_nobody_lost(segment: &mut Segment, clients: usize) {
    for number in 0..clients {
        assert_eq!(ask(segment, 0, number), Verdict::Accept);
        assert_ne!(ask(segment, 1, number), Verdict::Accept);
    }
}

/// SPEC 6.6.1: whoever never acknowledges is not waited for longer than dead-after; existing
/// clients lose nothing.
#[test]
fn a_peer_that_never_acknowledges_gets_its_buckets_all_the_same() {
    let clients = 3 * SLICE;
    let mut segment = joined_by_one(clients);
    segment.wire = Some(Box::new(|frame, _| !matches!(frame.message, Message::PinRequest(_))));
    let (began, end) = released(&mut segment);
    let took = end.since(began);
    assert!(took >= SECOND && took < SECOND * 2, "{took:?}");
    segment.run(SECOND);
    assert_nobody_lost(&mut segment, clients);
}

/// The same with acknowledgements: it takes no time to speak of.
#[test]
fn a_peer_that_acknowledges_gets_its_buckets_soon() {
    let clients = 3 * SLICE;
    let mut segment = joined_by_one(clients);
    let (began, end) = released(&mut segment);
    assert!(end.since(began) < SECOND / 2, "{:?}", end.since(began));
    assert_nobody_lost(&mut segment, clients);
}

/// SPEC 6.6.1: however it progresses, a release waits no longer than 60 s.
#[test]
fn a_peer_that_acknowledges_ever_so_slowly_gets_its_buckets_too() {
    let clients = 3 * SLICE;
    let mut segment = joined_by_one(clients);
    let mut said = 0;
    segment.wire = Some(Box::new(move |frame, _| {
        if let Message::PinRequest(request) = &mut frame.message {
            said += 1;
            request.after = PinVersion(request.after.0.min(said));
        }
        true
    }));
    let (began, end) = released(&mut segment);
    let took = end.since(began);
    assert!(took >= TRANSFER && took < TRANSFER + SECOND, "{took:?}");
    segment.wire = None;
    segment.run(SECOND);
    assert_nobody_lost(&mut segment, clients);
}

/// Only acknowledgements of those who shall have the buckets count: a draining node's help nobody.
#[test]
fn acknowledgements_of_others_are_no_progress() {
    use crate::manage::Command;
    let mut segment = Segment::new(3);
    segment.run(SECOND * 2);
    let now = segment.now;
    segment
        .node(2)
        .handle_command(Command::Drain { timeout: None, force: false }, now)
        .expect("active");
    segment.run(SECOND);
    let clients = 3 * SLICE;
    let kept = admit(&mut segment, &[0], 0..clients).len();
    let mut said = 0;
    segment.wire = Some(Box::new(move |frame, to| {
        let Message::PinRequest(request) = &mut frame.message else { return true };
        // The heir's are lost; what the other says rises for ever.
        said += u64::from(to == 0);
        request.after = PinVersion(request.after.0.min(said));
        frame.header.node == NodeId(3)
    }));
    let weight = nlb_protocol::Weight::new(300).expect("a weight");
    let now = segment.now;
    segment.node(0).handle_command(Command::SetWeight(weight), now).expect("active");
    while segment.shares() != [1024, 3072, 0] {
        segment.run(TICK);
        if let Some(peer) = segment.node(0).peers.get_mut(NodeId(3)) {
            peer.holds = PinVersion(peer.holds.0 + 1);
        }
        let took = segment.now.since(now);
        assert!(took < SECOND * 2, "{took:?}");
    }
    assert!(segment.node(0).log.len() > 0 && kept > SLICE);
}
