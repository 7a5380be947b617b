//! A model of one node's kernel: the gate, the sticky and the foreign sets, the filter, the
//! queue's way in.

use core::net::IpAddr;
use std::collections::BTreeMap;

use nlb_engine::KernelPlan;
use nlb_protocol::{Buckets, hash};

/// What the kernel does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The gate is closed, or the bucket or the client is another's.
    Dropped,
    /// A sticky client: the kernel answers, daemon or not.
    Accepted,
    /// To the stage.
    Queued,
}

/// One kernel. Times are those of the world.
#[derive(Debug, Clone, Hash)]
pub struct Kernel {
    lease: u64,
    idle: u64,
    refusal: u64,
    open_until: u64,
    foreign: BTreeMap<IpAddr, u64>,
    sticky: BTreeMap<IpAddr, u64>,
    filter: Buckets,
    divert: bool,
    seed: u32,
    installed: bool,
    lost: bool,
    last: Option<(Buckets, bool)>,
    /// The plan that is being applied.
    pub applying: Option<KernelPlan>,
    /// The plan that comes after it.
    pub next: Option<KernelPlan>,
}

impl Kernel {
    /// A kernel that nobody told anything.
    #[must_use]
    pub fn new(lease: u64, idle: u64, refusal: u64) -> Self {
        Self {
            lease,
            idle,
            refusal,
            open_until: 0,
            foreign: BTreeMap::new(),
            sticky: BTreeMap::new(),
            filter: Buckets::EMPTY,
            divert: false,
            seed: 0,
            installed: false,
            lost: false,
            last: None,
            applying: None,
            next: None,
        }
    }

    /// A frame of the protocol passes the egress hook.
    pub fn frame_left(&mut self, now: u64, closes: bool) {
        self.open_until = if closes { now + self.lease } else { u64::MAX };
    }

    /// The gate stays open until then without any frame.
    pub fn hold(&mut self, until: u64) {
        self.open_until = until;
    }

    /// Whether the gate is open.
    #[must_use]
    pub fn is_open(&self, now: u64) -> bool {
        now < self.open_until
    }

    /// Whether the rules are there.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.installed
    }

    /// A packet for the service arrives.
    pub fn packet(&mut self, client: IpAddr, now: u64) -> Fate {
        if !self.installed || !self.is_open(now) {
            return Fate::Dropped;
        }
        if self.divert {
            return Fate::Queued;
        }
        if let Some(until) = self.sticky.get_mut(&client) {
            if *until > now {
                *until = now + self.idle;
                return Fate::Accepted;
            }
            self.sticky.remove(&client);
        }
        if self.foreign.get(&client).is_some_and(|until| *until > now) {
            return Fate::Dropped;
        }
        let passes = self.filter.contains(hash::bucket(client, self.seed));
        if passes { Fate::Queued } else { Fate::Dropped }
    }

    /// The rule behind the queue: what user space accepted becomes sticky.
    pub fn accepted(&mut self, client: IpAddr, now: u64) {
        if !self.divert {
            self.sticky.insert(client, now + self.idle);
        }
    }

    /// The same rule: whom user space refused is dropped for a while.
    pub fn refused(&mut self, client: IpAddr, now: u64) {
        if !self.divert {
            self.foreign.insert(client, now + self.refusal);
        }
    }

    /// The plan in hand takes effect, at one instant.
    pub fn apply(&mut self, ignore_flush: bool, now: u64) -> Option<KernelPlan> {
        let plan = self.applying.take()?;
        self.installed = true;
        if plan.flush && !ignore_flush {
            self.sticky.clear();
        }
        if plan.reopen {
            self.foreign.clear();
        }
        for client in &plan.forget {
            self.sticky.remove(client);
        }
        for client in &plan.remember {
            self.sticky.insert(*client, now + self.idle);
        }
        self.filter = plan.filter.clone();
        self.divert = plan.divert;
        self.seed = plan.seed;
        self.last = Some((plan.filter.clone(), plan.divert));
        Some(plan)
    }

    /// Somebody flushed all rules: everything is gone, and nothing passes.
    pub fn rules_lost(&mut self) {
        self.sticky.clear();
        self.foreign.clear();
        self.filter = Buckets::EMPTY;
        self.lost = self.installed;
        self.installed = false;
        self.open_until = 0;
    }

    /// Whether the rules were lost since this was last asked.
    pub fn was_lost(&mut self) -> bool {
        core::mem::take(&mut self.lost)
    }

    /// The daemon noticed and put its rules back, without the clients.
    pub fn reinstall(&mut self) {
        if let Some((filter, divert)) = self.last.clone() {
            self.filter = filter;
            self.divert = divert;
            self.installed = true;
        }
    }

    /// The daemon took its rules away.
    pub fn removed(&mut self) {
        self.rules_lost();
        self.lost = false;
        self.last = None;
        self.applying = None;
        self.next = None;
    }

    /// The daemon died: what it had not finished does not happen (SPEC 7.2).
    pub fn orphaned(&mut self) {
        self.applying = None;
        self.next = None;
    }

    /// What `nft list set` would show: each client with the time left.
    #[must_use]
    pub fn listed(&self, now: u64) -> Vec<(IpAddr, u64)> {
        let alive = self.sticky.iter().filter(|(_, until)| **until > now);
        alive.map(|(client, until)| (*client, until - now)).collect()
    }
}
