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
        let draws = Draws::new(NodeId(id));
        let mut seen = vec![false; BUCKETS];
        for bucket in 0..SLOTS {
            seen[usize::try_from(draws.rank(bucket)).unwrap()] = true;
        }
        assert!(seen.into_iter().all(|seen| seen), "node {id:#x}");
    }
}

#[test]
fn a_table_from_draws_made_before_is_the_same() {
    for weights in [&[100, 100, 200][..], &[1, 65_535], &[7; 64], &[9], &[]] {
        let view = View::new(members(weights));
        let draws: Vec<_> = view.members().iter().map(|(node, _)| AllDraws::of(*node)).collect();
        let draws: Vec<_> = draws.iter().collect();
        assert_eq!(Table::build_from(&view, &draws), Table::build(&view));
    }
}

#[test]
fn parts_of_a_table_are_parts_of_the_whole() {
    let table = Table::build(&View::new(members(&[100, 100, 200])));
    let some: Buckets = Bucket::all().step_by(3).collect();
    let mut expected = table.of(NodeId(2));
    expected.union_with(&table.of(NodeId(3)));
    expected.intersect_with(&some);
    assert_eq!(table.owned(&some, |node| node > NodeId(1)), expected);
    assert_eq!(table.owners_of(&some), [NodeId(1), NodeId(2), NodeId(3)]);
    assert_eq!(table.owners_of(&table.of(NodeId(2))), [NodeId(2)]);
    assert_eq!(table.owners_of(&Buckets::EMPTY), []);
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
