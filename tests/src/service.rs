//! The real services beside each daemon: HTTP, a small name server, UDP echo.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;

use crate::lab::{SERVICE4, SERVICE6};
use crate::netns::Namespace;

/// The port of the web server.
pub const HTTP: u16 = 80;
/// The port of the name server.
pub const DNS: u16 = 53;
/// The port that answers a datagram with its first two bytes, the server's name and the
/// datagram's length.
pub const ECHO: u16 = 7;

/// The port of the long conversations: to each number of 8 bytes the server answers with that
/// number and its name, 16 bytes.
pub const TALK: u16 = 7000;
/// Bytes of an answer there: the number and the server's name.
pub const TALK_ANSWER: usize = 16;

/// A conversation in which nothing is said for so long has lost its client.
const SILENT: Duration = Duration::from_secs(30);
/// A client that says nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest body that a client can ask for.
const LONGEST_BODY: usize = 8 << 20;

/// The services of one server. They end when this value does.
#[derive(Debug)]
pub struct Services {
    /// How many HTTP requests were answered.
    pub served: Arc<AtomicU64>,
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<Result<Result<()>>>>,
}

impl Services {
    /// Starts the services of the server `name`; they listen when this returns.
    ///
    /// # Errors
    /// When a port is taken.
    pub fn start(namespace: &Namespace, name: &str) -> Result<Self> {
        let (stop, stopped) = watch::channel(());
        let served = Arc::new(AtomicU64::new(0));
        let (ready, listening) = sync_channel(1);
        let (name, counter) = (name.to_owned(), served.clone());
        let thread = namespace.thread("services", move || {
            before_others();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async move {
                let sockets = listen();
                let failed = sockets.as_ref().err().map(ToString::to_string);
                let _ = ready.send(failed);
                serve(sockets?, name.into(), counter, stopped).await;
                Ok(())
            })
        })?;
        let failed: Option<String> = listening.recv().context("services")?;
        match failed {
            None => Ok(Self { served, stop: Some(stop), thread: Some(thread) }),
            Some(error) => anyhow::bail!("services of {}: {error}", namespace.name()),
        }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Makes the calling thread a real-time thread, like those of the daemons: what is measured is
/// when a question was let through, not when a busy machine got round to answering it. Where that
/// is not allowed, it runs as everybody else does.
fn before_others() {
    let thread = nix::unistd::gettid().to_string();
    let mut command = std::process::Command::new("chrt");
    command.args(["--rr", "--pid", "1", &thread]);
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

struct Sockets {
    http: TcpListener,
    talk: TcpListener,
    dns: Vec<UdpSocket>,
    echo: Vec<UdpSocket>,
}

fn listen() -> Result<Sockets> {
    let stream = |port| -> Result<TcpListener> {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_only_v6(false)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
        socket.listen(4096)?;
        Ok(TcpListener::from_std(socket.into())?)
    };
    let both = |port| -> Result<Vec<UdpSocket>> {
        Ok(vec![datagram(SERVICE4.into(), port)?, datagram(SERVICE6.into(), port)?])
    };
    let (http, talk) = (stream(HTTP)?, stream(TALK)?);
    Ok(Sockets { http, talk, dns: both(DNS)?, echo: both(ECHO)? })
}

/// A datagram socket of a service address, which need not exist yet: its answers must come from
/// that address.
fn datagram(address: IpAddr, port: u16) -> Result<UdpSocket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((address, port)).into())?;
    Ok(UdpSocket::from_std(socket.into())?)
}

async fn serve(
    sockets: Sockets,
    name: Arc<str>,
    served: Arc<AtomicU64>,
    mut stopped: watch::Receiver<()>,
) {
    let mut tasks = tokio::task::JoinSet::new();
    for socket in sockets.dns {
        tasks.spawn(answer(socket, name.clone(), name_answer));
    }
    for socket in sockets.echo {
        tasks.spawn(answer(socket, name.clone(), |query, name| {
            let said = format!("{name} {}\n", query.len());
            Some([query.get(..2)?, said.as_bytes()].concat())
        }));
    }
    loop {
        tokio::select! {
            // The sender went away: that is the sign to end.
            _ = stopped.changed() => break,
            Some(_) = tasks.join_next() => {}
            Ok((stream, _)) = sockets.talk.accept() => {
                let name = name.clone();
                // However it ends: the client knows, and says so.
                tasks.spawn(async move { drop(talk(stream, &name).await) });
            }
            Ok((stream, _)) = sockets.http.accept() => {
                let (name, served) = (name.clone(), served.clone());
                tasks.spawn(async move {
                    if let Ok(Ok(())) = tokio::time::timeout(PATIENCE, http(stream, &name)).await {
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
    }
}

/// One request: `GET /` is answered with the server's name, `GET /N` with N bytes more.
async fn http(mut stream: TcpStream, name: &str) -> Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 1024];
        let length = stream.read(&mut part).await?;
        anyhow::ensure!(length > 0 && request.len() < 8192, "no request");
        request.extend(part.get(..length).unwrap_or_default());
    }
    let text = String::from_utf8_lossy(&request);
    let path = text.split_whitespace().nth(1).unwrap_or("/");
    let extra = path.trim_start_matches('/').parse::<usize>().unwrap_or(0).min(LONGEST_BODY);
    let mut body = format!("{name}\n").into_bytes();
    body.resize(body.len() + extra, b'.');
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await?;
    stream.shutdown().await?;
    // The client closes second, so that its port is free again at once.
    let _ = stream.read(&mut [0; 16]).await;
    Ok(())
}

/// A long conversation, until its client ends it or is gone.
async fn talk(mut stream: TcpStream, name: &str) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut said = [0; TALK_ANSWER];
    for (to, from) in said[8..].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let (mut questions, mut kept) = ([0; 1024], 0);
    loop {
        let Some(room) = questions.get_mut(kept..) else { return Ok(()) };
        let length = tokio::time::timeout(SILENT, stream.read(room)).await??;
        if length == 0 {
            return Ok(());
        }
        let whole = questions.get(..kept + length).unwrap_or_default();
        let mut answers = Vec::with_capacity(whole.len() * 2);
        for number in whole.chunks_exact(8) {
            said[..8].copy_from_slice(number);
            answers.extend(said);
        }
        let rest = whole.chunks_exact(8).remainder().len();
        let end = whole.len();
        questions.copy_within(end - rest..end, 0);
        kept = rest;
        stream.write_all(&answers).await?;
    }
}

async fn answer(socket: UdpSocket, name: Arc<str>, make: impl Fn(&[u8], &str) -> Option<Vec<u8>>) {
    let mut query = vec![0; 65_536];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut query).await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        if let Some(answer) = make(query.get(..length).unwrap_or_default(), &name) {
            let _ = socket.send_to(&answer, client).await;
        }
    }
}

/// Answers every question with a TXT record that holds the server's name.
fn name_answer(query: &[u8], name: &str) -> Option<Vec<u8>> {
    let id = query.get(..2)?;
    // The question: labels, then type and class.
    let mut end = 12;
    while *query.get(end)? != 0 {
        end += usize::from(*query.get(end)?) + 1;
    }
    let question = query.get(12..end + 5)?;
    let length = u8::try_from(name.len()).ok()?;
    let mut answer = id.to_vec();
    // An authoritative answer with one question and one record.
    answer.extend([0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend(question);
    // The name is that of the question, type TXT, class IN, no lifetime.
    answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, length + 1, length]);
    answer.extend(name.as_bytes());
    Some(answer)
}
