//! What an engine is made with.

use core::time::Duration;
use std::sync::Arc;

use nlb_protocol::table::{Table, View};
use nlb_protocol::{ClusterId, Incarnation, NodeId, Weight};

/// The timers of a cluster; all others are fractions of these (SPEC 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timing {
    /// Between two heartbeats. 5 ms to 3 s.
    pub heartbeat: Duration,
    /// A peer that was silent for so long is dead. At least five heartbeats, ten by default.
    pub dead_after: Duration,
}

impl Timing {
    /// How long the kernel accepts cluster traffic after a heartbeat left: 4/10 of dead-after.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.dead_after * 4 / 10
    }

    /// A node that has not sent for so long has lost every right: 7/10 of dead-after. The same
    /// time is the oldest that an acknowledgement may be before the node fences itself.
    #[must_use]
    pub fn rights(&self) -> Duration {
        self.dead_after * 7 / 10
    }

    /// The longest that a frame may be on its way, queues and scheduling included.
    #[must_use]
    pub fn frame_delay(&self) -> Duration {
        self.dead_after / 10
    }

    /// How much later one node may receive a client's packet than another.
    #[must_use]
    pub fn skew(&self) -> Duration {
        self.dead_after / 100
    }

    /// A peer that was silent for so long is late: what would become ours without it is filtered
    /// in already, and a node whose peers are all late asks for a witness.
    #[must_use]
    pub fn late(&self) -> Duration {
        self.dead_after * 3 / 10
    }

    /// How long a node that has just been heard, or been named by others, may lack its
    /// acknowledgement before somebody fences. Longer than `late`, after which a peer's last words
    /// count no more: who is gone cannot name somebody for so long.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.dead_after * 4 / 10
    }

    /// How long a witness is waited for before the node takes itself for deaf.
    #[must_use]
    pub fn witness(&self) -> Duration {
        self.dead_after * 2 / 10
    }

    /// A fenced node joins again when it had no cause for so long.
    #[must_use]
    pub fn quarantine(&self) -> Duration {
        self.dead_after + self.heartbeat * 2
    }

    /// The longest that a packet waits for its verdict, from its arrival.
    #[must_use]
    pub fn hold(&self) -> Duration {
        self.dead_after * 3 / 2
    }

    /// A leaving node keeps a client that sent something within this time. Three heartbeats, but
    /// never so short that `skew` and `frame_delay` do not fit, however many make a dead-after.
    #[must_use]
    pub fn linger(&self) -> Duration {
        (self.heartbeat * 3).max(self.dead_after * 3 / 10)
    }

    /// A leaving node is gone after so long, whoever still sends.
    #[must_use]
    pub fn leave(&self) -> Duration {
        self.dead_after * 2
    }

    /// How much earlier than its peers believe the kernel of a restarting node ends: what clocks
    /// differ by over the hold (1/2 % each), and a frame delay for writing it into the kernel.
    #[must_use]
    pub fn hold_margin(&self, hold: Duration) -> Duration {
        hold / 100 + self.frame_delay()
    }

    /// Two heartbeats are never closer than this.
    #[must_use]
    pub fn min_gap(&self) -> Duration {
        (self.heartbeat / 50).max(Duration::from_millis(1))
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat: Duration::from_millis(100), dead_after: Duration::from_secs(1) }
    }
}

/// The bounds of everything that grows with traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Clients that the sticky table remembers.
    pub sticky: usize,
    /// Clients whose pins of other nodes are kept, over all nodes.
    pub pins: usize,
    /// Packets that wait for a verdict.
    pub held: usize,
    /// Clients that are worked on in one go, and within a millisecond.
    pub slice: usize,
    /// Changes that may wait to be sent before more are made of the same kind. Well below what the
    /// log remembers, so that whoever misses a message finds it there.
    pub backlog: usize,
    /// Changes that the own log remembers for peers that missed some.
    pub log: usize,
}

const _: () = assert!(Limits::DEFAULT.are_sound());

impl Limits {
    /// What is usual. A slice is about a millisecond's work; the log remembers a tenth of a second
    /// of the fastest that can be sent, 1.5 MiB.
    pub const DEFAULT: Self = Self {
        sticky: 1 << 20,
        pins: 1 << 20,
        held: 4096,
        slice: 4096,
        backlog: 4096,
        log: 1 << 16,
    };
    /// Clients of other nodes that the kernel remembers at most, to drop their packets by itself.
    /// Those beyond cost a trip to user space for each packet.
    pub const REFUSED: usize = 1 << 18;

    /// Whether the bounds go together: something can be worked on, and whoever misses a message
    /// finds its changes in the log, however much was done meanwhile.
    #[must_use]
    pub const fn are_sound(&self) -> bool {
        self.slice > 0
            && self.backlog > 0
            && self.slice <= self.log / 4
            && self.backlog <= self.log / 4 - self.slice
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Everything an engine must know before its first event.
#[derive(Debug, Clone, Hash)]
pub struct Config {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// This node's id.
    pub node: NodeId,
    /// This life's number: random, never zero.
    pub incarnation: Incarnation,
    /// Goes into the information message.
    pub name: String,
    /// Goes into the information message.
    pub software: String,
    /// The timers.
    pub timing: Timing,
    /// The weight to begin with.
    pub weight: Weight,
    /// The hash seed to propose; a running cluster's own seed wins.
    pub seed: u32,
    /// How long a client that sends nothing stays with its node.
    pub sticky_idle: Duration,
    /// Whether the kernel decides for known clients. `false`: every packet comes to the stage.
    pub offload: bool,
    /// Below so many active nodes the cluster does not serve (SPEC rule R8). 1: always serve.
    pub min_members: usize,
    /// The bounds.
    pub limits: Limits,
    /// What makes the table of a view: [`make_table`], or what gives the same. (Whoever runs many
    /// engines that see the same views makes each table once.)
    pub tables: Tables,
}

/// What makes tables.
pub type Tables = fn(&View) -> Arc<Table>;

/// The table of a view.
#[must_use]
pub fn make_table(view: &View) -> Arc<Table> {
    Arc::new(Table::build(view))
}

impl Config {
    /// The timeout of the kernel's sticky entries. They expire by themselves: an entry that is
    /// taken out on somebody's word might have been used a moment before.
    #[must_use]
    pub fn kernel_idle(&self) -> Duration {
        self.sticky_idle
    }

    /// The timeout of the kernel's entries for clients of other nodes (SPEC 6.9, "Refusals"). Long
    /// enough that asking again costs little, shorter than the idle time: a client whose pin ends
    /// because it was idle is in no such set any more.
    #[must_use]
    pub fn refusal(&self) -> Duration {
        Duration::from_secs(30).min(self.sticky_idle / 4)
    }
}
