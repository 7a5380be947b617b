//! The two ends of management: a handle for every front end, an inbox for the task that answers.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use nlb_dbus::{Polkit, Subject};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::event::{Event, EventSink};
use super::history::History;
use super::permit::Permits;
use super::request::{ManageError, Reply, Request};
use super::view::{DaemonView, StatusView};

/// Requests that wait for the daemon: there are at most as many callers as connections.
pub const MAX_REQUESTS: usize = 64;

/// How long a front end waits for an answer. Adding an interface asks the kernel many things.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Who asks, as the kernel or the bus says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user, in the daemon's user namespace.
    pub user: u32,
    /// Whom polkit is asked about; `None`: nobody that it could know.
    pub subject: Option<Subject>,
    /// Whether the caller waits while a person is asked for a password.
    pub interactive: bool,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes. Whoever asked may be gone.
    pub reply: oneshot::Sender<Result<Reply, ManageError>>,
}

/// The front ends' end.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Call>,
    history: History,
    permits: Arc<Permits>,
}

/// The daemon's end.
#[derive(Debug)]
pub struct Inbox {
    /// Permitted requests, to be answered in order.
    pub calls: mpsc::Receiver<Call>,
    /// Where events go.
    pub events: EventSink,
}

/// Both ends. `owner` is the user that the daemon runs as, who may do what root may; `polkit`
/// decides about all others.
#[must_use]
pub fn channel(owner: u32, polkit: Polkit) -> (Handle, Inbox) {
    let (requests, calls) = mpsc::channel(MAX_REQUESTS);
    let history = History::new();
    let sink = EventSink::new(history.clone());
    let permits = Arc::new(Permits::new(owner, polkit));
    (Handle { requests, history, permits }, Inbox { calls, events: sink })
}

impl Handle {
    /// Asks the daemon.
    ///
    /// # Errors
    /// When the caller may not, when the daemon says no, or when it does not answer.
    pub async fn ask(&self, caller: &Caller, request: Request) -> Result<Reply, ManageError> {
        self.permits.permit(caller, &request).await?;
        self.exchange(request).await
    }

    /// The status, for the daemon's own front ends; everybody may see it.
    pub(crate) async fn status(&self) -> Option<(DaemonView, Vec<StatusView>)> {
        match self.exchange(Request::Status).await {
            Ok(Reply::Status(daemon, clusters)) => Some((daemon, clusters)),
            _ => None,
        }
    }

    async fn exchange(&self, request: Request) -> Result<Reply, ManageError> {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.requests.send(Call { request, reply }).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(ANSWER_TIME, exchange).await {
            Ok(Some(answer)) => answer,
            Ok(None) | Err(_) => Err(ManageError::NoAnswer),
        }
    }

    /// Whether this user may change things without being asked.
    #[must_use]
    pub fn is_privileged(&self, user: u32) -> bool {
        self.permits.is_privileged(user)
    }

    /// Events from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.history.follow(None).1
    }

    /// The events after this number that are still kept.
    #[must_use]
    pub fn history(&self, after: u64) -> Vec<Event> {
        self.history.after(after)
    }

    /// The events after this number that are still kept (none, if none is named), and whatever
    /// comes behind them.
    #[must_use]
    pub fn follow(&self, after: Option<u64>) -> (VecDeque<Event>, broadcast::Receiver<Event>) {
        self.history.follow(after)
    }
}
