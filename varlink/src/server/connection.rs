//! One connection: calls in, replies out, one after the other, as varlink wants it.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{ReadHalf, WriteHalf};

use super::{Backend, Caller, Limits};
use crate::method::{BadCall, INTERFACE, Method, Parameters};
use crate::types::{Happened, Recorded};
use crate::{DESCRIPTION, Error};

/// The interface that every varlink service has.
const SERVICE: &str = "org.varlink.service";

/// Its definition (varlink.org).
const SERVICE_DESCRIPTION: &str = include_str!("org.varlink.service.varlink");

/// The first room for a message; it grows up to the limit.
const BUFFER: usize = 4096;

/// A call as it comes.
#[derive(Debug, Deserialize)]
struct Call {
    method: String,
    #[serde(default)]
    parameters: Option<Value>,
    #[serde(default)]
    oneway: Option<bool>,
    #[serde(default)]
    more: Option<bool>,
}

impl Call {
    /// A call is an object. (serde would take the values of a list for its members.)
    fn parse(message: &[u8]) -> serde_json::Result<Self> {
        let members: Map<String, Value> = serde_json::from_slice(message)?;
        serde_json::from_value(Value::Object(members))
    }
}

/// The end of a connection: the client went, broke the rules or did not read.
struct Gone;

/// What goes back.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Reply {
    Answer {
        parameters: Value,
        #[serde(skip_serializing_if = "core::ops::Not::not")]
        continues: bool,
    },
    Standard {
        error: String,
        parameters: Value,
    },
    Ours(Error),
}

impl Reply {
    fn answer(parameters: Value) -> Self {
        Self::Answer { parameters, continues: false }
    }

    fn standard(name: &str, parameter: &str, value: &str) -> Self {
        Self::Standard {
            error: format!("{SERVICE}.{name}"),
            parameters: if parameter.is_empty() { json!({}) } else { json!({ parameter: value }) },
        }
    }
}

/// What one is told who cannot be served.
pub(super) fn turned_away() -> Vec<u8> {
    let reason = "too many connections: try again later".to_owned();
    let reply = Reply::Ours(Error::Refused { reason });
    let mut bytes = serde_json::to_vec(&reply).unwrap_or_default();
    bytes.push(0);
    bytes
}

/// Serves one client until it goes.
pub(super) async fn serve<B: Backend>(
    mut stream: UnixStream,
    caller: Caller,
    backend: Arc<B>,
    limits: Limits,
) {
    let (read, write) = stream.split();
    let reader = Reader { read, buffer: Vec::with_capacity(BUFFER), limit: limits.message };
    // The client is gone either way.
    let _ = Connection { reader, write, caller, backend, limits }.run().await;
}

struct Connection<'s, B> {
    reader: Reader<'s>,
    write: WriteHalf<'s>,
    caller: Caller,
    backend: Arc<B>,
    limits: Limits,
}

impl<B: Backend> Connection<'_, B> {
    async fn run(&mut self) -> Result<(), Gone> {
        loop {
            let message = match self.reader.message().await? {
                Some(message) => message,
                None => {
                    let reason = format!("a message of more than {} bytes", self.limits.message);
                    self.send(&Reply::Ours(Error::Refused { reason })).await?;
                    return Err(Gone);
                }
            };
            let call = match Call::parse(&message) {
                Ok(call) => call,
                Err(error) => {
                    let reason = format!("this is no varlink call: {error}");
                    self.send(&Reply::Ours(Error::Refused { reason })).await?;
                    return Err(Gone);
                }
            };
            self.call(call).await?;
        }
    }

    async fn call(&mut self, call: Call) -> Result<(), Gone> {
        let oneway = call.oneway == Some(true);
        let more = call.more == Some(true);
        let reply = match self.method(&call.method, call.parameters) {
            Ok(Method::Monitor { .. } | Method::Record(_)) if !more || oneway => {
                Reply::standard("ExpectedMore", "", "")
            }
            Ok(Method::Monitor { after }) => match self.backend.monitor(after) {
                Ok(events) => {
                    let happened = events.map(|event| Happened { event }).boxed();
                    self.stream(happened).await?;
                    return Err(Gone);
                }
                Err(error) => Reply::Ours(error),
            },
            Ok(Method::Record(wanted)) => match self.backend.record(self.caller, wanted).await {
                Ok(lines) => {
                    self.stream(lines.map(|lines| Recorded { lines }).boxed()).await?;
                    let last = Recorded::default();
                    Reply::answer(serde_json::to_value(last).map_err(|_| Gone)?)
                }
                Err(error) => Reply::Ours(error),
            },
            Ok(method) => match self.backend.call(self.caller, method).await {
                Ok(answer) => Reply::answer(serde_json::to_value(answer).map_err(|_| Gone)?),
                Err(error) => Reply::Ours(error),
            },
            Err(reply) => reply,
        };
        if oneway { Ok(()) } else { self.send(&reply).await }
    }

    /// The call of our interface; anything else has its reply already.
    fn method(&self, name: &str, parameters: Option<Value>) -> Result<Method, Reply> {
        let not_found = || Reply::standard("MethodNotFound", "method", name);
        let invalid = |parameter: &str| Reply::standard("InvalidParameter", "parameter", parameter);
        let (interface, method) = name.rsplit_once('.').ok_or_else(not_found)?;
        let parameters = match parameters {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(parameters)) => parameters,
            Some(_) => return Err(invalid("parameters")),
        };
        let bad = |bad| match bad {
            BadCall::Unknown => not_found(),
            BadCall::Parameter(parameter) => invalid(&parameter),
        };
        match interface {
            INTERFACE => Method::decode(method, parameters).map_err(bad),
            SERVICE => Err(service(method, Parameters(parameters)).unwrap_or_else(bad)),
            _ => Err(Reply::standard("InterfaceNotFound", "interface", interface)),
        }
    }

    /// Answers until there are no more or the client goes. A client that says something meanwhile
    /// breaks the rules.
    async fn stream<T: Serialize>(
        &mut self,
        mut answers: BoxStream<'static, T>,
    ) -> Result<(), Gone> {
        loop {
            let answer = tokio::select! {
                answer = answers.next() => answer,
                _ = self.reader.message() => return Err(Gone),
            };
            let Some(answer) = answer else { return Ok(()) };
            let parameters = serde_json::to_value(answer).map_err(|_| Gone)?;
            self.send(&Reply::Answer { parameters, continues: true }).await?;
        }
    }

    async fn send(&mut self, reply: &Reply) -> Result<(), Gone> {
        let mut bytes = serde_json::to_vec(reply).map_err(|_| Gone)?;
        bytes.push(0);
        match tokio::time::timeout(self.limits.write, self.write.write_all(&bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone),
            Err(_) => {
                tracing::warn!(user = self.caller.user, "a varlink client does not read: closed");
                Err(Gone)
            }
        }
    }
}

/// The answers of `org.varlink.service`.
fn service(method: &str, mut parameters: Parameters) -> Result<Reply, BadCall> {
    match method {
        "GetInfo" => {
            parameters.finish()?;
            Ok(Reply::answer(json!({
                "vendor": "nlbd",
                "product": "nlbd",
                "version": env!("CARGO_PKG_VERSION"),
                "url": "",
                "interfaces": [SERVICE, INTERFACE],
            })))
        }
        "GetInterfaceDescription" => {
            let interface: String = parameters.required("interface")?;
            parameters.finish()?;
            Ok(match interface.as_str() {
                INTERFACE => Reply::answer(json!({ "description": DESCRIPTION })),
                SERVICE => Reply::answer(json!({ "description": SERVICE_DESCRIPTION })),
                _ => Reply::standard("InterfaceNotFound", "interface", &interface),
            })
        }
        _ => Err(BadCall::Unknown),
    }
}

/// Cuts what comes into messages, each of which ends with a zero byte.
struct Reader<'s> {
    read: ReadHalf<'s>,
    buffer: Vec<u8>,
    limit: usize,
}

impl Reader<'_> {
    /// The next message; `None` if it is too long. Nothing is lost when the future is dropped.
    async fn message(&mut self) -> Result<Option<Vec<u8>>, Gone> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|byte| *byte == 0) {
                let end = searched + end;
                let rest = self.buffer.split_off(end + 1);
                let mut message = core::mem::replace(&mut self.buffer, rest);
                message.truncate(end);
                return Ok((end <= self.limit).then_some(message));
            }
            if self.buffer.len() > self.limit {
                return Ok(None);
            }
            searched = self.buffer.len();
            match self.read.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(Gone),
                Ok(_) => {}
            }
        }
    }
}
