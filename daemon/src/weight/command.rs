//! A command that says how loaded this node is: what is asked, and what its answers are worth.
//! Pure; `cluster/asking.rs` has it run.

use core::fmt;
use core::time::Duration;

use nlb_engine::Time;
use nlb_protocol::Weight;

/// A command that prints a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadCommand {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// What it prints when the node is fully loaded.
    pub full: u32,
    /// From the beginning of one run to that of the next.
    pub interval: Duration,
    /// A run that takes longer has failed. At most the interval.
    pub timeout: Duration,
    /// For how long the last good answer counts when no other comes.
    pub keep: Duration,
    /// The weight of the node after that.
    pub fallback: Weight,
}

impl LoadCommand {
    /// With what is usual for everything but the command itself.
    #[must_use]
    pub fn new(words: Vec<String>) -> Self {
        Self {
            words,
            full: 100,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            keep: Duration::from_secs(60),
            fallback: Weight::DEFAULT,
        }
    }

    fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

impl fmt::Display for LoadCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { words, full, interval, timeout, keep, fallback } = self;
        let (every, limit, keep) = (interval.as_secs(), timeout.as_millis(), keep.as_secs());
        write!(
            f,
            "Command(run: {words:?}, full: {full}, interval_s: {every}, timeout_ms: {limit}, \
             keep_s: {keep}, fallback: {fallback})"
        )
    }
}

/// What the answers of a command are worth.
///
/// A bad answer is said once, and so is the next good one. Until then the last good answer counts
/// for [`LoadCommand::keep`]; then, or at once where there is none, nothing is measured and the
/// node takes [`LoadCommand::fallback`].
#[derive(Debug, Clone)]
pub struct Answers {
    command: LoadCommand,
    good: Option<(f64, Time)>,
    problem: Option<String>,
    fell_back: bool,
}

/// Something to be said of a command: a short name of the event, and its words.
pub type Said = (&'static str, String);

impl Answers {
    /// Of a command that has not answered yet.
    #[must_use]
    pub fn new(command: LoadCommand) -> Self {
        Self { command, good: None, problem: None, fell_back: false }
    }

    /// Of what they are.
    #[must_use]
    pub fn command(&self) -> &LoadCommand {
        &self.command
    }

    /// What is wrong, if something is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let problem = self.problem.as_ref()?;
        let then = if self.fell_back {
            format!("the weight is {}, `fallback`", self.command.fallback)
        } else {
            format!("its last answer counts for {} s", self.command.keep.as_secs())
        };
        Some(format!("{}: {problem}; {then}", self.command.program()))
    }

    /// An answer: the first line that was printed, or why there is none.
    pub fn note(&mut self, answer: Result<String, String>, now: Time) -> Option<Said> {
        match answer.and_then(|line| number(&line)) {
            Ok(number) => {
                self.good = Some((number / f64::from(self.command.full.max(1)), now));
                self.fell_back = false;
                self.problem.take()?;
                let text = format!("the load comes from {} again", self.command.program());
                Some(("weight-recovered", text))
            }
            Err(problem) => {
                let first = self.problem.is_none();
                self.problem = Some(problem);
                let text = || format!("no load from {}", self.problem().unwrap_or_default());
                (first && self.good.is_some()).then(|| ("weight-failed", text()))
            }
        }
    }

    /// How loaded the node is, as far as that is known.
    #[must_use]
    pub fn load(&self, now: Time) -> Option<f64> {
        self.good.filter(|(_, at)| now.since(*at) <= self.command.keep).map(|(load, _)| load)
    }

    /// Whether nothing has been known for so long that the node takes the fallback: once, until
    /// there is another good answer.
    pub fn falls_back(&mut self, now: Time) -> Option<Said> {
        let waits = self.good.is_none() && self.problem.is_none();
        if self.fell_back || waits || self.load(now).is_some() {
            return None;
        }
        self.fell_back = true;
        if self.problem.is_none() {
            self.problem = Some("no answer for too long".to_owned());
        }
        let text = format!("no load from {}", self.problem().unwrap_or_default());
        Some(("weight-fallback", text))
    }
}

/// A load: a number, not negative.
fn number(line: &str) -> Result<f64, String> {
    let number = line.trim().parse().ok().filter(|number: &f64| number.is_finite());
    match number {
        Some(number) if number >= 0.0 => Ok(number),
        _ => Err(format!("it says \"{line}\" and no number from 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn answers() -> Answers {
        let command = LoadCommand::new(vec!["/usr/bin/probe".to_owned(), "-x".to_owned()]);
        Answers::new(LoadCommand { full: 200, ..command })
    }

    #[test]
    fn numbers_and_others() {
        for (line, is) in [("50", 50.0), (" 0.5 ", 0.5), ("1e3", 1000.0), ("0", 0.0), ("+7", 7.0)] {
            assert_eq!(number(line), Ok(is), "{line}");
        }
        for line in ["", "many", "-1", "NaN", "inf", "1,5", "5 %", "exit status 0"] {
            assert_eq!(number(line), Err(format!("it says \"{line}\" and no number from 0")));
        }
    }

    #[test]
    fn the_last_good_answer_counts_for_its_time_and_each_thing_is_said_once() {
        let mut answers = answers();
        assert_eq!((answers.load(seconds(0)), answers.falls_back(seconds(999))), (None, None));
        assert_eq!(answers.note(Ok("50".to_owned()), seconds(10)), None);
        assert_eq!(answers.load(seconds(10)), Some(0.25));
        let bad = || Err("exit status: 3: no disk".to_owned());
        let failed = answers.note(bad(), seconds(20)).unwrap();
        let text = "no load from /usr/bin/probe: exit status: 3: no disk; its last answer counts \
                    for 60 s";
        assert_eq!(failed, ("weight-failed", text.to_owned()));
        assert_eq!(answers.note(Ok("many".to_owned()), seconds(25)), None, "said already");
        assert_eq!(
            (answers.load(seconds(70)), answers.falls_back(seconds(70))),
            (Some(0.25), None)
        );
        assert_eq!(answers.load(seconds(71)), None);
        let (kind, text) = answers.falls_back(seconds(71)).unwrap();
        assert_eq!(kind, "weight-fallback");
        assert!(text.ends_with("no number from 0; the weight is 100, `fallback`"), "{text}");
        assert_eq!(
            (answers.falls_back(seconds(80)), answers.note(bad(), seconds(81))),
            (None, None)
        );
        let (kind, _) = answers.note(Ok("100".to_owned()), seconds(90)).unwrap();
        assert_eq!((kind, answers.load(seconds(90))), ("weight-recovered", Some(0.5)));
        assert_eq!(answers.problem(), None);
        assert!(answers.note(bad(), seconds(95)).is_some(), "it failed anew");
    }

    #[test]
    fn without_any_good_answer_it_falls_back_at_once() {
        let mut answers = answers();
        assert_eq!(answers.note(Err("timed out and was killed".to_owned()), seconds(2)), None);
        let (kind, text) = answers.falls_back(seconds(2)).unwrap();
        assert_eq!(kind, "weight-fallback");
        assert!(text.contains("timed out and was killed; the weight is 100"), "{text}");
    }

    #[test]
    fn a_command_that_never_ends_counts_as_one_that_fails() {
        let mut answers = answers();
        answers.note(Ok("1".to_owned()), seconds(0));
        assert!(answers.falls_back(seconds(61)).unwrap().1.contains("no answer for too long"));
    }
}
