//! The whole cluster between two steps, and what may still befall it.

use core::net::{IpAddr, Ipv4Addr};

use nlb_engine::PacketId;
use nlb_engine::packet::ClientPacket;

use crate::step::Order;

/// How many clients there are.
pub const CLIENTS: usize = 2;

/// How often what may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// How much of all that follows, but for packets and orders, together.
    pub faults: u8,
    /// Frames that are under way for more than one step.
    pub late: u8,
    /// Frames that are lost.
    pub lost: u8,
    /// Frames that are doubled; the copy comes up to a heartbeat later, or never.
    pub doubled: u8,
    /// Steps for which a kernel keeps a plan waiting beyond the one after it was told.
    pub slow: u8,
    /// Processes that die.
    pub crashes: u8,
    /// Processes that stop, and go on when they like.
    pub stops: u8,
    /// Packets of clients, whosesoever.
    pub packets: u8,
    /// Which of the orders are still to be given, a bit each.
    pub orders: u8,
}

/// A frame under way to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flight {
    /// To whom.
    pub to: u8,
    /// When it left.
    pub sent: u16,
    /// Which one.
    pub frame: u32,
    /// It arrived before.
    pub copy: bool,
}

/// A client, as somebody sees it who sees everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client {
    /// Its number, which is its address.
    pub number: u32,
    /// How many packets it has sent.
    pub sent: u8,
    /// Who answered it last, and when.
    pub keeper: Option<(u8, u16)>,
}

impl Client {
    /// The next packet: it opens something unless the client was answered before.
    #[must_use]
    pub fn next(&self) -> ClientPacket {
        let id = PacketId((self.number << 4) | u32::from(self.sent));
        ClientPacket {
            id,
            client: client_of(id),
            opens: self.keeper.is_none(),
            fingerprint: u64::from(id.0) << 20 | 0xf,
        }
    }
}

/// Whose packet it is.
#[must_use]
pub fn client_of(id: PacketId) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + (id.0 >> 4)))
}

/// The whole cluster. Nodes and frames are numbers of [`crate::step::Memory`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// The nodes.
    pub nodes: Vec<u32>,
    /// What is under way, sorted.
    pub wire: Vec<Flight>,
    /// The clients.
    pub clients: [Client; CLIENTS],
    /// The packets that were answered, sorted, and by whom.
    pub answered: Vec<(u32, u8)>,
    /// What may still happen.
    pub left: Budget,
}

/// What administrators may say, and to whom.
pub type Orders = Vec<(usize, Order)>;

/// One thing that must not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// I1: two nodes accept a bucket.
    BucketShared {
        /// Who.
        nodes: (usize, usize),
        /// How many buckets.
        buckets: usize,
    },
    /// I1, I2: two nodes answered one packet, or one node twice.
    AnsweredTwice {
        /// Of which client.
        client: IpAddr,
        /// Who.
        nodes: (usize, usize),
    },
    /// I2: a client was taken although the node that keeps it lives.
    ClientMoved {
        /// Which client.
        client: IpAddr,
        /// From, to.
        nodes: (usize, usize),
    },
}
