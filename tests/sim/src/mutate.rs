//! Deliberate mistakes, made between the engines and the world: each takes away one condition of
//! the rules, to show that the checkers see what it is for. The engine itself is what it is.

use nlb_engine::{Engine, Time};
use nlb_protocol::NodeId;
use nlb_protocol::frame::{Frame, Heartbeat, Message, PeerAck, PinEntry, State};

use crate::node::Node;
use crate::scenario::Scenario::{
    self, Chaos, Churn, Cuts, Frozen, Noisy, Partitions, Planned, Rolling, Stalls, Standing,
    Upgrades,
};

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mutation {
    /// Acknowledgements of an earlier life count.
    AnyLife,
    /// Recorded frames seem to be new ones.
    Replays,
    /// A node believes that it has listened and waited for long.
    NoListening,
    /// Joining nodes do not hear each other.
    DeafToJoining,
    /// Active peers seem to have acknowledged a joining node.
    JoinUnasked,
    /// A joining node does not learn of nodes that it does not hear.
    JoinBlind,
    /// Every node seems to have a witness.
    AlwaysWitness,
    /// The kernel's confirmation of a flush comes before the flush.
    EarlyFlush,
    /// One node is enough to serve.
    AnyGroup,
    /// Peers are dead after six tenths of dead-after.
    HastyDeath,
    /// Everything seems to have been read, whatever waits.
    UnreadSilence,
    /// No peer ceases to name the receiver.
    NeverTold,
    /// Whoever names the receiver has heard it just now.
    TrustSleepers,
    /// Every heartbeat seems to mean the receiver's own view.
    FakeAgreement,
    /// The epoch is not compared, the digest is.
    FakeEpoch,
    /// Joining peers seem to agree.
    FakeJoining,
    /// Heartbeats do not show buckets that are accepted.
    HideAccepts,
    /// Those of nodes on their way out, or in, do not.
    HideAcceptsOfRest,
    /// The kernel's confirmation of a filter comes before the filter.
    EarlyFilter,
    /// Heartbeats name no pins, but the pins arrive.
    NoPinVersion,
    /// Clients are not pinned.
    NoPins,
    /// Who missed a part of a log does not ask.
    NoRequests,
    /// The listing of the kernel's clients is empty.
    EmptyListing,
    /// The kernel does not forget clients.
    IgnoreForget,
    /// Every node has its own clock, and it stands still while the process is stopped.
    StoppedClock,
    /// Frames that could not leave seem to have left.
    SentUnsent,
    /// Every peer seems to hear the receiver well.
    AlwaysHeard,
    /// The kernel keeps its clients although it was told to flush them.
    IgnoreFlush,
    /// The gate never closes by itself.
    NoLease,
    /// The stage does not ask for the time after a stop.
    StaleStage,
    /// Nobody who serves learns of nodes that it does not hear.
    ServeBlind,
    /// Frames and packets count from when they were read.
    ArrivalNow,
    /// Packets count from when they were read.
    PacketsNow,
    /// What a peer says of another one's life is no sign of it.
    NoHearsay,
    /// Leaving nodes do not say which packets they answered.
    NoAnswered,
    /// Plans are confirmed before the kernel has them.
    EarlyAck,
}

impl Mutation {
    /// The rule, the section of the SPEC, and what the mistake takes away.
    #[must_use]
    pub const fn condition(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::AnyLife => ("R1", "6.3.1", "a peer hears this life, not an earlier one"),
            Self::Replays => ("R1", "6.3.3", "a recording is not used"),
            Self::HastyDeath => ("R1", "6.3.4", "dead is who is silent for dead-after"),
            Self::UnreadSilence => ("R1", "6.3.4", "... once all that arrived was read"),
            Self::NeverTold => ("R1, R6", "6.3.4, 6.8.2a", "who was dead is told so"),
            Self::TrustSleepers => ("R1", "6.3.1", "what a sleeper names it has yet to hear"),
            Self::NoListening => ("R1", "6.3.5, 6b", "listen before speaking and joining"),
            Self::JoinUnasked => ("R1", "6.3.6a", "every peer has acknowledged `joining`"),
            Self::DeafToJoining => ("R1", "6.3.6a", "joining peers are asked too"),
            Self::JoinBlind => ("R1", "6.3.6b, c", "hear everyone whom others name"),
            Self::AlwaysWitness => {
                ("R1, R7", "6.3.6e, 6.8.2d", "a witness that the receiver works")
            }
            Self::EarlyFlush => ("R1, R6", "6.3.6f, 6.8.3", "say nothing before the flush is done"),
            Self::AnyGroup => ("R1", "6.3.6g", "min_members"),
            Self::FakeAgreement => ("R4", "6.6.1, 2a", "every peer agrees to the view"),
            Self::FakeEpoch => ("R4", "6.6.2a", "... in the same epoch"),
            Self::FakeJoining => ("R4", "6.6.2a", "... joining peers too"),
            Self::HideAccepts => ("R4", "6.6.2b", "no peer shows the bucket"),
            Self::HideAcceptsOfRest => ("R4", "6.6.2b", "... whatever its state"),
            Self::NoPinVersion => ("R4", "6.6.2c", "hold the pins up to the version named"),
            Self::EarlyFilter => ("R4", "6.4.3, 6.6", "the kernel lets the view's buckets through"),
            Self::NoPins => ("R5", "6.6.1, 6.7.2", "kept clients of released buckets are pinned"),
            Self::NoRequests => ("R5", "6.7.3", "who lacks something asks"),
            Self::EmptyListing => ("R5", "6.7.6", "the kernel's entry is the judge"),
            Self::IgnoreForget => ("R5", "6.7.6, 7", "out of the kernel before out of the log"),
            Self::StoppedClock => ("R6", "6.8.1", "silence counts while stopped"),
            Self::SentUnsent => ("R6", "6.8.1", "sending counts when the frame has left"),
            Self::AlwaysHeard => ("R6", "6.8.2a, b", "peers hear the node, and lately"),
            Self::IgnoreFlush => ("R6", "6.8.3", "the kernel's clients go with the rights"),
            Self::NoLease => ("R6", "7.1.1", "the kernel's gate closes by itself"),
            Self::StaleStage => ("R6", "6.8.5, 7.2.6", "the deadline at every verdict"),
            Self::ServeBlind => ("R7", "6.8.2c", "a lower node is named and not heard"),
            Self::ArrivalNow => ("R6, R12", "6, 6.9", "frames and packets count from arrival"),
            Self::PacketsNow => ("R12", "6.9.1, 2, a", "packets count from arrival"),
            Self::NoHearsay => ("R12", "6.9", "signs of life that others tell"),
            Self::NoAnswered => ("R12", "6.9b", "what a peer says it answered"),
            Self::EarlyAck => ("R4, R6", "7.2.3", "plans are confirmed when they are done"),
        }
    }

    /// Where it is looked for.
    #[must_use]
    pub const fn scenarios(self) -> &'static [Scenario] {
        match self {
            Self::FakeAgreement => &[Chaos, Planned],
            Self::EarlyFilter => &[Rolling, Planned],
            Self::NoPins | Self::NoPinVersion | Self::NoRequests => &[Chaos, Planned, Noisy],
            Self::AlwaysWitness | Self::JoinUnasked | Self::ServeBlind => &[Standing],
            Self::NoListening | Self::ArrivalNow | Self::PacketsNow | Self::UnreadSilence => {
                &[Stalls]
            }
            Self::AlwaysHeard | Self::NoHearsay => &[Chaos, Cuts],
            Self::SentUnsent => &[Chaos, Upgrades],
            Self::IgnoreForget => &[Chaos, Partitions],
            Self::NeverTold | Self::TrustSleepers => &[Frozen],
            _ => &[Chaos, Churn],
        }
    }
}

/// What the receiver of a frame believes, for the mistakes that need it.
#[derive(Debug, Clone)]
pub struct Receiver {
    node: NodeId,
    state: State,
    incarnation_low: u32,
    latest: u16,
    view: (nlb_protocol::Epoch, nlb_protocol::Digest),
    hears: Vec<NodeId>,
    heard_by: Vec<NodeId>,
}

impl Receiver {
    /// What a node believes.
    #[must_use]
    pub fn of(node: &Node, engine: &Engine) -> Self {
        let peers = engine.snapshot(Time::ZERO).nodes;
        Self {
            node: node.id,
            state: engine.state(),
            incarnation_low: u32::try_from(node.incarnation.0 & 0xffff_ffff).unwrap_or(0),
            latest: node.latest,
            view: engine.view(),
            hears: peers.iter().map(|peer| peer.id).collect(),
            heard_by: peers.iter().filter(|peer| peer.hears_us).map(|peer| peer.id).collect(),
        }
    }

    fn acknowledge(&self, says: &mut Heartbeat) {
        says.peers.retain(|ack| ack.node != self.node);
        says.peers.push(PeerAck {
            node: self.node,
            incarnation_low: self.incarnation_low,
            sequence_low: self.latest,
        });
    }
}

/// What becomes of a frame on its way in; `None`: it is lost.
#[must_use]
pub fn frame(mutation: Mutation, mut frame: Frame, to: &Receiver) -> Option<Frame> {
    let from = frame.header.node;
    match (mutation, &mut frame.message) {
        (_, Message::Heartbeat(says)) => {
            return heartbeat(mutation, says, from, to).then_some(frame);
        }
        (Mutation::NoPins, Message::PinDelta(_) | Message::PinSnapshot(_)) => return None,
        (Mutation::NoRequests, Message::PinRequest(_)) => return None,
        (Mutation::NoAnswered, Message::PinDelta(delta)) => {
            for entry in &mut delta.entries {
                if matches!(entry, PinEntry::Answered(_)) {
                    *entry = PinEntry::Answered(0);
                }
            }
        }
        _ => {}
    }
    Some(frame)
}

/// Whether the heartbeat arrives, and as what.
fn heartbeat(mutation: Mutation, says: &mut Heartbeat, from: NodeId, to: &Receiver) -> bool {
    let joining = to.state == State::Joining;
    let names = says.peers.iter().any(|ack| ack.node == to.node);
    match mutation {
        Mutation::AnyLife if names => to.acknowledge(says),
        Mutation::NeverTold if !names && to.heard_by.contains(&from) => to.acknowledge(says),
        Mutation::TrustSleepers if names => to.acknowledge(says),
        Mutation::AlwaysHeard => to.acknowledge(says),
        Mutation::JoinUnasked if joining => to.acknowledge(says),
        Mutation::DeafToJoining if joining && says.state == State::Joining => return false,
        Mutation::JoinBlind | Mutation::ServeBlind
            if joining == (mutation == Mutation::JoinBlind) =>
        {
            says.peers.retain(|ack| ack.node == to.node || to.hears.contains(&ack.node));
        }
        Mutation::FakeAgreement => (says.epoch, says.digest) = to.view,
        Mutation::FakeEpoch if says.digest == to.view.1 => says.epoch = to.view.0,
        Mutation::FakeJoining if says.state == State::Joining => {
            to.acknowledge(says);
            (says.epoch, says.digest) = to.view;
        }
        Mutation::HideAccepts => says.accepts = nlb_protocol::Buckets::EMPTY,
        Mutation::HideAcceptsOfRest if says.state != State::Active => {
            says.accepts = nlb_protocol::Buckets::EMPTY;
        }
        Mutation::NoPins | Mutation::NoPinVersion => {
            says.pin_version = nlb_protocol::PinVersion(0);
        }
        Mutation::NoHearsay => says.peers.retain(|ack| ack.node == to.node || ack.node == from),
        _ => {}
    }
    true
}
