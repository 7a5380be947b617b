//! Events: numbered, put into words once, handed to whoever follows. Nobody holds the daemon up:
//! a follower that lags loses the oldest events and sees the gap in the numbers.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use nlb_engine::manage::Difference;
use nlb_engine::{FenceCause, Notice};
use nlb_protocol::NodeId;
use nlb_protocol::frame::State;

use super::history::History;
use super::words;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Rises by one with every event of the daemon, from 1.
    pub sequence: u64,
    /// Milliseconds since 1970 UTC.
    pub time_ms: u64,
    /// The cluster.
    pub cluster: Arc<str>,
    /// A short name of the kind.
    pub kind: &'static str,
    /// In words.
    pub text: String,
    /// Why, in words, if that is known.
    pub cause: Option<String>,
    /// As the engine said it; `None` for what the driver says.
    pub notice: Option<Noticed>,
}

/// A notice of the engine, and the node that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noticed {
    /// As the engine said it.
    pub notice: Notice,
    /// The node that it is about; this one where it is about no other.
    pub node: NodeId,
    /// What is known of that node.
    pub known: Known,
    /// With a fence of this node: why, in words.
    pub cause: Option<String>,
}

/// What is known of a node at the time of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// Its name, empty if it is not known.
    pub name: String,
    /// Whether it is active.
    pub active: bool,
}

/// Where events go. There is one in a daemon.
#[derive(Debug)]
pub struct EventSink {
    history: History,
    sequence: u64,
    /// By cluster. Clusters are few: they are configured.
    causes: BTreeMap<Arc<str>, Causes>,
}

/// Why the table of a cluster changes.
#[derive(Debug, Default)]
struct Causes {
    /// What happened to nodes since the last view.
    coming: Vec<String>,
    /// Why there is the last view; over when all agree on it.
    view: Option<String>,
}

/// Causes of one change that are named; with more of them, the first ones say enough.
const MAX_CAUSES: usize = 4;

impl EventSink {
    pub(super) fn new(history: History) -> Self {
        Self { history, sequence: 0, causes: BTreeMap::new() }
    }

    /// Publishes a notice of the engine and returns its words, for the log. `local` is this node,
    /// `known` tells about any; `time_ms` is the wall clock.
    pub fn notice(
        &mut self,
        cluster: &str,
        notice: Notice,
        time_ms: u64,
        local: NodeId,
        known: impl Fn(NodeId) -> Known,
    ) -> String {
        let name = |node| known(node).name;
        let (kind, text) = describe(&notice, name);
        let who = |node: &NodeId| Who(*node, name(*node));
        let cause = match &notice {
            Notice::State { cause, .. } => cause.as_ref().map(|cause| why(cause, &who)),
            _ => None,
        };
        let node = about(&notice).unwrap_or(local);
        let noticed = Noticed { notice, node, known: known(node), cause };
        let cause = self.cause(cluster, &noticed, &text);
        self.publish(cluster, kind, text.clone(), cause, Some(noticed), time_ms);
        text
    }

    /// Publishes something that the driver has to say.
    pub fn say(&mut self, cluster: &str, kind: &'static str, text: String, time_ms: u64) {
        self.publish(cluster, kind, text, None, None, time_ms);
    }

    /// Why it happened. What happens to nodes is why the table changes; when all agree on the new
    /// one, that is over.
    fn cause(&mut self, cluster: &str, noticed: &Noticed, text: &str) -> Option<String> {
        let causes = self.causes.entry(Arc::from(cluster)).or_default();
        match &noticed.notice {
            // Only active nodes are in a view.
            Notice::State { from: State::Active, .. }
            | Notice::State { to: State::Active, .. }
            | Notice::PeerState { from: State::Active, .. }
            | Notice::PeerState { to: State::Active, .. }
            | Notice::PeerGone { .. }
            | Notice::PeerWeight { .. } => {
                if causes.coming.len() < MAX_CAUSES {
                    causes.coming.push(text.to_owned());
                }
                noticed.cause.clone()
            }
            Notice::PeerAppeared { .. } if noticed.known.active => {
                causes.coming.push(text.to_owned());
                causes.coming.truncate(MAX_CAUSES);
                None
            }
            Notice::View { .. } => {
                let coming = core::mem::take(&mut causes.coming);
                if !coming.is_empty() {
                    causes.view = Some(coming.join("; "));
                }
                causes.view.clone()
            }
            Notice::Converged { .. } => causes.view.take(),
            Notice::State { .. } | Notice::PeerState { .. } | Notice::PeerAppeared { .. } => {
                noticed.cause.clone()
            }
            Notice::Left => {
                self.causes.remove(cluster);
                None
            }
            Notice::Overlap { .. } | Notice::OwnNodeId | Notice::PeerSettings { .. } => None,
        }
    }

    fn publish(
        &mut self,
        cluster: &str,
        kind: &'static str,
        text: String,
        cause: Option<String>,
        notice: Option<Noticed>,
        time_ms: u64,
    ) {
        self.sequence += 1;
        let cluster = Arc::from(cluster);
        let event = Event { sequence: self.sequence, time_ms, cluster, kind, text, cause, notice };
        self.history.push(event);
    }
}

/// The node that a notice is about, if it is about another than this one.
fn about(notice: &Notice) -> Option<NodeId> {
    match notice {
        Notice::PeerAppeared { node, .. }
        | Notice::PeerState { node, .. }
        | Notice::PeerGone { node, .. }
        | Notice::PeerWeight { node, .. }
        | Notice::PeerSettings { node, .. }
        | Notice::Overlap { node, .. } => Some(*node),
        Notice::State { .. }
        | Notice::View { .. }
        | Notice::Converged { .. }
        | Notice::OwnNodeId
        | Notice::Left => None,
    }
}

/// The name of a state, as everybody sees it.
pub(crate) fn state_name(state: State) -> &'static str {
    match state {
        State::Joining => "joining",
        State::Active => "active",
        State::Draining => "draining",
        State::Fenced => "fenced",
        State::Leaving => "leaving",
        State::Restarting => "restarting",
    }
}

/// A node in words: its name, or its id while the name is not known.
struct Who(NodeId, String);

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1.is_empty() { write!(f, "node {}", self.0) } else { f.write_str(&self.1) }
    }
}

/// The kind of a notice, and its words.
pub fn describe(notice: &Notice, name: impl Fn(NodeId) -> String) -> (&'static str, String) {
    let who = |node: &NodeId| Who(*node, name(*node));
    match notice {
        Notice::State { from, to, cause } => {
            let (from, to) = (state_name(*from), state_name(*to));
            let cause = cause.as_ref().map(|cause| format!(": {}", why(cause, &who)));
            ("state", format!("this node is {to}, was {from}{}", cause.unwrap_or_default()))
        }
        Notice::PeerAppeared { node, incarnation } => {
            ("peer-appeared", format!("{} is there (incarnation {incarnation})", who(node)))
        }
        Notice::PeerState { node, from, to } => {
            let (from, to) = (state_name(*from), state_name(*to));
            ("peer-state", format!("{} is {to}, was {from}", who(node)))
        }
        Notice::PeerGone { node, state: State::Leaving } => {
            ("peer-gone", format!("{} has left", who(node)))
        }
        Notice::PeerGone { node, state } => {
            let state = state_name(*state);
            ("peer-gone", format!("{} is silent and counts as dead; it was {state}", who(node)))
        }
        Notice::PeerWeight { node, weight } => {
            ("peer-weight", format!("{} has weight {weight}", who(node)))
        }
        Notice::PeerSettings { node, here, there } => {
            let differences = Difference::between(here, there);
            let words: Vec<String> = differences.iter().map(words::difference).collect();
            let text = match words.as_slice() {
                [] => format!("{} is configured like this node again", who(node)),
                words => format!("{} is configured otherwise: {}", who(node), words.join("; ")),
            };
            ("peer-settings", text)
        }
        Notice::View { epoch, digest, members } => {
            let who = match members {
                0 => "no node shares".to_owned(),
                1 => "one node shares alone".to_owned(),
                members => format!("{members} nodes share"),
            };
            ("view", format!("{who} under epoch {epoch}, digest {digest}"))
        }
        Notice::Converged { epoch, buckets, took } => {
            let took = took.as_millis();
            let text = format!(
                "all nodes agree on epoch {epoch} after {took} ms; {buckets} buckets are here"
            );
            ("converged", text)
        }
        Notice::Overlap { node, buckets } => {
            ("overlap", format!("{} and this node both accepted {buckets} buckets", who(node)))
        }
        Notice::OwnNodeId => (
            "own-node-id",
            "another machine has this node's id: give one of them another (`node: (id: …)`)"
                .to_owned(),
        ),
        Notice::Left => ("left", "this node has left the cluster".to_owned()),
    }
}

fn why(cause: &FenceCause, who: &impl Fn(&NodeId) -> Who) -> String {
    match cause {
        FenceCause::Unheard(node) => format!("{} does not hear this node", who(node)),
        FenceCause::StaleAcknowledgement(node) => {
            format!("{} has heard nothing of this node for too long", who(node))
        }
        FenceCause::PartialConnectivity { node, via } => {
            format!("{} hears {}, and this node does not", who(via), who(node))
        }
        FenceCause::Silent => "this node sent nothing for too long".to_owned(),
        FenceCause::Deaf => {
            "no other node is heard, and nothing shows that this one can hear".to_owned()
        }
        FenceCause::ForeignSeed(node) => {
            format!("{} runs the cluster under another hash seed", who(node))
        }
        FenceCause::Kernel => "the kernel did not take the rules".to_owned(),
        FenceCause::OwnNodeId => "another machine has this node's id and serves".to_owned(),
        FenceCause::TooFew => "fewer nodes than `min_members`".to_owned(),
        FenceCause::Ill => "the service here fails its checks".to_owned(),
    }
}
