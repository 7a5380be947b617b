//! The daemon's end of the way to the runner of commands (`runner.rs`).
//!
//! Either systemd starts the runner for whoever connects to a socket, as a service of its own, or
//! the daemon does before it gives up its privileges. The runner has none: a command can neither do
//! what the daemon may, nor hold it up. One task owns the way there.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{mpsc, oneshot};

use super::runner::{self, Order, Ran};

/// Commands that wait to be told to the runner; every check has one at most.
const WAITING: usize = 64;
/// How much longer than the command's own limit the runner may take to say how it ended.
const MARGIN: Duration = Duration::from_secs(2);

/// After so long a runner that went away is looked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// The runner, before anybody talks to it.
#[derive(Debug)]
pub struct Runner {
    stream: StdStream,
    origin: Origin,
}

/// Where a runner comes from.
#[derive(Debug)]
enum Origin {
    /// It was started here. So that its end leaves no zombie, it is waited for when the daemon ends.
    Child(Child),
    /// systemd starts one for each connection.
    Socket(PathBuf),
}

impl Runner {
    /// Starts it from the daemon's own program, as this user. To be called while the process may still change users, and before
    /// its first thread starts.
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
        Ok(Self { stream, origin: Origin::Child(child) })
    }

    /// Connects to a socket behind which systemd starts a runner.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = StdStream::connect(socket)?;
        Ok(Self { stream, origin: Origin::Socket(socket.to_owned()) })
    }

    /// Begins to talk to it, in the current runtime.
    ///
    /// # Errors
    /// When the runtime does not take the socket.
    pub fn talk(self) -> io::Result<Commands> {
        self.stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(self.stream)?;
        let (orders, mut inbox) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            match self.origin {
                Origin::Child(mut child) => {
                    serve(&mut inbox, stream).await;
                    // It ends when the way to it does.
                    let _ = tokio::task::spawn_blocking(move || child.wait()).await;
                }
                Origin::Socket(path) => {
                    let mut stream = Some(stream);
                    while !inbox.is_closed() {
                        if let Some(stream) = stream.take() {
                            serve(&mut inbox, stream).await;
                        }
                        tokio::time::sleep(AGAIN).await;
                        stream = UnixStream::connect(&path).await.ok();
                    }
                }
            }
        });
        Ok(Commands { orders })
    }
}

/// Runs commands.
#[derive(Debug, Clone)]
pub struct Commands {
    orders: mpsc::Sender<(Vec<String>, Duration, oneshot::Sender<Ran>)>,
}

impl Commands {
    /// Runs a command to its end, or for this long. Gives the first line that it wrote.
    ///
    /// # Errors
    /// How it failed, in words.
    pub async fn run(&self, words: &[String], limit: Duration) -> Result<String, String> {
        const GONE: &str =
            "the runner of commands has ended (it needs CAP_SETUID while nlbd starts)";
        let (reply, answer) = oneshot::channel();
        let ask = async {
            self.orders.send((words.to_vec(), limit, reply)).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(limit + MARGIN, ask).await {
            Ok(Some(result)) => result,
            Ok(None) => Err(GONE.to_owned()),
            Err(_) => Err("the runner of commands does not answer".to_owned()),
        }
    }
}

/// Until nobody has orders any more, or the runner goes away.
async fn serve(
    inbox: &mut mpsc::Receiver<(Vec<String>, Duration, oneshot::Sender<Ran>)>,
    stream: UnixStream,
) {
    let (from, mut to) = stream.into_split();
    let (results, mut ended) = mpsc::channel(WAITING);
    let reader = tokio::spawn(read(from, results));
    let mut waiting: BTreeMap<u64, oneshot::Sender<Ran>> = BTreeMap::new();
    let mut number = 0;
    loop {
        tokio::select! {
            order = inbox.recv() => {
                let Some((words, limit, reply)) = order else { break };
                number += 1;
                // Those whom nobody waits for any more were given up by the check.
                waiting.retain(|_, reply| !reply.is_closed());
                waiting.insert(number, reply);
                let bytes = Order { number, limit, words }.to_bytes();
                if to.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            result = ended.recv() => {
                let Some((number, result)) = result else { break };
                if let Some(reply) = waiting.remove(&number) {
                    let _ = reply.send(result);
                }
            }
        }
    }
    reader.abort();
}

async fn read(mut from: OwnedReadHalf, results: mpsc::Sender<(u64, Ran)>) {
    while let Ok(length) = from.read_u32().await {
        let mut bytes = vec![0; runner::bounded(length)];
        if from.read_exact(&mut bytes).await.is_err() {
            return;
        }
        let Some(result) = runner::result_from_bytes(&bytes) else { return };
        if results.send(result).await.is_err() {
            return;
        }
    }
}
