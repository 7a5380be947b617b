use proptest::prelude::*;

use super::*;

/// A packet as the kernel sends it, with the attributes that it has on a 64-bit machine.
fn packet_message(id: u32, mark: Option<u32>, stamped: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = begin(&mut out, PACKET, 0, 0, 7);
    let mut header = id.to_be_bytes().to_vec();
    header.extend([0x08, 0x00, 0]);
    attribute(&mut out, ATTR_PACKET_HEADER, &header);
    attribute(&mut out, 5, &3_u32.to_be_bytes());
    if let Some(mark) = mark {
        attribute(&mut out, ATTR_MARK, &mark.to_be_bytes());
    }
    if stamped {
        let mut stamp = 1_700_000_000_u64.to_be_bytes().to_vec();
        stamp.extend(250_000_u64.to_be_bytes());
        attribute(&mut out, ATTR_TIMESTAMP, &stamp);
    }
    attribute(&mut out, ATTR_PAYLOAD, payload);
    finish(&mut out, start);
    out
}

#[test]
fn packets_come_out_as_the_kernel_put_them_in() {
    let mut datagram = packet_message(0x0102_0304, Some(9), true, b"hello");
    datagram.extend(packet_message(5, None, false, b""));
    let found: Vec<_> = messages(&datagram).collect();
    let stamp = Some(Duration::new(1_700_000_000, 250_000_000));
    assert_eq!(
        found,
        [
            Message::Packet(Packet {
                id: PacketId(0x0102_0304),
                mark: 9,
                stamp,
                payload: b"hello"
            }),
            Message::Packet(Packet { id: PacketId(5), mark: 0, stamp: None, payload: b"" }),
        ]
    );
}

#[test]
fn a_cut_packet_is_malformed_and_never_half_a_packet() {
    let whole = packet_message(1, Some(2), true, &[3; 40]);
    for length in 1..whole.len() {
        let found: Vec<_> = messages(&whole[..length]).collect();
        assert_eq!(found, [Message::Malformed], "{length} bytes");
    }
}

#[test]
fn a_packet_without_its_number_is_malformed() {
    let mut out = Vec::new();
    let start = begin(&mut out, PACKET, 0, 0, 7);
    attribute(&mut out, ATTR_PAYLOAD, b"x");
    finish(&mut out, start);
    assert_eq!(messages(&out).collect::<Vec<_>>(), [Message::Malformed]);
}

#[test]
fn answers_carry_their_sequence_number() {
    let mut out = Vec::new();
    let start = begin(&mut out, NLMSG_ERROR, 0, 77, 0);
    // The error takes the place of the four bytes that are no nfgenmsg here.
    out.truncate(start + HEADER);
    out.extend((-libc::EBUSY).to_ne_bytes());
    finish(&mut out, start);
    let answer = Message::Answer { sequence: 77, errno: libc::EBUSY };
    assert_eq!(messages(&out).collect::<Vec<_>>(), [answer]);
}

#[test]
fn a_verdict_is_to_the_byte() {
    let mut out = Vec::new();
    verdict(&mut out, 0x0102, PacketId(0x0a0b_0c0d), true);
    assert_eq!(out.len(), VERDICT_LENGTH);
    assert_eq!(out[16..20], [0, 0, 1, 2]);
    assert_eq!(out[24..32], [0, 0, 0, 1, 0x0a, 0x0b, 0x0c, 0x0d]);
    verdict(&mut out, 1, PacketId(1), false);
    assert_eq!(out.len(), 2 * VERDICT_LENGTH);
    assert_eq!(out[VERDICT_LENGTH + 24..][..4], [0; 4]);
}

#[test]
fn a_verdict_with_a_mark_is_to_the_byte_and_can_be_taken_back() {
    let mut out = Vec::new();
    verdict_with_mark(&mut out, 0x0102, PacketId(5), 0x4e00_000c);
    verdict_with_mark(&mut out, 0x0102, PacketId(6), 0x4e00_000c);
    assert_eq!(out.len(), 2 * MARKED_LENGTH);
    assert_eq!(out[24..32], [0, 0, 0, 1, 0, 0, 0, 5]);
    assert_eq!(out[36..40], [0x4e, 0, 0, 0x0c]);
    refuse::<MARKED_LENGTH>(&mut out);
    for one in out.chunks(MARKED_LENGTH) {
        assert_eq!(one[24..28], [0; 4]);
    }
}

proptest! {
    /// Whatever comes: no panic, and an end.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(messages(&bytes).count() <= bytes.len());
    }

    /// The same, near a real message.
    #[test]
    fn nearly_a_message(at in 0_usize..80, value: u8, cut in 0_usize..200) {
        let mut bytes = packet_message(1, Some(2), true, &[3; 40]);
        bytes.extend(packet_message(2, None, false, &[4; 9]));
        bytes[at] = value;
        bytes.truncate(cut);
        prop_assert!(messages(&bytes).count() <= bytes.len());
    }
}
