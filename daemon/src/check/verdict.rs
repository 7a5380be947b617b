//! From single runs to what counts: rise and fall of one check, and what several mean together.
//! Pure.

use nlb_protocol::frame::Health;

use super::model::{CheckMode, Pace};

/// One check's way between passing and failing.
///
/// The first run decides at once: a server whose service does not run shall not take clients
/// until it has failed so many times, and one whose service runs shall not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge {
    rise: u32,
    fall: u32,
    passes: Option<bool>,
    /// How many runs in a row said the opposite.
    against: u32,
}

impl Gauge {
    /// Nothing is known yet.
    #[must_use]
    pub const fn new(pace: &Pace) -> Self {
        Self { rise: pace.rise, fall: pace.fall, passes: None, against: 0 }
    }

    /// Whether the check passes; `None` before its first run has ended.
    #[must_use]
    pub const fn passes(&self) -> Option<bool> {
        self.passes
    }

    /// A run has ended. `true`: the check passes now and did not before, or the other way.
    pub fn note(&mut self, passed: bool) -> bool {
        if self.passes == Some(passed) {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let needed = if passed { self.rise } else { self.fall };
        let turns = self.passes.is_none() || self.against >= needed;
        if turns {
            self.passes = Some(passed);
            self.against = 0;
        }
        turns
    }
}

/// What the checks say of the service. One that has not run yet says nothing.
#[must_use]
pub fn health(mode: CheckMode, checks: impl IntoIterator<Item = Option<bool>>) -> Health {
    let checks: Vec<Option<bool>> = checks.into_iter().collect();
    // What is enough to know, whatever the others say.
    let (decides, health, else_health) = match mode {
        CheckMode::All => (Some(false), Health::Ill, Health::Well),
        CheckMode::Any => (Some(true), Health::Well, Health::Ill),
    };
    if checks.contains(&decides) {
        health
    } else if checks.is_empty() || checks.contains(&None) {
        Health::Unknown
    } else {
        else_health
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(rise: u32, fall: u32) -> Gauge {
        Gauge::new(&Pace { rise, fall, ..Pace::default() })
    }

    #[test]
    fn the_first_run_decides() {
        for passed in [true, false] {
            let mut gauge = gauge(5, 5);
            assert_eq!(gauge.passes(), None);
            assert!(gauge.note(passed));
            assert_eq!(gauge.passes(), Some(passed));
        }
    }

    #[test]
    fn rise_and_fall_count_runs_in_a_row() {
        let mut gauge = gauge(2, 3);
        gauge.note(true);
        let turned: Vec<bool> = [false, false, true, false, false, false, true, false, true, true]
            .map(|passed| gauge.note(passed))
            .to_vec();
        assert_eq!(turned.iter().filter(|turned| **turned).count(), 2);
        assert!(turned[5] && turned[9]);
        assert_eq!(gauge.passes(), Some(true));
    }

    #[test]
    fn all_and_any() {
        let (yes, no) = (Some(true), Some(false));
        for (mode, checks, expected) in [
            (CheckMode::All, vec![], Health::Unknown),
            (CheckMode::Any, vec![], Health::Unknown),
            (CheckMode::All, vec![yes, yes], Health::Well),
            (CheckMode::All, vec![yes, None], Health::Unknown),
            (CheckMode::All, vec![yes, None, no], Health::Ill),
            (CheckMode::Any, vec![no, None], Health::Unknown),
            (CheckMode::Any, vec![no, None, yes], Health::Well),
            (CheckMode::Any, vec![no, no], Health::Ill),
        ] {
            assert_eq!(health(mode, checks.clone()), expected, "{mode:?} {checks:?}");
        }
    }
}
