//! Web servers that do as they should, and others.

use regex_lite::Regex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::check::model::Pattern;

fn pattern(text: &str) -> Pattern {
    Pattern(Regex::new(text).unwrap())
}

/// What comes of a server that gives this answer, in two pieces.
async fn asked(answer: &[u8], change: impl FnOnce(&mut Http)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut http = Http {
        server: listener.local_addr().unwrap(),
        host: "www.example.org".to_owned(),
        path: "/health".to_owned(),
        tls: None,
        status: 200..=299,
        header: None,
        body: None,
    };
    change(&mut http);
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 1024];
        let length = stream.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..length]).into_owned();
        assert!(request.starts_with("GET /health HTTP/1.1\r\nHost: www.example.org\r\n"));
        let (first, second) = answer.split_at(answer.len() / 2);
        // Whoever has seen enough hangs up.
        let _ = stream.write_all(first).await;
        tokio::task::yield_now().await;
        let _ = stream.write_all(second).await;
    };
    let (result, ()) = tokio::join!(get(&http), serve);
    result.unwrap_or_else(|failure| failure.to_string())
}

#[tokio::test]
async fn status() {
    assert_eq!(asked(b"HTTP/1.1 204 No Content\r\n\r\n", |_| ()).await, "status 204");
    assert_eq!(asked(b"HTTP/1.1 500 Oh\r\n\r\n", |_| ()).await, "status 500");
    assert_eq!(asked(b"HTTP/1.0 301\r\n\r\n", |http| http.status = 301..=301).await, "status 301");
}

#[tokio::test]
async fn what_is_no_http() {
    for answer in [&b"SSH-2.0-x\r\n\r\n"[..], b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 x\r\n\r\n"] {
        assert_eq!(asked(answer, |_| ()).await, "the answer is no HTTP");
    }
    assert_eq!(asked(&[b'x'; 60_000], |_| ()).await, "the answer is too long");
}

#[tokio::test]
async fn headers() {
    let answer = b"HTTP/1.1 200 OK\r\nX-Role: replica\r\nx-role: primary\r\n\r\n";
    let want = |name: &str, text: &str| {
        let header = (name.to_owned(), pattern(text));
        move |http: &mut Http| http.header = Some(header)
    };
    assert_eq!(asked(answer, want("X-ROLE", "^primary$")).await, "status 200");
    assert_eq!(asked(answer, want("X-Role", "other")).await, "header X-Role does not match");
    assert_eq!(asked(answer, want("X-Rule", "")).await, "header X-Rule is missing");
}

#[tokio::test]
async fn bodies() {
    let want = |text: &str| {
        let body = pattern(text);
        move |http: &mut Http| http.body = Some(body)
    };
    let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nall well and more";
    assert_eq!(asked(plain, want("^all w$")).await, "status 200");
    assert_eq!(asked(plain, want("well")).await, "the body does not match");
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n5;x=y\r\n well\r\n0\r\n\r\n";
    assert_eq!(asked(chunked, want("^all well$")).await, "status 200");
    let endless = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b'a'; 200_000]].concat();
    assert_eq!(asked(&endless, want("^a+$")).await, "status 200");
}

#[test]
fn chunks_of_any_kind() {
    for text in ["", "zz\r\nx", "ffffffffffffffff\r\nab", "5\r\nab", "-1\r\n", "2\r\nabc"] {
        let (body, _) = unchunk(text.as_bytes());
        assert!(body.len() <= text.len());
    }
}
