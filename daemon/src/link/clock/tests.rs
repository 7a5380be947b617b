use super::*;

fn clocks() -> Clocks {
    Clocks { now: Time::from_nanos(5_000_000_000), real: Duration::from_secs(1_000) }
}

#[test]
fn a_stamp_is_used_for_its_age() {
    let arrival = clocks().arrival(Duration::from_millis(999_900));
    assert_eq!(arrival, Time::from_nanos(4_900_000_000));
}

#[test]
fn a_stamp_in_the_future_is_now() {
    assert_eq!(clocks().arrival(Duration::from_secs(2_000)), clocks().now());
}

#[test]
fn a_stamp_older_than_the_machine_is_the_start() {
    assert_eq!(clocks().arrival(Duration::ZERO), Time::ZERO);
}
