//! The runner of commands: a process of its own, without any privilege, that starts what checks
//! are told to run, ends it in time with everything that it started, and says how it went.
//!
//! It and its commands run as another user than the daemon, without capabilities and with no way to
//! get any. A command has its own process group, a clean environment, and three descriptors.
//! Processes that leave the group are handed to the runner when their parents end, and it ends them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd as _;
use std::process::{ExitCode, Stdio};
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{
    Gid, Pid, Uid, User, geteuid, getpgid, getpid, getsid, setgid, setgroups, setsid, setuid,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// What the daemon's own program is started with to become the runner.
pub const RUN_COMMANDS: &str = "run-commands-of-checks";

/// The longest message on the way: a command line, or its output.
const MAX_MESSAGE: usize = 64 << 10;
/// How much of what a command writes is kept.
pub(super) const MAX_OUTPUT: usize = 4096;
/// How much of it is told: the first line is what people read.
const MAX_TOLD: usize = 256;
/// Results that wait to be told.
const RESULTS: usize = 64;
/// How long the rest of a pipe is read once everybody who wrote to it was ended.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How often those are looked for again that were just ended.
const SWEEPS: u32 = 20;
const SWEEP_EVERY: Duration = Duration::from_millis(5);

/// What a command wrote, or why it failed.
pub(super) type Ran = Result<String, String>;

/// A command that is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) number: u64,
    pub(super) limit: Duration,
    pub(super) words: Vec<String>,
}

impl Order {
    /// Length, number, limit in milliseconds, words with a zero byte between them.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let limit_ms = u32::try_from(self.limit.as_millis()).unwrap_or(u32::MAX);
        let words = self.words.join("\0");
        framed(&[&self.number.to_be_bytes(), &limit_ms.to_be_bytes(), words.as_bytes()])
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
        let limit_ms = u32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?);
        let words = core::str::from_utf8(bytes.get(12..)?).ok()?;
        let words = words.split('\0').map(str::to_owned).collect();
        Some(Self { number, limit: Duration::from_millis(limit_ms.into()), words })
    }
}

fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

/// A length within the bound: a longer message is cut, and then makes no sense.
pub(super) fn bounded(length: u32) -> usize {
    usize::try_from(length).unwrap_or(MAX_MESSAGE).min(MAX_MESSAGE)
}

fn result_to_bytes(number: u64, result: &Ran) -> Vec<u8> {
    let (passed, text) = match result {
        Ok(text) => (1, text),
        Err(text) => (0, text),
    };
    framed(&[&number.to_be_bytes(), &[passed], text.as_bytes()])
}

pub(super) fn result_from_bytes(bytes: &[u8]) -> Option<(u64, Ran)> {
    let number = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    let text = String::from_utf8_lossy(bytes.get(9..)?).into_owned();
    Some((number, if *bytes.get(8)? == 1 { Ok(text) } else { Err(text) }))
}

/// Runs until the daemon ends.
#[must_use]
pub fn run(user: &str) -> ExitCode {
    let served = give_up_privileges(user).and_then(|()| {
        // The descriptor that commands do not inherit; they get their own standard input.
        let stream = io::stdin().as_fd().try_clone_to_owned()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, serve(stream.into()))
    });
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Becomes somebody who may do nothing. Whoever cannot become another user than root runs no
/// commands at all.
fn give_up_privileges(user: &str) -> io::Result<()> {
    super::descriptors::keep_from_children()?;
    // A service of systemd leads its session already.
    if getsid(None)? != getpid() {
        setsid()?;
    }
    if geteuid().is_root() {
        let known = User::from_name(user)?;
        let known = known.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        become_user(known.uid, known.gid)?;
    }
    for set in [caps::CapSet::Ambient, caps::CapSet::Inheritable] {
        caps::clear(None, set).map_err(io::Error::other)?;
    }
    for set in [caps::CapSet::Effective, caps::CapSet::Permitted] {
        caps::clear(None, set).map_err(io::Error::other)?;
    }
    nix::sys::prctl::set_no_new_privs()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
}

fn become_user(user: Uid, group: Gid) -> io::Result<()> {
    setgroups(&[])?;
    setgid(group)?;
    setuid(user)?;
    if geteuid().is_root() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(())
}

/// The commands that run, by their process, which is their group.
type Running = Rc<RefCell<BTreeSet<i32>>>;

async fn serve(stream: std::os::unix::net::UnixStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let (mut from, mut to) = UnixStream::from_std(stream)?.into_split();
    let running = Running::default();
    let (results, mut ended) = mpsc::channel::<Vec<u8>>(RESULTS);
    tokio::task::spawn_local(async move {
        while let Some(bytes) = ended.recv().await {
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    while let Ok(length) = from.read_u32().await {
        let mut bytes = vec![0; bounded(length)];
        if from.read_exact(&mut bytes).await.is_err() {
            break;
        }
        let Some(order) = Order::from_bytes(&bytes) else { break };
        let (results, running) = (results.clone(), running.clone());
        tokio::task::spawn_local(async move {
            let result = carry_out(&order, &running).await;
            let _ = results.send(result_to_bytes(order.number, &result)).await;
        });
    }
    // The daemon is gone: nothing that was started for it goes on.
    let groups: Vec<i32> = running.take().into_iter().collect();
    for group in groups {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    sweep(&running).await;
    Ok(())
}

async fn carry_out(order: &Order, running: &Running) -> Ran {
    let mut child = start(&order.words).map_err(|error| format!("cannot be started: {error}"))?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
    running.borrow_mut().insert(pid);
    let pipes = (child.stdout.take(), child.stderr.take());
    let reader = tokio::task::spawn_local(async move {
        let (out, complaints) = tokio::join!(keep(pipes.0), keep(pipes.1));
        if out.is_empty() { complaints } else { out }
    });
    let ended = tokio::time::timeout(order.limit, child.wait()).await;
    // Whether it ended or not: what it left in its group goes with it.
    let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    let _ = child.wait().await;
    running.borrow_mut().remove(&pid);
    sweep(running).await;
    let abort = reader.abort_handle();
    let said = tokio::time::timeout(LAST_WORDS, reader).await;
    abort.abort();
    let said = said.ok().and_then(Result::ok).unwrap_or_default();
    let said = first_line(&said);
    match ended {
        Err(_) => Err(with("timed out and was killed", &said)),
        Ok(Err(error)) => Err(format!("cannot be waited for: {error}")),
        Ok(Ok(status)) if status.success() => {
            Ok(if said.is_empty() { "exit status 0".to_owned() } else { said })
        }
        Ok(Ok(status)) => Err(with(&status.to_string(), &said)),
    }
}

fn with(what: &str, said: &str) -> String {
    if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") }
}

/// The first line, for people: without control characters, and cut.
fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let mut line: String = line.trim().chars().filter(|c| !c.is_control()).collect();
    line.truncate(line.floor_char_boundary(MAX_TOLD));
    line
}

fn start(words: &[String]) -> io::Result<Child> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Reads to the end and keeps the beginning: a command must never wait for a full pipe.
async fn keep(pipe: Option<impl AsyncReadExt + Unpin>) -> Vec<u8> {
    let Some(mut pipe) = pipe else { return Vec::new() };
    let (mut kept, mut piece) = (Vec::new(), [0; MAX_OUTPUT]);
    while let Ok(length @ 1..) = pipe.read(&mut piece).await {
        let room = MAX_OUTPUT.saturating_sub(kept.len());
        kept.extend(piece.get(..length.min(room)).unwrap_or_default());
        // Whoever floods shall not keep the others from being read.
        tokio::task::yield_now().await;
    }
    kept
}

/// Ends what has left its group: its parents have ended, so it is the runner's now.
async fn sweep(running: &Running) {
    for _ in 0..SWEEPS {
        let strays = strays(&running.borrow());
        if strays.is_empty() {
            return;
        }
        for pid in strays {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

/// Children that belong to no command that runs.
fn strays(running: &BTreeSet<i32>) -> Vec<Pid> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let children =
        threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<i32> = children
        .flat_map(|text| {
            text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect();
    let strays = children.into_iter().filter(|pid| {
        let group = getpgid(Some(Pid::from_raw(*pid))).map_or(0, Pid::as_raw);
        !running.contains(pid) && !running.contains(&group)
    });
    strays.map(Pid::from_raw).collect()
}
