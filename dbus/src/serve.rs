//! One connection served: calls in, replies and signals out, in one task.
//!
//! What a client reads is answered at once from the latest state, unless that is old: then it waits
//! until the daemon has told a new one. The rest is a task of its own, and there is a bound on those.

use core::num::NonZeroUsize;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::{BoxStream, Stream, StreamExt as _};
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

/// What nobody announces (ages, counts) is at most as old as this when it is read: the daemon is
/// asked before, where it is older.
const FRESH: Duration = Duration::from_secs(1);

/// While nobody reads, the daemon is asked at every so many of the ticks only.
const QUIET: u32 = 5;

/// At most four times a second an object's changes are announced: fast enough for eyes, and 64
/// nodes whose weights all change are 256 signals a second and no more.
const ANNOUNCE_EVERY: Duration = Duration::from_millis(250);

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
    events: BoxStream<'static, Vec<Signal>>,
    /// What is read, and the objects that it makes, once somebody has read them.
    state: State,
    current: Option<Arc<Tree>>,
    /// What clients were told of.
    announced: Arc<Tree>,
    /// Whether anybody has read since the state was asked for.
    read: bool,
    /// Reads that wait for the state.
    reads: Vec<Message>,
    ticks: u32,
    /// They may not have been told of all that `state` says.
    untold: bool,
    outbox: Outbox,
    work: JoinSet<Done>,
    /// Calls that wait, by the unique name of the client.
    waiting: HashMap<String, usize>,
    /// Whether the state is being asked for, to be announced.
    asked: bool,
    latest: Instant,
    /// When there is something to announce.
    due: Option<Instant>,
}

impl<B: Backend> Served<B> {
    /// Takes the name. `true`: another has it, and this connection is next.
    pub(crate) async fn begin(
        connection: &Connection,
        backend: Arc<B>,
    ) -> zbus::Result<(Self, bool)> {
        let rule = MatchRule::builder().msg_type(Type::MethodCall).build()?;
        let calls = MessageStream::for_match_rule(rule, connection, Some(QUEUE)).await?;
        let events = backend.events();
        let state = backend.state().await.unwrap_or_default();
        let announced = Arc::new(Tree::build(&state));
        let flags = RequestNameFlags::empty();
        let reply = connection.request_name_with_flags(NAME, flags).await?;
        let served = Self {
            connection: connection.clone(),
            backend,
            calls,
            events,
            state,
            current: Some(Arc::clone(&announced)),
            announced,
            read: false,
            reads: Vec::new(),
            ticks: 0,
            untold: false,
            outbox: Outbox::default(),
            work: JoinSet::new(),
            waiting: HashMap::new(),
            asked: false,
            latest: Instant::now(),
            due: None,
        };
        Ok((served, reply == RequestNameReply::InQueue))
    }

    /// Serves until the connection breaks; says why it did. At items of `refresh` it is looked for
    /// changes that no event told of.
    pub(crate) async fn run(
        &mut self,
        refresh: &mut (impl Stream<Item = ()> + Unpin),
    ) -> zbus::Error {
        loop {
            if let Err(error) = self.step(refresh).await {
                return error;
            }
        }
    }

    async fn step(&mut self, refresh: &mut (impl Stream<Item = ()> + Unpin)) -> zbus::Result<()> {
        let due = self.due.filter(|_| !self.asked);
        tokio::select! {
            message = self.calls.next() => match message {
                Some(message) => self.handle_message(message?).await,
                None => Err(zbus::Error::Failure("the bus has closed the connection".to_owned())),
            },
            Some(done) = self.work.join_next() => match done {
                Ok(Done::State(state)) => self.handle_state(state).await,
                Ok(Done::Call(answered)) => self.handle_answered(*answered).await,
                Err(error) => {
                    // Whichever it was: the state is asked for again.
                    self.asked = false;
                    tracing::error!(%error, "a call over D-Bus broke off");
                    Ok(())
                }
            },
            Some(signals) = self.events.next() => {
                signals.into_iter().for_each(|signal| self.outbox.put(signal));
                self.announce_soon();
                Ok(())
            }
            () = sleep_until(due.unwrap_or(self.latest)), if due.is_some() => {
                self.ask();
                Ok(())
            }
            Some(()) = refresh.next(), if !self.asked => {
                self.ticks = self.ticks.wrapping_add(1);
                if self.read || self.ticks.is_multiple_of(QUIET) {
                    self.ask();
                }
                Ok(())
            }
        }
    }

    fn ask(&mut self) {
        (self.asked, self.read, self.due) = (true, false, None);
        let backend = self.backend.clone();
        self.work.spawn(async move { Done::State(backend.state().await) });
    }

    fn announce_soon(&mut self) {
        self.due.get_or_insert(self.latest + ANNOUNCE_EVERY);
    }

    /// The objects as they are read.
    fn tree(&mut self) -> Arc<Tree> {
        let build = || Arc::new(Tree::build(&self.state));
        Arc::clone(self.current.get_or_insert_with(build))
    }

    /// The daemon has answered: so is whoever waits for that.
    async fn handle_state(&mut self, state: Option<State>) -> zbus::Result<()> {
        (self.asked, self.latest) = (false, Instant::now());
        // What happened meanwhile may be in it, or not.
        self.due = self.due.map(|_| self.latest + ANNOUNCE_EVERY);
        match state {
            Some(state) => self.handle_new(state).await?,
            // It is asked again.
            None => self.announce_soon(),
        }
        for read in std::mem::take(&mut self.reads) {
            self.answer(read).await?;
        }
        Ok(())
    }

    /// A new state: clients are told what differs, and what happened meanwhile.
    async fn handle_new(&mut self, state: State) -> zbus::Result<()> {
        self.untold |= state != self.state;
        self.take(state);
        if std::mem::take(&mut self.untold) {
            let current = self.tree();
            for change in current.since(&self.announced) {
                let message = match &change {
                    Change::Removed(path, interface) => reply::removed(path, interface)?,
                    Change::Added(path) => match current.0.get(path) {
                        Some(object) => reply::added(path, object)?,
                        None => continue,
                    },
                    Change::Changed(path, names) => match current.0.get(path) {
                        Some(object) => reply::changed(path, object, names)?,
                        None => continue,
                    },
                };
                self.connection.send(&message).await?;
            }
            self.announced = current;
        }
        for signal in self.outbox.take() {
            self.connection.send(&reply::happened(&signal)?).await?;
        }
        Ok(())
    }

    /// From now on this is read.
    fn take(&mut self, state: State) {
        (self.state, self.current) = (state, None);
    }

    async fn handle_answered(&mut self, answered: Answered) -> zbus::Result<()> {
        let Answered { message, result, property, state } = answered;
        if let Some(state) = state {
            self.untold = true;
            self.take(state);
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
