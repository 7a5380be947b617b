//! Nodes that went without a word: dead, cut off or switched off. The engine forgets them, as the
//! cluster goes on without them; an administrator wants to know for longer.
//!
//! A node counts as lost until it is heard again, or a day has passed: then nobody waits for it any
//! more. Whoever takes a node away for good has it leave first, and it is not lost at all.

use core::time::Duration;
use std::collections::BTreeMap;

use nlb_engine::manage::Snapshot;
use nlb_engine::{Notice, Time};
use nlb_protocol::NodeId;
use nlb_protocol::frame::State;
use nlb_protocol::ids::MAX_PEERS;

/// How long a lost node is told of.
pub const LOST_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A node that went without a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Which.
    pub node: NodeId,
    /// Its name, if it told one.
    pub name: String,
    /// What it was when it was last heard.
    pub state: State,
    /// How long it has not been heard.
    pub silent: Duration,
}

/// When each was last heard, its state and its name.
#[derive(Debug, Default)]
pub struct LostNodes(BTreeMap<NodeId, (Time, State, String)>);

impl LostNodes {
    /// Takes in what happened. `patience`: how long a node is silent before the engine says so.
    pub fn observe(&mut self, notice: &Notice, name: &str, patience: Duration, now: Time) {
        match notice {
            Notice::PeerGone { state: State::Leaving, node }
            | Notice::PeerAppeared { node, .. } => {
                self.0.remove(node);
            }
            Notice::PeerGone { node, state } => {
                if self.0.len() >= MAX_PEERS {
                    let oldest = self.0.iter().min_by_key(|(_, (heard, ..))| *heard);
                    if let Some(oldest) = oldest.map(|(node, _)| *node) {
                        self.0.remove(&oldest);
                    }
                }
                self.0.insert(*node, (now.before(patience), *state, name.to_owned()));
            }
            _ => {}
        }
    }

    /// Those that are lost now: not heard again, and not for too long.
    #[must_use]
    pub fn now(&self, snapshot: &Snapshot, now: Time) -> Vec<Lost> {
        let is_there = |node: &NodeId| snapshot.nodes.iter().any(|known| known.id == *node);
        let lost = self.0.iter().filter(|(node, _)| !is_there(node));
        let lost = lost.map(|(node, (heard, state, name))| Lost {
            node: *node,
            name: name.clone(),
            state: *state,
            silent: now.since(*heard),
        });
        lost.filter(|lost| lost.silent < LOST_FOR).collect()
    }
}

#[cfg(test)]
mod tests {
    use nlb_protocol::Incarnation;

    use super::*;
    use crate::manage::sample;

    #[test]
    fn who_is_lost() {
        let (_, mut status) = sample();
        status.snapshot.nodes.truncate(1);
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let begun = Time::from_nanos(1_000_000_000_000);
        let gone = |node, state| Notice::PeerGone { node: NodeId(node), state };
        let mut lost = LostNodes::default();
        lost.observe(&gone(70, State::Leaving), "n70", second, begun);
        lost.observe(&gone(71, State::Active), "n71", second, begun);
        lost.observe(&gone(72, State::Fenced), "", second, begun + minute);
        let now = begun + minute * 2;
        let expected = |node, name: &str, state, silent| Lost {
            node: NodeId(node),
            name: name.to_owned(),
            state,
            silent,
        };
        let both = [
            expected(71, "n71", State::Active, minute * 2 + second),
            expected(72, "", State::Fenced, minute + second),
        ];
        assert_eq!(lost.now(&status.snapshot, now), both);

        // One is heard again.
        let again = Notice::PeerAppeared { node: NodeId(72), incarnation: Incarnation(1) };
        lost.observe(&again, "n72", second, now);
        assert_eq!(lost.now(&status.snapshot, now).len(), 1);
        status.snapshot.nodes[0].id = NodeId(71);
        assert!(lost.now(&status.snapshot, now).is_empty());
        status.snapshot.nodes[0].id = NodeId(1);
        // A day later nobody waits for it any more.
        assert!(lost.now(&status.snapshot, begun + LOST_FOR).is_empty());
        // Ids that never end do not fill the memory.
        for node in 100..1000 {
            lost.observe(&gone(node, State::Active), "", second, now + second);
        }
        assert_eq!(lost.now(&status.snapshot, now + second).len(), MAX_PEERS);
    }
}
