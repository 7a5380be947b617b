//! Sockets of the Internet families, for memberships, the choice of a source, and metrics.
//!
//! As a service of systemd the daemon may not open any (`RestrictAddressFamilies=`, nlbd.service):
//! nothing that takes over the daemon shall have the network at hand. Those few that it needs come
//! from the runner of checks. Threads of clusters must not wait for that, so some are kept in stock
//! by a task of the main thread; the lock is held to take one, never while anybody waits.
//! Used by `link` and `metrics`.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, OnceLock, PoisonError};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::check::{Commands, Wanted};

/// How many of each family are kept: four interfaces that come up at once in `Igmp` mode.
const STOCK: usize = 8;
/// How long a start waits for them: systemd has to start the runner first.
const STARTING: Duration = Duration::from_secs(3);
/// After so long a runner that gave none is asked again.
const AGAIN: Duration = Duration::from_secs(5);

static KEPT: Mutex<[Vec<Socket>; 2]> = Mutex::new([Vec::new(), Vec::new()]);
static TAKEN: Notify = Notify::const_new();
/// Who opens sockets where the daemon may not.
static RUNNER: OnceLock<Commands> = OnceLock::new();

/// Whether it is the sandbox, or the host, that has no such family.
fn refused(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// A UDP socket of this family. Never waits.
///
/// # Errors
/// Those of socket(2).
pub fn udp(domain: Domain) -> io::Result<Socket> {
    match Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)) {
        Err(error) if refused(&error) => {
            let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
            let socket = kept[index(domain)].pop();
            drop(kept);
            TAKEN.notify_one();
            socket.ok_or(error)
        }
        result => result,
    }
}

/// Listens on a TCP address.
///
/// # Errors
/// Those of bind(2) and listen(2).
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if refused(&error) => {
            let Some(runner) = RUNNER.get() else { return Err(error) };
            let socket =
                runner.socket(Wanted::Listener(address)).await.map_err(io::Error::other)?;
            let listener = std::net::TcpListener::from(socket);
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        }
        result => result,
    }
}

/// Keeps sockets in stock from now on, if the daemon may not open them itself. `needed`: they are
/// waited for, because clusters are about to start that cannot do without.
pub async fn keep(runner: Commands, needed: bool) {
    let Err(error) = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)) else { return };
    if !refused(&error) || RUNNER.set(runner.clone()).is_err() {
        return;
    }
    if needed && !tokio::time::timeout(STARTING, fill(&runner)).await.unwrap_or(false) {
        tracing::warn!("there are no sockets for IGMP and MLD yet");
    }
    tokio::spawn(async move {
        loop {
            if fill(&runner).await {
                TAKEN.notified().await;
            } else {
                tokio::time::sleep(AGAIN).await;
            }
        }
    });
}

/// Fills the stock. `false`: there are none to be had now.
async fn fill(runner: &Commands) -> bool {
    let mut any = false;
    for (domain, wanted) in [(Domain::IPV4, Wanted::Udp4), (Domain::IPV6, Wanted::Udp6)] {
        while kept(domain) < STOCK {
            // A host may be without IPv6; then there is no use for such sockets either.
            let Ok(socket) = runner.socket(wanted).await else { break };
            put(domain, socket);
        }
        any |= kept(domain) == STOCK;
    }
    any
}

fn index(domain: Domain) -> usize {
    usize::from(domain == Domain::IPV6)
}

fn kept(domain: Domain) -> usize {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)[index(domain)].len()
}

fn put(domain: Domain, socket: OwnedFd) {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)[index(domain)].push(socket.into());
}
