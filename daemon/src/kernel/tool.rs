//! Running nft and iptables: text in, a bounded time, what they complained about out.
//!
//! Children get no descriptor but their three standard ones (every other is close-on-exec), a
//! clean environment in the C locale, and are killed when their time is over or nobody waits for
//! them any more.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// After this time a child is killed. A batch takes milliseconds; a machine that needs seconds
/// for one has lost its lease long before.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// How much of a tool's complaint is kept: the first error stands in front.
const MAX_COMPLAINT: u64 = 4096;
/// How much of a tool's answer is read. Only small listings are asked for.
const MAX_ANSWER: u64 = 1 << 20;
/// Where tools are looked for when `PATH` does not name it: daemons often run without `sbin`.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Why a tool did not do what it was told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// It could not be started.
    #[error("{tool} cannot be started: {reason}")]
    Start {
        /// Which.
        tool: String,
        /// What the system said.
        reason: String,
    },
    /// Talking to it failed.
    #[error("{tool} could not be talked to: {reason}")]
    Talk {
        /// Which.
        tool: String,
        /// What the system said.
        reason: String,
    },
    /// It refused.
    #[error("{tool} failed ({status}): {complaint}")]
    Refused {
        /// Which.
        tool: String,
        /// How it ended.
        status: String,
        /// What it said, cut to a bound.
        complaint: String,
    },
    /// It took too long and was killed.
    #[error("{tool} did not end within {} s and was killed", TIME_LIMIT.as_secs())]
    TooSlow {
        /// Which.
        tool: String,
    },
}

/// The full path of a tool, if it is installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let from_path = std::env::split_paths(&path).filter(|directory| directory.is_absolute());
    from_path
        .chain(DIRECTORIES.iter().map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// A tool at work.
#[derive(Debug)]
pub(crate) struct Running {
    tool: String,
    child: Child,
    input: String,
}

impl Running {
    /// Starts a tool that shall read `input`.
    pub(crate) fn start(tool: &Path, arguments: &[&str], input: String) -> Result<Self, ToolError> {
        let name = tool.file_name().unwrap_or(tool.as_os_str()).to_string_lossy().into_owned();
        let child = Command::new(tool)
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", DIRECTORIES.join(":"))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| ToolError::Start { tool: name.clone(), reason: error.to_string() })?;
        Ok(Self { tool: name, child, input })
    }

    /// Its process id, by which its changes are told from other people's.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Feeds it, waits for it, and gives what it wrote to standard output.
    pub(crate) async fn finish(mut self) -> Result<String, ToolError> {
        let tool = self.tool.clone();
        match tokio::time::timeout(TIME_LIMIT, self.talk()).await {
            Ok(result) => result,
            // Dropping the child kills it; tokio reaps it.
            Err(_) => Err(ToolError::TooSlow { tool }),
        }
    }

    async fn talk(&mut self) -> Result<String, ToolError> {
        let (stdin, stdout, stderr) =
            (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A tool that refuses early does not read the rest: its own words say why.
                let _ = stdin.write_all(self.input.as_bytes()).await;
            }
            Ok(())
        };
        let (_, answer, complaint, status): ((), _, _, ExitStatus) = tokio::try_join!(
            feed,
            read(stdout, MAX_ANSWER),
            read(stderr, MAX_COMPLAINT),
            self.child.wait()
        )
        .map_err(|error| ToolError::Talk { tool: self.tool.clone(), reason: error.to_string() })?;
        if status.success() {
            Ok(answer)
        } else {
            Err(ToolError::Refused {
                tool: self.tool.clone(),
                status: status.to_string(),
                complaint: complaint.trim().to_owned(),
            })
        }
    }
}

/// Runs a tool to its end.
pub(crate) async fn run(
    tool: &Path,
    arguments: &[&str],
    input: String,
) -> Result<String, ToolError> {
    Running::start(tool, arguments, input)?.finish().await
}

/// Reads to the end and keeps what fits: the tool must never wait for a full pipe.
async fn read(pipe: Option<impl AsyncReadExt + Unpin>, most: u64) -> std::io::Result<String> {
    let Some(mut pipe) = pipe else { return Ok(String::new()) };
    let mut kept = Vec::new();
    (&mut pipe).take(most).read_to_end(&mut kept).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&kept).into_owned())
}
