//! `nlbctl events`: what the daemon still keeps, and what happens from there on, in one order.

use std::io;
use std::path::Path;

use futures_util::StreamExt as _;
use nlb_varlink::{Connection, Event};
use serde_json::json;

use crate::failure::Failure;
use crate::render::{self, Paint};
use crate::run::{only, to_json};

/// How many past events `--follow` begins with, unless told.
const LINES: usize = 10;

/// What is wanted of the events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Only those of this cluster.
    pub(crate) cluster: Option<&'a str>,
    /// Go on until interrupted.
    pub(crate) follow: bool,
    /// So many of the past.
    pub(crate) lines: Option<usize>,
    /// For programs.
    pub(crate) json: bool,
    /// For people.
    pub(crate) paint: Paint,
}

/// Prints events until there are no more, the daemon ends or nobody reads.
pub(crate) async fn events(socket: &Path, wanted: Wanted<'_>) -> Result<(), Failure> {
    let mut daemon = Connection::connect(socket).await?;
    let status = daemon.status().await?;
    let pid = status.daemon.pid;
    only(status, wanted.cluster)?;
    let past = daemon.events(None).await?.events;
    // Numbers begin at 1: what is missing before the first is no longer kept.
    let mut printer = Printer { wanted, last: 0, forgotten: true, out: io::stdout() };
    let last = past.last().map_or(0, |event| event.sequence);
    for event in printer.shown(past) {
        if !printer.print(&event)? {
            return Ok(());
        }
    }
    if !wanted.follow {
        return Ok(());
    }
    (printer.last, printer.forgotten) = (last, false);
    let after = i64::try_from(last).unwrap_or(i64::MAX);
    let mut coming = core::pin::pin!(daemon.monitor(Some(after)).await?);
    while let Some(event) = coming.next().await {
        match event {
            Ok(event) if printer.print(&event)? => {}
            Ok(_) => return Ok(()),
            Err(nlb_varlink::ClientError::Broken(_)) => break,
            Err(error) => return Err(error.into()),
        }
    }
    // It closes the connection of whoever does not read, too.
    let lives = match Connection::connect(socket).await {
        Ok(mut daemon) => daemon.status().await.is_ok_and(|status| status.daemon.pid == pid),
        Err(_) => false,
    };
    Err(if lives { Failure::NotRead } else { Failure::Ended })
}

struct Printer<'a> {
    wanted: Wanted<'a>,
    /// The number of the last event that was seen.
    last: u64,
    /// Whether missing ones are too old, and not lost on the way.
    forgotten: bool,
    out: io::Stdout,
}

impl Printer<'_> {
    fn is_wanted(&self, event: &Event) -> bool {
        self.wanted.cluster.is_none_or(|cluster| *cluster == event.cluster)
    }

    /// The last of the past, as many as are wanted.
    fn shown(&mut self, past: Vec<Event>) -> Vec<Event> {
        let lines = self.wanted.lines.or(self.wanted.follow.then_some(LINES));
        let Some(lines) = lines else { return past };
        let count = past.iter().filter(|event| self.is_wanted(event)).count();
        let mut shown: Vec<_> = past.into_iter().filter(|event| self.is_wanted(event)).collect();
        if count > lines {
            shown.drain(..count - lines);
        }
        // Whoever wants the last ones knows that there were others.
        self.last = u64::MAX;
        shown
    }

    /// Prints an event, and how many are missing before it. False when nobody reads.
    fn print(&mut self, event: &Event) -> Result<bool, Failure> {
        let (after, missing) = (self.last, event.sequence.saturating_sub(self.last).max(1) - 1);
        if self.last != u64::MAX {
            self.last = event.sequence;
        }
        let mut text = String::new();
        if missing > 0 {
            text = match (self.wanted.json, self.forgotten) {
                (true, _) => format!("{}\n", json!({ "missing": missing, "after": after })),
                (false, true) => render::gap(missing, "no longer kept"),
                (false, false) => render::gap(missing, "lost: this reader was too slow"),
            };
        }
        if self.is_wanted(event) {
            text.push_str(&match self.wanted.json {
                true => to_json(event)?,
                false => render::event(event, self.wanted.paint),
            });
        }
        use io::Write as _;
        let mut out = self.out.lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            result => result.map(|()| true).map_err(Failure::from),
        }
    }
}
