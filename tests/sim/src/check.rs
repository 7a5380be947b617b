//! The checkers: what no run may show, and what every run is measured by.

use core::net::IpAddr;
use std::collections::BTreeMap;

/// One thing that must not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// I1, I2: two nodes that hear each other answered one packet.
    AnsweredTwice {
        /// When, in nanoseconds of the world.
        at: u64,
        /// Which packet.
        packet: usize,
        /// Who was first, and when.
        first: (usize, u64),
        /// Who was second.
        second: usize,
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
    /// I3: not settled in time.
    NotSettled {
        /// When.
        at: u64,
        /// What is wrong.
        why: String,
    },
    /// I5: too many frames within dead-after.
    TooManyFrames {
        /// When.
        at: u64,
        /// Who.
        node: usize,
        /// How many.
        frames: usize,
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

/// What is measured, and what was violated.
#[derive(Debug, Default)]
pub struct Checker {
    /// Every packet.
    pub packets: Vec<Packet>,
    /// The node that answered a client last: when, in which life.
    pub last: BTreeMap<IpAddr, (usize, u64, u32)>,
    /// Violations between nodes that hear each other.
    pub violations: Vec<Violation>,
    /// Packets answered twice across a cut: a cut keeps nodes from agreeing.
    pub across_cuts: u64,
    /// Clients moved across a cut.
    pub moved_across_cuts: u64,
    /// Moments in which a bucket was shared across a cut.
    pub shared_across_cuts: u64,
    /// The longest time between a packet and its answer.
    pub longest_wait: u64,
    /// Answers that had to wait at all.
    pub waited: u64,
    /// The most frames of one node within dead-after.
    pub most_frames: usize,
}

impl Checker {
    /// How many packets were answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.packets.iter().filter(|packet| packet.first.is_some()).count()
    }
}
