//! Running other programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result, ensure};

/// A program to run, with the words that led to it.
#[derive(Debug)]
pub(crate) struct Run(Command);

/// A cargo command, in the root of the workspace.
pub(crate) fn cargo(verb: &str) -> Run {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    program(&cargo).args([verb])
}

/// A program, in the root of the workspace.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Run {
    let mut command = Command::new(name);
    command.current_dir(root());
    Run(command)
}

impl Run {
    /// Adds arguments.
    pub(crate) fn args(mut self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.0.args(words);
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// The same, started by other words: `nice -n 19 …`.
    pub(crate) fn behind(self, words: &[&str]) -> Self {
        let Some((first, options)) = words.split_first() else { return self };
        let mut wrapped = program(first).args(options);
        for (name, value) in self.0.get_envs() {
            if let Some(value) = value {
                wrapped.0.env(name, value);
            }
        }
        wrapped.args([self.0.get_program()]).args(self.0.get_args())
    }

    /// Runs it only when nothing else wants a processor.
    pub(crate) fn patient(self) -> Self {
        self.behind(&["nice", "-n", "19"])
    }

    /// Runs it in this folder.
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// The command itself.
    pub(crate) fn into_inner(self) -> Command {
        self.0
    }

    /// Runs it to its end.
    pub(crate) fn status(mut self) -> Result<ExitStatus> {
        self.0.status().with_context(|| format!("{:?}", self.0))
    }

    /// Runs it to its end, which must be a good one.
    pub(crate) fn succeed(self) -> Result<()> {
        let words = format!("{:?}", self.0);
        let status = self.status()?;
        ensure!(status.success(), "{words}: {status}");
        Ok(())
    }
}

/// The exit code that says the same.
pub(crate) fn code(status: ExitStatus) -> ExitCode {
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Where a program is, by `PATH` and where system programs are.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}
