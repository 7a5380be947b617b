//! Gives threads of the daemon their priority: a process of its own, started by systemd for each
//! connection to a socket that only the daemon's user may use (`nlbd-priority@.service`).
//!
//! So the daemon has neither the right to real-time threads nor the system calls for them, and
//! runs at ordinary priority where nobody may give it more. What it asks for is a kind and a thread;
//! which process asks is the kernel's word, and another's threads are refused. There is no answer:
//! a thread that waited for one would be late.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Pid;

use super::{Priority, give};

/// What the daemon's own program is started with to give priority.
pub const GIVE_PRIORITY: &str = "give-priority";

/// Bytes of an order: the kind, and the thread in the order of bytes of this machine.
const ORDER: usize = 5;
/// How long an order may take: it was written before its reader was started.
const LIMIT: Duration = Duration::from_secs(2);

/// Asks for the priority of a thread of this process.
///
/// # Errors
/// When nobody listens.
pub(super) fn ask(socket: &Path, thread: Pid, priority: Priority) -> io::Result<()> {
    UnixStream::connect(socket)?.write_all(&encode(thread, priority))
}

/// Gives what whoever is behind standard input asks for.
#[must_use]
pub fn run() -> ExitCode {
    let stream = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    match stream.and_then(|stream| serve(&stream)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nlbd: runs at ordinary priority: {error}");
            // Containers often have no right to it, which is no failure.
            let forbidden = error.raw_os_error() == Some(libc::EPERM);
            if forbidden { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

/// Reads one order and carries it out.
fn serve(mut stream: &UnixStream) -> io::Result<()> {
    let asker = getsockopt(&stream, PeerCredentials)?.pid();
    stream.set_read_timeout(Some(LIMIT))?;
    let mut order = [0; ORDER];
    stream.read_exact(&mut order)?;
    let (thread, priority) = decode(order).ok_or(io::ErrorKind::InvalidData)?;
    // A process that is gone has none, and where it is hidden there is nothing to give.
    if !Path::new(&format!("/proc/{asker}/task/{thread}")).exists() {
        return Err(io::Error::other(format!("process {asker} has no thread {thread}")));
    }
    give(thread, priority)
}

fn encode(thread: Pid, priority: Priority) -> [u8; ORDER] {
    let kind = match priority {
        Priority::Realtime => b'r',
        Priority::Favoured => b'f',
    };
    let [a, b, c, d] = thread.as_raw().to_ne_bytes();
    [kind, a, b, c, d]
}

fn decode([kind, a, b, c, d]: [u8; ORDER]) -> Option<(Pid, Priority)> {
    let priority = match kind {
        b'r' => Priority::Realtime,
        b'f' => Priority::Favoured,
        _ => return None,
    };
    let thread = i32::from_ne_bytes([a, b, c, d]);
    (thread > 0).then(|| (Pid::from_raw(thread), priority))
}

#[cfg(test)]
mod tests;
