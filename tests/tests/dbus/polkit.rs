//! A polkit for a private bus, which decides by user id alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use futures_util::StreamExt;
use zbus::message::Type;
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedVariant};

// Users that every system has; who they are there is of no concern here.

/// May do everything that polkit is asked about.
pub(crate) const OPERATOR: u32 = 1;
/// May, when a person may be asked for a password.
pub(crate) const PERSON: u32 = 2;
/// Is never decided about.
pub(crate) const UNDECIDED: u32 = 3;

/// What it was asked: the user, the kind of subject, the action.
pub(crate) type Asked = Arc<Mutex<Vec<(u32, String, String)>>>;

/// It decides until it is ended.
pub(crate) struct Polkit {
    pub(crate) asked: Asked,
    end: tokio::sync::oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Polkit {
    pub(crate) fn start(address: &str) -> Result<Self> {
        let (end, ended) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let asked = Asked::default();
        let (address, log) = (address.to_owned(), asked.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                match begin(&address).await {
                    Ok((connection, stream)) => {
                        let _ = ready.send(Ok(()));
                        tokio::select! {
                            () = decide(connection, stream, log) => {}
                            _ = ended => {}
                        }
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
        });
        is_ready.recv().context("polkit")?.map_err(|error| anyhow!("polkit: {error}"))?;
        Ok(Self { asked, end, thread })
    }

    pub(crate) fn end(self) {
        let _ = self.end.send(());
        let _ = self.thread.join();
    }
}

async fn begin(address: &str) -> zbus::Result<(Connection, MessageStream)> {
    let connection = zbus::connection::Builder::address(address).build().await?;
    let rule = MatchRule::builder().msg_type(Type::MethodCall).build()?;
    let stream = MessageStream::for_match_rule(rule, &connection, None).await?;
    connection.request_name("org.freedesktop.PolicyKit1").await?;
    Ok((connection, stream))
}

type Question =
    ((String, HashMap<String, OwnedVariant>), String, HashMap<String, String>, u32, String);

async fn decide(connection: Connection, mut stream: MessageStream, log: Asked) {
    while let Some(Ok(message)) = stream.next().await {
        let header = message.header();
        if header.member().is_none_or(|member| member.as_str() != "CheckAuthorization") {
            let _ = connection.send(&empty(&message)).await;
            continue;
        }
        let body = message.body();
        let question: Question = body.deserialize().expect("a question");
        let ((kind, details), action, _, flags, _) = question;
        let user = user(&connection, &kind, &details).await.unwrap_or(u32::MAX);
        log.lock().expect("the log").push((user, kind, action));
        let (may, challenge) = match user {
            OPERATOR => (true, false),
            PERSON => (flags & 1 == 1, flags & 1 == 0),
            UNDECIDED => continue,
            _ => (false, false),
        };
        let none: HashMap<&str, &str> = HashMap::new();
        let _ = connection.reply(&header, &((may, challenge, none),)).await;
    }
}

fn empty(message: &Message) -> Message {
    Message::method_return(&message.header()).build(&()).expect("a reply")
}

async fn user(
    connection: &Connection,
    kind: &str,
    details: &HashMap<String, OwnedVariant>,
) -> Option<u32> {
    if kind == "unix-process" {
        let user = i32::try_from(details.get("uid")?.clone()).ok()?;
        return u32::try_from(user).ok();
    }
    let name = String::try_from(details.get("name")?.clone()).ok()?;
    let bus = Some("org.freedesktop.DBus");
    let path = "/org/freedesktop/DBus";
    let reply = connection.call_method(bus, path, bus, "GetConnectionUnixUser", &name).await;
    reply.ok()?.body().deserialize().ok()
}
