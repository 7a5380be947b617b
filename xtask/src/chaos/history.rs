//! What the daemons logged: who was in which state when, and what they complained about.

use std::collections::BTreeMap;
use std::time::Duration;

use nlb_tests::node::Node;
use nlb_tests::stamp::Stamp;

/// A change of a server's own state.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) at: Stamp,
    pub(super) server: usize,
    pub(super) to: String,
    pub(super) cause: String,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// In the order of time.
    pub(super) changes: Vec<Change>,
    /// When a server was taken for dead by another: who, by whom.
    pub(super) dead: Vec<(Stamp, usize, usize)>,
    /// When a process went on with what an earlier one had left.
    pub(super) resumed: Vec<(Stamp, usize)>,
    /// Errors and panics, in full.
    pub(super) errors: Vec<String>,
    /// Warnings by their words.
    pub(super) warnings: BTreeMap<String, usize>,
    /// Overlaps: two nodes accepted the same buckets (I1).
    pub(super) overlaps: Vec<(Stamp, String)>,
}

impl History {
    /// Reads the logs of all servers.
    pub(super) fn read(nodes: &[Node]) -> Self {
        let mut history = Self::default();
        for (server, node) in (1..).zip(nodes) {
            for line in node.log().lines() {
                history.line(server, &node.name, line);
            }
        }
        history.changes.sort_by_key(|change| change.at);
        history.overlaps.sort();
        history
    }

    fn line(&mut self, server: usize, name: &str, line: &str) {
        let Some(at) = Stamp::of_log(line) else {
            // A panic has no instant; nothing else is written without one.
            if !line.trim().is_empty() {
                self.errors.push(format!("{name}: {line}"));
            }
            return;
        };
        let text = line.get(27..).unwrap_or_default().trim();
        let text = text.split(" cluster=").next().unwrap_or(text);
        if let Some(words) = text.strip_prefix("ERROR ") {
            self.errors.push(format!("{name}: {words}"));
        } else if let Some(words) = text.strip_prefix("WARN ") {
            *self.warnings.entry(words.to_owned()).or_default() += 1;
        }
        let words = text.split_once(' ').map_or("", |(_, words)| words).trim();
        if words.starts_with("nlbd starts") {
            let (to, cause) = ("started".to_owned(), String::new());
            self.changes.push(Change { at, server, to, cause });
        } else if words.starts_with("goes on with an earlier process") {
            self.resumed.push((at, server));
        } else if let Some(change) = words.strip_prefix("this node is ")
            && let Some((to, rest)) = change.split_once(", was ")
        {
            let cause = rest.split_once(": ").map_or("", |(_, cause)| cause).to_owned();
            self.changes.push(Change { at, server, to: to.to_owned(), cause });
        } else if words.contains("counts as dead")
            && let Some(dead) = number(words)
        {
            self.dead.push((at, dead, server));
        } else if words.contains("both accepted") {
            self.overlaps.push((at, format!("{name}: {words}")));
        }
    }

    /// Why the server fenced itself between these instants, if it did.
    pub(super) fn fenced(&self, server: usize, from: Stamp, to: Stamp) -> Option<&Change> {
        self.changes.iter().find(|change| {
            change.server == server && change.to == "fenced" && change.at >= from && change.at <= to
        })
    }

    /// Whether a process of this server went on with what the one before had left, so soon after.
    pub(super) fn has_resumed(&self, server: usize, from: Stamp, within: Duration) -> bool {
        let mut resumed = self.resumed.iter().filter(|(_, one)| *one == server);
        resumed.any(|(at, _)| *at >= from && *at <= from + within)
    }

    /// The servers that were active by their own word at an instant.
    pub(super) fn active(&self, at: Stamp) -> Vec<usize> {
        self.said_active(at).into_keys().collect()
    }

    /// Those of them whom nobody had taken for dead since: one that is stopped or killed says
    /// nothing more.
    pub(super) fn alive(&self, at: Stamp) -> Vec<usize> {
        let mut active = self.said_active(at);
        active.retain(|server, since| {
            let mut deaths = self.dead.iter().filter(|(_, dead, _)| dead == server);
            !deaths.any(|(when, ..)| *when > *since && *when <= at)
        });
        active.into_keys().collect()
    }

    /// Who said last before an instant that it is active, and when.
    fn said_active(&self, at: Stamp) -> BTreeMap<usize, Stamp> {
        let mut active = BTreeMap::new();
        for change in self.changes.iter().take_while(|change| change.at <= at) {
            if change.to == "active" {
                active.insert(change.server, change.at);
            } else {
                active.remove(&change.server);
            }
        }
        active
    }
}

/// The number in a server's name, by which a line begins: `n3 is …`, `node 00…03 is …`.
fn number(words: &str) -> Option<usize> {
    let mut parts = words.split_whitespace();
    match parts.next()? {
        "node" => usize::from_str_radix(parts.next()?, 16).ok(),
        name => name.strip_prefix('n')?.parse().ok(),
    }
}
