//! A table that is redrawn in place on a terminal, and printed once everywhere else.

use std::io::{IsTerminal, Write};

/// Where the demo writes.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: bool,
    /// Lines of the live part that stand on the terminal now.
    live: usize,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), live: 0 }
    }

    /// Prints lines that stay.
    pub(crate) fn say(&mut self, text: &str) {
        self.settle();
        write(text);
    }

    /// A heading.
    pub(crate) fn heading(&mut self, text: &str) {
        self.settle();
        if self.terminal {
            write(&format!("\n\x1b[1m{text}\x1b[0m\n"));
        } else {
            write(&format!("\n{text}\n"));
        }
    }

    /// Replaces the live part. Without a terminal nothing is shown before `settle`.
    pub(crate) fn redraw(&mut self, lines: &[String]) {
        if !self.terminal {
            return;
        }
        let mut out = std::io::stdout().lock();
        if self.live > 0 {
            let _ = write!(out, "\x1b[{}A", self.live);
        }
        for line in lines {
            let _ = writeln!(out, "\x1b[2K{line}");
        }
        let _ = out.flush();
        self.live = lines.len();
    }

    /// Puts the last state of the live part down for good.
    pub(crate) fn finish(&mut self, lines: &[String]) {
        if self.terminal {
            self.redraw(lines);
        } else {
            lines.iter().for_each(|line| write(line));
        }
        self.settle();
    }

    /// What is printed next comes below the live part.
    pub(crate) const fn settle(&mut self) {
        self.live = 0;
    }
}

/// Writes a line. That nobody reads it any more is no reason to end in disorder.
fn write(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
