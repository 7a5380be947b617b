//! Recordings of real engines, replayed: what a node was told, told again, and compared.

use nlb_record::{Line, Replay, ReplayError, Timed, read_line, write_line};

/// Differences that are told one by one: the first makes the others.
const TOLD: usize = 10;

/// Why a file is not replayed to its end.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A line is none.
    #[error("line {number}: {error}")]
    Line {
        /// Which, from 1.
        number: usize,
        /// Why.
        error: nlb_record::LineError,
    },
    /// A line cannot be told to an engine.
    #[error("line {number}: {error}")]
    Replay {
        /// Which, from 1.
        number: usize,
        /// Why.
        error: ReplayError,
    },
    /// It has no lines that an engine is told.
    #[error("there is nothing in it")]
    Empty,
}

/// A recording, and what the engine of this build made of it.
#[derive(Debug)]
pub struct Recording {
    /// Each line as it was recorded, and as this engine would have it recorded.
    lines: Vec<(Timed, Line)>,
}

impl Recording {
    /// Tells an engine everything.
    ///
    /// # Errors
    /// When that does not go to the end.
    pub fn replay(text: &str) -> Result<Self, RecordingError> {
        let mut replay = Replay::new();
        let mut lines = Vec::new();
        for (number, text) in (1..).zip(text.lines()) {
            let (at, line) =
                read_line(text).map_err(|error| RecordingError::Line { number, error })?;
            let found =
                replay.tell(at, &line).map_err(|error| RecordingError::Replay { number, error })?;
            lines.push(((at, line), found));
        }
        let told = replay.engine().is_some();
        if told { Ok(Self { lines }) } else { Err(RecordingError::Empty) }
    }

    /// Whether this engine said the same everywhere.
    #[must_use]
    pub fn is_as_recorded(&self) -> bool {
        self.differences().next().is_none()
    }

    /// Number of the line, what was recorded, what this engine says.
    pub fn differences(&self) -> impl Iterator<Item = (usize, &Line, &Line)> {
        let lines = (1..).zip(&self.lines);
        lines
            .filter(|(_, ((_, recorded), found))| recorded != found)
            .map(|(number, ((_, recorded), found))| (number, recorded, found))
    }

    /// The lines as this engine would have them recorded.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().map(|(_, found)| found)
    }

    /// The recording with what this engine said.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.iter().map(|((at, _), found)| write_line(*at, found) + "\n").collect()
    }

    /// Tells it: everything that happened, or what people want to know at first.
    pub fn print(&self, all: bool) {
        let begun = self.lines.iter().map(|((at, _), _)| *at).find(|at| at.as_nanos() > 0);
        let begun = begun.unwrap_or_default();
        for ((at, recorded), found) in &self.lines {
            let news = matches!(
                found,
                Line::Recording { .. }
                    | Line::New(_)
                    | Line::Lost(_)
                    | Line::End(_)
                    | Line::Command { .. }
                    | Line::KernelFailed
                    | Line::StickyLost
                    | Line::RulesRepaired
                    | Line::Notice(_)
            );
            if news || (all && !found.is_quiet()) || recorded != found {
                println!("{:>12.6} {}", at.since(begun).as_secs_f64(), found.words());
            }
        }
        let differences = self.differences().count();
        for (number, recorded, found) in self.differences().take(TOLD) {
            println!(
                "line {number}\n  recorded: {}\n  replayed: {}",
                recorded.words(),
                found.words()
            );
        }
        let lines = self.lines.len();
        match differences {
            0 => println!("{lines} lines replayed; the engine did what was recorded"),
            _ => println!("{lines} lines replayed; {differences} of them came out otherwise"),
        }
    }
}
