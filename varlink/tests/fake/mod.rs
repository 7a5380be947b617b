//! A backend that answers without a daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use nlb_varlink::{
    Answer, Backend, BucketRange, Buckets, Caller, Changed, Cluster, Error, Event, Limits, Method,
    Record, Server, Status,
};

/// Answers, and counts what it was asked.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) calls: AtomicUsize,
    /// Callers that may do everything; the user of the test is not among them if false.
    pub(crate) privileged: bool,
    /// How many events `monitor` has; without end if zero.
    pub(crate) events: u64,
}

impl Backend for Fake {
    async fn call(&self, caller: Caller, method: Method) -> Result<Answer, Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        assert_eq!(caller.user, nix_user());
        match method {
            Method::Status => Ok(Answer::Status(Status {
                clusters: vec![Cluster { name: "nlb0".into(), id: 7, ..Cluster::default() }],
                ..Status::default()
            })),
            // As large as answers get.
            Method::Buckets { .. } => Ok(Answer::Buckets(Buckets {
                cluster: "nlb0".into(),
                ranges: vec![BucketRange::default(); 4096],
            })),
            Method::SetWeight { weight: 0, .. } => Err(Error::InvalidValue {
                field: "weight".into(),
                found: "0".into(),
                allowed: "1 to 65535".into(),
            }),
            Method::SetWeight { .. } => {
                Ok(Answer::Changed(Changed { changed: true, notes: Vec::new() }))
            }
            Method::Leave { cluster: Some(cluster) } => {
                Err(Error::UnknownCluster { cluster, known: vec!["nlb0".into(), "web".into()] })
            }
            _ => Err(Error::Refused { reason: "not now".into() }),
        }
    }

    fn monitor(&self, after: Option<i64>) -> Result<BoxStream<'static, Event>, Error> {
        let event = |sequence| Event {
            sequence,
            kind: "state".into(),
            // Long enough that a socket's buffer fills soon.
            text: "x".repeat(if sequence == 1 { 10 } else { 10_000 }),
            ..Event::default()
        };
        let last = if self.events == 0 { u64::MAX } else { self.events };
        let first = u64::try_from(after.unwrap_or(0)).map_err(|_| Error::InvalidValue {
            field: "after".into(),
            found: "less than 0".into(),
            allowed: "0 or more".into(),
        })? + 1;
        Ok(stream::iter((first..=last).map(event)).boxed())
    }

    async fn record(
        &self,
        _: Caller,
        wanted: Record,
    ) -> Result<BoxStream<'static, Vec<String>>, Error> {
        let count = usize::try_from(wanted.seconds.unwrap_or(3)).unwrap_or_default();
        Ok(stream::iter((0..count).map(|line| vec![line.to_string(); 2])).boxed())
    }

    fn is_privileged(&self, _caller: Caller) -> bool {
        self.privileged
    }
}

/// The user of this process, without a crate for it.
pub(crate) fn nix_user() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").expect("/proc").uid()
}

/// A served socket in a directory of its own; everything ends when it is dropped.
pub(crate) struct Served {
    pub(crate) socket: std::path::PathBuf,
    pub(crate) backend: Arc<Fake>,
    _directory: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Served {
    pub(crate) fn new(backend: Fake, limits: Limits) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join(nlb_varlink::SOCKET);
        let server = Server::bind(&socket, limits).expect("a socket");
        let backend = Arc::new(backend);
        let task = tokio::spawn({
            let backend = backend.clone();
            async move {
                let ticks = tokio::time::interval(std::time::Duration::from_secs(1));
                let look = futures_util::stream::unfold(ticks, |mut ticks| async {
                    ticks.tick().await;
                    Some(((), ticks))
                });
                server.serve(backend, std::pin::pin!(look)).await
            }
        });
        Self { socket, backend, _directory: directory, task }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}
