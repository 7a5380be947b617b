//! The client: one connection, one call after the other.

use std::io;
use std::path::{Path, PathBuf};

use futures_util::{Stream, StreamExt as _};

use crate::error::Error;
use crate::types::{
    Buckets, Changed, Checked, Clients, Event, Events, Explanation, Happened, InterfaceChange,
    Recorded, Status,
};

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

/// A connection to the daemon.
#[derive(Debug)]
pub struct Connection(zlink::tokio::unix::Connection);

type Called<T> = Result<T, ClientError>;

fn flat<T>(result: zlink::Result<Result<T, Error>>) -> Called<T> {
    match result {
        Ok(answer) => Ok(answer?),
        Err(error) => Err(ClientError::Broken(error)),
    }
}

#[allow(missing_docs)] // each calls the method of its name; the interface definition documents them
impl Connection {
    /// Connects to the daemon's socket.
    ///
    /// # Errors
    /// When nobody listens there, or this user may not connect.
    pub async fn connect(socket: &Path) -> Called<Self> {
        let stream = tokio::net::UnixStream::connect(socket).await.map_err(|error| {
            let socket = socket.to_owned();
            match error.kind() {
                io::ErrorKind::PermissionDenied => ClientError::Forbidden { socket },
                _ => ClientError::NotRunning { socket, error },
            }
        })?;
        let stream = zlink::tokio::unix::Stream::try_from(stream).map_err(ClientError::Broken)?;
        Ok(Self(zlink::Connection::new(stream)))
    }

    pub async fn status(&mut self) -> Called<Status> {
        flat(self.0.status().await)
    }

    pub async fn buckets(&mut self, cluster: Option<&str>) -> Called<Buckets> {
        flat(self.0.buckets(cluster).await)
    }

    pub async fn clients(&mut self, cluster: Option<&str>, limit: Option<i64>) -> Called<Clients> {
        flat(self.0.clients(cluster, limit).await)
    }

    pub async fn explain(&mut self, cluster: Option<&str>, address: &str) -> Called<Explanation> {
        flat(self.0.explain(cluster, address).await)
    }

    pub async fn set_weight(&mut self, cluster: Option<&str>, weight: i64) -> Called<Changed> {
        flat(self.0.set_weight(cluster, weight).await)
    }

    pub async fn set_weight_mode(&mut self, cluster: Option<&str>, mode: &str) -> Called<Changed> {
        flat(self.0.set_weight_mode(cluster, mode).await)
    }

    pub async fn add_interface(
        &mut self,
        interface: &str,
        cluster: Option<&str>,
        addresses: &[String],
        mode: Option<&str>,
        id: Option<i64>,
    ) -> Called<InterfaceChange> {
        flat(self.0.add_interface(interface, cluster, Some(addresses), mode, id).await)
    }

    pub async fn remove_interface(
        &mut self,
        interface: &str,
        cluster: Option<&str>,
    ) -> Called<InterfaceChange> {
        flat(self.0.remove_interface(interface, cluster).await)
    }

    pub async fn leave(&mut self, cluster: Option<&str>) -> Called<Changed> {
        flat(self.0.leave(cluster).await)
    }

    pub async fn drain(
        &mut self,
        cluster: Option<&str>,
        timeout_s: Option<i64>,
        force: bool,
    ) -> Called<Changed> {
        flat(self.0.drain(cluster, timeout_s, Some(force)).await)
    }

    /// The daemon will be ended, to be started again within so many seconds.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn restart_hold(&mut self, hold_s: i64) -> Called<Changed> {
        flat(self.0.restart_hold(hold_s).await)
    }

    pub async fn undrain(&mut self, cluster: Option<&str>) -> Called<Changed> {
        flat(self.0.undrain(cluster).await)
    }

    pub async fn reload(&mut self) -> Called<Changed> {
        flat(self.0.reload().await)
    }

    pub async fn check_config(&mut self, file: Option<&str>) -> Called<Checked> {
        flat(self.0.check_config(file).await)
    }

    pub async fn events(&mut self, after: Option<i64>) -> Called<Events> {
        flat(self.0.events(after).await)
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
