//! One network namespace, held by a descriptor and a thread.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, Signal};

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace. It ends when this value does, with every process that was started in it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
    keeper: Option<(SyncSender<Job>, JoinHandle<()>)>,
}

impl Namespace {
    /// A new, empty namespace with its loopback up. `name` is for people only.
    ///
    /// # Errors
    /// When the kernel does not allow it: neither root nor inside a user namespace.
    pub fn new(name: &str) -> Result<Self> {
        let (jobs, work) = sync_channel::<Job>(8);
        let (opened, open) = sync_channel(1);
        // Children die with the thread that started them (`PR_SET_PDEATHSIG`), so one thread
        // lives as long as the namespace and starts them all.
        let keeper = std::thread::Builder::new().name(format!("ns-{name}")).spawn(move || {
            let entered = unshare(CloneFlags::CLONE_NEWNET)
                .context("a new network namespace needs root or a user namespace")
                .and_then(|()| File::open("/proc/thread-self/ns/net").context("ns/net"));
            let failed = entered.is_err();
            if opened.send(entered).is_err() || failed {
                return;
            }
            while let Ok(job) = work.recv() {
                job();
            }
        })?;
        let file = open.recv().context("keeper thread")??;
        let namespace = Self { name: name.to_owned(), file, keeper: Some((jobs, keeper)) };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path by which `ip … netns` and `nsenter --net=` find it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// Runs `f` inside the namespace and waits for it. `/proc/sys/net` is the namespace's there,
    /// `/proc/thread-self/net` too.
    ///
    /// # Panics
    /// When `f` does.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET).context("enter a namespace")?;
                Ok(f())
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a thread inside the namespace that may live on.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn thread<T: Send + 'static>(
        &self,
        name: &str,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>> {
        let file = self.file.try_clone()?;
        let name = format!("{}-{name}", self.name);
        Ok(std::thread::Builder::new().name(name).spawn(move || {
            setns(&file, CloneFlags::CLONE_NEWNET).context("enter a namespace")?;
            drop(file);
            Ok(f())
        })?)
    }

    /// Starts a program inside the namespace. It is killed when the namespace ends.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, mut command: Command) -> Result<Child> {
        let what = format!("{command:?}");
        die_with_parent(&mut command);
        // Ctrl-C at a terminal is for this process, which ends the others in good order.
        command.process_group(0);
        let (started, child) = sync_channel(1);
        let job: Job = Box::new(move || drop(started.send(command.spawn())));
        let (jobs, _) = self.keeper.as_ref().context("the namespace has ended")?;
        jobs.send(job).map_err(|_| anyhow::anyhow!("the keeper of {} has ended", self.name))?;
        child.recv().context("keeper thread")?.with_context(|| format!("start {what}"))
    }

    /// Runs a program inside the namespace and waits for its end.
    ///
    /// # Errors
    /// When it cannot be started. That it failed is for the caller to judge.
    pub fn output(&self, words: &[&str]) -> Result<Output> {
        let (program, arguments) = words.split_first().context("no program")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(self.spawn(command)?.wait_with_output()?)
    }

    /// Runs a program given in one line, split at blanks; gives back what it wrote.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn sh(&self, line: &str) -> Result<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = self.output(&words)?;
        ensure!(
            output.status.success(),
            "{}: `{line}`: {} {}",
            self.name,
            String::from_utf8_lossy(&output.stdout).trim(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a program and hands it `input`.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn feed(&self, words: &[&str], input: &str) -> Result<String> {
        let (program, arguments) = words.split_first().context("no program")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.spawn(command)?;
        child.stdin.take().context("stdin")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {words:?}: {}", self.name, said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs lines of the `ip` program in one go.
    ///
    /// # Errors
    /// When one of them fails, with what `ip` said.
    pub fn ip(&self, lines: &str) -> Result<()> {
        self.feed(&["ip", "-batch", "-"], lines).map(drop).with_context(|| lines.to_owned())
    }

    /// Writes a sysctl of the namespace, named with slashes (`net/ipv4/ip_forward`).
    ///
    /// # Errors
    /// When there is no such sysctl or it does not take the value.
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<()> {
        self.run(|| std::fs::write(format!("/proc/sys/{name}"), value))?
            .with_context(|| format!("{name} = {value}"))
    }

    /// Reads a sysctl of the namespace, named with slashes.
    ///
    /// # Errors
    /// When there is no such sysctl.
    pub fn sysctl(&self, name: &str) -> Result<String> {
        let text = self.run(|| std::fs::read_to_string(format!("/proc/sys/{name}")))?;
        Ok(text.with_context(|| name.to_owned())?.trim().to_owned())
    }

    /// The processes other than this one that live in the namespace.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let inode = self.file.metadata()?.ino();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let there = std::fs::metadata(entry.path().join("ns/net"));
            if pid != std::process::id() && there.is_ok_and(|there| there.ino() == inode) {
                found.push(pid);
            }
        }
        Ok(found)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Some((jobs, keeper)) = self.keeper.take() {
            drop(jobs);
            drop(keeper.join());
        }
    }
}

/// Fails unless namespaces can be made here, saying what would help.
///
/// # Errors
/// When they cannot.
pub fn check_allowed() -> Result<()> {
    if let Err(error) = Namespace::new("check") {
        bail!("{error:#}: run as root, or let `cargo xtask` make a user namespace");
    }
    Ok(())
}

#[allow(unsafe_code)]
fn die_with_parent(command: &mut Command) {
    let die = || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The demo blocks signals in order to wait for them; a daemon must not inherit that.
        SigSet::empty().thread_set_mask()?;
        Ok(())
    };
    // SAFETY: between fork and exec only the system calls prctl and sigprocmask are made, which
    // allocate nothing and take no lock.
    unsafe { command.pre_exec(die) };
}
