//! Where the metrics can be had: a socket in the run directory, and a TCP address if the
//! configuration gives one.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nlb_varlink::Seldom;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::http::{PATIENCE, answer};
use super::page;
use crate::inet;
use crate::manage::Handle;
use crate::ticks::{LOOK_EVERY, every};

/// The socket in the run directory.
pub const SOCKET: &str = "metrics";

/// Connections at once over each way: a few scrapers, and whoever looks by hand. Whoever takes all
/// of one way takes none of the other.
pub(super) const MAX_CONNECTIONS: usize = 16;

/// Between two attempts to listen on a TCP address, which may come to this host later.
const TRY_EVERY: Duration = Duration::from_secs(5);

/// After an error of `accept`, out of descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that is removed with its listener.
struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// It could not be made again, and that was said.
    said: bool,
}

impl Socket {
    /// Makes it again if somebody removed it.
    fn look(&mut self) {
        if self.path.exists() {
            return;
        }
        match listen(&self.path) {
            Ok(listener) => {
                let path = self.path.display();
                tracing::warn!(%path, "somebody removed the socket of the metrics; it is there again");
                (self.listener, self.said) = (listener, false);
            }
            Err(error) if !self.said => {
                tracing::error!(%error, "there is no socket for the metrics");
                self.said = true;
            }
            Err(_) => {}
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The next daemon replaces it if this fails.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Listens on the socket, which every user may read: as the status, metrics are no secret.
fn bind(path: PathBuf) -> io::Result<Socket> {
    Ok(Socket { listener: listen(&path)?, path, said: false })
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    // The run directory is this daemon's alone: what is there is an earlier one's.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// The TCP side: listens where it is told, or tries again and again.
struct Tcp {
    wanted: watch::Receiver<Option<SocketAddr>>,
    listener: Option<TcpListener>,
    again: Option<Instant>,
}

impl Tcp {
    async fn listen(&mut self) {
        self.listener = None;
        let Some(address) = *self.wanted.borrow_and_update() else {
            self.again = None;
            return;
        };
        match inet::listen(address).await {
            Ok(listener) => {
                tracing::info!(%address, "metrics are served");
                (self.listener, self.again) = (Some(listener), None);
            }
            Err(error) => {
                if self.again.is_none() {
                    tracing::error!(%address, %error, "cannot serve metrics there; trying on");
                }
                self.again = Some(Instant::now() + TRY_EVERY);
            }
        }
    }

    /// The next connection; cancel-safe.
    async fn accept(&mut self) -> io::Result<TcpStream> {
        loop {
            let changed = async {
                match self.again {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let accepted = async {
                match &self.listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                accepted = accepted => return accepted.map(|(stream, _)| stream),
                () = changed => {}
                changed = self.wanted.changed() => if changed.is_err() {
                    // Whoever could want another address is gone: so is the daemon.
                    return std::future::pending().await;
                },
            }
            self.listen().await;
        }
    }
}

/// The connections of one way.
pub(super) struct Connections {
    way: &'static str,
    open: JoinSet<()>,
    turned_away: Seldom,
    failed: Seldom,
}

impl Connections {
    pub(super) fn new(way: &'static str) -> Self {
        let (turned_away, failed) = (Seldom::default(), Seldom::default());
        Self { way, open: JoinSet::new(), turned_away, failed }
    }

    /// Takes a connection up; one that is too many is closed.
    pub(super) fn take_up(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        while self.open.try_join_next().is_some() {}
        if self.open.len() < MAX_CONNECTIONS {
            self.open.spawn(connection);
        } else if let Some(times) = self.turned_away.again() {
            let way = self.way;
            tracing::warn!(way, times, "too many connections for metrics, one turned away");
        }
    }

    /// Takes up what was accepted.
    async fn accepted<S>(&mut self, accepted: io::Result<S>, handle: &Handle)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match accepted {
            Ok(stream) => self.take_up(one(stream, handle.clone())),
            Err(error) => {
                if let Some(times) = self.failed.again() {
                    tracing::warn!(%error, times, "cannot accept a connection for metrics");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves until the future is dropped; then every connection ends.
///
/// # Errors
/// When the socket in the run directory cannot be had, or no timer.
pub async fn serve(
    handle: Handle,
    run_dir: &Path,
    wanted: watch::Receiver<Option<SocketAddr>>,
) -> io::Result<()> {
    let mut socket = bind(run_dir.join(SOCKET))?;
    let mut look = every(LOOK_EVERY)?;
    let mut tcp = Tcp { wanted, listener: None, again: None };
    tcp.listen().await;
    let (mut by_unix, mut by_tcp) = (Connections::new("unix"), Connections::new("tcp"));
    loop {
        tokio::select! {
            accepted = socket.listener.accept() => {
                by_unix.accepted(accepted.map(|(stream, _)| stream), &handle).await;
            }
            accepted = tcp.accept() => by_tcp.accepted(accepted, &handle).await,
            () = look.tick() => socket.look(),
        }
    }
}

async fn one<S>(stream: S, handle: Handle)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let make = || async move {
        let (daemon, clusters) = handle.status().await?;
        Some(page(daemon, clusters))
    };
    answer(stream, PATIENCE, make).await;
}
