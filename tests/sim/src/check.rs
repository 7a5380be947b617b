//! The checkers: what no run may show, and what every run is measured by.

use core::net::IpAddr;
use std::collections::BTreeMap;

use crate::schedule::Attack;

/// One thing that must not happen. Nodes count from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// I1, I2: two nodes that may not answered one packet.
    AnsweredTwice {
        /// When, in nanoseconds of the world.
        at: u64,
        /// Which packet.
        packet: usize,
        /// Who was first, and when.
        first: (usize, u64),
        /// Who was second.
        second: usize,
        /// What lies between the two.
        between: Between,
    },
    /// I1: two nodes that hear each other accept a bucket.
    BucketShared {
        /// When.
        at: u64,
        /// Who.
        nodes: (usize, usize),
        /// How many buckets.
        buckets: usize,
    },
    /// I2: a client was taken although the node that keeps it lives.
    ClientMoved {
        /// When.
        at: u64,
        /// Which client.
        client: IpAddr,
        /// From, to.
        nodes: (usize, usize),
    },
    /// A node became active although a peer that it hears does not hear it (SPEC 6.3.6a).
    JoinedUnheard {
        /// When.
        at: u64,
        /// Who, and by whom it is not heard.
        nodes: (usize, usize),
    },
    /// I3: not settled in time.
    NotSettled {
        /// When.
        at: u64,
        /// What is wrong.
        why: String,
    },
    /// I5: too many frames or bytes within dead-after.
    TooMuchSent {
        /// When.
        at: u64,
        /// Who.
        node: usize,
        /// How many.
        frames: usize,
        /// On all interfaces.
        bytes: usize,
    },
    /// I6: a frame that the attacker changed was read, or one that he only repeated was not.
    Misread {
        /// When.
        at: u64,
        /// What he did.
        kind: Attack,
    },
    /// The engine asked to be called again and again at one instant.
    Spin {
        /// When.
        at: u64,
        /// Who.
        node: usize,
    },
    /// A planned change lost a packet.
    PacketLost {
        /// When it was sent.
        at: u64,
        /// Which one.
        packet: usize,
    },
    /// Fewer nodes than `min_members` can hear each other, and one serves.
    TooFew {
        /// When.
        at: u64,
        /// Who answered.
        node: usize,
    },
}

impl Violation {
    /// Whether the other is of the same kind.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        core::mem::discriminant(self) == core::mem::discriminant(other)
    }
}

/// What lies between two nodes (SPEC 6.9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// Each has been able to hear the other for long enough to know.
    Nothing,
    /// Neither can hear the other, or could until just now: a partition.
    Partition,
    /// One cannot hear the other, or could not until just now.
    OneWay,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    /// From whom.
    pub client: IpAddr,
    /// When it was sent.
    pub sent: u64,
    /// Who answered it first, and when.
    pub first: Option<(usize, u64)>,
}

/// What is counted although nothing is wrong with it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Excused {
    /// Packets answered on both sides of a partition.
    pub partition: u64,
    /// Packets answered twice across a one-way cut.
    pub one_way: u64,
    /// How long, in nanoseconds, one such pair went on doing so.
    pub one_way_for: u64,
    /// How long after the latest change of their links the last of those was.
    pub one_way_after: u64,
    /// Clients moved across a cut.
    pub moved: u64,
    /// Moments in which a bucket was shared across a cut.
    pub shared: u64,
    /// Clients taken, and packets answered twice, by nodes that had no room for all pins.
    pub unknown: u64,
    /// Packets answered beside a node whose heartbeats reached nobody for some time.
    pub mute: u64,
    /// Packets for a bucket that was on its way when the next planned change came.
    pub overtaken: u64,
}

/// What is measured, and what was violated.
#[derive(Debug, Default)]
pub struct Checker {
    /// Every packet.
    pub packets: Vec<Packet>,
    /// The node that answered a client last: when, in which life.
    pub last: BTreeMap<IpAddr, (usize, u64, u32)>,
    /// What must not have happened.
    pub violations: Vec<Violation>,
    /// What may.
    pub excused: Excused,
    /// Between which nodes a packet was answered twice across a one-way cut: since when without a
    /// break of dead-after, and when last.
    pub one_way: BTreeMap<(usize, usize), (u64, u64)>,
    /// The longest time between a packet and its answer.
    pub longest_wait: u64,
    /// Answers that had to wait at all.
    pub waited: u64,
    /// The most frames of one node within dead-after.
    pub most_frames: usize,
    /// The most bytes of one node within dead-after, on one interface.
    pub most_bytes: usize,
}

impl Checker {
    /// How many packets were answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.packets.iter().filter(|packet| packet.first.is_some()).count()
    }
}
