//! Waiting for conditions, never for a fixed time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(10);

/// Waits until `ready` gives a value; says what was missing if `limit` is over before.
///
/// # Errors
/// With the last answer of `ready` (its `Err`), when the limit is over.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut ready: impl FnMut() -> Result<T, String>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        let missing = match ready() {
            Ok(value) => return Ok(value),
            Err(missing) => missing,
        };
        if begun.elapsed() > limit {
            bail!("waited {limit:?} for {what}: {missing}");
        }
        std::thread::sleep(EVERY);
    }
}

/// Waits until `ready` is true.
///
/// # Errors
/// When the limit is over.
pub fn wait_until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
    wait_for(what, limit, || if ready() { Ok(()) } else { Err("not yet".into()) })
}
