//! One connection served: calls in, replies and signals out, in one task.
//!
//! Whatever a client can read without the daemon's help is answered at once, from the latest
//! state. The rest is a task of its own, and there is a bound on those.

use core::num::NonZeroUsize;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use zbus::fdo::{RequestNameFlags, RequestNameReply};
use zbus::message::{Flags, Type};
use zbus::{Connection, MatchRule, Message, MessageStream};

use crate::call::Call;
use crate::error::Error;
use crate::outbox::Outbox;
use crate::reply;
use crate::tree::{Change, Tree};
use crate::types::{Answer, Caller, Signal, State};
use crate::{Backend, NAME};

mod handle;

/// At most four times a second an object's changes are announced: fast enough for eyes, and 64
/// nodes whose weights all change are 256 signals a second and no more.
const ANNOUNCE_EVERY: Duration = Duration::from_millis(250);

/// What nobody announces (ages, counts) is read anew so often.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// Calls that wait for the daemon or for polkit. More are refused.
const MAX_CALLS: usize = 128;

/// Of these, one client's: enough for a program that does not wait for its answers.
const MAX_CALLS_OF_ONE: usize = 8;

/// Messages that wait to be looked at. They are looked at as they come.
const QUEUE: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not 0");

/// How long the bus may take to say whose a connection is.
const WHO_TIME: Duration = Duration::from_secs(5);

/// What a task has to tell.
enum Done {
    /// The daemon's state, as it was asked for.
    State(Option<State>),
    /// A call is answered.
    Call(Box<Answered>),
}

struct Answered {
    message: Message,
    result: Result<Answer, Error>,
    /// Whether it was the writing of a property, which is answered with nothing.
    property: bool,
    /// The state after a change, so that whoever made it reads it.
    state: Option<State>,
}

/// A connection that is served.
pub(crate) struct Served<B> {
    connection: Connection,
    backend: Arc<B>,
    calls: MessageStream,
    signals: BoxStream<'static, Signal>,
    /// What is read.
    current: Arc<Tree>,
    /// What clients were told of.
    announced: Arc<Tree>,
    outbox: Outbox,
    work: JoinSet<Done>,
    /// Calls that wait, by the unique name of the client.
    waiting: HashMap<String, usize>,
    /// Whether the state is being asked for, to be announced.
    asked: bool,
    latest: Instant,
    due: Instant,
}

impl<B: Backend> Served<B> {
    /// Takes the name. `true`: another has it, and this connection is next.
    pub(crate) async fn begin(
        connection: &Connection,
        backend: Arc<B>,
    ) -> zbus::Result<(Self, bool)> {
        let rule = MatchRule::builder().msg_type(Type::MethodCall).build()?;
        let calls = MessageStream::for_match_rule(rule, connection, Some(QUEUE)).await?;
        let signals = backend.signals();
        let state = backend.state().await.unwrap_or_default();
        let current = Arc::new(Tree::build(&state));
        let flags = RequestNameFlags::empty();
        let reply = connection.request_name_with_flags(NAME, flags).await?;
        let now = Instant::now();
        let served = Self {
            connection: connection.clone(),
            backend,
            calls,
            signals,
            announced: Arc::clone(&current),
            current,
            outbox: Outbox::default(),
            work: JoinSet::new(),
            waiting: HashMap::new(),
            asked: false,
            latest: now,
            due: now + REFRESH_EVERY,
        };
        Ok((served, reply == RequestNameReply::InQueue))
    }

    /// Serves until the connection breaks; says why it did.
    pub(crate) async fn run(&mut self) -> zbus::Error {
        loop {
            if let Err(error) = self.step().await {
                return error;
            }
        }
    }

    async fn step(&mut self) -> zbus::Result<()> {
        tokio::select! {
            message = self.calls.next() => match message {
                Some(message) => self.handle_message(message?).await,
                None => Err(zbus::Error::Failure("the bus has closed the connection".to_owned())),
            },
            Some(done) = self.work.join_next() => match done {
                Ok(Done::State(state)) => self.handle_state(state).await,
                Ok(Done::Call(answered)) => self.handle_answered(*answered).await,
                Err(error) => {
                    tracing::error!(%error, "a call over D-Bus broke off");
                    Ok(())
                }
            },
            Some(signal) = self.signals.next() => {
                self.outbox.put(signal);
                self.announce_soon();
                Ok(())
            }
            () = sleep_until(self.due), if !self.asked => {
                self.asked = true;
                let backend = self.backend.clone();
                self.work.spawn(async move { Done::State(backend.state().await) });
                Ok(())
            }
        }
    }

    fn announce_soon(&mut self) {
        self.due = self.due.min(self.latest + ANNOUNCE_EVERY);
    }

    /// A new state: clients are told what differs, and what happened meanwhile.
    async fn handle_state(&mut self, state: Option<State>) -> zbus::Result<()> {
        (self.asked, self.latest) = (false, Instant::now());
        self.due = self.latest + REFRESH_EVERY;
        // A daemon that does not answer now is asked again.
        let Some(state) = state else { return Ok(()) };
        self.current = Arc::new(Tree::build(&state));
        for change in self.current.since(&self.announced) {
            let message = match &change {
                Change::Removed(path, interface) => reply::removed(path, interface)?,
                Change::Added(path) => match self.current.0.get(path) {
                    Some(object) => reply::added(path, object)?,
                    None => continue,
                },
                Change::Changed(path, names) => match self.current.0.get(path) {
                    Some(object) => reply::changed(path, object, names)?,
                    None => continue,
                },
            };
            self.connection.send(&message).await?;
        }
        self.announced = Arc::clone(&self.current);
        for signal in self.outbox.take() {
            self.connection.send(&reply::happened(&signal)?).await?;
        }
        Ok(())
    }

    async fn handle_answered(&mut self, answered: Answered) -> zbus::Result<()> {
        let Answered { message, result, property, state } = answered;
        if let Some(state) = state {
            self.current = Arc::new(Tree::build(&state));
            self.announce_soon();
        }
        let header = message.header();
        let sender = header.sender().map(ToString::to_string).unwrap_or_default();
        if let Some(count) = self.waiting.get_mut(&sender) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&sender);
            }
        }
        let built = match &result {
            Ok(_) if property => reply::reply(&header, &()),
            Ok(answer) => reply::answer(&header, answer),
            Err(error) => reply::refusal(&header, error),
        };
        self.send(&message, built).await
    }

    /// Sends a reply, if the caller wants one.
    async fn send(&mut self, call: &Message, built: reply::Built) -> zbus::Result<()> {
        if call.header().primary().flags().contains(Flags::NO_REPLY_EXPECTED) {
            return Ok(());
        }
        match built {
            Ok(message) => self.connection.send(&message).await,
            Err(error) => {
                tracing::error!(%error, "a reply over D-Bus could not be built");
                Ok(())
            }
        }
    }

    /// Has the daemon answer a call.
    fn spawn(&mut self, message: Message, call: Call, property: bool) -> Result<(), Error> {
        let header = message.header();
        let name = header.sender().map(ToString::to_string).unwrap_or_default();
        let interactive = header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
        if self.work.len() >= MAX_CALLS {
            return Err(Error::Busy("of all clients together"));
        }
        let count = self.waiting.entry(name.clone()).or_default();
        if *count >= MAX_CALLS_OF_ONE {
            return Err(Error::Busy("of this client"));
        }
        *count += 1;
        drop(header);
        let (backend, connection) = (self.backend.clone(), self.connection.clone());
        self.work.spawn(async move {
            let changes = call.changes();
            let result = match user(&connection, &name).await {
                Some(user) => backend.call(Caller { user, name, interactive }, call).await,
                None => Err(Error::NotPermitted("the bus does not say who calls".to_owned())),
            };
            let state = if changes && result.is_ok() { backend.state().await } else { None };
            Done::Call(Box::new(Answered { message, result, property, state }))
        });
        Ok(())
    }
}

/// The user behind a unique name, as the bus knows it from the kernel.
async fn user(connection: &Connection, name: &str) -> Option<u32> {
    let bus = Some("org.freedesktop.DBus");
    let method = "GetConnectionUnixUser";
    let asked = connection.call_method(bus, "/org/freedesktop/DBus", bus, method, &name);
    timeout(WHO_TIME, asked).await.ok()?.ok()?.body().deserialize().ok()
}
