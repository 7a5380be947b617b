//! One node: an engine, its driver, its kernel.

use core::time::Duration;
use std::collections::VecDeque;

use nlb_engine::packet::ClientPacket;
use nlb_engine::{Config, Engine, Generation, Limits, Saved, Time, Timing};
use nlb_protocol::frame::Frame;
use nlb_protocol::{Buckets, ClusterId, Incarnation, NodeId, Sequence, Weight};

use crate::kernel::Kernel;
use crate::rng::{Chance, Rng};
use crate::schedule::{NodeSpec, Schedule, Wake};
use crate::tables;

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
    /// Who did not know then that its kernel goes on: a bit for each node.
    pub unknown_to: u64,
    /// When its process last stopped, and who restarted then as far as it knew.
    pub stopped: u64,
    /// See `stopped`.
    pub knew: u64,
    /// When its process started.
    pub booted: u64,
    /// When the latest of its heartbeats was sent that reaches anybody.
    pub reached: u64,
    /// When its life began.
    pub began: u64,
    /// After how long the next process comes, once this one has ended for a restart.
    pub returns: Option<u64>,
    /// The incarnation of this life.
    pub incarnation: Incarnation,
    /// The process is stopped; this comes first when it goes on.
    pub paused: Option<Wake>,
    /// When it last was, and when it went on.
    pub stalled: (u64, u64),
    /// The machine stands still: since when, and until when.
    pub frozen: Option<(u64, u64)>,
    /// Since when it last did, but for moments, and when it last went on.
    pub frozen_from: u64,
    /// See `frozen_from`.
    pub thawed: u64,
    /// Nothing reaches it.
    pub deaf: bool,
    /// Nobody is reached by it.
    pub mute: bool,
    /// Its interfaces that are down.
    pub down: u8,
    /// When the last of them went down, and when one came up again after that.
    pub unplugged: (u64, u64),
    /// Until when its kernel takes no plan.
    pub refuses_until: u64,
    /// Until when its kernel is slow, and how slow.
    pub slow: (u64, u64),
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
    /// The latest frame sent.
    pub sequence: Sequence,
    /// The latest heartbeat sent.
    pub latest: u16,
    /// When it last lost its rights, left or died.
    pub lost: u64,
    /// When and how long: the frames that left, for I5.
    pub frames: VecDeque<(u64, usize)>,
    /// How many bytes these are.
    pub bytes: usize,
    /// When a frame last left.
    pub spoke: u64,
    /// What it accepted, and nobody else did, when that was last looked at.
    pub alone_in: Option<Buckets>,
    spec: NodeSpec,
    pub offset: u64,
    /// How long its clock stood still.
    pub stood: u64,
}

impl Node {
    /// A node that is down.
    #[must_use]
    pub fn new(index: usize, schedule: &Schedule) -> Self {
        let spec = schedule.nodes[index];
        let id = index as u64 + 1;
        let scale = |d: Duration| {
            let nanos = i128::from(nanos(d)) * 1_000_000 / i128::from(1_000_000 + spec.drift_ppm);
            u64::try_from(nanos).unwrap_or(0)
        };
        let mut chance = Rng::of(schedule.seed, Chance::Life, id, 0);
        let node = Self {
            id: NodeId(id),
            engine: None,
            life: 0,
            kept: 0,
            saved: None,
            held_until: 0,
            unknown_to: 0,
            stopped: 0,
            knew: 0,
            booted: 0,
            reached: 0,
            began: 0,
            returns: None,
            incarnation: Incarnation(1),
            paused: None,
            frozen: None,
            frozen_from: 0,
            thawed: 0,
            deaf: false,
            mute: false,
            down: 0,
            unplugged: (0, 0),
            stalled: (0, 0),
            refuses_until: 0,
            slow: (0, 0),
            kernel: Kernel::new(0, 0, 0),
            socket: VecDeque::new(),
            queue: VecDeque::new(),
            held: 0,
            confirmed: None,
            timer: 0,
            sequence: Sequence(0),
            latest: 0,
            lost: 0,
            frames: VecDeque::new(),
            bytes: 0,
            spoke: 0,
            alone_in: None,
            spec,
            offset: chance.range(100, 10_000) * 1_000_000_000,
            stood: 0,
        };
        let config = node.config(schedule);
        let [lease, idle, refusal] =
            [config.timing.lease(), config.kernel_idle(), config.refusal()].map(scale);
        Self { kernel: Kernel::new(lease, idle, refusal), ..node }
    }

    /// The node's clock at a time of the world.
    #[must_use]
    pub fn clock(&self, world: u64) -> Time {
        let drifted = i128::from(world) * i128::from(1_000_000 + self.spec.drift_ppm) / 1_000_000;
        let drifted = u64::try_from(drifted).unwrap_or(0);
        Time::from_nanos((drifted + self.offset).saturating_sub(self.stood))
    }

    /// The time of the world at which the clock shows `local`.
    #[must_use]
    pub fn world(&self, local: Time) -> u64 {
        let shown = i128::from((local.as_nanos() + self.stood).saturating_sub(self.offset));
        u64::try_from(shown * 1_000_000 / i128::from(1_000_000 + self.spec.drift_ppm) + 1)
            .unwrap_or(0)
    }

    /// Whether the process lives and runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.engine.is_some() && self.paused.is_none() && self.frozen.is_none()
    }

    /// What its next life is made with.
    #[must_use]
    pub fn config(&self, schedule: &Schedule) -> Config {
        let life = u64::from(self.life);
        let chance = Rng::of(schedule.seed, Chance::Life, self.id.0, life + 1).bits();
        let idle = Duration::from_micros(schedule.clients.idle_us);
        Config {
            seed: self.spec.hash_seed,
            offload: self.spec.offload,
            min_members: schedule.min_members,
            limits: schedule.limits.limits(),
            ..config(self.id.0, Incarnation(chance | 1), schedule.timing(), idle)
        }
    }
}

/// What a node is usually made with.
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
        tables: tables::remembered,
    }
}

/// A duration as the world counts.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
