//! SPEC 6.9, "Refusals".

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use nlb_protocol::Weight;

use super::Refused;
use crate::config::Limits;
use crate::engine::tests::Segment;
use crate::manage::Command;
use crate::packet::Verdict;
use crate::time::Time;

const SECOND: Duration = Duration::from_secs(1);

fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(number))
}

/// Two nodes, and clients that the first keeps although their buckets are the second's.
fn pinned() -> (Segment, Vec<u32>) {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 4);
    let took = |segment: &mut Segment, id| segment.packet(id, id)[0] == Verdict::Accept;
    let kept: Vec<u32> = (1..200).filter(|id| took(&mut segment, *id)).collect();
    let now = segment.now;
    let heavy = Command::SetWeight(Weight::new(60_000).expect("a weight"));
    segment.node(0).handle_command(heavy, now).expect("a node takes a weight");
    segment.run(SECOND * 2);
    let moved = |id: &u32| {
        let bucket = segment.nodes[1].as_ref().expect("up").bucket(address(*id));
        segment.nodes[1].as_ref().expect("up").accepts().contains(bucket)
    };
    let pinned: Vec<u32> = kept.into_iter().filter(moved).collect();
    assert!(!pinned.is_empty());
    (segment, pinned)
}

#[test]
fn a_client_of_another_node_is_refused_until_that_node_leaves() {
    let (mut segment, pinned) = pinned();
    for client in &pinned {
        assert_eq!(segment.packet(1000 + client, *client), [Verdict::Accept, Verdict::Refuse]);
        assert!(segment.node(1).refused.contains(address(*client)));
    }
    let now = segment.now;
    segment.node(0).handle_command(Command::Leave, now).expect("a node can leave");
    segment.run(Duration::from_millis(10));
    let first = pinned[0];
    assert!(!segment.node(1).refused.contains(address(first)), "the kernel was told");
    let verdict = segment.packet(3000, first)[1];
    assert!(verdict != Verdict::Refuse, "{verdict:?} while its keeper leaves");
}

#[test]
fn a_keeper_that_is_late_ends_refusals() {
    let (mut segment, pinned) = pinned();
    let client = pinned[0];
    assert_eq!(segment.packet(1000, client)[1], Verdict::Refuse);
    segment.nodes[0] = None;
    let late = segment.node(1).config.timing.late();
    segment.run(late + Duration::from_millis(5));
    assert!(!segment.node(1).refused.contains(address(client)));
    assert_eq!(segment.packet(1001, client), [Verdict::Drop], "asked about from now on");
}

#[test]
fn a_pin_that_ends_ends_refusals() {
    let (mut segment, pinned) = pinned();
    let client = pinned[0];
    assert_eq!(segment.packet(1000, client)[1], Verdict::Refuse);
    let first = segment.node(0);
    let bucket = first.bucket(address(client));
    first.let_go(bucket, address(client));
    segment.run(Duration::from_millis(300));
    assert!(!segment.node(1).refused.contains(address(client)));
    assert_eq!(segment.packet(1001, client)[1], Verdict::Accept);
}

fn insert(refused: &mut Refused, client: IpAddr, now: Time) -> bool {
    refused.turn(now, SECOND);
    refused.insert(client)
}

#[test]
fn who_was_refused_is_remembered_for_a_life_and_within_bounds() {
    let mut refused = Refused::default();
    let begin = Time::from_nanos(1_000_000_000_000);
    let half = u32::try_from(Limits::REFUSED / 2).expect("a bound of 32 bits");
    for number in 0..half {
        assert!(insert(&mut refused, address(number), begin));
    }
    assert!(!insert(&mut refused, address(half), begin), "full");
    assert!(insert(&mut refused, address(half), begin + SECOND));
    assert!(refused.contains(address(0)), "an entry may last a life");
    assert!(insert(&mut refused, address(0), begin + SECOND * 2));
    assert!(refused.contains(address(half)) && !refused.contains(address(1)));
    assert!(insert(&mut refused, address(1), begin + SECOND * 5));
    assert!(refused.contains(address(1)) && !refused.contains(address(half)));
}
