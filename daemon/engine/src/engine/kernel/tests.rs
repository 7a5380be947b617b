//! What the kernel certainly does (SPEC 6.4.3, 7.2.4).

use core::net::{IpAddr, Ipv4Addr};

use nlb_protocol::{Bucket, Buckets};

use super::{Filter, Kernel};

fn filter(buckets: core::ops::Range<usize>) -> Filter {
    let buckets: Buckets = Bucket::all().skip(buckets.start).take(buckets.len()).collect();
    Filter { buckets, divert: false, seed: 1 }
}

fn passes(kernel: &Kernel, wanted: core::ops::Range<usize>) -> bool {
    kernel.passes(&filter(wanted).buckets, 1)
}

#[test]
fn a_plan_counts_when_it_is_confirmed() {
    let mut kernel = Kernel::new();
    let first = kernel.poll(filter(0..10)).expect("the first plan");
    assert!(first.flush && kernel.is_flushing() && !passes(&kernel, 0..10));
    assert!(kernel.poll(filter(0..10)).is_none());
    kernel.applied(first.generation);
    assert!(passes(&kernel, 0..10) && !kernel.is_flushing());
}

/// The kernel may be in any state between the confirmed and the latest.
#[test]
fn what_was_told_since_counts_too() {
    let mut kernel = Kernel::new();
    let first = kernel.poll(filter(0..10)).expect("a plan");
    kernel.applied(first.generation);
    let narrow = kernel.poll(filter(5..10)).expect("a plan");
    let wide = kernel.poll(filter(0..10)).expect("a plan");
    assert!(!passes(&kernel, 0..10) && passes(&kernel, 5..10));
    kernel.applied(narrow.generation);
    assert!(!passes(&kernel, 0..10));
    kernel.applied(wide.generation);
    assert!(passes(&kernel, 0..10));
}

#[test]
fn a_flush_is_over_with_its_plan_or_a_later_one() {
    let mut kernel = Kernel::new();
    let first = kernel.poll(filter(0..1)).expect("a plan");
    kernel.applied(first.generation);
    kernel.flush();
    assert!(kernel.is_flushing());
    let second = kernel.poll(filter(0..1)).expect("a plan");
    let third = kernel.poll(filter(0..2)).expect("a plan");
    assert!(second.flush && !third.flush);
    kernel.applied(first.generation);
    assert!(kernel.is_flushing());
    kernel.applied(third.generation);
    assert!(!kernel.is_flushing());
}

#[test]
fn forgotten_clients_are_told_when_they_are_gone() {
    let mut kernel = Kernel::new();
    let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    kernel.forget(client);
    let plan = kernel.poll(filter(0..1)).expect("a plan");
    assert_eq!(plan.forget, [client]);
    assert_eq!(kernel.applied(plan.generation), [client]);
}

#[test]
fn a_plan_of_the_future_confirms_nothing() {
    let mut kernel = Kernel::new();
    let plan = kernel.poll(filter(0..1)).expect("a plan");
    assert!(kernel.applied(crate::Generation(plan.generation.0 + 1)).is_empty());
    assert!(kernel.is_flushing());
}
