//! Whatever comes over a connection, in whatever pieces: each call has one reply, what is no call
//! has a reason and ends its connection, and nobody else notices.

mod fake;

use std::sync::atomic::Ordering;
use std::time::Duration;

use fake::{Fake, Served};
use futures_util::future::join;
use nlb_varlink::{Connection, Limits};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

/// The longest message here: small, so that too long ones come often.
const MESSAGE: usize = 2000;

const METHODS: [&str; 20] = [
    "Status",
    "Buckets",
    "Clients",
    "Explain",
    "SetWeight",
    "SetWeightMode",
    "AddInterface",
    "RemoveInterface",
    "Leave",
    "Drain",
    "RestartHold",
    "Undrain",
    "Reload",
    "CheckConfig",
    "Events",
    "Monitor",
    "Record",
    "Explode",
    "",
    "org.nlbd.Cluster.Status",
];

const PARAMETERS: [&str; 10] = [
    "cluster",
    "limit",
    "address",
    "weight",
    "mode",
    "interface",
    "addresses",
    "timeout_s",
    "file",
    "after",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("nlb0")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn parameters() -> impl Strategy<Value = Option<Value>> {
    let named = prop::collection::btree_map(prop::sample::select(&PARAMETERS[..]), value(), 0..3)
        .prop_map(|map| {
            Some(Value::Object(map.into_iter().map(|(key, it)| (key.to_owned(), it)).collect()))
        });
    prop_oneof![2 => Just(None), 4 => named, 1 => value().prop_map(Some)]
}

/// Calls of the right form; streams are not asked for, they have no one reply.
fn call() -> impl Strategy<Value = Vec<u8>> {
    let interface = prop_oneof![
        6 => Just("org.nlbd.Cluster."),
        1 => Just("org.varlink.service."),
        1 => Just("org.example."),
        1 => Just(""),
    ];
    let method = prop::sample::select(&METHODS[..]);
    (interface, method, parameters(), any::<Option<bool>>()).prop_map(
        |(interface, method, parameters, oneway)| {
            let mut call = json!({ "method": format!("{interface}{method}") });
            if let Some(parameters) = parameters {
                call["parameters"] = parameters;
            }
            if let Some(oneway) = oneway.filter(|_| method.len() % 2 == 0) {
                call["oneway"] = oneway.into();
            }
            call.to_string().into_bytes()
        },
    )
}

/// One message, without its end; most are calls.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let cut = (call(), any::<prop::sample::Index>()).prop_map(|(mut call, at)| {
        call.truncate(at.index(call.len()));
        call
    });
    let broken =
        (call(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut call, at, to)| {
            let at = at.index(call.len());
            call[at] = to;
            call
        });
    prop_oneof![
        40 => call(),
        1 => cut,
        1 => broken,
        1 => value().prop_map(|value| value.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..300),
        1 => (MESSAGE - 3..MESSAGE + 4).prop_map(|length| vec![b' '; length]),
        1 => (1..300_usize).prop_map(|depth| b"[".repeat(depth)),
        1 => Just(vec![0; 3]),
    ]
}

/// What a server must make of a message: how many replies, and whether it goes on.
fn expected(message: &[u8]) -> (usize, bool) {
    let call = serde_json::from_slice::<Value>(message).ok().filter(|call| {
        let flag = |name: &str| matches!(call.get(name), None | Some(Value::Null | Value::Bool(_)));
        call.is_object() && call["method"].is_string() && flag("oneway") && flag("more")
    });
    match call {
        Some(call) if message.len() <= MESSAGE => (usize::from(call["oneway"] != true), true),
        _ => (1, false),
    }
}

/// How many replies all of these bytes have, and whether the connection is still good behind them.
fn replies(bytes: &[u8]) -> (usize, bool) {
    let mut count = 0;
    let mut parts = bytes.split(|byte| *byte == 0).peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            // Without an end it is no message, but it can be too long.
            let long = part.len() > MESSAGE;
            return (count + usize::from(long), !long);
        }
        let (more, good) = expected(part);
        count += more;
        if !good {
            return (count, false);
        }
    }
    (count, true)
}

/// Sends bytes in pieces, says that there are no more, and reads to the end.
async fn exchange(served: &Served, bytes: &[u8], pieces: &[usize]) -> Vec<Value> {
    let mut stream = UnixStream::connect(&served.socket).await.expect("connect");
    let (mut read, mut write) = stream.split();
    let send = async {
        let (mut rest, mut pieces) = (bytes, pieces.iter().cycle());
        while !rest.is_empty() {
            let length = pieces.next().map_or(rest.len(), |length| (*length).min(rest.len()));
            let (piece, behind) = rest.split_at(length);
            // The server may have had enough.
            if write.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
            rest = behind;
        }
        let _ = write.shutdown().await;
    };
    let receive = async {
        let mut all = Vec::new();
        // A server that closes while something is unread resets the connection.
        while let Ok(1..) = read.read_buf(&mut all).await {}
        all
    };
    let ((), mut all) = timeout(SOON, join(send, receive)).await.expect("it ends");
    assert_eq!(all.pop().unwrap_or(0), 0, "half a reply");
    let all = all.split(|byte| *byte == 0).filter(|reply| !reply.is_empty());
    all.map(|reply| serde_json::from_slice(reply).expect("JSON")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn anything_may_come(
        messages in prop::collection::vec(message(), 1..12),
        pieces in prop::collection::vec(1..700_usize, 1..6),
        ends in any::<bool>(),
    ) {
        let mut bytes = messages.join(&0);
        if ends {
            bytes.push(0);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let limits = Limits { message: MESSAGE, ..Limits::default() };
            let served = Served::new(Fake::default(), limits);
            // Somebody who was there before, and somebody who reads nothing.
            let mut other = Connection::connect(&served.socket).await.expect("connect");
            let mut slow = UnixStream::connect(&served.socket).await.expect("connect");
            let asks = b"{\"method\":\"org.nlbd.Cluster.Buckets\"}\0".repeat(20);
            slow.write_all(&asks).await.expect("send");

            let said = exchange(&served, &bytes, &pieces).await;
            let (count, good) = replies(&bytes);
            assert_eq!(said.len(), count, "{}: {said:?}", String::from_utf8_lossy(&bytes));
            for reply in &said {
                let error = reply.get("error").map(|error| error.as_str().expect("a name"));
                let known = |name: &str| {
                    ["org.varlink.service.", "org.nlbd.Cluster."].iter().any(|it| name.starts_with(it))
                };
                assert!(error.is_none_or(known), "{reply}");
                assert!(reply["parameters"].is_object(), "{reply}");
            }
            if !good {
                let last = said.last().expect("a reason");
                assert_eq!(last["error"], "org.nlbd.Cluster.Refused", "{last}");
            }
            let status = timeout(SOON, other.status()).await.expect("in time");
            assert_eq!(status.expect("a status").clusters.len(), 1);
            assert!(served.backend.calls.load(Ordering::Relaxed) > 0);
        });
    }
}

/// A recording is answered line by line, and the connection is good for more behind it.
#[tokio::test]
async fn a_recording_ends_and_the_connection_goes_on() {
    let served = Served::new(Fake::default(), Limits::default());
    let record = json!({ "method": "org.nlbd.Cluster.Record", "more": true,
        "parameters": { "seconds": 2 } });
    let status = json!({ "method": "org.nlbd.Cluster.Status" });
    let lonely = json!({ "method": "org.nlbd.Cluster.Record" });
    // One after the other: whoever speaks while he is told something breaks the rules.
    let said = exchange(&served, format!("{record}\0").as_bytes(), &[100]).await;
    let lines: Vec<&Value> = said.iter().map(|reply| &reply["parameters"]["lines"]).collect();
    assert_eq!(lines, [&json!(["0", "0"]), &json!(["1", "1"]), &json!([])]);
    let goes_on: Vec<bool> = said.iter().map(|reply| reply["continues"] == true).collect();
    assert_eq!(goes_on, [true, true, false]);
    let said = exchange(&served, format!("{lonely}\0{status}\0").as_bytes(), &[100]).await;
    assert_eq!(said[0]["error"], "org.varlink.service.ExpectedMore");
    assert!(said[1]["parameters"]["clusters"].is_array());

    let mut client = Connection::connect(&served.socket).await.expect("connect");
    {
        use futures_util::StreamExt as _;
        let lines = client.record(None, Some(3), false).await.expect("a stream");
        let lines: Vec<_> = lines.map(|lines| lines.expect("lines").len()).collect().await;
        assert_eq!(lines, [2, 2, 2, 0]);
    }
    assert!(client.status().await.is_ok());
}
