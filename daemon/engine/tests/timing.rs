//! What must hold between the timers, whatever is configured (SPEC 6.2).

use core::time::Duration;

use nlb_engine::Timing;

/// From the shortest to the longest, with as few and as many heartbeats in dead-after as may be.
fn timings() -> Vec<Timing> {
    let heartbeats = [5, 100, 1000, 10_000].map(Duration::from_millis);
    let pairs = heartbeats.into_iter().flat_map(|heartbeat| {
        [5, 8, 10, 20, 28, 100, 800]
            .map(|count| Timing { heartbeat, dead_after: heartbeat * count })
    });
    pairs.collect()
}

#[test]
fn the_timers_fit_together() {
    for timing in timings() {
        let drift = timing.dead_after / 200;
        assert!(timing.lease() <= timing.rights());
        assert!(timing.rights() + timing.heartbeat + timing.frame_delay() <= timing.dead_after);
        assert!(timing.late() + timing.witness() + timing.frame_delay() < timing.rights());
        assert!(timing.linger() > timing.skew() + timing.frame_delay(), "{timing:?}");
        assert!(timing.grace() > timing.late() + drift && timing.grace() < timing.dead_after);
        assert!(timing.min_gap() < timing.heartbeat);
    }
}

/// Both sets of timers that are run all the time leave room for clocks that drift.
#[test]
fn ten_heartbeats_leave_room_for_drift() {
    for heartbeat in [5, 100].map(Duration::from_millis) {
        let timing = Timing { heartbeat, dead_after: heartbeat * 10 };
        let drift = timing.dead_after / 200;
        let busy = timing.rights() + timing.heartbeat + timing.frame_delay() + drift;
        assert!(busy <= timing.dead_after);
        assert_eq!(timing.linger(), heartbeat * 3);
    }
}
