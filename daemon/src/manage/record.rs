//! Recordings on their way out: steps of an engine become lines of text, for one caller at a time.
//!
//! It runs in the task of the caller's connection. The data path offers steps and never waits: what
//! is not taken in time is missing, and the recording says so.

use core::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use nlb_record::{Step, Writer};
use tokio::sync::mpsc;

use super::handle::{Caller, Handle};
use super::request::{ManageError, Reply, Request, TapeEnd};

/// Steps that may wait: some seconds of a quiet cluster, a tenth of a second of the busiest. Most
/// take 50 bytes, a frame up to 2 KiB.
const STEPS: usize = 8192;

/// Steps that become one answer.
const STEPS_AN_ANSWER: usize = 256;

/// The longest recording.
pub(super) const MAX_TIME: Duration = Duration::from_secs(600);

/// The most bytes of one.
const MAX_BYTES: usize = 256 << 20;

/// How long a recording may wait for its cluster to start, and for its end behind its time.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// The time of day, which only people read.
fn wall_clock_ms() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME);
    now.map_or(0, |now| u64::try_from(Duration::from(now).as_millis()).unwrap_or(u64::MAX))
}

/// What a recording has come to.
struct Tape {
    steps: mpsc::Receiver<Step>,
    head: Option<String>,
    bytes: usize,
    ended: bool,
}

impl Handle {
    /// Records a cluster for so long; gives its lines.
    ///
    /// # Errors
    /// When the caller may not, or the daemon does not.
    pub(super) async fn record(
        &self,
        caller: &Caller,
        cluster: Option<String>,
        time: Duration,
        from_start: bool,
    ) -> Result<BoxStream<'static, Vec<String>>, ManageError> {
        let (tape, steps) = mpsc::channel(STEPS);
        let tape = TapeEnd { steps: tape, time };
        let reply = self.ask(caller, Request::Record { cluster, from_start, tape }).await?;
        let Reply::Recording(cluster) = reply else { return Err(ManageError::NoAnswer) };
        let software = concat!("nlbd ", env!("CARGO_PKG_VERSION"));
        let head = Some(Writer::head(software, &cluster, wall_clock_ms()));
        Ok(stream::unfold(Tape { steps, head, bytes: 0, ended: false }, Tape::next).boxed())
    }
}

impl Tape {
    /// The next lines, and what is left.
    async fn next(mut self) -> Option<(Vec<String>, Self)> {
        if self.ended {
            return None;
        }
        let mut lines: Vec<String> = self.head.take().into_iter().collect();
        let mut steps = Vec::new();
        let taken = self.steps.recv_many(&mut steps, STEPS_AN_ANSWER);
        let taken = tokio::time::timeout(MAX_TIME + MAX_WAIT, taken).await;
        for step in steps {
            self.ended |= matches!(step.what, nlb_record::What::End(_));
            Writer::lines(step, &mut lines);
        }
        self.bytes += lines.iter().map(String::len).sum::<usize>();
        let ends = match taken {
            _ if self.ended => None,
            Ok(0) => Some("the engine of the cluster ended"),
            Err(_) => Some("nothing came any more"),
            Ok(_) if self.bytes > MAX_BYTES => Some("it became too large"),
            Ok(_) => None,
        };
        if let Some(why) = ends {
            lines.push(Writer::end(why));
            self.ended = true;
        }
        Some((lines, self))
    }
}
