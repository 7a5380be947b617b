//! One node: an engine, its driver, its kernel.

use core::time::Duration;
use std::collections::VecDeque;

use nlb_engine::packet::ClientPacket;
use nlb_engine::{Config, Engine, Generation, Limits, Saved, Time, Timing};
use nlb_protocol::frame::Frame;
use nlb_protocol::{ClusterId, Incarnation, NodeId, Weight};

use crate::kernel::Kernel;

/// Frames that wait in the socket of a stopped process.
pub const SOCKET: usize = 256;
/// Packets that wait in the queue of a stopped process.
pub const QUEUE: usize = 256;

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// The engine, while the process lives.
    pub engine: Option<Engine>,
    /// Counts the lives: events for an earlier one are void.
    pub life: u32,
    /// Counts the lives of one incarnation as one.
    pub kept: u32,
    /// What the process wrote down.
    pub saved: Option<Saved>,
    /// After a planned restart: until when the kernel answers alone.
    pub held_until: u64,
    /// After how long the next process comes, once this one has ended for a restart.
    pub returns: Option<u64>,
    /// The incarnation of this life.
    pub incarnation: Incarnation,
    /// The process is stopped.
    pub paused: bool,
    /// Nothing reaches it.
    pub deaf: bool,
    /// Its kernel.
    pub kernel: Kernel,
    /// Frames that were not read yet, with their arrival.
    pub socket: VecDeque<(Frame, u64)>,
    /// Packets that were not read yet, with their arrival.
    pub queue: VecDeque<(ClientPacket, u64)>,
    /// Packets that wait for a verdict: they take room in the queue.
    pub held: usize,
    /// Confirmations that were not read yet.
    pub confirmed: Option<Generation>,
    /// The timer that counts.
    pub timer: u64,
    /// The latest heartbeat sent.
    pub latest: u16,
    /// When it last lost its rights, left or died.
    pub lost: u64,
    /// Times at which frames left, for I5.
    pub frames: VecDeque<u64>,
    /// How much faster its clock is, in parts per million.
    drift: i64,
    offset: u64,
    /// With a clock that stands still while stopped: how long it stood.
    pub stood: u64,
}

impl Node {
    /// A node that is down.
    #[must_use]
    pub fn new(id: u64, timing: Timing, idle: Duration, drift: i64, offset: u64) -> Self {
        let scale = |d: Duration| {
            let nanos = i128::from(nanos(d)) * 1_000_000 / i128::from(1_000_000 + drift);
            u64::try_from(nanos).unwrap_or(0)
        };
        let config = config(id, Incarnation(1), timing, idle);
        Self {
            id: NodeId(id),
            engine: None,
            life: 0,
            kept: 0,
            saved: None,
            held_until: 0,
            returns: None,
            incarnation: Incarnation(1),
            paused: false,
            deaf: false,
            kernel: Kernel::new(
                scale(timing.lease()),
                scale(config.kernel_idle()),
                scale(config.refusal()),
            ),
            socket: VecDeque::new(),
            queue: VecDeque::new(),
            held: 0,
            confirmed: None,
            timer: 0,
            latest: 0,
            lost: 0,
            frames: VecDeque::new(),
            drift,
            offset,
            stood: 0,
        }
    }

    /// The node's clock at a time of the world.
    #[must_use]
    pub fn clock(&self, world: u64) -> Time {
        let drifted = i128::from(world) * i128::from(1_000_000 + self.drift) / 1_000_000;
        let drifted = u64::try_from(drifted).unwrap_or(0);
        Time::from_nanos((drifted + self.offset).saturating_sub(self.stood))
    }

    /// The time of the world at which the clock shows `local`.
    #[must_use]
    pub fn world(&self, local: Time) -> u64 {
        let shown = i128::from((local.as_nanos() + self.stood).saturating_sub(self.offset));
        u64::try_from(shown * 1_000_000 / i128::from(1_000_000 + self.drift) + 1).unwrap_or(0)
    }

    /// Whether the process lives and runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.engine.is_some() && !self.paused
    }
}

/// What every simulated node is made with.
#[must_use]
pub fn config(id: u64, incarnation: Incarnation, timing: Timing, sticky_idle: Duration) -> Config {
    Config {
        cluster: ClusterId(1),
        node: NodeId(id),
        incarnation,
        name: format!("n{id}"),
        software: "sim".to_owned(),
        timing,
        weight: Weight::DEFAULT,
        seed: 0x5eed,
        sticky_idle,
        offload: true,
        min_members: 1,
        limits: Limits::default(),
    }
}

/// A duration as the world counts.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
