//! `nlbctl drain --wait` against a daemon that plays a script.

#[allow(dead_code)] // the other test files use the rest
mod fake;

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::BoxStream;
use nlb_varlink::{
    Answer, Backend, Caller, Changed, Cluster, Drain, Error, Event, Limits, Method, Record, Server,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Long enough for this machine, short enough to wait for.
const SOON: Duration = Duration::from_secs(20);

/// One look each; the last stays. `None`: the node has left.
struct Script {
    looks: Mutex<VecDeque<Option<Cluster>>>,
    /// What the daemon says if it is not forced.
    alone: bool,
}

impl Backend for Script {
    async fn call(&self, _caller: Caller, method: Method) -> Result<Answer, Error> {
        match method {
            Method::Drain { force, .. } if self.alone && force != Some(true) => {
                Err(Error::Refused { reason: "no other node is active".into() })
            }
            Method::Drain { .. } => {
                Ok(Answer::Changed(Changed { changed: true, notes: Vec::new() }))
            }
            _ => {
                let mut looks = self.looks.lock().expect("no panic");
                let look = if looks.len() > 1 { looks.pop_front() } else { looks.front().cloned() };
                let mut status = fake::status();
                status.clusters = look.flatten().into_iter().collect();
                Ok(Answer::Status(status))
            }
        }
    }

    fn monitor(&self, _after: Option<i64>) -> Result<BoxStream<'static, Event>, Error> {
        Err(Error::Refused { reason: "not here".into() })
    }

    async fn record(&self, _: Caller, _: Record) -> Result<BoxStream<'static, Vec<String>>, Error> {
        Err(Error::Refused { reason: "not here".to_owned() })
    }

    fn is_privileged(&self, _caller: Caller) -> bool {
        true
    }
}

fn look(state: &str, clients: u64, left_ms: Option<u64>) -> Option<Cluster> {
    let cluster = fake::status().clusters.into_iter().next();
    let drain = Some(Drain { clients, clients_at_start: 9, left_ms });
    cluster.map(|cluster| Cluster { state: state.into(), buckets_accepted: 0, drain, ..cluster })
}

fn start(looks: Vec<Option<Cluster>>, arguments: &[&str]) -> (tempfile::TempDir, Child) {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join(nlb_varlink::SOCKET);
    let server = Server::bind(&socket, Limits::default()).expect("a socket");
    let alone = looks.is_empty();
    let script = Script { looks: Mutex::new(looks.into()), alone };
    let look = futures_util::stream::pending();
    tokio::spawn(async move { server.serve(Arc::new(script), look).await });
    let mut command = Command::new(env!("CARGO_BIN_EXE_nlbctl"));
    command.env("NLBD_RUN_DIR", directory.path()).arg("drain").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().expect("nlbctl");
    (directory, child)
}

async fn run(looks: Vec<Option<Cluster>>, arguments: &[&str]) -> (i32, String, String) {
    let (_directory, child) = start(looks, arguments);
    let output = timeout(SOON, child.wait_with_output()).await.expect("in time").expect("an end");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("a code"), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn it_ends_when_nobody_is_left() {
    let looks =
        vec![look("draining", 9, None), look("draining", 4, None), look("draining", 0, None)];
    let (code, stdout, stderr) = run(looks, &["--wait"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with("nlb0: "), "{stdout}");
    assert!(stdout.ends_with("nlb0: nobody is left with this node; it goes on draining.\n"));
    let looks = vec![look("draining", 4, Some(60_000)), look("leaving", 0, Some(59_000)), None];
    let (code, stdout, _) = run(looks, &["--wait", "--timeout", "60", "--json"]).await;
    let lines: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let last = lines.last().expect("a line");
    assert_eq!((code, &last["done"], &last["leaves"]), (0, &true.into(), &true.into()));
}

#[tokio::test]
async fn other_ends_have_codes_of_their_own() {
    let over = vec![look("draining", 4, Some(9)), look("draining", 4, Some(9)), None];
    let (code, _, stderr) = run(over, &["--wait", "--timeout", "1"]).await;
    assert_eq!(code, 6, "{stderr}");
    assert!(stderr.starts_with("nlbctl: the time is over, and clients were left (4)"), "{stderr}");
    let back = vec![look("draining", 4, None), look("draining", 4, None), {
        look("active", 0, None).map(|cluster| Cluster { drain: None, ..cluster })
    }];
    let (code, _, stderr) = run(back, &["--wait"]).await;
    assert_eq!((code, stderr.as_str()), (7, "nlbctl: the node drains no longer\n"));
}

#[tokio::test]
async fn alone_it_has_to_be_meant() {
    let (code, _, stderr) = run(Vec::new(), &[]).await;
    assert_eq!((code, stderr.as_str()), (1, "nlbctl: no other node is active\n"));
    let (code, stdout, _) = run(Vec::new(), &["--force"]).await;
    assert_eq!((code, stdout.as_str()), (0, "This node takes no new clients.\n"));
}

#[tokio::test]
async fn an_interrupt_ends_only_the_looking_on() {
    let (_directory, mut child) = start(vec![look("draining", 4, None)], &["--wait"]);
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let line = timeout(SOON, lines.next_line()).await.expect("in time").expect("a pipe");
    assert_eq!(line.as_deref(), Some("nlb0: 4 of 9 clients left"));
    let pid = child.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().await.expect("kill");
    assert!(sent.success());
    let output = timeout(SOON, child.wait_with_output()).await.expect("in time").expect("an end");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("goes on draining") && stderr.contains("nlbctl undrain"), "{stderr}");
}
