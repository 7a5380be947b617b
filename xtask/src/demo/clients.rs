//! What the clients saw: who served them, who had to wait, who was moved.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use nlb_tests::load::Attempt;

/// The clients' view since the demo began, and since the present scene began.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    /// The server that served each known client last.
    homes: HashMap<IpAddr, String>,
    /// Connections in all.
    pub(crate) connections: usize,
    /// Those that failed.
    pub(crate) failed: usize,
    /// The present scene.
    pub(crate) scene: Scene,
}

/// What the clients saw in one scene.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    /// How many new clients each server got.
    pub(crate) new: BTreeMap<String, usize>,
    /// Known clients that went from one server to another.
    pub(crate) moved: BTreeMap<(String, String), usize>,
    /// Connections that failed.
    pub(crate) failed: usize,
    /// The longest connect of anybody.
    pub(crate) longest: Duration,
    /// The longest connect by the server that the known client was with before.
    pub(crate) longest_of: BTreeMap<String, Duration>,
    /// How many waited for a retransmitted SYN.
    pub(crate) retransmitted: usize,
}

impl Clients {
    /// A scene begins.
    pub(crate) fn begin(&mut self) {
        self.scene = Scene::default();
    }

    /// Connections of clients that were never seen before.
    pub(crate) fn add_new(&mut self, attempts: Vec<Attempt>) {
        for attempt in attempts {
            self.count(&attempt);
            if let Ok(server) = attempt.server {
                *self.scene.new.entry(server).or_default() += 1;
            }
        }
    }

    /// Connections of clients that come again and again.
    pub(crate) fn add_known(&mut self, attempts: Vec<Attempt>) {
        for attempt in attempts {
            self.count(&attempt);
            let before = self.homes.get(&attempt.source).cloned();
            if let (Some(home), Some(connect)) = (&before, attempt.connect) {
                let longest = self.scene.longest_of.entry(home.clone()).or_default();
                *longest = connect.max(*longest);
            }
            if let Ok(server) = attempt.server {
                if let Some(home) = before.filter(|home| *home != server) {
                    *self.scene.moved.entry((home, server.clone())).or_default() += 1;
                }
                self.homes.insert(attempt.source, server);
            }
        }
    }

    /// How many known clients are with this server.
    pub(crate) fn at_home(&self, server: &str) -> usize {
        self.homes.values().filter(|home| *home == server).count()
    }

    /// How many known clients there are.
    pub(crate) fn known(&self) -> usize {
        self.homes.len()
    }

    fn count(&mut self, attempt: &Attempt) {
        self.connections += 1;
        let failed = usize::from(attempt.server.is_err());
        self.failed += failed;
        self.scene.failed += failed;
        if let Some(connect) = attempt.connect {
            self.scene.longest = self.scene.longest.max(connect);
        }
        self.scene.retransmitted += usize::from(attempt.repeated);
    }
}

impl Scene {
    /// How many new clients there were.
    pub(crate) fn new_clients(&self) -> usize {
        self.new.values().sum()
    }

    /// Where known clients went, in words.
    pub(crate) fn moves(&self) -> String {
        if self.moved.is_empty() {
            return "every known client stayed with its server".to_owned();
        }
        let moves: Vec<String> = self
            .moved
            .iter()
            .map(|((from, to), count)| format!("{count} from {from} to {to}"))
            .collect();
        format!("known clients moved: {}", moves.join(", "))
    }
}

/// A wait as people say it.
pub(crate) fn words(wait: Duration) -> String {
    if wait < Duration::from_millis(10) {
        format!("{:.1} ms", wait.as_secs_f64() * 1000.0)
    } else if wait < Duration::from_secs(1) {
        format!("{:.0} ms", wait.as_secs_f64() * 1000.0)
    } else {
        format!("{:.2} s", wait.as_secs_f64())
    }
}
