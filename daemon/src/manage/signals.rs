//! From the engine's notices to what D-Bus signals say: who came, who went, and what this node
//! took over for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nlb_dbus::{Event as Said, Signal};
use nlb_engine::Notice;
use nlb_protocol::NodeId;
use nlb_protocol::frame::State;

use super::event::{Event, Noticed};

/// What is remembered of each cluster. Clusters are few: they are configured.
#[derive(Debug, Default)]
pub(super) struct Signals(BTreeMap<Arc<str>, Track>);

/// What is remembered of a cluster. Nodes that are gone are forgotten.
#[derive(Debug, Default)]
struct Track {
    /// Nodes that were said to take part.
    joined: BTreeSet<NodeId>,
    /// How many buckets this node had when all agreed.
    buckets: u32,
    /// Why it may get more.
    cause: Option<Cause>,
}

#[derive(Debug)]
struct Cause {
    word: &'static str,
    id: String,
    name: String,
}

impl Signals {
    /// The signals of an event, in order.
    pub(super) fn of(&mut self, event: &Event) -> Vec<Signal> {
        let Some(noticed) = &event.notice else { return Vec::new() };
        let track = self.0.entry(event.cluster.clone()).or_default();
        let said = track.handle(noticed);
        if noticed.notice == Notice::Left {
            self.0.remove(&event.cluster);
        }
        let signal = |event_said| Signal { cluster: event.cluster.to_string(), event: event_said };
        said.into_iter().map(signal).collect()
    }
}

impl Track {
    fn handle(&mut self, noticed: &Noticed) -> Vec<Said> {
        match &noticed.notice {
            Notice::State { to: State::Active, .. } => self.joins(noticed, "joined"),
            Notice::PeerState { to: State::Active, .. } => self.joins(noticed, "node-joined"),
            // One that is heard again after a partition is active from its first heartbeat.
            Notice::PeerAppeared { .. } if noticed.known.active => {
                self.joins(noticed, "node-joined")
            }
            Notice::State { to: State::Fenced, .. } => {
                self.buckets = 0;
                self.fences(noticed)
            }
            Notice::PeerState { to: State::Fenced, .. } => {
                self.cause = Some(cause("node-fenced", noticed));
                self.fences(noticed)
            }
            Notice::PeerState { to: State::Draining, .. } => {
                self.cause = Some(cause("node-drained", noticed));
                Vec::new()
            }
            Notice::PeerState { to: State::Leaving, .. } => {
                self.cause = Some(cause("node-left", noticed));
                Vec::new()
            }
            Notice::PeerGone { state: State::Leaving, .. } => self.goes(noticed, "left"),
            Notice::PeerGone { .. } => {
                self.cause = Some(cause("node-silent", noticed));
                self.goes(noticed, "silent")
            }
            Notice::Left => self.goes(noticed, "left"),
            Notice::Converged { epoch, buckets, took } => {
                let buckets = u32::try_from(*buckets).unwrap_or(u32::MAX);
                let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                let more = buckets.saturating_sub(self.buckets);
                self.buckets = buckets;
                let weight = || Cause { word: "weight", id: String::new(), name: String::new() };
                let Cause { word, id, name } = self.cause.take().unwrap_or_else(weight);
                let took = Said::TookOver { buckets: more, cause: word.to_owned(), id, name };
                let converged = Said::Converged { epoch: epoch.0, buckets, took_ms };
                if more > 0 { vec![took, converged] } else { vec![converged] }
            }
            Notice::State { .. }
            | Notice::PeerState { .. }
            | Notice::PeerAppeared { .. }
            | Notice::PeerWeight { .. }
            | Notice::PeerSettings { .. }
            | Notice::View { .. }
            | Notice::Overlap { .. }
            | Notice::OwnNodeId => Vec::new(),
        }
    }

    fn joins(&mut self, noticed: &Noticed, word: &'static str) -> Vec<Said> {
        if !self.joined.insert(noticed.node) {
            return Vec::new();
        }
        self.cause = Some(cause(word, noticed));
        let (id, name) = who(noticed);
        vec![Said::NodeJoined { id, name }]
    }

    fn fences(&mut self, noticed: &Noticed) -> Vec<Said> {
        self.joined.remove(&noticed.node);
        let (id, name) = who(noticed);
        let cause = noticed.cause.clone().unwrap_or_default();
        vec![Said::NodeFenced { id, name, cause }]
    }

    fn goes(&mut self, noticed: &Noticed, cause: &'static str) -> Vec<Said> {
        self.joined.remove(&noticed.node);
        let (id, name) = who(noticed);
        vec![Said::NodeLeft { id, name, cause: cause.to_owned() }]
    }
}

fn who(noticed: &Noticed) -> (String, String) {
    (noticed.node.to_string(), noticed.known.name.clone())
}

fn cause(word: &'static str, noticed: &Noticed) -> Cause {
    let (id, name) = who(noticed);
    Cause { word, id, name }
}
