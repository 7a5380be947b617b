//! What a look at the daemon means.

use super::*;

fn cluster(state: &str, buckets_accepted: u64, drain: Option<Drain>) -> Cluster {
    Cluster { state: state.to_owned(), buckets_accepted, drain, ..Cluster::default() }
}

fn drain(clients: u64, left_ms: Option<u64>) -> Option<Drain> {
    Some(Drain { clients, clients_at_start: 9, left_ms })
}

#[test]
fn every_end_is_told_from_the_others() {
    let nobody = |leaves| Some(End::Nobody { leaves });
    let unfinished = |how| Some(End::Unfinished(how));
    for (state, buckets, drain, end) in [
        ("draining", 100, drain(9, None), None),
        ("draining", 0, drain(1, None), None),
        // Whoever comes before all buckets are handed over has to be waited for too.
        ("draining", 100, drain(0, None), None),
        ("draining", 0, drain(0, None), nobody(false)),
        ("fenced", 0, drain(0, None), nobody(false)),
        ("draining", 0, drain(0, Some(5)), None),
        ("leaving", 0, drain(0, Some(5)), nobody(true)),
        ("leaving", 0, drain(0, Some(0)), nobody(true)),
        ("leaving", 0, drain(3, Some(0)), unfinished(Unfinished::TimeOver(3))),
        ("leaving", 0, drain(3, Some(5)), unfinished(Unfinished::NotDraining)),
        ("leaving", 0, drain(3, None), unfinished(Unfinished::NotDraining)),
        ("active", 100, None, unfinished(Unfinished::NotDraining)),
    ] {
        let seen = cluster(state, buckets, drain.clone());
        assert_eq!(judge(Some(&seen), None, Duration::ZERO), end, "{state} {drain:?}");
    }
}

#[test]
fn a_node_that_has_left_meanwhile_is_judged_by_what_was_seen_last() {
    let since = Duration::from_millis(300);
    for (last, end) in [
        (drain(0, Some(9000)), End::Nobody { leaves: true }),
        (drain(2, Some(200)), End::Unfinished(Unfinished::TimeOver(2))),
        (drain(2, Some(400)), End::Unfinished(Unfinished::NotDraining)),
        (drain(2, None), End::Unfinished(Unfinished::NotDraining)),
        (None, End::Unfinished(Unfinished::NotDraining)),
    ] {
        assert_eq!(judge(None, last.as_ref(), since), Some(end), "{last:?}");
    }
}

#[test]
fn progress_is_said() {
    assert!(style().is_some());
    assert_eq!(words(&drain(3, None).unwrap_or_default()), "3 of 9 clients left");
    let timed = drain(3, Some(12_345)).unwrap_or_default();
    assert_eq!(words(&timed), "3 of 9 clients left, 12 s at most");
}
