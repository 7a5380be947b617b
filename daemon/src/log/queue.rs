//! The way of a line: from whoever says something into a bounded queue, and from there, by a thread
//! of its own, to journald or stderr. Either may take none for as long as it likes: a journald that
//! hangs, a pipe that nobody reads. Nobody but that thread waits for them. What finds no room is
//! lost, and how much that was is said as soon as lines are taken again.

use core::cell::RefCell;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tracing::field::{Field, Value, Visit, display};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::Context;

/// Lines that wait: minutes of a cluster in trouble, at most a few hundred KiB.
const MAX_LINES: usize = 1024;

/// How long the last lines may take to be written when the daemon ends.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Between two attempts then to get a word into a full queue.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// Where lines end. It is only ever called by the thread that writes, and may take its time.
pub(super) type Sink = Box<dyn Subscriber>;

/// The time of the line that is being written: when it was said, not when it could be written.
#[derive(Debug, Clone, Default)]
pub(super) struct Said(Arc<Mutex<String>>);

impl FormatTime for Said {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        w.write_str(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Said {
    fn set(&self, at: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

fn time_of_day() -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// A value of an event, as text; how it is shown depends on whether it was a text before.
enum Text {
    Quoted(String),
    Plain(String),
}

/// An event that outlives the moment in which it was said.
struct Line {
    at: String,
    metadata: &'static Metadata<'static>,
    /// By the index of the field.
    values: Vec<Option<Text>>,
}

impl Line {
    fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let values = metadata.fields().iter().map(|_| None).collect();
        let mut line = Self { at: time_of_day(), metadata, values };
        event.record(&mut line);
        line
    }

    fn put(&mut self, field: &Field, text: Text) {
        if let Some(value) = self.values.get_mut(field.index()) {
            *value = Some(text);
        }
    }

    fn write(&self, sink: &dyn Subscriber, said: &Said) {
        said.set(self.at.clone());
        let plain: Vec<_> = self.values.iter().map(|text| text.as_ref().map(Text::plain)).collect();
        let values: Vec<Option<&dyn Value>> = self
            .values
            .iter()
            .zip(&plain)
            .map(|(text, plain)| match (text, plain) {
                (Some(Text::Quoted(text)), _) => Some(text as &dyn Value),
                (Some(Text::Plain(_)), Some(plain)) => Some(plain as &dyn Value),
                _ => None,
            })
            .collect();
        let fields = self.metadata.fields();
        sink.event(&Event::new(self.metadata, &fields.value_set_all(&values)));
    }
}

impl Text {
    fn plain(&self) -> tracing::field::DisplayValue<&str> {
        let (Self::Quoted(text) | Self::Plain(text)) = self;
        display(text.as_str())
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Text::Quoted(value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Text::Plain(format!("{value:?}")));
    }
}

enum Item {
    Line(Line),
    /// Whoever waits for this knows that everything before it is written.
    Written(SyncSender<()>),
}

thread_local! {
    /// In the thread that writes: what it says itself does not go through its queue.
    static OWN: RefCell<Option<(Sink, Said)>> = const { RefCell::new(None) };
}

/// The beginning of the way.
pub(super) struct Queue {
    lines: SyncSender<Item>,
    lost: Arc<AtomicU64>,
}

impl<S: Subscriber> Layer<S> for Queue {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let written = OWN.with_borrow(|own| {
            let Some((sink, said)) = own else { return false };
            said.set(time_of_day());
            sink.event(event);
            true
        });
        if !written && self.lines.try_send(Item::Line(Line::of(event))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The log, for as long as the daemon lives. Dropping it has the last lines written, which may
/// take a second.
#[must_use]
pub struct Log {
    lines: SyncSender<Item>,
    end: Option<End>,
}

/// What the thread that writes needs.
struct End {
    queue: Receiver<Item>,
    lost: Arc<AtomicU64>,
    sink: Box<dyn FnOnce(Said) -> Sink + Send>,
}

/// Both ends of the way. The sink is made by the thread that writes: that, too, may take its time.
pub(super) fn queue(sink: impl FnOnce(Said) -> Sink + Send + 'static) -> (Queue, Log) {
    let (lines, queue) = sync_channel(MAX_LINES);
    let lost = Arc::<AtomicU64>::default();
    let end = Some(End { queue, lost: lost.clone(), sink: Box::new(sink) });
    (Queue { lines: lines.clone(), lost }, Log { lines, end })
}

impl Log {
    /// Starts the thread that writes. It inherits what the caller may, so privileges are dropped
    /// before; what was said by then has waited.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn write(&mut self) -> std::io::Result<()> {
        let Some(end) = self.end.take() else { return Ok(()) };
        std::thread::Builder::new().name("nlb-log".to_owned()).spawn(move || end.run()).map(drop)
    }
}

impl Drop for Log {
    // This is the end of the process, which no protocol's time has a part in.
    #[expect(clippy::disallowed_methods)]
    fn drop(&mut self) {
        // Started in vain: what was said on the way says why.
        if self.write().is_err() {
            return;
        }
        let end = Instant::now() + LAST_LINES;
        let (written, all) = sync_channel(1);
        let mut item = Item::Written(written);
        while let Err(error) = self.lines.try_send(item) {
            match error {
                TrySendError::Full(back) if Instant::now() < end => item = back,
                _ => return,
            }
            std::thread::sleep(TRY_EVERY);
        }
        // Otherwise the lines that are left go with the process.
        let _: Result<(), RecvTimeoutError> =
            all.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

impl End {
    fn run(self) {
        let said = Said::default();
        let sink = (self.sink)(said.clone());
        OWN.set(Some((sink, said)));
        for item in self.queue {
            match item {
                Item::Line(line) => OWN.with_borrow(|own| {
                    if let Some((sink, said)) = own {
                        line.write(&**sink, said);
                    }
                }),
                // Whoever waited may have given up.
                Item::Written(written) => drop(written.try_send(())),
            }
            match self.lost.swap(0, Ordering::Relaxed) {
                0 => {}
                lines => {
                    tracing::warn!(lines, "lines of the log are lost: it took none for a while")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
