use super::*;

fn members(weights: &[u16]) -> Vec<(NodeId, Weight)> {
    (1..).map(NodeId).zip(weights.iter().filter_map(|weight| Weight::new(*weight))).collect()
}

// SPEC 3.3.1
#[test]
fn quotas_follow_the_inverse_weights() {
    assert_eq!(quotas(&members(&[100, 100, 200])), [1639, 1638, 819]);
    assert_eq!(quotas(&members(&[1, 65_535])), [4096, 0]);
    assert_eq!(quotas(&members(&[7; 3])), [1366, 1365, 1365], "of equals the lower id has more");
    assert_eq!(quotas(&members(&[1; 64])), [64; 64]);
    assert_eq!(quotas(&members(&[9])), [4096]);
    assert_eq!(quotas(&[]), Vec::<u16>::new());
}

// SPEC 3.3.2
#[test]
fn every_node_ranks_the_buckets_by_a_permutation() {
    for id in [0, 1, 2, 0x0123_4567_89ab_cdef, u64::MAX] {
        let draws = Draws::new((NodeId(id), Weight::DEFAULT));
        let mut seen = vec![false; BUCKETS];
        for bucket in 0..SLOTS {
            seen[usize::try_from(draws.rank(bucket)).unwrap()] = true;
        }
        assert!(seen.into_iter().all(|seen| seen), "node {id:#x}");
    }
}

// SPEC 3.3.2
#[test]
fn the_logarithm_falls_and_stays_close() {
    let mut last = u64::MAX;
    for step in 0..58 * 64 {
        let draw = (64 + step % 64) << (step / 64);
        let exact = (64.0 - (draw as f64).log2()) * f64::from(1u32 << 16) * f64::from(1u32 << 16);
        let units = exponential(draw);
        assert!((units as f64 - exact).abs() < 0.01 * f64::from(u32::MAX), "draw {draw}");
        assert!(units <= last, "draw {draw}");
        last = units;
    }
    // The draws nearest to 0 and to 1: no overflow, and no cost of zero.
    assert_eq!(exponential(1), 64 << 32);
    assert_eq!(exponential(u64::MAX), 1);
}
