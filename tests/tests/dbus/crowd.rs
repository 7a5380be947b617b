//! A crowd of clients on a bus: some read, all follow, one has stopped reading.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use futures_util::StreamExt;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, MatchRule, MessageStream, OwnedVariant};

/// How often each client reads everything.
const READ_EVERY: Duration = Duration::from_millis(200);

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) reads: AtomicU64,
    pub(crate) signals: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) errors: AtomicU64,
}

/// Clients that go on until they are ended.
pub(crate) struct Crowd {
    pub(crate) counts: Arc<Counts>,
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Crowd {
    /// Starts so many clients, one that never reads, and one that sets the weight so often.
    pub(crate) fn start(address: &str, clients: usize, change_every: Duration) -> Result<Self> {
        let (counts, end) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
        let mut threads = Vec::new();
        let (ready, is_ready) = sync_channel(2);
        let (to, counting, ends, told) =
            (address.to_owned(), counts.clone(), end.clone(), ready.clone());
        threads.push(std::thread::spawn(move || {
            run(async {
                let mut tasks = Vec::new();
                for _ in 0..clients {
                    let connection = follower(&to).await?;
                    tasks.push(tokio::spawn(client(connection, counting.clone(), ends.clone())));
                }
                tasks.push(tokio::spawn(change(
                    Builder::address(to.as_str()).build().await?,
                    change_every,
                    counting.clone(),
                    ends.clone(),
                )));
                told.send(())?;
                for task in tasks {
                    task.await?;
                }
                Ok(())
            })
        }));
        let (to, ends) = (address.to_owned(), end.clone());
        threads.push(std::thread::spawn(move || {
            run(async {
                let _follows = follower(&to).await?;
                ready.send(())?;
                // Nobody runs the tasks of this runtime meanwhile: the socket fills.
                while !ends.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Ok(())
            })
        }));
        for _ in 0..threads.len() {
            is_ready.recv_timeout(Duration::from_secs(60)).context("the clients")?;
        }
        Ok(Self { counts, end, threads })
    }

    /// Ends all.
    pub(crate) fn end(self) -> Result<()> {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        Ok(())
    }
}

fn run(future: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

async fn follower(address: &str) -> Result<(Connection, MessageStream)> {
    let connection = Builder::address(address).build().await?;
    let rule = MatchRule::builder().msg_type(Type::Signal).sender("org.nlbd1").build()?;
    let stream = MessageStream::for_match_rule(rule, &connection, None).await?;
    Ok((connection, stream))
}

async fn client(
    (connection, mut stream): (Connection, MessageStream),
    counts: Arc<Counts>,
    end: Arc<AtomicBool>,
) {
    let mut read = tokio::time::interval(READ_EVERY);
    while !end.load(Ordering::Relaxed) {
        tokio::select! {
            Some(Ok(_)) = stream.next() => {
                counts.signals.fetch_add(1, Ordering::Relaxed);
            }
            _ = read.tick() => match get_all(&connection).await {
                Ok(()) => drop(counts.reads.fetch_add(1, Ordering::Relaxed)),
                Err(error) => {
                    eprintln!("a client: {error:#}");
                    counts.errors.fetch_add(1, Ordering::Relaxed);
                }
            },
        }
    }
}

async fn get_all(connection: &Connection) -> Result<()> {
    let to = Some("org.nlbd1");
    let of = "org.nlbd1.Cluster";
    let asked = connection.call_method(to, super::CLUSTER, Some(PROPERTIES), "GetAll", &of);
    let reply = tokio::time::timeout(Duration::from_secs(5), asked).await??;
    let all: HashMap<String, OwnedVariant> = reply.body().deserialize()?;
    ensure!(all.contains_key("Weight"), "{all:?}");
    Ok(())
}

async fn change(
    connection: Connection,
    every: Duration,
    counts: Arc<Counts>,
    end: Arc<AtomicBool>,
) {
    let mut due = tokio::time::interval(every);
    let mut weight = 100_u16;
    while !end.load(Ordering::Relaxed) {
        due.tick().await;
        weight = if weight >= 200 { 100 } else { weight + 1 };
        let interface = Some("org.nlbd1.Cluster");
        let called = connection.call_method(
            Some("org.nlbd1"),
            super::CLUSTER,
            interface,
            "SetWeight",
            &weight,
        );
        match called.await {
            Ok(_) => counts.changes.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                eprintln!("a change: {error:#}");
                counts.errors.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}
