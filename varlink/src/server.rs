//! The server: accepts connections, bounds them, and gives each its own task.

use core::time::Duration;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{BoxStream, Stream, StreamExt as _};
use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::error::Error;
use crate::method::{Method, Record};
use crate::seldom::Seldom;
use crate::types::{
    Buckets, Changed, Checked, Clients, Event, Events, Explanation, InterfaceChange, Status,
};

mod connection;

/// Who calls, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user, in the daemon's user namespace.
    pub user: u32,
    /// The process, if the kernel knows it.
    pub process: Option<i32>,
}

/// What a method answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
// Each is the answer type of its name; one lives at a time, on its way out.
#[allow(missing_docs, clippy::large_enum_variant)]
pub enum Answer {
    Status(Status),
    Buckets(Buckets),
    Clients(Clients),
    Explanation(Explanation),
    Changed(Changed),
    InterfaceChange(InterfaceChange),
    Checked(Checked),
    Events(Events),
}

/// What the interface is served from.
pub trait Backend: Send + Sync + 'static {
    /// Answers a call. `Monitor` and `Record` never come here.
    fn call(
        &self,
        caller: Caller,
        method: Method,
    ) -> impl Future<Output = Result<Answer, Error>> + Send;

    /// Events from now on, or from behind the one of this number. The stream must not hold anybody
    /// up when it is not read.
    ///
    /// # Errors
    /// When there can be no such number.
    fn monitor(&self, after: Option<i64>) -> Result<BoxStream<'static, Event>, Error>;

    /// The lines of a recording, some at a time. The stream must not hold anybody up when it is
    /// not read.
    ///
    /// # Errors
    /// When there is none to be had.
    fn record(
        &self,
        caller: Caller,
        wanted: Record,
    ) -> impl Future<Output = Result<BoxStream<'static, Vec<String>>, Error>> + Send;

    /// Whether this caller's connections are accepted when others' are no longer.
    fn is_privileged(&self, caller: Caller) -> bool;
}

/// What a server takes before it gives up on a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest message from a client, in bytes: the longest call is a few hundred.
    pub message: usize,
    /// Connections at once.
    pub connections: usize,
    /// Of these, so many for privileged callers only, so that nobody can lock root out.
    pub reserved: usize,
    /// How long a client may take to read a reply.
    pub write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message: 1 << 20, connections: 64, reserved: 16, write: Duration::from_secs(10) }
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another daemon listens there.
    #[error("another daemon listens on {}", socket.display())]
    InUse {
        /// The socket.
        socket: PathBuf,
    },
    /// Something that is no socket has its name.
    #[error("{} is no socket", socket.display())]
    NotASocket {
        /// The path.
        socket: PathBuf,
    },
    /// The system will not.
    #[error("cannot listen on {}: {error}", socket.display())]
    System {
        /// The socket.
        socket: PathBuf,
        /// Its word.
        error: io::Error,
    },
}

/// A socket that is listened on. It is removed when the server is dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    socket: PathBuf,
    limits: Limits,
    /// Who was turned away. Held for a look, by the task that accepts.
    turned_away: Mutex<Seldom>,
}

impl Server {
    /// Listens on a socket that every user may connect to; a stale one is replaced.
    ///
    /// # Errors
    /// When somebody else listens there, or the system refuses.
    pub fn bind(socket: &Path, limits: Limits) -> Result<Self, ServerError> {
        let listener = listen(socket)?;
        Ok(Self { listener, socket: socket.to_owned(), limits, turned_away: Mutex::default() })
    }

    /// Serves until the future is dropped; then every connection ends. A socket that somebody
    /// removed is there again at the next item of `look`; that is said once.
    pub async fn serve<B: Backend>(
        &self,
        backend: Arc<B>,
        mut look: impl Stream<Item = ()> + Unpin,
    ) {
        let mut connections = JoinSet::new();
        let mut name = Name::of(&self.socket);
        let mut again: Option<UnixListener> = None;
        let mut failed = Seldom::default();
        loop {
            let listener = again.as_ref().unwrap_or(&self.listener);
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.accept(stream, &backend, &mut connections),
                    Err(error) => {
                        // Out of descriptors, most likely. Others may go meanwhile.
                        if let Some(times) = failed.again() {
                            tracing::warn!(%error, times, "cannot accept a varlink connection");
                        }
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(()) = look.next() => {
                    if let Some(new) = name.look(&self.socket) {
                        again = Some(new);
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    fn accept<B: Backend>(
        &self,
        stream: UnixStream,
        backend: &Arc<B>,
        connections: &mut JoinSet<()>,
    ) {
        let caller = match stream.peer_cred() {
            Ok(credentials) => Caller { user: credentials.uid(), process: credentials.pid() },
            Err(error) => {
                tracing::warn!(%error, "a varlink client without credentials was turned away");
                return;
            }
        };
        let reserved = if backend.is_privileged(caller) { 0 } else { self.limits.reserved };
        if connections.len() >= self.limits.connections.saturating_sub(reserved) {
            let mut turned_away = self.turned_away.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(times) = turned_away.again() {
                let user = caller.user;
                tracing::warn!(user, times, "too many varlink connections, one turned away");
            }
            // The socket is empty: there is room for it, or nobody who would read it.
            let _ = stream.try_write(&connection::turned_away());
            return;
        }
        connections.spawn(connection::serve(stream, caller, backend.clone(), self.limits));
    }
}

/// Listens on a socket that every user may connect to; a stale one is replaced.
fn listen(socket: &Path) -> Result<UnixListener, ServerError> {
    let system = |error| ServerError::System { socket: socket.to_owned(), error };
    match std::fs::symlink_metadata(socket) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ServerError::NotASocket { socket: socket.to_owned() });
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(socket).is_ok() => {
            return Err(ServerError::InUse { socket: socket.to_owned() });
        }
        Ok(_) => std::fs::remove_file(socket).map_err(system)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(socket).map_err(system)?;
    let everybody = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(socket, everybody).map_err(system)?;
    Ok(listener)
}

/// The name of the socket that is listened on: whether it still is that socket's.
struct Name {
    /// Device and number of the file; `None` while it cannot be had.
    file: Option<(u64, u64)>,
    said: bool,
}

impl Name {
    fn of(socket: &Path) -> Self {
        Self { file: file(socket), said: false }
    }

    /// A new listener, if the name is gone or another's.
    fn look(&mut self, socket: &Path) -> Option<UnixListener> {
        let found = file(socket);
        if found.is_some() && found == self.file {
            return None;
        }
        match listen(socket) {
            Ok(listener) => {
                (self.file, self.said) = (file(socket), false);
                let socket = socket.display();
                tracing::warn!(%socket, "somebody removed the management socket; it is there again");
                Some(listener)
            }
            Err(error) => {
                if !self.said {
                    tracing::error!(%error, "nobody can reach this daemon by its socket");
                }
                self.said = true;
                None
            }
        }
    }
}

fn file(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

impl Drop for Server {
    fn drop(&mut self) {
        // Whoever wants the name next replaces it anyway if this fails.
        let _ = std::fs::remove_file(&self.socket);
    }
}
