//! The runner: a process of its own, without any privilege, that looks at services for checks. It
//! talks to them over the network, looks for processes, and starts commands, ends them in time with
//! everything that they started, and says how it went. What strangers answer is read here, by
//! somebody who may do nothing. It also opens sockets for the daemon, which in its sandbox may not.
//!
//! It and its commands run as another user than the daemon, without capabilities and with no way to
//! get any. A command has its own process group, a clean environment, and three descriptors.
//! Processes that leave the group are handed to the runner when their parents end, and it ends them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{ExitCode, Stdio};
use std::rc::Rc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{
    Gid, Pid, Uid, User, geteuid, getpgid, getpid, getsid, setgid, setgroups, setsid, setuid,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::model::Kind;
use super::order::{Answer, Order, Ran, Reader, Task, Wanted};
use super::probe;
use super::process::Processes;

/// What the daemon's own program is started with to become the runner.
pub const RUN_COMMANDS: &str = "run-commands-of-checks";

/// How much of what a command writes is kept.
pub(super) const MAX_OUTPUT: usize = 4096;
/// How much of it is told: the first line is what people read.
const MAX_TOLD: usize = 256;
/// Results that wait to be told.
const RESULTS: usize = 64;
/// How long the rest of a pipe is read once everybody who wrote to it was ended.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Most commands end sooner than this with little to say. What they write waits in the pipes until
/// then, and nothing has to be set up to be told of it; a longer command's output is read as it
/// comes.
const SHORT: Duration = Duration::from_millis(50);
/// How often those are looked for again that were just ended.
const SWEEPS: u32 = 20;
const SWEEP_EVERY: Duration = Duration::from_millis(5);
/// Commands that end within this time are swept after together.
const SWEEP_WITHIN: Duration = Duration::from_millis(250);

/// Runs until the daemon ends.
#[must_use]
pub fn run(user: &str) -> ExitCode {
    let served = give_up_privileges(user).and_then(|()| {
        // The descriptor that commands do not inherit; they get their own standard input.
        let stream = io::stdin().as_fd().try_clone_to_owned()?;
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build_local(LocalOptions::default())?.block_on(serve(stream.into()))
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

/// What runs for the daemon.
#[derive(Debug, Default)]
struct Running {
    /// The commands, by their process, which is their group.
    groups: RefCell<BTreeSet<i32>>,
    /// Whether there was ever one: whoever started nothing has nothing to clear up.
    any: Cell<bool>,
    /// Whether somebody clears up soon.
    sweeps: Cell<bool>,
    processes: Processes,
}

/// Does what the daemon orders, until it is gone.
pub(super) async fn serve(stream: std::os::unix::net::UnixStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let (from, to) = UnixStream::from_std(stream)?.into_split();
    let running = Rc::new(Running::default());
    let (results, mut ended) = mpsc::channel::<Answer>(RESULTS);
    tokio::task::spawn_local(async move {
        while let Some(answer) = ended.recv().await {
            if answer.send(&to).await.is_none() {
                return;
            }
        }
    });
    let mut orders = Reader::new(from);
    while let Some(Order { number, limit, task }) = orders.order().await {
        let (results, running) = (results.clone(), running.clone());
        tokio::task::spawn_local(async move {
            let (result, socket) = match task {
                Task::Check(Kind::Command(words)) => {
                    (carry_out(&words, limit, &running).await, None)
                }
                Task::Check(kind) => {
                    let looked = probe::look(&kind, limit, &running.processes).await;
                    (looked.map_err(|failure| failure.to_string()), None)
                }
                Task::Socket(wanted) => match open(wanted) {
                    Ok(socket) => (Ok(String::new()), Some(socket)),
                    Err(error) => (Err(error.to_string()), None),
                },
            };
            let _ = results.send(Answer { number, result, socket }).await;
        });
    }
    // The daemon is gone: nothing that was started for it goes on.
    let groups: Vec<i32> = running.groups.take().into_iter().collect();
    for group in groups {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    sweep(&running).await;
    Ok(())
}

/// Opens a socket for the daemon.
fn open(wanted: Wanted) -> io::Result<OwnedFd> {
    let udp = |domain| Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map(OwnedFd::from);
    match wanted {
        Wanted::Udp4 => udp(Domain::IPV4),
        Wanted::Udp6 => udp(Domain::IPV6),
        Wanted::Listener(address) => std::net::TcpListener::bind(address).map(OwnedFd::from),
    }
}

async fn carry_out(words: &[String], limit: Duration, running: &Rc<Running>) -> Ran {
    let (mut child, pipes) = start(words).map_err(|error| format!("cannot be started: {error}"))?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
    running.groups.borrow_mut().insert(pid);
    running.any.set(true);
    let short = limit.min(SHORT);
    let mut ended = tokio::time::timeout(short, child.wait()).await;
    let said = if ended.is_ok() {
        let said = pipes.map(ended_saying);
        end_group(pid, running);
        sweep_soon(running);
        said
    } else {
        let [out, complaints] = pipes.map(|pipe| tokio::task::spawn_local(keep(pipe)));
        ended = tokio::time::timeout(limit - short, child.wait()).await;
        end_group(pid, running);
        let _ = child.wait().await;
        sweep(running).await;
        let last = tokio::time::Instant::now() + LAST_WORDS;
        [last_words(out, last).await, last_words(complaints, last).await]
    };
    let [out, complaints] = said;
    let said = first_line(if out.is_empty() { &complaints } else { &out });
    match ended {
        Err(_) => Err(with("timed out and was killed", &said)),
        Ok(Err(error)) => Err(format!("cannot be waited for: {error}")),
        Ok(Ok(status)) if status.success() => {
            Ok(if said.is_empty() { "exit status 0".to_owned() } else { said })
        }
        Ok(Ok(status)) => Err(with(&status.to_string(), &said)),
    }
}

/// Whether a command has ended or not: its group ends.
fn end_group(pid: i32, running: &Running) {
    let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    running.groups.borrow_mut().remove(&pid);
}

/// Has those be ended that have left the groups of commands, for all that end meanwhile.
fn sweep_soon(running: &Rc<Running>) {
    if !running.sweeps.replace(true) {
        let running = running.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(SWEEP_WITHIN).await;
            running.sweeps.set(false);
            sweep(&running).await;
        });
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

/// Starts a command; gives the pipes that it writes to.
fn start(words: &[String]) -> io::Result<(Child, [PipeReader; 2])> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let (out, writes) = io::pipe()?;
    let (complaints, complains) = io::pipe()?;
    for pipe in [&out, &complaints] {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::from(writes))
        .stderr(Stdio::from(complains))
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, [out, complaints]))
}

/// What a command that has ended left in a pipe, as far as it is kept.
fn ended_saying(mut pipe: PipeReader) -> Vec<u8> {
    let mut kept = [0; MAX_OUTPUT];
    // An error is that there is nothing yet from somebody else, who goes with the group.
    let length = pipe.read(&mut kept).unwrap_or_default();
    kept.get(..length).unwrap_or_default().to_vec()
}

/// Reads to the end and keeps the beginning: a command must never wait for a full pipe.
async fn keep(pipe: PipeReader) -> Vec<u8> {
    let Ok(mut pipe) = pipe::Receiver::from_owned_fd(OwnedFd::from(pipe)) else {
        return Vec::new();
    };
    let (mut kept, mut piece) = (Vec::new(), [0; MAX_OUTPUT]);
    while let Ok(length @ 1..) = pipe.read(&mut piece).await {
        let room = MAX_OUTPUT.saturating_sub(kept.len());
        kept.extend(piece.get(..length.min(room)).unwrap_or_default());
        // Whoever floods shall not keep the others from being read.
        tokio::task::yield_now().await;
    }
    kept
}

/// What was kept, once everybody who wrote was ended.
async fn last_words(kept: JoinHandle<Vec<u8>>, last: tokio::time::Instant) -> Vec<u8> {
    let abort = kept.abort_handle();
    let kept = tokio::time::timeout_at(last, kept).await;
    abort.abort();
    kept.ok().and_then(Result::ok).unwrap_or_default()
}

/// Ends what has left its group: its parents have ended, so it is the runner's now.
async fn sweep(running: &Running) {
    if !running.any.get() {
        return;
    }
    for _ in 0..SWEEPS {
        let strays = strays(&running.groups.borrow());
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
