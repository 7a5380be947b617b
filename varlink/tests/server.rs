//! The server over a real socket: what a client gets, whatever it sends.

mod fake;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fake::{Fake, Served};
use futures_util::StreamExt as _;
use nlb_varlink::{ClientError, Connection, Error, Limits, Server, ServerError};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Long enough for this machine, short enough to wait for.
const SOON: Duration = Duration::from_secs(5);

/// A client that may send anything.
struct Raw(UnixStream, Vec<u8>);

impl Raw {
    async fn new(socket: &Path) -> Self {
        Self(UnixStream::connect(socket).await.expect("connect"), Vec::new())
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("send");
    }

    async fn call(&mut self, call: Value) -> Value {
        self.send(&[call.to_string().as_bytes(), b"\0"].concat()).await;
        self.receive().await.expect("a reply")
    }

    /// The next message; `None` at the end of the connection.
    async fn receive(&mut self) -> Option<Value> {
        let read = async {
            loop {
                if let Some(end) = self.1.iter().position(|byte| *byte == 0) {
                    let rest = self.1.split_off(end + 1);
                    let message = std::mem::replace(&mut self.1, rest);
                    return Some(serde_json::from_slice(&message[..end]).expect("JSON"));
                }
                match self.0.read_buf(&mut self.1).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        timeout(SOON, read).await.expect("in time")
    }
}

fn error(name: &str, parameters: Value) -> Value {
    json!({ "error": name, "parameters": parameters })
}

#[tokio::test]
async fn bad_calls_get_proper_errors_and_the_connection_goes_on() {
    let served = Served::new(Fake::default(), Limits::default());
    let mut raw = Raw::new(&served.socket).await;
    for (call, name, parameters) in [
        (
            json!({"method": "org.nlbd.Cluster.Explode", "parameters": {"now": true}}),
            "org.varlink.service.MethodNotFound",
            json!({"method": "org.nlbd.Cluster.Explode"}),
        ),
        (
            json!({"method": "org.example.Other.Status"}),
            "org.varlink.service.InterfaceNotFound",
            json!({"interface": "org.example.Other"}),
        ),
        (
            json!({"method": "Status"}),
            "org.varlink.service.MethodNotFound",
            json!({"method": "Status"}),
        ),
        (
            json!({"method": "org.nlbd.Cluster.SetWeight", "parameters": {"weight": "7"}}),
            "org.varlink.service.InvalidParameter",
            json!({"parameter": "weight"}),
        ),
        (
            json!({"method": "org.nlbd.Cluster.SetWeight", "parameters": {}}),
            "org.varlink.service.InvalidParameter",
            json!({"parameter": "weight"}),
        ),
        (
            json!({"method": "org.nlbd.Cluster.Status", "parameters": {"colour": 1}}),
            "org.varlink.service.InvalidParameter",
            json!({"parameter": "colour"}),
        ),
        (
            json!({"method": "org.nlbd.Cluster.Status", "parameters": [1]}),
            "org.varlink.service.InvalidParameter",
            json!({"parameter": "parameters"}),
        ),
        (
            json!({"method": "org.nlbd.Cluster.AddInterface",
                   "parameters": {"interface": "eth0", "addresses": [1]}}),
            "org.varlink.service.InvalidParameter",
            json!({"parameter": "addresses"}),
        ),
        (
            json!({"method": "org.nlbd.Cluster.Monitor"}),
            "org.varlink.service.ExpectedMore",
            json!({}),
        ),
        (
            json!({"method": "org.varlink.service.GetInterfaceDescription",
                   "parameters": {"interface": "org.example.Other"}}),
            "org.varlink.service.InterfaceNotFound",
            json!({"interface": "org.example.Other"}),
        ),
        (
            json!({"method": "org.nlbd.Cluster.SetWeight", "parameters": {"weight": 0}}),
            "org.nlbd.Cluster.InvalidValue",
            json!({"field": "weight", "found": "0", "allowed": "1 to 65535"}),
        ),
        (
            json!({"method": "org.nlbd.Cluster.Leave", "parameters": {"cluster": "x"}}),
            "org.nlbd.Cluster.UnknownCluster",
            json!({"cluster": "x", "known": ["nlb0", "web"]}),
        ),
    ] {
        assert_eq!(raw.call(call).await, error(name, parameters));
    }
    // Only the last two were the backend's business.
    assert_eq!(served.backend.calls.load(Ordering::Relaxed), 2);
    let reply = raw.call(json!({"method": "org.nlbd.Cluster.Status"})).await;
    assert_eq!(reply["parameters"]["clusters"][0]["name"], "nlb0");
}

#[tokio::test]
async fn what_is_no_call_ends_the_connection_with_a_reason() {
    let served = Served::new(Fake::default(), Limits { message: 1000, ..Limits::default() });
    for nonsense in [&b"GET / HTTP/1.1\r\n\r\n\0"[..], b"\0", b"\xff\xfe\0", b"{\"method\": 7}\0"] {
        let mut raw = Raw::new(&served.socket).await;
        raw.send(nonsense).await;
        let reply = raw.receive().await.expect("a reason");
        assert_eq!(reply["error"], "org.nlbd.Cluster.Refused");
        assert_eq!(raw.receive().await, None);
    }
    // Too long, with and without an end.
    for end in [&b""[..], b"\0"] {
        let mut raw = Raw::new(&served.socket).await;
        raw.send(&[&vec![b' '; 1001], end].concat()).await;
        let reply = raw.receive().await.expect("a reason");
        assert_eq!(reply["parameters"]["reason"], "a message of more than 1000 bytes");
        assert_eq!(raw.receive().await, None);
    }
    // Not too long.
    let mut raw = Raw::new(&served.socket).await;
    let call = br#"{"method":"org.nlbd.Cluster.Status"}"#;
    raw.send(&[&vec![b' '; 1000 - call.len()], &call[..], b"\0"].concat()).await;
    assert!(raw.receive().await.expect("a reply")["parameters"].is_object());
}

#[tokio::test]
async fn calls_in_pieces_and_in_a_row() {
    let served = Served::new(Fake::default(), Limits::default());
    let mut raw = Raw::new(&served.socket).await;
    let call = br#"{"method":"org.nlbd.Cluster.Status"}"#;
    for byte in call {
        raw.send(&[*byte]).await;
    }
    let oneway =
        br#"{"method":"org.nlbd.Cluster.SetWeight","parameters":{"weight":3},"oneway":true}"#;
    raw.send(&[&b"\0"[..], oneway, b"\0", call, b"\0"].concat()).await;
    for _ in 0..2 {
        assert!(raw.receive().await.expect("a reply")["parameters"]["clusters"].is_array());
    }
    assert_eq!(served.backend.calls.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_up_and_is_closed() {
    let limits = Limits { write: Duration::from_millis(200), ..Limits::default() };
    let served = Served::new(Fake::default(), limits);
    let mut slow = Raw::new(&served.socket).await;
    slow.send(b"{\"method\":\"org.nlbd.Cluster.Monitor\",\"more\":true}\0").await;
    let mut asking = Raw::new(&served.socket).await;
    asking.send(&b"{\"method\":\"org.nlbd.Cluster.Buckets\"}\0".repeat(100)).await;

    let mut other = Connection::connect(&served.socket).await.expect("connect");
    for _ in 0..20 {
        timeout(SOON, other.status()).await.expect("in time").expect("a status");
    }
    tokio::time::sleep(limits.write * 3).await;
    // What was sent before is there, and then the end.
    while slow.receive().await.is_some() {}
    while asking.receive().await.is_some() {}
}

#[tokio::test]
async fn connections_are_bounded_and_some_are_kept_for_the_privileged() {
    let limits = Limits { connections: 3, reserved: 1, ..Limits::default() };
    let status = json!({"method": "org.nlbd.Cluster.Status"});
    for (privileged, room) in [(false, 2), (true, 3)] {
        let served = Served::new(Fake { privileged, ..Fake::default() }, limits);
        let mut kept = Vec::new();
        for _ in 0..room {
            let mut raw = Raw::new(&served.socket).await;
            raw.call(status.clone()).await;
            kept.push(raw);
        }
        let mut one_more = Raw::new(&served.socket).await;
        let told = one_more.receive().await.expect("a reason");
        assert_eq!(told["parameters"]["reason"], "too many connections: try again later");
        assert_eq!(one_more.receive().await, None);
        let refused = Connection::connect(&served.socket).await.expect_err("one more");
        assert!(matches!(refused, ClientError::Refused(Error::Refused { .. })), "{refused}");
        // One goes, another may come.
        kept.pop();
        for _ in 0.. {
            let mut raw = Raw::new(&served.socket).await;
            let _ = raw.0.write_all(format!("{status}\0").as_bytes()).await;
            if raw.receive().await.is_some_and(|reply| reply.get("error").is_none()) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn monitor_streams_until_the_client_goes() {
    let served = Served::new(Fake { events: 50, ..Fake::default() }, Limits::default());
    let mut raw = Raw::new(&served.socket).await;
    let first = raw.call(json!({"method": "org.nlbd.Cluster.Monitor", "more": true})).await;
    assert_eq!(first["continues"], true);
    assert_eq!(first["parameters"]["event"]["sequence"], 1);
    drop(raw);
    // What can be no number is refused, and the connection goes on.
    let mut raw = Raw::new(&served.socket).await;
    for _ in 0..2 {
        let call = json!({"method": "org.nlbd.Cluster.Monitor", "more": true,
            "parameters": {"after": -1}});
        assert_eq!(raw.call(call).await["error"], "org.nlbd.Cluster.InvalidValue");
    }
    drop(raw);

    let mut client = Connection::connect(&served.socket).await.expect("connect");
    let mut events = std::pin::pin!(client.monitor(Some(3)).await.expect("a stream"));
    for sequence in 4..=50 {
        let event = timeout(SOON, events.next()).await.expect("in time").expect("an event");
        assert_eq!(event.expect("an event").sequence, sequence);
    }
    // The backend's stream ended, as when the daemon does.
    assert!(matches!(events.next().await, None | Some(Err(_))));
}

#[tokio::test]
async fn the_client_knows_what_the_server_says() {
    let served = Served::new(Fake::default(), Limits::default());
    let mut client = Connection::connect(&served.socket).await.expect("connect");
    assert_eq!(client.status().await.expect("status").clusters[0].id, 7);
    assert_eq!(client.buckets(None).await.expect("buckets").ranges.len(), 4096);
    assert!(client.set_weight(Some("nlb0"), 9).await.expect("changed").changed);
    let refused = client.leave(Some("x")).await.expect_err("there is none");
    assert!(matches!(&refused, ClientError::Refused(Error::UnknownCluster { .. })), "{refused}");
    assert_eq!(refused.to_string(), "there is no cluster \"x\" here, but nlb0, web");
    let refused = client.reload().await.expect_err("refused");
    assert_eq!(refused.to_string(), "not now");
}

#[tokio::test]
async fn a_socket_that_is_removed_is_there_again() {
    let served = Served::new(Fake::default(), Limits::default());
    let mut before = Connection::connect(&served.socket).await.expect("connect");
    before.status().await.expect("a status");
    let gone = |socket: &Path| !socket.exists();
    for replaced in [false, true] {
        std::fs::remove_file(&served.socket).expect("removed");
        if replaced {
            // Somebody else's, whom nobody listens to.
            drop(std::os::unix::net::UnixListener::bind(&served.socket).expect("bind"));
        }
        let found = async {
            loop {
                if let Ok(mut client) = Connection::connect(&served.socket).await {
                    break client.status().await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(SOON, found).await.expect("in time").expect("a status");
        // Whoever was there is not disturbed.
        before.status().await.expect("a status");
    }
    assert!(!gone(&served.socket));
}

#[tokio::test]
async fn sockets_are_replaced_only_when_nobody_listens() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("s");
    let server = Server::bind(&socket, Limits::default()).expect("bind");
    let mode = std::fs::metadata(&socket).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let second = Server::bind(&socket, Limits::default()).expect_err("in use");
    assert!(matches!(second, ServerError::InUse { .. }), "{second}");
    drop(server);
    assert!(!socket.exists());

    // A stale one: bound once, its owner killed.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("bind"));
    assert!(socket.exists());
    drop(Server::bind(&socket, Limits::default()).expect("replaced"));

    std::fs::write(&socket, "precious").expect("write");
    let file = Server::bind(&socket, Limits::default()).expect_err("no socket");
    assert!(matches!(file, ServerError::NotASocket { .. }), "{file}");
    let nowhere = Connection::connect(&directory.path().join("none")).await.expect_err("none");
    assert!(matches!(nowhere, ClientError::NotRunning { .. }), "{nowhere}");
}

/// Whoever listens and says nothing is given up on, before a call and in it.
#[tokio::test(start_paused = true)]
async fn a_daemon_that_is_silent_is_not_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("s");
    let listener = tokio::net::UnixListener::bind(&socket).expect("bind");
    let silent = Connection::connect(&socket).await.expect_err("nobody accepts");
    assert!(matches!(silent, ClientError::Silent { .. }), "{silent}");
    assert_eq!(silent.to_string(), "the daemon does not answer (5 s were waited)");
    listener.accept().await.expect("who gave up");

    let greets = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        stream.write_all(b"{\"parameters\":{\"vendor\":\"nlbd\"}}\0").await.expect("sent");
        stream
    };
    let (client, _stream) = tokio::join!(Connection::connect(&socket), greets);
    let silent = client.expect("a greeting").status().await.expect_err("no answer");
    assert!(matches!(silent, ClientError::Silent { .. }), "{silent}");
}
