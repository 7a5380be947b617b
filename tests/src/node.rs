//! One daemon on one server: start, stop, kill, ask.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::binaries;
use crate::netns::Namespace;
use crate::status::{ClusterStatus, Status};
use crate::wait::{wait_for, wait_until};

/// How much of a log is shown when a test fails.
const LOG_LINES: usize = 60;

/// A server and its daemon.
#[derive(Debug)]
pub struct Node {
    /// The server's name: `n1`.
    pub name: String,
    /// The server.
    pub namespace: Arc<Namespace>,
    /// What the daemon is started with as `--bus`.
    pub bus: String,
    /// The daemon's program; `None`: the one under test. Another path is what an upgrade is.
    pub program: Option<PathBuf>,
    folder: PathBuf,
    process: Option<Child>,
}

impl Node {
    /// A server whose daemon is not running yet. Configuration, run directory and log live in
    /// `folder`.
    ///
    /// # Errors
    /// When the folder cannot be filled.
    pub fn new(name: &str, namespace: &Arc<Namespace>, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder.join("run"))?;
        Ok(Self {
            name: name.to_owned(),
            namespace: namespace.clone(),
            bus: "none".to_owned(),
            program: None,
            folder: folder.to_owned(),
            process: None,
        })
    }

    /// The configuration file's path.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("nlbd.ron")
    }

    /// The run directory.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// Writes the configuration file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, text: &str) -> Result<()> {
        std::fs::write(self.config(), text).with_context(|| self.config().display().to_string())
    }

    /// Starts the daemon; does not wait for anything.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let program = self.program.clone().map_or_else(|| binaries::program("nlbd"), Ok)?;
        let mut command = Command::new(program);
        command.arg("--config").arg(self.config()).arg("--run-dir").arg(self.run_dir());
        command.args(["--bus", &self.bus]).env_remove("JOURNAL_STREAM").env_remove("NOTIFY_SOCKET");
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "info,nlbd=debug");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.process = Some(self.namespace.spawn(command)?);
        Ok(())
    }

    /// The daemon's process id, while it runs.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<Pid> {
        let process = self.process.as_ref().with_context(|| format!("{} is down", self.name))?;
        Ok(Pid::from_raw(i32::try_from(process.id())?))
    }

    /// The program that the daemon's process runs.
    ///
    /// # Errors
    /// When it does not run.
    pub fn program_path(&self) -> Result<PathBuf> {
        Ok(std::fs::read_link(format!("/proc/{}/exe", self.pid()?))?)
    }

    /// Whether the daemon was started and neither killed nor waited for.
    #[must_use]
    pub const fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Sends a signal to the daemon.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid()?, signal).with_context(|| format!("{signal} to {}", self.name))
    }

    /// SIGKILL: the daemon is gone when this returns.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        if let Some(mut process) = self.process.take() {
            process.wait()?;
        }
        Ok(())
    }

    /// SIGTERM, then waits for the end.
    ///
    /// # Errors
    /// When the daemon does not end within `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait_end(limit)
    }

    /// Has the daemon end for a restart: its kernel keeps the clients meanwhile.
    ///
    /// # Errors
    /// When it does not end well within `limit`.
    pub fn end_for_restart(&mut self, limit: Duration) -> Result<()> {
        self.ctl(&["restart-hold"])?;
        let status = self.terminate(limit)?;
        ensure!(status.success(), "the daemon of {} ended with {status}", self.name);
        Ok(())
    }

    /// How often a process of the daemon went on with what an earlier one left.
    #[must_use]
    pub fn resumed(&self) -> usize {
        self.log().matches("goes on with an earlier process").count()
    }

    /// Waits until the daemon has ended by itself.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub fn wait_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let name = self.name.clone();
        let process = self.process.as_mut().with_context(|| format!("{name} is down"))?;
        let what = format!("the daemon of {name} to end");
        let status = wait_for(&what, limit, || match process.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        })?;
        self.process = None;
        Ok(status)
    }

    /// Runs `nlbctl` on the server.
    ///
    /// # Errors
    /// When it cannot be started. That it failed is for the caller to judge.
    pub fn nlbctl(&self, arguments: &[&str]) -> Result<Output> {
        let program = binaries::program("nlbctl")?;
        let run_dir = self.run_dir();
        let (program, run_dir) = (program.to_string_lossy(), run_dir.to_string_lossy());
        let mut words = vec![program.as_ref(), "--run-dir", run_dir.as_ref()];
        words.extend(arguments);
        self.namespace.output(&words)
    }

    /// Runs `nlbctl`, which must succeed; gives back what it wrote.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let output = self.nlbctl(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: nlbctl {arguments:?}: {said}", self.name);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What the daemon says of its one cluster.
    ///
    /// # Errors
    /// When it does not answer, or the answer is not what the interface promises.
    pub fn status(&self) -> Result<ClusterStatus> {
        let output = self.nlbctl(&["status", "--json"])?;
        // 5: the answer is that not all is well.
        ensure!(
            matches!(output.status.code(), Some(0 | 5)),
            "nlbctl status: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout)?;
        let status: Status = serde_json::from_str(&text).with_context(|| text.clone())?;
        status.clusters.into_iter().next().context("no cluster")
    }

    /// How often the daemon fenced its node so far, and how many packets it came too late for: a
    /// node that was stopped for longer than its lease must not answer what waited. On a machine
    /// that is busy with something else that happens by itself.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub fn too_late(&self) -> Result<u64> {
        let status = self.status()?;
        let fenced = status.counters.get("fenced").context("no counter")?;
        let late = ["packet_no_right", "packet_held_too_long"].map(|name| status.drops_for(name));
        Ok(fenced + late.iter().sum::<u64>())
    }

    /// Waits until the daemon's own word satisfies `good`.
    ///
    /// # Errors
    /// When it does not within `limit`, with the last status.
    pub fn wait_status(
        &mut self,
        what: &str,
        limit: Duration,
        mut good: impl FnMut(&ClusterStatus) -> bool,
    ) -> Result<ClusterStatus> {
        let what = format!("{what} on {}", self.name);
        wait_for(&what, limit, || match self.status() {
            Ok(status) if good(&status) => Ok(status),
            Ok(status) => Err(format!("{status:?}")),
            Err(error) => Err(format!("{error:#}")),
        })
    }

    /// Fails if the daemon has ended by itself.
    ///
    /// # Errors
    /// With its exit status.
    pub fn check_alive(&mut self) -> Result<()> {
        if let Some(process) = &mut self.process
            && let Some(status) = process.try_wait()?
        {
            self.process = None;
            bail!("the daemon of {} has ended: {status}\n{}", self.name, self.log_tail());
        }
        Ok(())
    }

    /// Everything the daemon has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Waits until the log says `words`.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub fn wait_log(&self, words: &str, limit: Duration) -> Result<()> {
        let what = format!("{:?} in the log of {}", words, self.name);
        wait_until(&what, limit, || self.log().contains(words))
    }

    /// The last lines of the log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// The daemon's resident memory in KiB.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }

    /// The processor time that the daemon has used so far.
    ///
    /// # Errors
    /// When it does not run.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        let (_, after) = stat.rsplit_once(')').context("stat")?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks =
            |index: usize| -> Result<u64> { Ok(fields.get(index).context("stat")?.parse()?) };
        // utime and stime, in hundredths of a second.
        Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let wanted = std::thread::panicking() || std::env::var_os("NLB_SHOW_LOGS").is_some();
        if wanted && File::open(self.log_path()).is_ok() {
            let status = self.nlbctl(&["status"]).map(|output| output.stdout).unwrap_or_default();
            eprintln!("--- {}: {}", self.name, String::from_utf8_lossy(&status).trim());
            eprintln!("{}", self.log_tail());
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
