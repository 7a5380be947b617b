//! Where the daemon's words go: to the journal with fields, or to stderr. Never to both, or every
//! line would stand in the journal twice.
//!
//! Nobody waits for either: a thread of its own writes ([`queue`]).
//!
//! Fields of events become journal fields with the prefix `NLB_`: `cluster` is `NLB_CLUSTER`.
//! Called once, by `main`. Keys and other secrets have types that show nothing ([`crate::config`]).

mod queue;

use std::os::fd::AsFd as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

pub use queue::Log;
use queue::{Said, Sink};

/// The environment variable for the level, below the command line's.
pub const LEVEL_VARIABLE: &str = "NLBD_LOG";

/// What is logged unless somebody asks for more or less.
const DEFAULT_LEVEL: &str = "info";

/// What journal fields begin with.
const FIELD_PREFIX: &str = "NLB";

/// Where words go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    /// To the journal when systemd has connected stderr to it, else to stderr.
    #[default]
    Auto,
    /// To the journal, and to stderr if there is none.
    Journal,
    /// To stderr.
    Stderr,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error(
        "log level: found \"{found}\" ({error}); allowed: error, warn, info, debug, trace, or \
         directives like info,nlbd::link=debug"
    )]
    Level {
        /// What was given.
        found: String,
        /// What is wrong with it.
        error: tracing_subscriber::filter::ParseError,
    },
    /// There is one already.
    #[error("the log was set up twice")]
    Twice(#[from] TryInitError),
}

/// Sets the log up. `level` is the command line's, else that of [`LEVEL_VARIABLE`], else `info`.
/// What is said waits until [`Log::write`].
///
/// # Errors
/// When the level is none, or the log is set up already.
pub fn start(target: Target, level: Option<&str>) -> Result<Log, LogError> {
    let variable = std::env::var(LEVEL_VARIABLE).ok().filter(|level| !level.is_empty());
    let level = level.or(variable.as_deref()).unwrap_or(DEFAULT_LEVEL);
    let filter = EnvFilter::builder()
        .parse(level)
        .map_err(|error| LogError::Level { found: level.to_owned(), error })?;
    let journal = wants_journal(target, std::env::var("JOURNAL_STREAM").ok().as_deref());
    let (queue, log) = queue::queue(move |said| sink(journal, said));
    tracing_subscriber::registry().with(filter).with(queue).try_init()?;
    Ok(log)
}

/// Where lines end. Made by the thread that writes, because even finding the journal may take
/// until that listens.
fn sink(journal: bool, said: Said) -> Sink {
    let registry = tracing_subscriber::registry();
    if journal {
        match tracing_journald::layer() {
            Ok(layer) => {
                let layer = layer
                    .with_field_prefix(Some(FIELD_PREFIX.to_owned()))
                    .with_syslog_identifier("nlbd".to_owned());
                return Box::new(registry.with(layer));
            }
            // A container, or a host without systemd: stderr it is.
            Err(error) => eprintln!("nlbd: no journal ({error}), logging to stderr"),
        }
    }
    let colours = nix::unistd::isatty(std::io::stderr().as_fd()).unwrap_or(false);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_timer(said)
        .with_ansi(colours)
        .with_target(false);
    Box::new(registry.with(layer))
}

/// Whether the journal is to be tried, given what systemd says of our streams.
fn wants_journal(target: Target, journal_stream: Option<&str>) -> bool {
    match target {
        Target::Stderr => false,
        Target::Journal => true,
        Target::Auto => journal_stream.is_some_and(is_stderr),
    }
}

/// Whether `device:inode` is what stderr leads to; the variable is inherited by children whose
/// stderr leads elsewhere.
fn is_stderr(journal_stream: &str) -> bool {
    let Ok(stat) = nix::sys::stat::fstat(std::io::stderr().as_fd()) else { return false };
    journal_stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests;
