//! What `nlbctl top` shows, and how it changes. Pure: answers, keys and the time are handed in.

use std::collections::{BTreeMap, VecDeque};

use nlb_varlink::{Cluster, Event, Status};
use serde::Serialize;

/// Events that can be scrolled back to: more than anybody reads, and less than a megabyte.
pub const MAX_EVENTS: usize = 1000;

/// How much more of something there was, per second.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Rate(pub f64);

/// What changes per second at this node of a cluster.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Rates {
    /// Packets for the service that were taken.
    pub taken: Rate,
    /// Their bytes.
    pub taken_bytes: Rate,
    /// Packets that were dropped, most of them because another node takes them.
    pub dropped: Rate,
    /// Their bytes.
    pub dropped_bytes: Rate,
    /// Everything that is counted, by name; what did not change is not listed.
    pub counters: BTreeMap<String, Rate>,
}

/// What somebody pressed, as far as it means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // they are what their names say
pub enum Key {
    Quit,
    Pause,
    Up,
    Down,
    PageUp,
    PageDown,
    Left,
    Right,
}

/// Everything that is shown.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// The last answer.
    pub status: Option<Status>,
    /// By cluster, since the answer before.
    pub rates: BTreeMap<String, Rates>,
    /// The last events, oldest first.
    pub events: VecDeque<Event>,
    /// Why there is no newer answer.
    pub lost: Option<String>,
    /// Whether the picture stands still.
    pub paused: bool,
    /// How many of the newest events are below the window.
    pub scroll: usize,
    /// Which cluster is shown.
    chosen: usize,
    /// When the last answer came.
    answered_ms: u64,
}

impl Model {
    /// The cluster that is shown.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.status.as_ref()?.clusters.get(self.chosen)
    }

    /// Which it is, and how many there are.
    #[must_use]
    pub fn position(&self) -> (usize, usize) {
        (self.chosen + 1, self.status.as_ref().map_or(0, |status| status.clusters.len()))
    }

    /// The number of the last event that is known.
    #[must_use]
    pub fn last_event(&self) -> u64 {
        self.events.back().map_or(0, |event| event.sequence)
    }

    /// Shows this cluster, if it is there.
    pub fn choose(&mut self, cluster: &str) {
        let clusters = self.status.iter().flat_map(|status| &status.clusters);
        if let Some(index) = clusters.into_iter().position(|known| known.name == cluster) {
            self.chosen = index;
        }
    }

    /// An answer came: the status, and the events since [`Self::last_event`].
    pub fn handle_answer(&mut self, now_ms: u64, status: Status, events: Vec<Event>) {
        let spent_ms = now_ms.saturating_sub(self.answered_ms);
        self.rates = match &self.status {
            // Another daemon counts from 0 again.
            Some(before) if before.daemon.pid == status.daemon.pid && spent_ms > 0 => {
                rates(before, &status, spent_ms)
            }
            Some(_) | None => BTreeMap::new(),
        };
        let shown = self.cluster().map(|cluster| cluster.name.clone());
        // Whoever has scrolled back keeps what he reads under his eyes.
        if self.scroll > 0 {
            self.scroll = (self.scroll + events.len()).min(MAX_EVENTS);
        }
        for event in events {
            if self.events.len() >= MAX_EVENTS {
                self.events.pop_front();
            }
            self.events.push_back(event);
        }
        self.status = Some(status);
        self.answered_ms = now_ms;
        self.lost = None;
        self.chosen = 0;
        if let Some(shown) = shown {
            self.choose(&shown);
        }
        self.scroll = self.scroll.min(self.events.len().saturating_sub(1));
    }

    /// No answer came. What was known stays, and is marked as old.
    pub fn handle_lost(&mut self, reason: String) {
        self.lost = Some(reason);
        self.rates.clear();
    }

    /// How long ago the last answer came.
    #[must_use]
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.answered_ms)
    }

    /// A key was pressed; returns whether to go on. `page` is the height of the window of events.
    #[must_use]
    pub fn handle_key(&mut self, key: Key, page: usize) -> bool {
        let most = self.events.len().saturating_sub(1);
        let clusters = self.position().1;
        match key {
            Key::Quit => return false,
            Key::Pause => self.paused = !self.paused,
            Key::Up => self.scroll = (self.scroll + 1).min(most),
            Key::Down => self.scroll = self.scroll.saturating_sub(1),
            Key::PageUp => self.scroll = (self.scroll + page.max(1)).min(most),
            Key::PageDown => self.scroll = self.scroll.saturating_sub(page.max(1)),
            Key::Left => self.chosen = self.chosen.saturating_sub(1),
            Key::Right => self.chosen = (self.chosen + 1).min(clusters.saturating_sub(1)),
        }
        true
    }
}

/// How the names of what the kernel did with packets begin, and end.
const KERNEL: &str = "kernel_";
const PACKETS: &str = "_packets";
const BYTES: &str = "_bytes";

/// Of these, the packets that were taken: of clients that the kernel knows, and of new ones.
const TAKEN: &[&str] = &["known", "admitted"];

/// The name of what the kernel dropped, if the counter is of that.
pub(super) fn dropped_by_kernel(counter: &str) -> Option<&str> {
    let (word, packets) = fate(counter)?;
    (packets && !TAKEN.contains(&word)).then(|| counter.strip_suffix(PACKETS)).flatten()
}

/// What the kernel did, and whether that is counted in packets.
fn fate(counter: &str) -> Option<(&str, bool)> {
    let rest = counter.strip_prefix(KERNEL)?;
    let packets = rest.strip_suffix(PACKETS).map(|fate| (fate, true));
    packets.or_else(|| rest.strip_suffix(BYTES).map(|fate| (fate, false)))
}

fn rates(before: &Status, now: &Status, spent_ms: u64) -> BTreeMap<String, Rates> {
    let of = |cluster: &Cluster| {
        let before = before.clusters.iter().find(|before| before.name == cluster.name)?;
        let rate = |old: Option<&u64>, new: u64| {
            // Counters stay far below 2^52.
            let more = new.saturating_sub(old.copied().unwrap_or(0)) as f64;
            Rate(more * 1000.0 / spent_ms as f64)
        };
        let mut rates = Rates::default();
        for (name, count) in &cluster.counters {
            let rate = rate(before.counters.get(name), *count);
            match fate(name) {
                Some((fate, true)) if TAKEN.contains(&fate) => rates.taken.0 += rate.0,
                Some((fate, false)) if TAKEN.contains(&fate) => rates.taken_bytes.0 += rate.0,
                Some((_, true)) => rates.dropped.0 += rate.0,
                Some((_, false)) => rates.dropped_bytes.0 += rate.0,
                None => {}
            }
            rates.counters.insert(name.clone(), rate);
        }
        for (name, count) in &cluster.drops {
            let rate = rate(before.drops.get(name), *count);
            rates.counters.insert(name.clone(), rate);
        }
        rates.counters.retain(|_, rate| rate.0 > 0.0);
        Some((cluster.name.clone(), rates))
    };
    now.clusters.iter().filter_map(of).collect()
}
