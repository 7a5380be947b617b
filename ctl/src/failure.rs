//! Why the command did not succeed: words that help, and the exit code.

use std::io;
use std::path::{Path, PathBuf};

use nlb_varlink::{ClientError, Error};
use serde_json::json;

use crate::drain::Unfinished;
use crate::key::{BRING, KeyError};

/// Why the command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// The daemon could not be asked, or said no.
    Call(ClientError),
    /// Some of the lines of standard input were no weights.
    Lines(usize),
    /// The daemon ended while it was followed.
    Ended,
    /// The daemon closed the connection, because what it sent was not read.
    NotRead,
    /// A drain that was looked on was not finished.
    Drain(Unfinished),
    /// systemd could not be asked whether it restarts a unit.
    NoSystemd {
        /// The unit.
        unit: String,
        /// Why not.
        reason: String,
    },
    /// A key was not changed.
    Key(KeyError),
    /// A full-screen view without a screen.
    NoTerminal,
    /// A file could not be written.
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Input or output broke.
    Output(io::Error),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Call(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl Failure {
    /// The exit code, as the help documents it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Call(
                ClientError::NotRunning { .. }
                | ClientError::Silent { .. }
                | ClientError::Broken(_),
            )
            | Self::Ended => 3,
            Self::Call(
                ClientError::Forbidden { .. } | ClientError::Refused(Error::NotPermitted { .. }),
            ) => 4,
            Self::Drain(Unfinished::TimeOver(_)) => 6,
            Self::Drain(Unfinished::NotDraining) => 7,
            Self::Key(KeyError::File(_, error))
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                4
            }
            // As a shell says of whatever SIGINT ended.
            Self::Drain(Unfinished::Interrupted) => 130,
            Self::Call(ClientError::Refused(_))
            | Self::NoSystemd { .. }
            | Self::Lines(_)
            | Self::Key(_)
            | Self::NotRead
            | Self::NoTerminal
            | Self::File { .. }
            | Self::Output(_) => 1,
        }
    }

    /// A short name of the kind, for programs.
    fn kind(&self) -> &'static str {
        match self {
            Self::Call(ClientError::NotRunning { .. }) | Self::Ended => "not-running",
            Self::Call(ClientError::Silent { .. }) => "no-answer",
            Self::Call(ClientError::Broken(_)) => "broken",
            Self::Call(ClientError::Forbidden { .. }) => "not-permitted",
            Self::Call(ClientError::Refused(error)) => match error {
                Error::UnknownCluster { .. } => "unknown-cluster",
                Error::NotPermitted { .. } => "not-permitted",
                Error::InvalidValue { .. } => "invalid-value",
                Error::InvalidConfig { .. } => "invalid-config",
                Error::Refused { .. } => "refused",
            },
            Self::Lines(_) => "invalid-value",
            Self::Drain(Unfinished::TimeOver(_)) => "time-over",
            Self::Drain(Unfinished::NotDraining) => "not-draining",
            Self::Drain(Unfinished::Interrupted) => "interrupted",
            Self::NoSystemd { .. } => "no-systemd",
            Self::Key(KeyError::Input(_)) => "invalid-value",
            Self::Key(KeyError::Unrelated(_) | KeyError::Behind(_)) => "refused",
            Self::Key(KeyError::File(..)) => "key-file",
            Self::NoTerminal => "no-terminal",
            Self::NotRead => "not-read",
            Self::File { .. } | Self::Output(_) => "output",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Call(error) => error.to_string(),
            Self::Lines(1) => "one line of the input was no weight".to_owned(),
            Self::Lines(count) => format!("{count} lines of the input were no weights"),
            Self::Drain(Unfinished::TimeOver(left)) => {
                format!("the time is over, and clients were left ({left}); the node leaves")
            }
            Self::Drain(Unfinished::NotDraining) => "the node drains no longer".to_owned(),
            Self::Drain(Unfinished::Interrupted) => {
                "no longer looking on; the node goes on draining".to_owned()
            }
            Self::NoSystemd { unit, reason } => {
                format!("systemd cannot be asked whether it restarts {unit}: {reason}")
            }
            Self::Key(error) => error.to_string(),
            Self::NoTerminal => "top needs a terminal to draw on".to_owned(),
            Self::Ended => "the daemon has ended".to_owned(),
            Self::NotRead => {
                "the daemon closed the connection: nothing was read for too long".to_owned()
            }
            Self::File { path, error } => format!("cannot write {}: {error}", path.display()),
            Self::Output(error) => error.to_string(),
        }
    }

    /// What to do about it.
    fn hint(&self, run_dir: &Path) -> Option<String> {
        match self {
            Self::Call(ClientError::NotRunning { .. }) => Some(format!(
                "start it: systemctl start nlbd (or by hand: nlbd --run-dir {})\n\
                 if it runs elsewhere: nlbctl --run-dir DIR …",
                run_dir.display()
            )),
            Self::Call(ClientError::Silent { .. }) => Some(
                "it runs but is stopped, hangs or has no time: systemctl status nlbd".to_owned(),
            ),
            Self::Call(
                ClientError::Forbidden { .. } | ClientError::Refused(Error::NotPermitted { .. }),
            ) => Some("try it as root: sudo nlbctl …".to_owned()),
            Self::Call(ClientError::Refused(Error::UnknownCluster { known, .. }))
                if known.is_empty() =>
            {
                let hint = "one that was left comes back with: nlbctl reload\n\
                            start or join one: nlbctl addif INTERFACE --address ADDRESS";
                Some(hint.to_owned())
            }
            Self::Drain(Unfinished::Interrupted) => Some("end it: nlbctl undrain".to_owned()),
            Self::NoSystemd { .. } => {
                Some("to announce a restart in any case: nlbctl restart-hold".to_owned())
            }
            Self::Key(KeyError::Unrelated(_)) => {
                Some("to replace it all the same: nlbctl key import --force".to_owned())
            }
            Self::Key(KeyError::Behind(_)) => Some(format!(
                "bring them there first: {BRING}\nto go on all the same: nlbctl key rotate --force"
            )),
            Self::Key(KeyError::File(_, error)) if error.kind() == io::ErrorKind::NotFound => Some(
                "`nlbctl addif` makes one on the first server; elsewhere: nlbctl key import"
                    .to_owned(),
            ),
            Self::NoTerminal => Some("for programs: nlbctl top --json, nlbctl status".to_owned()),
            _ => None,
        }
    }

    /// What goes to stderr.
    #[must_use]
    pub fn render(&self, json: bool, run_dir: &Path) -> String {
        let (message, hint) = (self.message(), self.hint(run_dir));
        if json {
            let error = json!({ "kind": self.kind(), "message": message, "hint": hint });
            return format!("{}\n", json!({ "error": error }));
        }
        let mut text = format!("nlbctl: {message}\n");
        for line in hint.iter().flat_map(|hint| hint.lines()) {
            text.push_str(&format!("  {line}\n"));
        }
        text
    }
}
