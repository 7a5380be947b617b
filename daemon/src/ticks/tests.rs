use super::*;

const PERIOD: Duration = Duration::from_millis(20);

#[tokio::test]
async fn whoever_begins_when_ticks_together_with_the_others() {
    let mut early = every(PERIOD);
    let first = early.tick().await;
    tokio::time::sleep(PERIOD / 3).await;
    let begun = Instant::now();
    let mut late = every(PERIOD);
    // At once: its time was before.
    assert!(late.tick().await <= begun);
    for _ in 0..3 {
        let since = late.tick().await - first;
        assert_eq!(since.as_nanos() % PERIOD.as_nanos(), 0, "{since:?}");
    }
}

#[tokio::test]
async fn ticks_that_were_missed_are_left_out() {
    let mut ticks = every(PERIOD);
    ticks.tick().await;
    tokio::time::sleep(PERIOD * 5).await;
    let missed = ticks.tick().await;
    let next = ticks.tick().await;
    assert!(next - missed > PERIOD, "{:?}", next - missed);
}
