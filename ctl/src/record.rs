//! `nlbctl debug record`: lines from the daemon into a file of the caller's.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use futures_util::StreamExt as _;
use nlb_varlink::{ANSWER_TIME, ClientError, Connection};
use serde_json::json;

use crate::failure::Failure;
use crate::run::print;

/// What is wanted of a recording.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) cluster: Option<&'a str>,
    pub(crate) output: &'a Path,
    pub(crate) seconds: u16,
    pub(crate) from_start: bool,
    pub(crate) json: bool,
}

/// What came.
#[derive(Debug, Default)]
struct Sum {
    lines: u64,
    bytes: u64,
    gaps: u64,
    interrupted: bool,
}

/// Records until the daemon says that it is done, or the caller has enough.
pub(crate) async fn record(socket: &Path, wanted: Wanted<'_>) -> Result<(), Failure> {
    let Wanted { cluster, output, seconds, from_start, json } = wanted;
    let mut daemon = Connection::connect(socket).await?;
    let mut lines =
        core::pin::pin!(daemon.record(cluster, Some(seconds.into()), from_start).await?);
    // The first answer says whether there is a recording at all. One from the start begins when
    // its cluster does.
    let first = match from_start {
        true => lines.next().await,
        false => tokio::time::timeout(ANSWER_TIME, lines.next())
            .await
            .map_err(|_| ClientError::Silent { waited: ANSWER_TIME })?,
    };
    let Some(first) = first else { return Err(Failure::Ended) };
    let first = first?;
    let unwritable = |error| Failure::File { path: output.to_owned(), error };
    // Others need not read whose clients come here.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(output);
    let mut file = BufWriter::new(file.map_err(unwritable)?);
    let mut sum = Sum::default();
    sum.write(&mut file, &first).map_err(unwritable)?;
    loop {
        let next = tokio::select! {
            next = lines.next() => next,
            _ = tokio::signal::ctrl_c() => {
                sum.interrupted = true;
                break;
            }
        };
        match next {
            Some(Ok(lines)) => sum.write(&mut file, &lines).map_err(unwritable)?,
            Some(Err(ClientError::Broken(_))) => {
                file.flush().map_err(unwritable)?;
                return Err(Failure::Ended);
            }
            Some(Err(error)) => return Err(error.into()),
            None => break,
        }
    }
    file.flush().map_err(unwritable)?;
    print(&sum.words(output, json))?;
    Ok(())
}

impl Sum {
    fn write(&mut self, file: &mut impl Write, lines: &[String]) -> io::Result<()> {
        for line in lines {
            self.lines += 1;
            self.bytes += line.len() as u64 + 1;
            self.gaps += u64::from(line.contains("{\"lost\":"));
            file.write_all(line.as_bytes())?;
            file.write_all(b"\n")?;
        }
        Ok(())
    }

    fn words(&self, output: &Path, json: bool) -> String {
        let Self { lines, bytes, gaps, interrupted } = *self;
        if json {
            let file = output.display().to_string();
            let sum = json!({
                "file": file, "lines": lines, "bytes": bytes, "gaps": gaps,
                "interrupted": interrupted,
            });
            return format!("{sum}\n");
        }
        let mut text = format!(
            "Recorded {lines} lines ({} KiB) in {}{}.\n",
            bytes.div_ceil(1024),
            output.display(),
            if interrupted { ", until interrupted" } else { "" }
        );
        if gaps > 0 {
            text.push_str(&format!("It has {gaps} gaps: the reader was too slow there.\n"));
        }
        text.push_str(
            "It holds no keys. It does hold names of nodes, addresses of clients and the hash \
             seed:\nmind whom you give it to.\n",
        );
        text
    }
}
