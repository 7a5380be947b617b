//! What is known of a cluster between a batch and its end.

use super::*;
use crate::kernel::testing::{plan, rules};

/// A cluster that is in force.
fn cluster(now: Instant) -> Cluster {
    let wanted = Revised { rules: rules("nlb0", 1), revision: 1 };
    let mut cluster = Cluster::new(wanted, plan(1, [1]));
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

#[test]
fn a_batch_is_of_the_rules_that_it_was_made_of() {
    let now = Instant::now();
    let mut cluster = cluster(now);
    cluster.submit(plan(2, [2]));
    let step = next(&cluster, now);
    cluster.set_rules(Revised { rules: rules("nlb0", 1), revision: 2 });
    assert_eq!(step.revision, 1);
    cluster.committed(step.structural);
    cluster.done(step);
    cluster.submit(plan(2, [2]));
    assert_eq!(next(&cluster, now).revision, 2);
}
