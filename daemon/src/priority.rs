//! Scheduling: the threads that heartbeats, verdicts and fences depend on come before others.
//!
//! A machine under load is when a balancer is needed most, and a heartbeat that waits behind
//! everybody's work for 7/10 of dead-after costs the node its rights (SPEC 6.8). All of it is best
//! effort: where the rights are missing, the daemon runs as everybody else does.
#![allow(unsafe_code)] // one system call that no crate of ours wraps

use nix::sys::resource::{Resource, setrlimit};

/// The lowest real-time priority: before every ordinary thread, behind everything else of its
/// kind.
const REALTIME: libc::c_int = 1;

/// The niceness of the thread that applies rules, which nft inherits.
const APPLIER_NICENESS: libc::c_int = -10;

/// As `setrlimit` counts niceness: 20 - niceness.
const NICE_LIMIT: u64 = 30;

/// Lets threads of this process ask for what [`realtime`] and [`favoured`] ask for. To be called
/// while the process still has its capabilities.
pub fn allow() {
    for (resource, limit) in [
        (Resource::RLIMIT_RTPRIO, REALTIME.unsigned_abs().into()),
        (Resource::RLIMIT_NICE, NICE_LIMIT),
    ] {
        if let Err(error) = setrlimit(resource, limit, limit) {
            tracing::debug!(?resource, %error, "no right to raise priorities");
        }
    }
}

/// Makes the calling thread a real-time thread. Children that it starts are ordinary again.
pub fn realtime() {
    let parameter = libc::sched_param { sched_priority: REALTIME };
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the pointer is valid for the call, and 0 names the calling thread.
    if unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) } != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "heartbeats run at ordinary priority");
    }
}

/// Favours the calling thread and what it starts.
pub fn favoured() {
    // SAFETY: no pointers; 0 names the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, APPLIER_NICENESS) } != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "rules are applied at ordinary priority");
    }
}
