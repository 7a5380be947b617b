use std::sync::mpsc;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

/// Writes to a channel; a full one, which nobody reads, holds it up.
#[derive(Clone)]
struct Pipe(mpsc::SyncSender<Vec<u8>>);

impl std::io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(|_| std::io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Pipe {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// A log that ends in a pipe with room for so many lines.
fn log(room: usize) -> (impl Subscriber + Send + Sync, Log, mpsc::Receiver<Vec<u8>>) {
    let (pipe, lines) = sync_channel(room);
    let (queue, log) = queue(move |said| {
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(Pipe(pipe))
            .with_timer(said)
            .with_ansi(false)
            .with_target(false);
        Box::new(tracing_subscriber::registry().with(layer))
    });
    (tracing_subscriber::registry().with(queue), log, lines)
}

fn words(line: &[u8]) -> String {
    let line = str::from_utf8(line).unwrap().trim();
    let (at, words) = line.split_once(' ').unwrap();
    assert!(at.starts_with("20") && at.ends_with('Z'), "{line}");
    words.trim().to_owned()
}

#[test]
fn a_line_is_as_it_would_be_without_a_queue() {
    let (subscriber, log, lines) = log(8);
    tracing::subscriber::with_default(subscriber, || {
        let (error, absent) = (std::io::Error::other("no room"), None::<u32>);
        tracing::info!(cluster = "nlb0", number = 7, %error, queue = ?Some(1), absent, "is {}", 5);
        tracing::warn!("no fields");
    });
    drop(log);
    let said: Vec<_> = lines.try_iter().map(|line| words(&line)).collect();
    let first = "INFO is 5 cluster=\"nlb0\" number=7 error=no room queue=Some(1)";
    assert_eq!(said, [first, "WARN no fields"]);
}

/// Nobody who says something waits; how much is missing is told.
#[test]
fn a_log_that_takes_nothing_holds_nobody_up() {
    const SAID: u64 = 3 * MAX_LINES as u64;
    let (subscriber, mut log, lines) = log(1);
    let everybody = tracing::Dispatch::new(subscriber);
    // As `write` does where everybody's log is this one.
    let (end, own) = (log.end.take().unwrap(), everybody.clone());
    std::thread::spawn(move || tracing::dispatcher::with_default(&own, || end.run()));
    tracing::dispatcher::with_default(&everybody, || {
        for line in 0..SAID {
            tracing::info!(line, "said");
        }
        // Nor does the end, for long, although nobody reads.
        drop(log);
    });
    let (mut read, mut lost) = (0, 0);
    while read + lost < SAID {
        let line = words(&lines.recv_timeout(Duration::from_secs(10)).unwrap());
        match line.strip_prefix("WARN lines of the log are lost: it took none for a while lines=") {
            Some(lines) => lost += lines.parse::<u64>().unwrap(),
            None => read += 1,
        }
    }
    assert_eq!(read + lost, SAID);
    assert!(lost >= SAID - 2 * MAX_LINES as u64, "{lost}");
}
