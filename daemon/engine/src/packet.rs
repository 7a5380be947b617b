//! What the stage asks of a client's packet, and what it says.

use core::net::IpAddr;
use core::time::Duration;

/// A packet that waits for a verdict, named by whoever feeds the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub u32);

/// What counts of a packet for the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientPacket {
    /// Names the packet until its verdict.
    pub id: PacketId,
    /// Whom it concerns: its source, or for an ICMP error the client of the packet quoted inside.
    pub client: IpAddr,
    /// Whether it can begin something: a TCP segment with SYN and without ACK, or any packet that
    /// is no TCP segment, no later fragment and no ICMP error. Only such a packet is ever held
    /// for a client that another node keeps.
    pub opens: bool,
    /// A keyed hash of the packet's own bytes, equal on every node that receives it (SPEC 6.9).
    pub fingerprint: u64,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// This node answers it.
    Accept,
    /// Another node answers it, or nobody can.
    Drop,
    /// As `Drop`, and the kernel may drop the client's packets by itself from now on, for
    /// [`Config::refusal`](crate::Config::refusal) at most and until a plan says `reopen`.
    Refuse,
    /// Not settled: the packet waits, the verdict comes from `poll_verdict`.
    Hold,
}

/// What was found of a client that may not be in use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// The client.
    pub client: IpAddr,
    /// How long the kernel keeps it yet if it sends nothing; `None` if it does not. After each
    /// packet that is [`Config::kernel_idle`](crate::Config::kernel_idle). Without offload nobody
    /// looks.
    pub left: Option<Duration>,
    /// Whether it has a connection to a service address on which something may still come.
    pub connected: bool,
}

/// Why a packet was dropped, for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropCause {
    /// Its bucket belongs to another node.
    Foreign,
    /// Another node keeps the client.
    Pinned,
    /// The node has no right to answer now: it is not active, or its admission deadline is over.
    NoRight,
    /// Held until the bound on time.
    HeldTooLong,
    /// Too many packets held.
    HeldTooMany,
    /// Held, and the node that owned the bucket may have answered it.
    MaybeAnswered,
    /// The sticky table is full.
    StickyFull,
}
