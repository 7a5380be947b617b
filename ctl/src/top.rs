//! `nlbctl top`: asks the daemon again and again, and draws. The terminal is left as it was,
//! whatever happens: ratatui's own hook sees to it after a panic.

pub mod model;
pub mod view;

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nlb_varlink::{ClientError, Connection, Event, Status};
use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyEventKind, KeyModifiers};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::failure::Failure;
use crate::run::{only, print, to_json};
use model::{Key, Model};

/// Keys that wait to be looked at: nobody types faster than the picture is drawn.
const MAX_KEYS: usize = 16;

/// A daemon that answers later than this does not answer.
const ANSWER_TIME: Duration = Duration::from_secs(3);

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The cluster to begin with.
    pub(crate) cluster: Option<&'a str>,
    /// The time between two questions.
    pub(crate) interval: Duration,
    /// For programs: a line with everything, each time.
    pub(crate) json: bool,
}

/// The daemon, as long as it is there.
struct Source<'a> {
    socket: &'a Path,
    connection: Option<Connection>,
    /// The daemon that was asked last: another one counts its events from 1 again.
    pid: u32,
}

impl Source<'_> {
    /// The status, and the events behind this number.
    async fn ask(&mut self, after: u64) -> Result<(Status, Vec<Event>), ClientError> {
        let mut daemon = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::connect(self.socket).await?,
        };
        let status = daemon.status().await?;
        let after = if self.pid == status.daemon.pid { after } else { 0 };
        let events = daemon.events(Some(i64::try_from(after).unwrap_or(i64::MAX))).await?.events;
        self.pid = status.daemon.pid;
        self.connection = Some(daemon);
        Ok((status, events))
    }

    /// Asks, and tells the model. A connection that failed is not used again.
    async fn refresh(&mut self, model: &mut Model) {
        match timeout(ANSWER_TIME, self.ask(model.last_event())).await {
            Ok(Ok((status, events))) => model.handle_answer(now_ms(), status, events),
            Ok(Err(ClientError::Broken(_))) => model.handle_lost("the daemon is gone".to_owned()),
            Ok(Err(error)) => model.handle_lost(error.to_string()),
            Err(_) => model.handle_lost("the daemon does not answer".to_owned()),
        }
    }
}

#[allow(clippy::disallowed_methods)] // this is the driver; the model is told the time
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Shows the cluster until somebody has seen enough.
pub(crate) async fn top(socket: &Path, wanted: Wanted<'_>) -> Result<(), Failure> {
    let mut source = Source { socket, connection: None, pid: 0 };
    let mut model = Model::default();
    // Whoever starts it where no daemon runs, or names a cluster that is not there, learns that at
    // once; a daemon that goes away later is waited for.
    let (status, events) = source.ask(0).await?;
    let status = match wanted.cluster {
        Some(cluster) => {
            only(status.clone(), Some(cluster))?;
            status
        }
        None => status,
    };
    model.handle_answer(now_ms(), status, events);
    if let Some(cluster) = wanted.cluster {
        model.choose(cluster);
    }
    if wanted.json {
        return lines(&mut source, &mut model, wanted.interval).await;
    }
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        return Err(Failure::NoTerminal);
    }
    let mut terminal = ratatui::try_init()?;
    let result = screen(&mut terminal, &mut source, &mut model, wanted.interval).await;
    // The first error is the one that matters.
    result.and(ratatui::try_restore().map_err(Failure::from))
}

/// For programs: an object a line, until nobody reads.
async fn lines(source: &mut Source<'_>, model: &mut Model, pause: Duration) -> Result<(), Failure> {
    loop {
        let last = model.last_event();
        tokio::time::sleep(pause).await;
        source.refresh(model).await;
        let events: Vec<_> = model.events.iter().filter(|event| event.sequence > last).collect();
        let (clusters, rates) = (model.status.as_ref().map(|s| &s.clusters), &model.rates);
        let line = json!({ "time_ms": now_ms(), "lost": model.lost, "clusters": clusters,
            "rates": rates, "events": events });
        if !print(&to_json(&line)?)? {
            return Ok(());
        }
    }
}

async fn screen(
    terminal: &mut ratatui::DefaultTerminal,
    source: &mut Source<'_>,
    model: &mut Model,
    pause: Duration,
) -> Result<(), Failure> {
    let (mut term, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut keys = keys();
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut page = 0;
        terminal.draw(|frame| page = view::draw(frame, model, now_ms()))?;
        tokio::select! {
            biased;
            _ = term.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            key = keys.recv() => match key {
                // No more keys: the terminal is gone.
                None => return Ok(()),
                Some(None) => {}
                Some(Some(key)) => if !model.handle_key(key, page) { return Ok(()) },
            },
            // A daemon that hangs is waited for here, and no key meanwhile: at most three seconds.
            _ = ticks.tick() => if !model.paused { source.refresh(model).await },
        }
    }
}

/// Keys and, as `None`, whatever else asks for another picture: a new size. Read by a thread of its
/// own, which ends with the process.
fn keys() -> mpsc::Receiver<Option<Key>> {
    let (sender, receiver) = mpsc::channel(MAX_KEYS);
    std::thread::spawn(move || {
        while let Ok(input) = event::read() {
            let meant = match input {
                Input::Key(pressed) if pressed.kind != KeyEventKind::Release => {
                    match key(pressed.code, pressed.modifiers) {
                        Some(key) => Some(key),
                        None => continue,
                    }
                }
                Input::Resize(..) => None,
                _ => continue,
            };
            if sender.blocking_send(meant).is_err() {
                return;
            }
        }
    });
    receiver
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
    Some(match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Key::Quit,
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Key::Quit,
        KeyCode::Char('p' | 'P' | ' ') => Key::Pause,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Left | KeyCode::Char('h') => Key::Left,
        KeyCode::Right | KeyCode::Char('l') => Key::Right,
        _ => return None,
    })
}
