//! What the daemon and its runner say to each other: orders, and what came of them. Each message
//! has its length before it; a socket travels beside its message.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::descriptors;
use super::model::Kind;

/// The longest message: a command line with all that the configuration allows.
const MAX_MESSAGE: usize = 64 << 10;
/// The length of a message, before it.
const LENGTH: usize = 4;
/// How much is read at once.
const PIECE: usize = 4096;

/// What a check or a command found, or why it failed.
pub(super) type Ran = Result<String, String>;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Task {
    /// One run of a check. Units of systemd are the daemon's own to look at.
    Check(Kind),
    /// A socket is to be opened.
    Socket(Wanted),
}

/// A socket that the daemon needs and, in its sandbox, may not open itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// For memberships and for the kernel's choice of a source.
    Udp4,
    /// The same for IPv6.
    Udp6,
    /// Listens there, for whoever collects metrics.
    Listener(SocketAddr),
}

/// Something that is to be done, within a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) number: u64,
    pub(super) limit: Duration,
    pub(super) task: Task,
}

impl Order {
    /// Number, limit in milliseconds, task. `None`: no message has room for it.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        let limit_ms = u32::try_from(self.limit.as_millis()).unwrap_or(u32::MAX);
        let task = ron::to_string(&self.task).ok()?;
        framed(&[&self.number.to_be_bytes(), &limit_ms.to_be_bytes(), task.as_bytes()])
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
        let limit_ms = u32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?);
        let task = ron::de::from_bytes(bytes.get(12..)?).ok()?;
        Some(Self { number, limit: Duration::from_millis(limit_ms.into()), task })
    }
}

/// What came of an order.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) number: u64,
    pub(super) result: Ran,
    pub(super) socket: Option<OwnedFd>,
}

impl Answer {
    /// Number, whether it went well, whether a socket comes with it, text.
    fn to_bytes(&self) -> Option<Vec<u8>> {
        let (passed, text) = match &self.result {
            Ok(text) => (1, text),
            Err(text) => (0, text),
        };
        let socket = u8::from(self.socket.is_some());
        framed(&[&self.number.to_be_bytes(), &[passed, socket], text.as_bytes()])
    }

    fn from_bytes(bytes: &[u8], sockets: &mut VecDeque<OwnedFd>) -> Option<Self> {
        let number = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
        let text = String::from_utf8_lossy(bytes.get(10..)?).into_owned();
        let result = if *bytes.get(8)? == 1 { Ok(text) } else { Err(text) };
        let socket = if *bytes.get(9)? == 1 { Some(sockets.pop_front()?) } else { None };
        Some(Self { number, result, socket })
    }

    /// Sends it. `None`: nobody is there any more.
    pub(super) async fn send(&self, to: &OwnedWriteHalf) -> Option<()> {
        let bytes = self.to_bytes()?;
        let stream = to.as_ref();
        let mut sent = 0;
        while sent < bytes.len() {
            let rest = bytes.get(sent..)?;
            // It goes with the first byte.
            let socket = self.socket.as_ref().filter(|_| sent == 0);
            let send = || descriptors::send(stream, rest, socket);
            sent += stream.async_io(Interest::WRITABLE, send).await.ok()?;
        }
        Some(())
    }
}

fn framed(parts: &[&[u8]]) -> Option<Vec<u8>> {
    let body = parts.concat();
    if body.len() > MAX_MESSAGE {
        return None;
    }
    let length = u32::try_from(body.len()).ok()?;
    Some([&length.to_be_bytes()[..], &body].concat())
}

/// The end that messages come from.
#[derive(Debug)]
pub(super) struct Reader {
    from: OwnedReadHalf,
    bytes: Vec<u8>,
    sockets: VecDeque<OwnedFd>,
}

impl Reader {
    pub(super) fn new(from: OwnedReadHalf) -> Self {
        Self { from, bytes: Vec::new(), sockets: VecDeque::new() }
    }

    /// The next order; `None`: there is none any more, or none that can be understood.
    pub(super) async fn order(&mut self) -> Option<Order> {
        Order::from_bytes(&self.message().await?)
    }

    /// The next answer; `None` as with orders.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        let message = self.message().await?;
        Answer::from_bytes(&message, &mut self.sockets)
    }

    async fn message(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(length) = self.bytes.first_chunk::<LENGTH>() {
                let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                if length > MAX_MESSAGE {
                    return None;
                }
                if self.bytes.len() >= LENGTH + length {
                    let rest = self.bytes.split_off(LENGTH + length);
                    let message = core::mem::replace(&mut self.bytes, rest);
                    return Some(message.get(LENGTH..)?.to_owned());
                }
            }
            let mut piece = [0; PIECE];
            let stream = self.from.as_ref();
            let receive = || descriptors::receive(stream, &mut piece);
            let (length, socket) = stream.async_io(Interest::READABLE, receive).await.ok()?;
            if length == 0 {
                return None;
            }
            self.bytes.extend(piece.get(..length)?);
            self.sockets.extend(socket);
        }
    }
}

#[cfg(test)]
mod tests;
