//! The client: one connection, one call after the other.
//!
//! Everything has a time limit but streams: a daemon that is stopped or hangs is named, not waited
//! for.

use core::time::Duration;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::{Stream, StreamExt as _};

use crate::error::Error;
use crate::types::{
    Buckets, Changed, Checked, Clients, Event, Events, Explanation, Happened, InterfaceChange,
    Recorded, Status,
};

/// How long a daemon may take to say who it is, which none has to think about. One that is slower
/// is stopped, or hangs.
const GREETING_TIME: Duration = Duration::from_secs(5);

/// How long it may take to answer a call: a little more than it gives itself (30 s, and 5 s for
/// polkit), so that its own word on what takes long is heard.
pub const ANSWER_TIME: Duration = Duration::from_secs(40);

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("no daemon listens on {}: {error}", socket.display())]
    NotRunning {
        /// The socket.
        socket: PathBuf,
        /// The system's word on it.
        error: io::Error,
    },
    /// The socket may not be used by this user.
    #[error("the socket {} is closed to this user", socket.display())]
    Forbidden {
        /// The socket.
        socket: PathBuf,
    },
    /// Somebody listens, and says nothing.
    #[error("the daemon does not answer ({} s were waited)", waited.as_secs())]
    Silent {
        /// How long it was given.
        waited: Duration,
    },
    /// The connection broke, or the other side speaks something else.
    #[error("the daemon's answer could not be read: {0}")]
    Broken(zlink::Error),
    /// The daemon said no.
    #[error(transparent)]
    Refused(#[from] Error),
}

/// The methods as zlink calls them.
#[zlink::proxy("org.nlbd.Cluster")]
trait ClusterProxy {
    async fn status(&mut self) -> zlink::Result<Result<Status, Error>>;
    async fn buckets(&mut self, cluster: Option<&str>) -> zlink::Result<Result<Buckets, Error>>;
    async fn clients(
        &mut self,
        cluster: Option<&str>,
        limit: Option<i64>,
    ) -> zlink::Result<Result<Clients, Error>>;
    async fn explain(
        &mut self,
        cluster: Option<&str>,
        address: &str,
    ) -> zlink::Result<Result<Explanation, Error>>;
    async fn set_weight(
        &mut self,
        cluster: Option<&str>,
        weight: i64,
    ) -> zlink::Result<Result<Changed, Error>>;
    async fn set_weight_mode(
        &mut self,
        cluster: Option<&str>,
        mode: &str,
    ) -> zlink::Result<Result<Changed, Error>>;
    async fn add_interface(
        &mut self,
        interface: &str,
        cluster: Option<&str>,
        addresses: Option<&[String]>,
        mode: Option<&str>,
        id: Option<i64>,
    ) -> zlink::Result<Result<InterfaceChange, Error>>;
    async fn remove_interface(
        &mut self,
        interface: &str,
        cluster: Option<&str>,
    ) -> zlink::Result<Result<InterfaceChange, Error>>;
    async fn leave(&mut self, cluster: Option<&str>) -> zlink::Result<Result<Changed, Error>>;
    async fn drain(
        &mut self,
        cluster: Option<&str>,
        timeout_s: Option<i64>,
        force: Option<bool>,
    ) -> zlink::Result<Result<Changed, Error>>;
    async fn restart_hold(&mut self, hold_s: i64) -> zlink::Result<Result<Changed, Error>>;
    async fn undrain(&mut self, cluster: Option<&str>) -> zlink::Result<Result<Changed, Error>>;
    async fn reload(&mut self) -> zlink::Result<Result<Changed, Error>>;
    async fn check_config(&mut self, file: Option<&str>) -> zlink::Result<Result<Checked, Error>>;
    async fn events(&mut self, after: Option<i64>) -> zlink::Result<Result<Events, Error>>;
    #[zlink(more)]
    async fn monitor(
        &mut self,
        after: Option<i64>,
    ) -> zlink::Result<impl Stream<Item = zlink::Result<Result<Happened, Error>>>>;
    #[zlink(more)]
    async fn record(
        &mut self,
        cluster: Option<&str>,
        seconds: Option<i64>,
        from_start: Option<bool>,
    ) -> zlink::Result<impl Stream<Item = zlink::Result<Result<Recorded, Error>>>>;
}

/// What every varlink service tells of itself; here it only shows that the daemon lives.
#[derive(Debug, serde::Deserialize)]
struct Greeting {}

#[zlink::proxy("org.varlink.service")]
trait ServiceProxy {
    // A daemon that has too many connections says so in its own words.
    async fn get_info(&mut self) -> zlink::Result<Result<Greeting, Error>>;
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Connection(zlink::tokio::unix::Connection);

type Called<T> = Result<T, ClientError>;

/// What was answered within the time.
async fn within<T>(
    time: Duration,
    call: impl Future<Output = zlink::Result<Result<T, Error>>>,
) -> Called<T> {
    match tokio::time::timeout(time, call).await {
        Ok(result) => flat(result),
        Err(_) => Err(ClientError::Silent { waited: time }),
    }
}

fn flat<T>(result: zlink::Result<Result<T, Error>>) -> Called<T> {
    match result {
        Ok(answer) => Ok(answer?),
        Err(error) => Err(ClientError::Broken(error)),
    }
}

#[allow(missing_docs)] // each calls the method of its name; the interface definition documents them
impl Connection {
    /// Connects to the daemon's socket, and hears it say that it lives.
    ///
    /// # Errors
    /// When nobody listens there, this user may not connect, or there is no word in time.
    pub async fn connect(socket: &Path) -> Called<Self> {
        let stream = tokio::net::UnixStream::connect(socket).await.map_err(|error| {
            let socket = socket.to_owned();
            match error.kind() {
                io::ErrorKind::PermissionDenied => ClientError::Forbidden { socket },
                // Connections wait for a daemon that accepts none, as many as there is room for.
                io::ErrorKind::WouldBlock => ClientError::Silent { waited: Duration::ZERO },
                _ => ClientError::NotRunning { socket, error },
            }
        })?;
        let stream = zlink::tokio::unix::Stream::try_from(stream).map_err(ClientError::Broken)?;
        let mut connection = Self(zlink::Connection::new(stream));
        within(GREETING_TIME, connection.0.get_info()).await.map(|Greeting {}| connection)
    }

    pub async fn status(&mut self) -> Called<Status> {
        within(ANSWER_TIME, self.0.status()).await
    }

    pub async fn buckets(&mut self, cluster: Option<&str>) -> Called<Buckets> {
        within(ANSWER_TIME, self.0.buckets(cluster)).await
    }

    pub async fn clients(&mut self, cluster: Option<&str>, limit: Option<i64>) -> Called<Clients> {
        within(ANSWER_TIME, self.0.clients(cluster, limit)).await
    }

    pub async fn explain(&mut self, cluster: Option<&str>, address: &str) -> Called<Explanation> {
        within(ANSWER_TIME, self.0.explain(cluster, address)).await
    }

    pub async fn set_weight(&mut self, cluster: Option<&str>, weight: i64) -> Called<Changed> {
        within(ANSWER_TIME, self.0.set_weight(cluster, weight)).await
    }

    pub async fn set_weight_mode(&mut self, cluster: Option<&str>, mode: &str) -> Called<Changed> {
        within(ANSWER_TIME, self.0.set_weight_mode(cluster, mode)).await
    }

    pub async fn add_interface(
        &mut self,
        interface: &str,
        cluster: Option<&str>,
        addresses: &[String],
        mode: Option<&str>,
        id: Option<i64>,
    ) -> Called<InterfaceChange> {
        within(ANSWER_TIME, self.0.add_interface(interface, cluster, Some(addresses), mode, id))
            .await
    }

    pub async fn remove_interface(
        &mut self,
        interface: &str,
        cluster: Option<&str>,
    ) -> Called<InterfaceChange> {
        within(ANSWER_TIME, self.0.remove_interface(interface, cluster)).await
    }

    pub async fn leave(&mut self, cluster: Option<&str>) -> Called<Changed> {
        within(ANSWER_TIME, self.0.leave(cluster)).await
    }

    pub async fn drain(
        &mut self,
        cluster: Option<&str>,
        timeout_s: Option<i64>,
        force: bool,
    ) -> Called<Changed> {
        within(ANSWER_TIME, self.0.drain(cluster, timeout_s, Some(force))).await
    }

    /// The daemon will be ended, to be started again within so many seconds.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn restart_hold(&mut self, hold_s: i64) -> Called<Changed> {
        within(ANSWER_TIME, self.0.restart_hold(hold_s)).await
    }

    pub async fn undrain(&mut self, cluster: Option<&str>) -> Called<Changed> {
        within(ANSWER_TIME, self.0.undrain(cluster)).await
    }

    pub async fn reload(&mut self) -> Called<Changed> {
        within(ANSWER_TIME, self.0.reload()).await
    }

    pub async fn check_config(&mut self, file: Option<&str>) -> Called<Checked> {
        within(ANSWER_TIME, self.0.check_config(file)).await
    }

    pub async fn events(&mut self, after: Option<i64>) -> Called<Events> {
        within(ANSWER_TIME, self.0.events(after)).await
    }

    /// Events as they happen, until the daemon ends; with `after`, first those behind that number.
    pub async fn monitor(
        &mut self,
        after: Option<i64>,
    ) -> Called<impl Stream<Item = Called<Event>> + '_> {
        let stream = self.0.monitor(after).await.map_err(ClientError::Broken)?;
        Ok(stream.map(|item| flat(item).map(|happened| happened.event)))
    }

    /// A recording, some lines at a time, until it ends; see `Record` in the interface.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn record<'c>(
        &'c mut self,
        cluster: Option<&'c str>,
        seconds: Option<i64>,
        from_start: bool,
    ) -> Called<impl Stream<Item = Called<Vec<String>>> + 'c> {
        let stream = self.0.record(cluster, seconds, Some(from_start)).await;
        let stream = stream.map_err(ClientError::Broken)?;
        Ok(stream.map(|item| flat(item).map(|recorded| recorded.lines)))
    }
}
