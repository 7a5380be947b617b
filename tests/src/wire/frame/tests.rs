use super::*;

/// An acknowledgement of 1000 with these options.
fn acknowledgement(options: &[u8]) -> Segment {
    let header = u8::try_from((20 + options.len()) / 4).unwrap() << 4;
    let mut tcp = vec![0, 80, 0x1f, 0x40];
    tcp.extend(7_u32.to_be_bytes());
    tcp.extend(1000_u32.to_be_bytes());
    tcp.extend([header, 0x10, 0, 64, 0, 0, 0, 0]);
    tcp.extend(options);
    transport(6, &tcp, tcp.len()).unwrap()
}

/// A selective acknowledgement behind a timestamp, as Linux writes them.
fn selective(blocks: &[(u32, u32)]) -> Vec<u8> {
    let mut options = vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 5];
    options.push(u8::try_from(2 + 8 * blocks.len()).unwrap());
    for (from, to) in blocks {
        options.extend(from.to_be_bytes());
        options.extend(to.to_be_bytes());
    }
    options
}

fn twice(options: &[u8]) -> Option<(u32, u32)> {
    let Segment::Tcp { acknowledged: 1000, length: 0, twice, .. } = acknowledgement(options) else {
        panic!("an acknowledgement");
    };
    twice
}

#[test]
fn what_came_twice_is_below_the_acknowledgement() {
    assert_eq!(twice(&[]), None);
    assert_eq!(twice(&selective(&[(992, 1000)])), Some((992, 1000)));
    assert_eq!(twice(&selective(&[(500, 600), (1100, 1200)])), Some((500, 600)));
    // What came once, and something before it did not.
    assert_eq!(twice(&selective(&[(1100, 1200)])), None);
    // Options that end early, or never.
    let whole = selective(&[(992, 1000)]);
    assert_eq!(twice(&whole[..20]), None);
    assert_eq!(twice(&[2, 0, 0, 0]), None);
    assert_eq!(twice(&[0, 5, 10, 0]), None);
}
