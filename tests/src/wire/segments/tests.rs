use super::*;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const SERVICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 50));
const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const PSH: u8 = 0x08;

fn ask(seen: &mut Segments, sequence: u32, acknowledged: u32, flags: u8, length: u16) {
    let segment = Segment::Tcp {
        source: 4000,
        destination: 80,
        sequence,
        acknowledged,
        flags,
        length,
        twice: None,
    };
    seen.handle_asked((CLIENT, SERVICE), segment, Stamp(1));
}

fn answer(seen: &mut Segments, node: MacAddr, sequence: u32, acknowledged: u32, flags: u8) {
    answer_of(seen, node, (sequence, acknowledged, flags), None);
}

fn answer_of(
    seen: &mut Segments,
    node: MacAddr,
    (sequence, acknowledged, flags): (u32, u32, u8),
    twice: Option<(u32, u32)>,
) {
    let (source, destination, length) = (80, 4000, 0);
    let segment =
        Segment::Tcp { source, destination, sequence, acknowledged, flags, length, twice };
    seen.handle_answer((CLIENT, SERVICE), node, segment, Stamp(2));
}

fn opened() -> Segments {
    let mut seen = Segments::default();
    ask(&mut seen, 100, 0, SYN, 0);
    answer(&mut seen, A, 500, 101, SYN | ACK);
    ask(&mut seen, 101, 501, ACK, 0);
    ask(&mut seen, 101, 501, ACK | PSH, 16);
    answer(&mut seen, A, 501, 117, ACK);
    assert_eq!(seen.doubled_count, 0);
    seen
}

#[test]
fn a_reset_by_another_node_of_what_was_acknowledged_is_a_second_answer() {
    let mut seen = opened();
    // The acknowledgement alone may have been taken by B and by nobody else.
    answer(&mut seen, B, 501, 0, RST);
    assert_eq!(seen.doubled_count, 0);
    // The data has been acknowledged by A: B took it as well.
    let mut seen = Segments::default();
    ask(&mut seen, 101, 501, ACK | PSH, 16);
    answer(&mut seen, B, 501, 0, RST);
    answer(&mut seen, A, 501, 117, ACK);
    assert_eq!(seen.doubled_count, 1);
    assert_eq!((seen.doubled[0].first.0, seen.doubled[0].second.0), (B, A));
}

#[test]
fn two_acknowledgements_of_one_syn_are_two_answers() {
    let mut seen = opened();
    answer(&mut seen, B, 900, 101, SYN | ACK);
    assert_eq!(seen.doubled_count, 1);
    // The same node may repeat itself.
    answer(&mut seen, B, 900, 101, SYN | ACK);
    assert_eq!(seen.doubled_count, 1);
    // A SYN that is refused by one and taken by the other.
    let mut seen = Segments::default();
    ask(&mut seen, 100, 0, SYN, 0);
    answer(&mut seen, A, 500, 101, SYN | ACK);
    answer(&mut seen, B, 0, 101, RST | ACK);
    assert_eq!(seen.doubled_count, 1);
    assert!(seen.doubled[0].reset);
}

#[test]
fn what_a_client_sends_again_another_node_may_answer() {
    let mut seen = Segments::default();
    ask(&mut seen, 100, 0, SYN, 0);
    answer(&mut seen, A, 500, 101, SYN | ACK);
    ask(&mut seen, 100, 0, SYN, 0);
    answer(&mut seen, B, 900, 101, SYN | ACK);
    assert_eq!(seen.doubled_count, 0);
    // A later connection from the same port has nothing to do with it.
    ask(&mut seen, 7000, 0, SYN, 0);
    answer(&mut seen, B, 900, 7001, SYN | ACK);
    assert_eq!(seen.doubled_count, 0);
}

#[test]
fn connections_are_forgotten() {
    let mut seen = opened();
    let late = Stamp(1) + FORGOTTEN + SWEEP;
    let segment = Segment::Tcp {
        source: 4001,
        destination: 80,
        sequence: 1,
        acknowledged: 0,
        flags: SYN,
        length: 0,
        twice: None,
    };
    seen.handle_asked((CLIENT, SERVICE), segment, late);
    assert_eq!(seen.tracks.len(), 1);
    // However long a connection is, what is remembered of it is bounded.
    for number in 0..1000 {
        ask(&mut seen, 101 + number * 16, 501, ACK | PSH, 16);
    }
    assert!(seen.tracks.values().all(|track| track.asked.len() <= SEGMENTS));
}

#[test]
fn what_is_left_of_an_earlier_connection_keeps_nobody() {
    let mut seen = opened();
    ask(&mut seen, 117, 501, ACK | PSH, 16);
    answer(&mut seen, B, 9_000, 8_000, ACK);
    ask(&mut seen, 117, 501, ACK | PSH, 16);
    assert_eq!(seen.repeated[0].answered.map(|(node, _)| node), Some(A));
    assert!(!seen.repeated[0].late, "nobody acknowledged it");
}

#[test]
fn what_was_acknowledged_before_it_came_again_was_not_lost() {
    let mut seen = opened();
    ask(&mut seen, 117, 501, ACK | PSH, 16);
    answer(&mut seen, A, 501, 117 + 16, ACK);
    ask(&mut seen, 117, 501, ACK | PSH, 16);
    assert!(seen.repeated[0].late);
}

/// Whoever answers so late that the client asks again has not lost anything, and says so.
#[test]
fn what_the_node_has_twice_was_not_lost() {
    let mut seen = opened();
    for sequence in [117, 133, 149] {
        ask(&mut seen, sequence, 501, ACK | PSH, 16);
    }
    for sequence in [117, 149] {
        ask(&mut seen, sequence, 501, ACK | PSH, 16);
    }
    answer(&mut seen, A, 501, 165, ACK);
    let late = |seen: &Segments| seen.repeated.iter().map(|it| it.late).collect::<Vec<_>>();
    assert_eq!(late(&seen), [false, false]);
    answer_of(&mut seen, A, (501, 165, ACK), Some((149, 165)));
    assert_eq!(late(&seen), [false, true]);
}
