//! What happened, for the log and for whoever follows events. The driver decides how to say it.

use nlb_protocol::frame::{Settings, State};
use nlb_protocol::{Digest, Epoch, Incarnation, NodeId, Weight};

/// Why a node fenced itself (R6, R7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FenceCause {
    /// This peer is active or joining and does not name this node's incarnation.
    Unheard(NodeId),
    /// This peer acknowledges nothing younger than the fence time.
    StaleAcknowledgement(NodeId),
    /// `via` hears `node`, whose id is lower, and this node does not.
    PartialConnectivity {
        /// The node that is not heard.
        node: NodeId,
        /// Who hears it.
        via: NodeId,
    },
    /// This node sent nothing for the rights time.
    Silent,
    /// This node heard everybody go at once, and no sign that its receiver works.
    Deaf,
    /// The cluster runs under another hash seed.
    ForeignSeed(NodeId),
    /// The kernel did not take what it was told.
    Kernel,
    /// Another machine has this node's id, serves, and has the lower incarnation.
    OwnNodeId,
    /// Fewer nodes than `min_members`.
    TooFew,
    /// This node's service fails its checks.
    Ill,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// This node's state changed.
    State {
        /// From.
        from: State,
        /// To.
        to: State,
        /// With `Fenced`: why.
        cause: Option<FenceCause>,
    },
    /// A node was heard for the first time, or in a new life.
    PeerAppeared {
        /// Who.
        node: NodeId,
        /// In which life.
        incarnation: Incarnation,
    },
    /// A peer's state changed.
    PeerState {
        /// Who.
        node: NodeId,
        /// From.
        from: State,
        /// To.
        to: State,
    },
    /// A peer was silent for dead-after, or is gone after it said `leaving`.
    PeerGone {
        /// Who.
        node: NodeId,
        /// Its last state.
        state: State,
    },
    /// A peer has another weight.
    PeerWeight {
        /// Who.
        node: NodeId,
        /// Its new weight.
        weight: Weight,
    },
    /// A peer said what it is configured with: otherwise than this node, or alike again (SPEC
    /// 4.4.1).
    PeerSettings {
        /// Who.
        node: NodeId,
        /// What this node is configured with.
        here: Settings,
        /// And the peer.
        there: Settings,
    },
    /// The view changed.
    View {
        /// Its epoch.
        epoch: Epoch,
        /// Its digest.
        digest: Digest,
        /// How many nodes share.
        members: usize,
    },
    /// Every node agrees and every bucket lies where the table says.
    Converged {
        /// Under this epoch.
        epoch: Epoch,
        /// How many buckets are ours.
        buckets: usize,
        /// How long it took since the view changed.
        took: core::time::Duration,
    },
    /// Two nodes that hear each other showed one bucket: I1 was violated, or a partition healed.
    Overlap {
        /// The other node.
        node: NodeId,
        /// How many buckets.
        buckets: usize,
    },
    /// Two machines have one node id.
    OwnNodeId,
    /// This node has handed everything over: the driver may end.
    Left,
}
