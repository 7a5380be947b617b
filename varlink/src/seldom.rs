//! What anybody can make happen again and again is said once in a while, with how often it was: the
//! log is not theirs to fill.

use core::time::Duration;

use tokio::time::Instant;

/// Between two times that it is said.
pub const SAY_EVERY: Duration = Duration::from_secs(60);

/// Counts what happens between the times that it is said.
#[derive(Debug, Default)]
pub struct Seldom {
    said: Option<Instant>,
    times: u64,
}

impl Seldom {
    /// It has happened once more. How often since it was said last, if it is to be said now.
    pub fn again(&mut self) -> Option<u64> {
        self.times += 1;
        if self.said.is_some_and(|said| said.elapsed() < SAY_EVERY) {
            return None;
        }
        self.said = Some(Instant::now());
        Some(core::mem::take(&mut self.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_is_said_at_once_and_the_others_together() {
        let mut seldom = Seldom::default();
        assert_eq!(seldom.again(), Some(1));
        assert_eq!((seldom.again(), seldom.again()), (None, None));
        tokio::time::advance(SAY_EVERY).await;
        assert_eq!(seldom.again(), Some(3));
        assert_eq!(seldom.again(), None);
    }
}
