//! Clients that are connected for long: each says something every 50 ms and checks the answer.
//!
//! One thread drives them all. What is written down is small: when a conversation broke and why,
//! and every silence that was longer than the usual.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::lab::{source4, source6};
use crate::load::service_of;
use crate::netns::Namespace;
use crate::service::{TALK, TALK_ANSWER};
use crate::stamp::Stamp;

/// How often each client says something.
pub const EVERY: Duration = Duration::from_millis(50);
/// A silence that is worth a note: half as long again as the time between two answers.
const SILENCE: Duration = Duration::from_millis(75);
/// A conversation without an answer for so long has broken. TCP repeats a segment seven times.
const GIVE_UP: Duration = Duration::from_secs(30);
/// A connect that takes longer is given up and begun anew.
const CONNECT: Duration = Duration::from_secs(8);
/// Between two attempts to connect again.
const AGAIN: Duration = Duration::from_millis(200);
/// Questions under way at most: what is said in [`GIVE_UP`].
const UNDER_WAY: usize = 600;
/// How many silences are kept.
const SILENCES: usize = 1_000_000;

/// Which clients talk.
#[derive(Debug, Clone, Copy)]
pub struct SessionSpec {
    /// How many.
    pub count: u32,
    /// The index of the first one's source address.
    pub first: u32,
    /// Every so many is IPv6; 0: none.
    pub every_ipv6: u32,
}

/// A conversation that broke.
#[derive(Debug, Clone)]
pub struct Break {
    /// The client and its port.
    pub client: (IpAddr, u16),
    /// The server that it talked with; empty if it never answered.
    pub server: String,
    /// When it began.
    pub opened: Stamp,
    /// The last answer.
    pub last: Stamp,
    /// When the client noticed.
    pub noticed: Stamp,
    /// How.
    pub why: String,
}

/// A time in which a client that asked got no answer.
#[derive(Debug, Clone)]
pub struct Silence {
    /// The client.
    pub client: IpAddr,
    /// The server that it talked with.
    pub server: String,
    /// From the last answer.
    pub from: Stamp,
    /// To the next, or to the conversation's end.
    pub to: Stamp,
}

/// A conversation that began.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The client.
    pub client: IpAddr,
    /// When its connect began.
    pub begun: Stamp,
    /// How long the connect took, or the attempt.
    pub took: Duration,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

/// What the clients saw.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// Conversations that broke.
    pub breaks: Vec<Break>,
    /// Silences.
    pub silences: Vec<Silence>,
    /// Conversations begun, and attempts that failed.
    pub openings: Vec<Opening>,
    /// Who talks with whom at present.
    pub talking: BTreeMap<IpAddr, String>,
    /// Answers, all of them right.
    pub answers: u64,
    /// Answers that were not what was asked for, in words.
    pub wrong: Vec<String>,
}

/// Clients that talk until told to stop.
#[derive(Debug)]
pub struct Sessions {
    book: Arc<Mutex<Book>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Result<()>>>>,
}

impl Sessions {
    /// Starts them.
    ///
    /// # Errors
    /// When their thread cannot be started.
    pub fn start(client: &Namespace, spec: SessionSpec) -> Result<Self> {
        let (book, stop) =
            (Arc::new(Mutex::new(Book::default())), Arc::new(AtomicBool::new(false)));
        let (pages, until) = (book.clone(), stop.clone());
        let thread = client.thread("sessions", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async move {
                let mut tasks = tokio::task::JoinSet::new();
                for number in 0..spec.count {
                    let index = spec.first + number;
                    let six = spec.every_ipv6 > 0 && number % spec.every_ipv6 == 0;
                    let source = if six { source6(index) } else { source4(index) };
                    // Not all at the same instant.
                    let offset = EVERY * number / spec.count.max(1);
                    let (pages, until) = (pages.clone(), until.clone());
                    tasks.spawn(async move {
                        sleep(offset).await;
                        converse(source, &pages, &until).await;
                    });
                }
                while tasks.join_next().await.is_some() {}
            });
            Ok(())
        })?;
        Ok(Self { book, stop, thread: Some(thread) })
    }

    /// What they have seen so far.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends them; gives what they saw.
    ///
    /// # Errors
    /// When their thread failed.
    pub fn finish(mut self) -> Result<Book> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok().context("the sessions panicked")???;
        }
        Ok(std::mem::take(&mut *self.book()))
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client: talks, and begins again whenever a conversation breaks.
async fn converse(source: IpAddr, book: &Mutex<Book>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let begun = Stamp::now();
        let connected = timeout(CONNECT, connect(source)).await;
        let failed = match &connected {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer".to_owned()),
        };
        let took = Stamp::now().since(begun);
        open(book).openings.push(Opening { client: source, begun, took, failed });
        let Ok(Ok(stream)) = connected else {
            sleep(AGAIN).await;
            continue;
        };
        let port = stream.local_addr().map_or(0, |own| own.port());
        let mut talk = Talk::new(source);
        let opened = talk.last;
        if let Err(why) = talk.run(&stream, book, stop).await {
            let (last, noticed) = (talk.last, Stamp::now());
            let (client, server) = ((source, port), talk.server.clone());
            let mut book = open(book);
            book.talking.remove(&source);
            book.breaks.push(Break { client, server, opened, last, noticed, why });
        }
    }
}

async fn connect(source: IpAddr) -> std::io::Result<TcpStream> {
    let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(SocketAddr::from((source, 0)))?;
    let stream = socket.connect(SocketAddr::from((service_of(source), TALK))).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One conversation.
#[derive(Debug)]
struct Talk {
    source: IpAddr,
    server: String,
    last: Stamp,
    asked: u64,
    /// When each question without an answer was asked.
    waiting: VecDeque<Stamp>,
    part: Vec<u8>,
}

impl Talk {
    fn new(source: IpAddr) -> Self {
        let (server, waiting, part) = (String::new(), VecDeque::new(), Vec::new());
        Self { source, server, last: Stamp::now(), asked: 0, waiting, part }
    }

    /// Talks until told to stop, or until the conversation breaks: the error says how.
    async fn run(
        &mut self,
        stream: &TcpStream,
        book: &Mutex<Book>,
        stop: &AtomicBool,
    ) -> Result<(), String> {
        let mut pace = interval(EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let outcome = loop {
            tokio::select! {
                _ = pace.tick() => {
                    if stop.load(Ordering::Relaxed) {
                        break Ok(());
                    }
                    if let Err(why) = self.ask(stream) {
                        break Err(why);
                    }
                }
                ready = stream.readable() => {
                    if let Err(why) = ready.map_err(|error| error.to_string())
                        .and_then(|()| self.hear(stream, book))
                    {
                        break Err(why);
                    }
                }
            }
        };
        self.note_silence(Stamp::now(), book);
        outcome
    }

    fn ask(&mut self, stream: &TcpStream) -> Result<(), String> {
        let now = Stamp::now();
        if let Some(first) = self.waiting.front()
            && now.since(*first) > GIVE_UP
        {
            return Err(format!("no answer for {GIVE_UP:?}"));
        }
        if self.waiting.len() >= UNDER_WAY {
            return Ok(());
        }
        match stream.try_write(&self.asked.to_be_bytes()) {
            Ok(8) => {
                self.asked += 1;
                self.waiting.push_back(now);
                Ok(())
            }
            Ok(length) => Err(format!("only {length} bytes were sent")),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn hear(&mut self, stream: &TcpStream, book: &Mutex<Book>) -> Result<(), String> {
        let mut bytes = [0; 64 * TALK_ANSWER];
        let length = match stream.try_read(&mut bytes) {
            Ok(0) => return Err("the server ended it".to_owned()),
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let now = Stamp::now();
        self.note_silence(now, book);
        self.last = now;
        self.part.extend(bytes.get(..length).unwrap_or_default());
        let whole = self.part.len() - self.part.len() % TALK_ANSWER;
        let part = self.part.split_off(whole);
        let answers = std::mem::replace(&mut self.part, part);
        for answer in answers.chunks_exact(TALK_ANSWER) {
            self.check(answer, book);
        }
        Ok(())
    }

    /// Checks one answer: the number that was asked first, by the server that always answered.
    fn check(&mut self, answer: &[u8], book: &Mutex<Book>) {
        let (number, name) = answer.split_at(8);
        let expected = self.asked - self.waiting.len() as u64;
        let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
        let mut book = open(book);
        if number != expected.to_be_bytes() || self.waiting.pop_front().is_none() {
            book.wrong.push(format!("{}: {answer:?}, expected number {expected}", self.source));
        }
        if self.server.is_empty() {
            book.talking.insert(self.source, name.clone());
            self.server = name;
        } else if self.server != name {
            book.wrong.push(format!("{}: {name} answers for {}", self.source, self.server));
        }
        book.answers += 1;
    }

    fn note_silence(&self, now: Stamp, book: &Mutex<Book>) {
        if now.since(self.last) <= SILENCE || self.waiting.is_empty() {
            return;
        }
        let mut book = open(book);
        if book.silences.len() < SILENCES {
            let (client, server) = (self.source, self.server.clone());
            book.silences.push(Silence { client, server, from: self.last, to: now });
        }
    }
}
