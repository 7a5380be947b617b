//! Scheduling: the threads that heartbeats, verdicts and fences depend on come before others.
//!
//! A machine under load is when a balancer is needed most, and a heartbeat that waits behind
//! everybody's work for 7/10 of dead-after costs the node its rights (SPEC 6.8). All of it is best
//! effort: where the rights are missing, the daemon runs as everybody else does.
//!
//! Under systemd the daemon has no right to any priority: another process gives it ([`giver`]).
//! Started by hand, it gives its capabilities up before it starts threads. Limits allow them to ask
//! for their priority all the same, but to set these takes CAP_SYS_RESOURCE, which few containers
//! have. Where it is missing, one thread is made quick before the capability for that goes, and
//! starts the others, who inherit it.
#![allow(unsafe_code)] // system calls that no crate of ours wraps

pub mod giver;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, mpsc};
use std::thread::{Builder, JoinHandle};

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Pid, gettid};

use crate::caps;

/// The lowest real-time priority: before every ordinary thread, behind everything else of its
/// kind.
const REALTIME: libc::c_int = 1;

/// The niceness of the thread that applies rules, which nft inherits.
const APPLIER_NICENESS: libc::c_int = -10;

/// As `setrlimit` counts niceness: 20 - niceness.
const NICE_LIMIT: u64 = 30;

/// Threads that wait to be started: few, and each waited for.
const ORDERS: usize = 16;

/// Before whom a thread comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Before every ordinary thread. What it starts is ordinary again.
    Realtime,
    /// Favoured among ordinary threads, with what it starts.
    Favoured,
}

/// A thread to be started.
struct Order {
    name: String,
    body: Box<dyn FnOnce() + Send>,
    started: mpsc::SyncSender<io::Result<JoinHandle<()>>>,
}

/// The way to the thread that starts others, where there must be one.
static STARTER: OnceLock<mpsc::SyncSender<Order>> = OnceLock::new();

/// The socket of whoever gives priority, where somebody does.
static GIVER: OnceLock<PathBuf> = OnceLock::new();

/// Lets threads of this process have a [`Priority`], from whoever is behind the socket if there is
/// one. To be called once, while the process still has its capabilities and no thread but this one.
pub fn allow(giver: Option<&Path>) {
    if let Some(socket) = giver {
        GIVER.get_or_init(|| socket.to_owned());
        return;
    }
    let mut refused = false;
    for (resource, limit) in [
        (Resource::RLIMIT_RTPRIO, REALTIME.unsigned_abs().into()),
        (Resource::RLIMIT_NICE, NICE_LIMIT),
    ] {
        refused |= setrlimit(resource, limit, limit).is_err();
    }
    if refused && let Err(error) = start_starter() {
        tracing::debug!(%error, "heartbeats run at ordinary priority");
    }
}

/// Starts a thread with this name and priority.
///
/// # Errors
/// When there is no thread to be had.
pub fn spawn(
    name: &str,
    priority: Priority,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let (name, body) = (name.to_owned(), move || {
        if let Err(error) = take(priority) {
            tracing::debug!(?priority, %error, "runs at ordinary priority");
        }
        body();
    });
    let Some(starter) = STARTER.get() else { return Builder::new().name(name).spawn(body) };
    let (started, starting) = mpsc::sync_channel(1);
    let order = Order { name, body: Box::new(body), started };
    starter.send(order).map_err(|_| io::Error::other("the starter has ended"))?;
    starting.recv().map_err(io::Error::other)?
}

/// Starts the thread that starts others.
fn start_starter() -> io::Result<()> {
    let (orders, waiting) = mpsc::sync_channel::<Order>(ORDERS);
    let (ready, is_ready) = mpsc::sync_channel(1);
    Builder::new().name("starter".to_owned()).spawn(move || {
        let own = gettid();
        let quick = set_niceness(own, APPLIER_NICENESS)
            .and_then(|()| set_policy(own, libc::SCHED_RR, REALTIME));
        // It has nothing from now on that the threads that it starts shall not have.
        let dropped = caps::drop_all_but_needed().map_err(io::Error::other);
        let _ = ready.send(quick.and(dropped));
        for order in waiting {
            let _ = order.started.send(Builder::new().name(order.name).spawn(order.body));
        }
    })?;
    is_ready.recv().map_err(io::Error::other)??;
    STARTER.set(orders).map_err(|_| io::Error::other("there is one already"))
}

/// Gives the calling thread its priority, or asks for it: then it comes a moment later.
fn take(priority: Priority) -> io::Result<()> {
    let own = gettid();
    if let Some(socket) = GIVER.get() {
        return giver::ask(socket, own, priority).inspect_err(|error| {
            tracing::debug!(socket = %socket.display(), %error, "nobody is there to give priority");
        });
    }
    match priority {
        // It has the niceness from whoever started it, and more.
        Priority::Favoured if STARTER.get().is_some() => set_policy(own, libc::SCHED_OTHER, 0),
        priority => give(own, priority),
    }
}

/// Whether the calling thread comes before ordinary ones.
#[must_use]
pub fn is_realtime() -> bool {
    // SAFETY: no pointers.
    let policy = unsafe { libc::sched_getscheduler(0) };
    matches!(policy & !libc::SCHED_RESET_ON_FORK, libc::SCHED_RR | libc::SCHED_FIFO)
}

/// Gives a thread its priority.
fn give(thread: Pid, priority: Priority) -> io::Result<()> {
    match priority {
        Priority::Realtime => {
            set_policy(thread, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, REALTIME)
        }
        Priority::Favoured => set_niceness(thread, APPLIER_NICENESS),
    }
}

fn set_policy(thread: Pid, policy: libc::c_int, sched_priority: libc::c_int) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority };
    // SAFETY: the pointer is valid for the call.
    if unsafe { libc::sched_setscheduler(thread.as_raw(), policy, &raw const parameter) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn set_niceness(thread: Pid, niceness: libc::c_int) -> io::Result<()> {
    // SAFETY: no pointers. Linux keeps niceness for each thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, thread.as_raw().unsigned_abs(), niceness) }
        == 0
    {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
