//! One HTTP request and its answer, as far as a scrape needs them (RFC 9112): the head is read to
//! its end, the body never; the connection is closed after the answer.

use core::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// The longest head that is read: a scraper's has a few hundred bytes.
const MAX_HEAD: usize = 8192;

/// How long a client may take to ask, and again to read the answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What a page of metrics is.
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const WORDS: &str = "text/plain; charset=utf-8";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The page.
    Metrics,
    /// Whether there would be one.
    Head,
    /// Something else; how that is answered.
    Other(&'static str),
}

const NOT_FOUND: &str = "404 Not Found";
const NOT_ALLOWED: &str = "405 Method Not Allowed";
const BAD: &str = "400 Bad Request";
const TOO_LARGE: &str = "431 Request Header Fields Too Large";
const UNAVAILABLE: &str = "503 Service Unavailable";

/// Reads a request, and answers it with the page that `page` makes if that is what is asked for.
/// Whoever asks too slowly, or does not read, is hung up on.
pub(super) async fn answer<S, F>(mut stream: S, patience: Duration, page: impl FnOnce() -> F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Option<String>>,
{
    let Ok(Some(asked)) = timeout(patience, request(&mut stream)).await else { return };
    let (status, kind, body) = match asked {
        Asked::Metrics | Asked::Head => match page().await {
            Some(page) => ("200 OK", METRICS, page),
            None => (UNAVAILABLE, WORDS, "the daemon does not answer\n".to_owned()),
        },
        Asked::Other(status) => (status, WORDS, format!("{status}: there is GET /metrics\n")),
    };
    let allow = if status == NOT_ALLOWED { "Allow: GET, HEAD\r\n" } else { "" };
    let mut text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}Connection: \
         close\r\n\r\n",
        body.len()
    );
    if asked != Asked::Head {
        text.push_str(&body);
    }
    let write = async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await
    };
    // Whoever asked may have gone.
    let _ = timeout(patience, write).await;
}

/// `None`: the client hung up before it had asked.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return Some(Asked::Other(TOO_LARGE));
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => head.extend_from_slice(buffer.get(..count)?),
        }
    }
    Some(parse(&head))
}

/// The request line of a head.
pub(super) fn parse(head: &[u8]) -> Asked {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words: Vec<&str> = str::from_utf8(line).unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = words.as_slice() else {
        return Asked::Other(BAD);
    };
    let path = target.split('?').next().unwrap_or_default();
    match (*method, path) {
        ("GET", "/metrics") => Asked::Metrics,
        ("HEAD", "/metrics") => Asked::Head,
        (_, "/metrics") => Asked::Other(NOT_ALLOWED),
        _ => Asked::Other(NOT_FOUND),
    }
}
