use super::*;
use crate::ids::{Incarnation, NodeId, Sequence};

const HEADER: Header = Header {
    cluster: ClusterId(1),
    node: NodeId(2),
    incarnation: Incarnation(3),
    sequence: Sequence(4),
};

fn ring(keys: &[u8]) -> KeyRing {
    let keys: Vec<_> = keys.iter().map(|byte| [*byte; KEY_LEN]).collect();
    KeyRing::new(&keys).unwrap()
}

// SPEC 5.1
#[test]
fn a_ring_holds_one_to_four_keys() {
    assert!(KeyRing::new(&[]).is_none());
    assert!(KeyRing::new(&[[0; KEY_LEN]; MAX_KEYS]).is_some());
    assert!(KeyRing::new(&[[0; KEY_LEN]; MAX_KEYS + 1]).is_none());
}

// SPEC 5.1, 5.2
#[test]
fn the_first_key_signs_and_all_verify() {
    let tag = ring(&[7]).sign(b"frame");
    assert_eq!(ring(&[7, 8]).sign(b"frame"), tag);
    assert_eq!(ring(&[5, 6, 8, 7]).verify(b"frame", &tag), Some(KeyIndex(3)));
    assert_eq!(ring(&[5, 6, 8]).verify(b"frame", &tag), None);
    assert_eq!(ring(&[7]).verify(b"Frame", &tag), None);
    for bit in 0..8 * TAG_LEN {
        let mut wrong = tag;
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(ring(&[7]).verify(b"frame", &wrong), None);
    }
}

// SPEC 5.5
#[test]
fn a_seal_opens_with_the_key_and_header_that_made_it() {
    let sealed = ring(&[7]).seal_seed(KeyRing::SIGNING, &HEADER, 0x0bad_cafe);
    let reader = ring(&[9, 7]);
    assert_ne!(sealed, 0x0bad_cafe);
    assert_eq!(reader.seal_seed(KeyIndex(1), &HEADER, sealed), 0x0bad_cafe);
    assert_ne!(reader.seal_seed(KeyIndex(0), &HEADER, sealed), 0x0bad_cafe);
    let next = Header { sequence: Sequence(5), ..HEADER };
    assert_ne!(reader.seal_seed(KeyIndex(1), &next, sealed), 0x0bad_cafe);
}

// SPEC 5.5
#[test]
fn the_seed_depends_on_first_key_and_cluster() {
    let seed = ring(&[7]).hash_seed(ClusterId(1));
    assert_eq!(ring(&[7, 8]).hash_seed(ClusterId(1)), seed);
    assert_ne!(ring(&[8, 7]).hash_seed(ClusterId(1)), seed);
    assert_ne!(ring(&[7]).hash_seed(ClusterId(2)), seed);
}

// SPEC 5.1
#[test]
fn a_key_is_64_hexadecimal_digits() {
    let digits = "00112233445566778899aabbccddeeff".repeat(2);
    let key = parse_key(&format!(" {}\t\r\n", digits.to_uppercase())).unwrap();
    assert_eq!(key[..3], [0x00, 0x11, 0x22]);
    assert_eq!(key[29..], [0xdd, 0xee, 0xff]);
    assert_eq!(parse_key(""), Err(KeyError::Length(0)));
    assert_eq!(parse_key(&digits[1..]), Err(KeyError::Length(63)));
    assert_eq!(parse_key(&format!("{digits}0")), Err(KeyError::Length(65)));
    assert_eq!(
        parse_key(&format!("  {}", digits.replacen('3', "x", 1))),
        Err(KeyError::NotHexadecimal(9))
    );
    assert_eq!(parse_key(&format!("0x{}", &digits[2..])), Err(KeyError::NotHexadecimal(2)));
    assert_eq!(parse_key("ü"), Err(KeyError::NotHexadecimal(1)));
}

#[test]
fn a_ring_does_not_show_its_keys() {
    assert_eq!(format!("{:?}", ring(&[7, 8])), "KeyRing(2 keys)");
}
