//! A web server: one GET over HTTP/1.1, with as much of the answer as is needed and no more.

use core::fmt::Write as _;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::model::Http;
use super::probe::Failure;
use super::tls;

/// The longest head of an answer: what common servers take of a request.
const MAX_HEAD: usize = 16 << 10;
/// How much of the body is looked at.
const MAX_BODY: usize = 64 << 10;
/// How much is read at once.
const PIECE: usize = 4096;

/// Asks once.
pub(super) async fn get(http: &Http) -> Result<String, Failure> {
    let stream = TcpStream::connect(http.server).await.map_err(Failure::Connect)?;
    match &http.tls {
        None => talk(stream, http).await,
        Some(tls) => talk(tls::connect(stream, tls).await?, http).await,
    }
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    http: &Http,
) -> Result<String, Failure> {
    let mut request = String::new();
    let _ = write!(
        request,
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: nlbd\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        http.path, http.host
    );
    stream.write_all(request.as_bytes()).await.map_err(Failure::Talk)?;
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = find(&read, b"\r\n\r\n") {
            break end;
        }
        if read.len() > MAX_HEAD {
            return Err(Failure::TooLong);
        }
        if !more(&mut stream, &mut read).await? {
            return Err(Failure::NotHttp);
        }
    };
    let body = read.split_off(end + 4);
    let head = Head::parse(&String::from_utf8_lossy(&read)).ok_or(Failure::NotHttp)?;
    if !http.status.contains(&head.status) {
        return Err(Failure::Status(head.status));
    }
    if let Some((name, pattern)) = &http.header {
        let mut values = head.values(name).peekable();
        if values.peek().is_none() {
            return Err(Failure::NoHeader(name.clone()));
        }
        if !values.any(|value| pattern.0.is_match(value)) {
            return Err(Failure::Header(name.clone()));
        }
    }
    if let Some(pattern) = &http.body {
        let body = rest(&mut stream, body, &head).await?;
        if !pattern.0.is_match(&String::from_utf8_lossy(&body)) {
            return Err(Failure::Body);
        }
    }
    Ok(format!("status {}", head.status))
}

/// Reads on. `false`: that was all.
async fn more(stream: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) -> Result<bool, Failure> {
    let mut piece = [0; PIECE];
    match stream.read(&mut piece).await {
        Ok(0) => Ok(false),
        Ok(length) => {
            into.extend(piece.get(..length).unwrap_or_default());
            Ok(true)
        }
        // Many servers end TLS without saying so.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(Failure::Talk(error)),
    }
}

/// The body, to its end or as far as it is looked at.
async fn rest(
    stream: &mut (impl AsyncRead + Unpin),
    mut body: Vec<u8>,
    head: &Head,
) -> Result<Vec<u8>, Failure> {
    let chunked = head.values("transfer-encoding").any(|v| v.eq_ignore_ascii_case("chunked"));
    let length = head.values("content-length").next().and_then(|value| value.parse().ok());
    let wanted = length.filter(|_| !chunked).unwrap_or(MAX_BODY).min(MAX_BODY);
    loop {
        if chunked {
            let (decoded, ended) = unchunk(&body);
            if ended || body.len() >= MAX_BODY || !more(stream, &mut body).await? {
                return Ok(decoded);
            }
        } else if body.len() >= wanted || !more(stream, &mut body).await? {
            body.truncate(wanted);
            return Ok(body);
        }
    }
}

/// What the chunks so far hold, and whether the last was among them (RFC 9112 7.1).
fn unchunk(mut text: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(line) = find(text, b"\r\n") {
        let (size, rest) = (text.get(..line).unwrap_or_default(), text.get(line + 2..));
        let size = size.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = core::str::from_utf8(size).ok().map(str::trim);
        let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else {
            return (body, true);
        };
        let rest = rest.unwrap_or_default();
        if size == 0 {
            return (body, true);
        }
        body.extend(rest.get(..size.min(rest.len())).unwrap_or_default());
        match size.checked_add(2).and_then(|next| rest.get(next..)) {
            Some(next) => text = next,
            None => break,
        }
    }
    (body, false)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// The head of an answer.
struct Head {
    status: u16,
    fields: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split("\r\n");
        let (version, rest) = lines.next()?.split_once(' ')?;
        let status = rest.split(' ').next()?.parse().ok()?;
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields = fields.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
        version.starts_with("HTTP/1.").then(|| Self { status, fields: fields.collect() })
    }

    fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h str> {
        let fits = move |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields.iter().filter(fits).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests;
