//! Why a configuration is refused: where, what was found, what is allowed.
//!
//! The texts are an interface to people; `tests.rs` beside this file holds every one of them.

use core::fmt;
use std::path::PathBuf;

/// The most errors that are told at once: a file that is wrong from end to end shall not fill the
/// journal.
pub const MAX_ERRORS: usize = 32;

/// A place in a file. Lines and columns count from 1; columns count characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct ConfigError {
    /// Where the wrong value begins.
    pub place: Place,
    /// What is wrong with it.
    pub reason: Reason,
}

/// Everything that is wrong with a configuration, in the order of the files and places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().take(MAX_ERRORS).enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{error}")?;
        }
        match self.0.len().saturating_sub(MAX_ERRORS) {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

impl core::error::Error for ConfigErrors {}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The file cannot be read.
    #[error("cannot be read: {error}")]
    Unreadable {
        /// The system's word on it.
        error: String,
    },
    /// The file is too long to be a configuration.
    #[error("the file has {found} bytes; allowed: up to {allowed}")]
    TooLong {
        /// Its length.
        found: usize,
        /// The bound.
        allowed: usize,
    },
    /// More drop-ins than anybody needs.
    #[error("{found} drop-in files; allowed: up to {allowed}")]
    TooManyFiles {
        /// How many there are.
        found: usize,
        /// The bound.
        allowed: usize,
    },
    /// The text is no RON.
    #[error("syntax: found {found}; allowed: {allowed}")]
    Syntax {
        /// What stands there.
        found: String,
        /// What could.
        allowed: String,
    },
    /// The `ron` parser refused what ours took.
    #[error("syntax: {message}")]
    Ron {
        /// Its message.
        message: String,
    },
    /// A field that the schema does not have.
    #[error("unknown field `{found}`; allowed: {allowed}")]
    UnknownField {
        /// The field.
        found: String,
        /// The fields there are.
        allowed: String,
    },
    /// A field or a map key stands twice in one file.
    #[error("`{field}` is given twice, first at {first}; allowed: once")]
    Twice {
        /// Which.
        field: String,
        /// Where it stood first.
        first: Place,
    },
    /// Two files say different things.
    #[error("`{field}`: found {found}, but {other} says {said}; allowed: one value")]
    Conflict {
        /// The field.
        field: String,
        /// The value here.
        found: String,
        /// The other place.
        other: Place,
        /// The value there.
        said: String,
    },
    /// A value that cannot be.
    #[error("`{field}`: found {found}; allowed: {allowed}")]
    Value {
        /// The field.
        field: String,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// Something that must be there is not.
    #[error("cluster \"{cluster}\": no `{field}`; allowed: {allowed}")]
    Missing {
        /// The cluster.
        cluster: String,
        /// The field.
        field: String,
        /// What is allowed.
        allowed: String,
    },
    /// Two clusters share what only one can have.
    #[error("{what} is that of cluster \"{other}\" too, see {first}; allowed: {allowed}")]
    Shared {
        /// What is shared.
        what: String,
        /// The other cluster.
        other: String,
        /// Where the other cluster says it.
        first: Place,
        /// What to do.
        allowed: String,
    },
    /// The cluster's key cannot be used.
    #[error("`key_file`: {0}")]
    Key(KeyError),
}

/// Why a key file is refused. Never contains anything of the file's contents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not there.
    #[error(
        "found {}, which does not exist; allowed: a file with one key of 64 hexadecimal digits \
         a line (`nlbctl addif` makes one), or `insecure: true`", path.display()
    )]
    Missing {
        /// Its path.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error(
        "found {}, which cannot be read: {error}; allowed: a file of the daemon's user (the \
         package's daemon is nlbd: chown nlbd {0})", path.display()
    )]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// The system's word on it.
        error: String,
    },
    /// Others than its owner may read or write it.
    #[error(
        "found {} with mode {mode:04o}, so that others may use it; allowed: mode 0600 or 0400 \
         (chmod 600 {0})", path.display()
    )]
    Mode {
        /// Its path.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error(
        "found {}, which belongs to user {owner}; allowed: a file of root or of the daemon's \
         user ({daemon})", path.display()
    )]
    Owner {
        /// Its path.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The daemon's user.
        daemon: u32,
    },
    /// A line of it is no key.
    #[error(
        "found {}, whose line {line} is no key ({found}); allowed: 64 hexadecimal digits a line",
        path.display()
    )]
    Line {
        /// Its path.
        path: PathBuf,
        /// Which line.
        line: usize,
        /// What is wrong with it, without its contents.
        found: &'static str,
    },
    /// It has too many keys or none.
    #[error("found {} with {found} keys; allowed: 1 to {allowed}", path.display())]
    Count {
        /// Its path.
        path: PathBuf,
        /// How many it has.
        found: usize,
        /// The bound.
        allowed: usize,
    },
    /// A key file is named and not wanted.
    #[error("found a key file beside `insecure: true`; allowed: one of the two")]
    Insecure,
}
