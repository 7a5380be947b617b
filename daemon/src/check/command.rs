//! The daemon's end of the way to the runner (`runner.rs`).
//!
//! Either systemd starts the runner for whoever connects to a socket, as a service of its own, or
//! the daemon does before it gives up its privileges. The runner has none: neither a command nor
//! whatever a service answers can do what the daemon may, or hold it up. One task owns the way there.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::model::Kind;
use super::order::{Answer, Order, Ran, Reader, Task, Wanted};
use super::runner;

/// Orders that wait to be told to the runner; every check has one at most.
const WAITING: usize = 64;
/// How much longer than the order's own limit the runner may take to say what came of it.
const MARGIN: Duration = Duration::from_secs(2);
/// How long it may take to open a socket.
const OPENS: Duration = Duration::from_secs(1);

/// After so long a runner that went away is looked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// The runner, before anybody talks to it.
#[derive(Debug)]
pub struct Runner {
    /// `None`: nobody was there yet.
    stream: Option<StdStream>,
    origin: Origin,
}

/// Where a runner comes from.
#[derive(Debug)]
enum Origin {
    /// It was started here. So that its end leaves no zombie, it is waited for when the daemon ends.
    Child(Child),
    /// systemd starts one for each connection.
    Socket(PathBuf),
    /// It is in this process.
    #[cfg(test)]
    Thread,
}

impl Runner {
    /// Starts it from the daemon's own program, as this user. To be called while the process may
    /// still change users, and before its first thread starts.
    ///
    /// # Errors
    /// When no process can be started.
    pub fn start(program: &Path, user: &str) -> io::Result<Self> {
        let (stream, theirs) = StdStream::pair()?;
        let child = Command::new(program)
            .arg(format!("--{}", runner::RUN_COMMANDS))
            .arg(user)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { stream: Some(stream), origin: Origin::Child(child) })
    }

    /// Connects to a socket behind which systemd starts a runner. Where nobody listens, it is tried
    /// again and again, and until then checks fail.
    #[must_use]
    pub fn connect(socket: &Path) -> Self {
        let stream = StdStream::connect(socket).inspect_err(|error| {
            tracing::warn!(socket = %socket.display(), %error, "nobody is there to run checks");
        });
        Self { stream: stream.ok(), origin: Origin::Socket(socket.to_owned()) }
    }

    /// A runner in a thread of this process, for tests of what needs no command.
    #[cfg(test)]
    pub(super) fn here() -> Self {
        let (stream, theirs) = StdStream::pair().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let _ = tokio::task::LocalSet::new().block_on(&runtime.unwrap(), runner::serve(theirs));
        });
        Self { stream: Some(stream), origin: Origin::Thread }
    }

    /// Begins to talk to it, in the current runtime.
    ///
    /// # Errors
    /// When the runtime does not take the socket.
    pub fn talk(self) -> io::Result<Commands> {
        let stream = self.stream.map(|stream| {
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        });
        let mut stream = stream.transpose()?;
        let (orders, mut inbox) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            match self.origin {
                Origin::Child(mut child) => {
                    serve(&mut inbox, stream).await;
                    // It ends when the way to it does.
                    let _ = tokio::task::spawn_blocking(move || child.wait()).await;
                }
                #[cfg(test)]
                Origin::Thread => serve(&mut inbox, stream).await,
                Origin::Socket(path) => {
                    while !inbox.is_closed() {
                        serve(&mut inbox, stream.take()).await;
                        tokio::time::sleep(AGAIN).await;
                        stream = UnixStream::connect(&path).await.ok();
                    }
                }
            }
        });
        Ok(Commands { orders })
    }
}

/// An order on its way, and who waits for what comes of it.
type Asked = (Task, Duration, oneshot::Sender<Answer>);

/// Has the runner do things.
#[derive(Debug, Clone)]
pub struct Commands {
    orders: mpsc::Sender<Asked>,
}

impl Commands {
    /// Runs a command to its end, or for this long. Gives the first line that it wrote.
    ///
    /// # Errors
    /// How it failed, in words.
    pub async fn run(&self, words: &[String], limit: Duration) -> Result<String, String> {
        self.check(&Kind::Command(words.to_vec()), limit).await
    }

    /// Runs a check once, to its end or for this long. Gives what it found.
    pub(super) async fn check(&self, kind: &Kind, limit: Duration) -> Ran {
        self.ask(Task::Check(kind.clone()), limit).await?.result
    }

    /// Opens a socket.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn socket(&self, wanted: Wanted) -> Result<OwnedFd, String> {
        let answer = self.ask(Task::Socket(wanted), OPENS).await?;
        answer.result.and_then(|said| answer.socket.ok_or(said))
    }

    async fn ask(&self, task: Task, limit: Duration) -> Result<Answer, String> {
        const GONE: &str = "the runner of checks has ended (it needs CAP_SETUID while nlbd starts)";
        let (reply, answer) = oneshot::channel();
        let ask = async {
            self.orders.send((task, limit, reply)).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(limit + MARGIN, ask).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(GONE.to_owned()),
            Err(_) => Err("the runner of checks does not answer".to_owned()),
        }
    }
}

/// Until nobody has orders any more, or the runner goes away.
async fn serve(inbox: &mut mpsc::Receiver<Asked>, stream: Option<UnixStream>) {
    let Some(stream) = stream else { return };
    let (from, mut to) = stream.into_split();
    let (results, mut ended) = mpsc::channel(WAITING);
    let mut answers = Reader::new(from);
    let reader = tokio::spawn(async move {
        while let Some(answer) = answers.answer().await {
            if results.send(answer).await.is_err() {
                return;
            }
        }
    });
    let mut waiting: BTreeMap<u64, oneshot::Sender<Answer>> = BTreeMap::new();
    let mut number = 0;
    loop {
        tokio::select! {
            order = inbox.recv() => {
                let Some((task, limit, reply)) = order else { break };
                number += 1;
                // Those whom nobody waits for any more were given up by the check.
                waiting.retain(|_, reply| !reply.is_closed());
                let Some(bytes) = (Order { number, limit, task }).to_bytes() else {
                    let result = Err("too long to be told to the runner".to_owned());
                    let _ = reply.send(Answer { number, result, socket: None });
                    continue;
                };
                waiting.insert(number, reply);
                if to.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            answer = ended.recv() => {
                let Some(answer) = answer else { break };
                if let Some(reply) = waiting.remove(&answer.number) {
                    let _ = reply.send(answer);
                }
            }
        }
    }
    reader.abort();
}
