use super::*;

fn of(client: &str, seed: u32) -> (u32, usize) {
    let client = client.parse().unwrap();
    (client_hash(client, seed), bucket(client, seed).index())
}

// SPEC 3.2: what Linux 6.18 computed, asked by `jhash ip saddr mod 4096 seed 0x0badcafe`.
#[test]
fn the_kernel_agrees() {
    let of = |client| of(client, 0x0bad_cafe);
    assert_eq!(of("127.151.221.247"), (0x01c9_a7d5, 28));
    assert_eq!(of("127.156.186.144"), (0x0202_b153, 32));
    assert_eq!(of("2001:db8:ab81:4152:169c:dd20:c0de:652a"), (0x03e4_bc12, 62));
    assert_eq!(of("2001:db8:ad69:1588:e901:37bb:3509:eabb"), (0x043f_62bd, 67));
}

// SPEC 3.2: only the empty string skips the final mix.
#[test]
fn the_empty_string_hashes_to_its_start() {
    assert_eq!(jhash(&[], 0), INITVAL);
    assert_eq!(jhash(&[], 0x2152_4111), 0);
    assert_ne!(jhash(&[0], 0), INITVAL.wrapping_add(1));
}

// SPEC 3.2: a whole last block is for the final mix, not for the first.
#[test]
fn padding_does_not_collide_because_the_length_counts() {
    let zeros = [0; 40];
    let hashes: std::collections::BTreeSet<u32> =
        (0..zeros.len()).map(|length| jhash(&zeros[..length], 7)).collect();
    assert_eq!(hashes.len(), zeros.len());
}

// SPEC 3.2
#[test]
fn hashes_scale_to_all_buckets() {
    assert_eq!(scale(0).index(), 0);
    assert_eq!(scale(0x000f_ffff).index(), 0);
    assert_eq!(scale(0x0010_0000).index(), 1);
    assert_eq!(scale(u32::MAX).index(), BUCKETS - 1);
}
