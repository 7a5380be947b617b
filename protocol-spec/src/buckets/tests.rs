use super::*;

fn bucket(index: u16) -> Bucket {
    Bucket::new(index).unwrap()
}

fn set(indices: &[u16]) -> Buckets {
    indices.iter().copied().map(bucket).collect()
}

// SPEC 4.3
#[test]
fn bit_b_is_bit_b_mod_8_of_byte_b_div_8() {
    let wire = set(&[0, 1, 9, 63, 64, 4095]).to_wire();
    let mut expected = [0; WIRE_LEN];
    expected[0] = 0b0000_0011;
    expected[1] = 0b0000_0010;
    expected[7] = 0b1000_0000;
    expected[8] = 0b0000_0001;
    expected[511] = 0b1000_0000;
    assert_eq!(wire, expected);
    assert_eq!(Buckets::from_wire(&wire), set(&[0, 1, 9, 63, 64, 4095]));
}

#[test]
fn sets_combine() {
    let (a, b) = (set(&[1, 2, 100]), set(&[2, 100, 4000]));
    let mut union = a.clone();
    union.union_with(&b);
    assert_eq!(union, set(&[1, 2, 100, 4000]));
    let mut common = a.clone();
    common.intersect_with(&b);
    assert_eq!(common, set(&[2, 100]));
    let mut rest = a.clone();
    rest.subtract(&b);
    assert_eq!(rest, set(&[1]));
    assert!(union.is_superset(&a) && !a.is_superset(&union));
    assert!(rest.is_disjoint(&b) && !a.is_disjoint(&b));
    assert_eq!(union.iter().map(Bucket::index).collect::<Vec<_>>(), [1, 2, 100, 4000]);
}

#[test]
fn a_set_counts_what_was_put_in_and_not_taken_out() {
    let mut buckets = Buckets::EMPTY;
    assert!(buckets.is_empty());
    buckets.insert(bucket(7));
    buckets.insert(bucket(7));
    assert!(buckets.contains(bucket(7)) && !buckets.contains(bucket(8)));
    assert_eq!(buckets.len(), 1);
    buckets.remove(bucket(7));
    assert!(buckets.is_empty());
    assert_eq!(Buckets::ALL.len(), BUCKETS);
    assert!(Bucket::new(4096).is_none());
}
