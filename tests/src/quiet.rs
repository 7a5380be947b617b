//! Clients that are connected and say nothing until they are told to.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::load::service_of;
use crate::netns::Namespace;
use crate::service::{TALK, TALK_ANSWER};

/// An answer that takes longer does not come: TCP has repeated the question some times.
const PATIENCE: Duration = Duration::from_secs(8);

/// One connection to the service. The server ends it after half a minute without a question.
#[derive(Debug)]
pub struct Conversation {
    /// The client.
    pub client: IpAddr,
    /// The server that answered first.
    pub server: String,
    stream: TcpStream,
    asked: u64,
}

impl Conversation {
    /// Connects `client` and asks once.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn open(namespace: &Namespace, client: IpAddr) -> Result<Self> {
        let stream = namespace.run(|| connect(client))?.with_context(|| format!("{client}"))?;
        let mut new = Self { client, server: String::new(), stream, asked: 0 };
        new.server = new.say()?;
        Ok(new)
    }

    /// Asks once more; the same server must answer.
    ///
    /// # Errors
    /// When the connection is broken, or somebody else answers.
    pub fn ask(&mut self) -> Result<()> {
        let server = self.say()?;
        ensure!(server == self.server, "{server} answers {} for {}", self.client, self.server);
        Ok(())
    }

    fn say(&mut self) -> Result<String> {
        let question = self.asked.to_be_bytes();
        let mut answer = [0; TALK_ANSWER];
        let outcome =
            self.stream.write_all(&question).and_then(|()| self.stream.read_exact(&mut answer));
        let who =
            || format!("{}, connected to {:?}, question {}", self.client, self.server, self.asked);
        outcome.with_context(who)?;
        let (number, name) = answer.split_at(question.len());
        ensure!(number == question, "{}: {answer:?}", who());
        self.asked += 1;
        Ok(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())
    }
}

fn connect(client: IpAddr) -> Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(SocketAddr::new(client, 0)),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.bind(&SocketAddr::new(client, 0).into())?;
    socket.connect_timeout(&SocketAddr::new(service_of(client), TALK).into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}
