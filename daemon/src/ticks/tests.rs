use futures_util::{FutureExt as _, StreamExt as _};

use super::*;

const PERIOD: Duration = Duration::from_millis(20);

/// How many multiples of the period are over.
fn periods(ticks: &Ticks) -> u128 {
    now().since(ticks.first).as_nanos() / PERIOD.as_nanos()
}

#[tokio::test]
async fn the_first_tick_is_at_once_and_the_others_are_at_the_multiples() {
    let mut ticks = every(PERIOD).unwrap();
    let begun = periods(&ticks);
    assert_eq!(ticks.next().now_or_never(), Some(Some(())), "at once");
    for ticked in 1..4 {
        ticks.next().await.unwrap();
        assert!(periods(&ticks) >= begun + ticked);
    }
}

#[tokio::test]
async fn the_first_one_can_be_left_out() {
    let mut ticks = every(PERIOD).unwrap().later().unwrap();
    let due = ticks.due;
    ticks.next().await.unwrap();
    assert!(now() >= due);
}

#[tokio::test]
async fn ticks_that_were_missed_are_left_out() {
    let mut ticks = every(PERIOD).unwrap();
    ticks.next().await.unwrap();
    tokio::time::sleep(PERIOD * 5).await;
    let slept = periods(&ticks);
    ticks.next().await.unwrap();
    ticks.next().await.unwrap();
    assert!(periods(&ticks) > slept);
}

#[tokio::test]
async fn whoever_begins_when_ticks_together_with_the_others() {
    let early = every(PERIOD).unwrap();
    tokio::time::sleep(PERIOD / 3).await;
    let late = every(PERIOD).unwrap();
    let now = now();
    assert_eq!(early.after(now), late.after(now));
    assert!(late.after(now) > now);
}
