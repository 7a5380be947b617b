//! What holds the loop up. A node that sends nothing for 7/10 of dead-after fences itself (SPEC
//! 6.8), and whoever reads of that wants to know what its time went into.
//!
//! Part of the cluster's loop; reads the clock and nothing else.

use std::time::Duration;

use nlb_engine::Time;

use super::clock::now;

/// The time of one turn of the loop, by what it went into.
#[derive(Debug)]
pub(super) struct Pace {
    /// What a turn may take before it is worth a word.
    limit: Duration,
    /// When the turn was to begin.
    begun: Time,
    /// Up to when it is known what the time went into.
    at: Time,
    longest: Duration,
    what: &'static str,
}

impl Pace {
    /// Turns that take longer than this are told of.
    pub(super) fn new(limit: Duration) -> Self {
        let at = now();
        Self { limit, begun: at, at, longest: Duration::ZERO, what: "" }
    }

    /// A turn begins, `due` at the latest; what came later was waited for the processor.
    pub(super) fn begin(&mut self, due: Time) {
        let now = now();
        (self.begun, self.at, self.longest) = (due.min(now), due.min(now), Duration::ZERO);
        self.after("waiting for the processor");
    }

    /// The time since the last call went into `what`.
    pub(super) fn after(&mut self, what: &'static str) {
        let now = now();
        let took = now.since(self.at);
        self.at = now;
        if took > self.longest {
            (self.longest, self.what) = (took, what);
        }
    }

    /// The turn ends: words on it, if it took too long.
    pub(super) fn end(&mut self) -> Option<String> {
        self.after("ending the turn");
        let took = self.at.since(self.begun);
        (took > self.limit).then(|| {
            let (took, longest) = (took.as_millis(), self.longest.as_millis());
            format!("stood still for {took} ms, {longest} of them {}", self.what)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_takes_too_long_says_what_it_went_into() {
        let mut pace = Pace::new(Duration::from_millis(20));
        pace.begin(now() + Duration::from_secs(1));
        pace.after("reading");
        assert_eq!(pace.end(), None, "nothing was waited for");
        pace.begin(now());
        pace.after("reading");
        std::thread::sleep(Duration::from_millis(30));
        pace.after("writing");
        pace.after("sending");
        let said = pace.end().unwrap();
        assert!(said.ends_with("of them writing"), "{said}");
        pace.begin(now().before(Duration::from_millis(50)));
        let said = pace.end().unwrap();
        assert!(said.ends_with("of them waiting for the processor"), "{said}");
    }
}
