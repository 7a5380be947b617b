//! What is known of a cluster between a batch and its end.

use super::*;
use crate::kernel::testing::{plan, rules};

/// A cluster that is in force.
fn cluster(now: Instant) -> Cluster {
    let mut cluster = Cluster::new(rules("nlb0", 1), plan(1, [1]));
    let step = next(&cluster, now);
    cluster.committed(step.structural);
    assert_eq!(cluster.done(step), (Some(Generation(1)), None));
    cluster
}

fn next(cluster: &Cluster, now: Instant) -> Step {
    cluster.step(QueuePath::Nft, now, |_| true).expect("something to do")
}

#[test]
fn what_somebody_changes_behind_a_batch_is_put_right_by_the_next() {
    let (now, later) = (Instant::now(), Instant::now() + Duration::from_millis(5));
    let mut cluster = cluster(now);
    cluster.doubt(now);
    let step = next(&cluster, later);
    assert!(step.structural);
    cluster.committed(step.structural);
    // While it is looked whether the kernel has come to rest.
    cluster.doubt(later);
    assert_eq!(cluster.done(step), (None, Some(now)));
    assert!(cluster.is_doubted());
    let step = next(&cluster, later);
    assert!(step.structural, "everything is said again");
    cluster.committed(step.structural);
    assert_eq!(cluster.done(step), (None, Some(later)));
    assert!(!cluster.is_doubted());
}

#[test]
fn what_a_batch_put_right_is_told_by_the_one_that_comes_to_its_end() {
    let (now, later) = (Instant::now(), Instant::now() + Duration::from_millis(5));
    let mut cluster = cluster(now);
    cluster.doubt(now);
    let step = next(&cluster, later);
    cluster.committed(step.structural);
    cluster.doubt(later);
    assert_eq!(cluster.failed(&step, later), Failure::Plain);
    let step = next(&cluster, later + LAST_RETRY);
    cluster.committed(step.structural);
    assert_eq!(cluster.done(step), (None, Some(now)), "since the first change");
}
