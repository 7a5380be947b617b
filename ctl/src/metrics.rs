//! The daemon's metrics, read from their socket by HTTP.

use std::io;
use std::path::Path;

use nlb_varlink::{ANSWER_TIME, ClientError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::failure::Failure;

/// The socket in the daemon's run directory.
const SOCKET: &str = "metrics";

/// The most that is read: eight clusters have some 100 KB.
const MAX_PAGE: u64 = 16 << 20;

/// The page as the daemon gives it.
///
/// # Errors
/// When nobody listens, or the answer is none.
pub async fn read(run_dir: &Path) -> Result<String, Failure> {
    let socket = run_dir.join(SOCKET);
    let mut stream = UnixStream::connect(&socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => ClientError::Forbidden { socket },
        _ => ClientError::NotRunning { socket, error },
    })?;
    let exchange = async {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: nlbd\r\n\r\n").await?;
        let mut answer = String::new();
        stream.take(MAX_PAGE).read_to_string(&mut answer).await?;
        io::Result::Ok(answer)
    };
    let late = |_| ClientError::Silent { waited: ANSWER_TIME };
    let answer = tokio::time::timeout(ANSWER_TIME, exchange).await.map_err(late)??;
    Ok(body(&answer).map_err(io::Error::other)?.to_owned())
}

/// The body of a good answer; else what was said instead.
fn body(answer: &str) -> Result<&str, String> {
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body),
        Some((_, body)) => Err(body.trim().to_owned()),
        None => Err("the daemon's answer broke off".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::body;

    #[test]
    fn the_body_of_a_good_answer_and_no_other() {
        assert_eq!(body("HTTP/1.1 200 OK\r\nA: b\r\n\r\nnlbd 1\n"), Ok("nlbd 1\n"));
        let refused = body("HTTP/1.1 503 Service Unavailable\r\n\r\nlater\n");
        assert_eq!(refused, Err("later".to_owned()));
        assert!(body("HTTP/1.1 200 OK\r\n").is_err());
    }
}
