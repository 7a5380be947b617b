//! A model of one node's kernel: the gate, the sticky and the foreign sets, the filter, the
//! queue's way in.

use core::net::IpAddr;
use std::collections::BTreeMap;

use nlb_engine::KernelPlan;
use nlb_protocol::{Buckets, hash};

use crate::mutate::Mutation;

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
    foreign: BTreeMap<IpAddr, u64>,
    /// By interface.
    open_until: [u64; 8],
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
            foreign: BTreeMap::new(),
            open_until: [0; 8],
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

    /// A heartbeat passes the egress hook of these interfaces (a bit mask).
    pub fn heartbeat_left(&mut self, paths: u8, now: u64, closes: bool) {
        let until = if closes { now + self.lease } else { u64::MAX };
        for path in (0..8).filter(|path| paths & 1 << path != 0) {
            self.open_until[path] = until;
        }
    }

    /// The gate stays open until then without any frame, where it was open before.
    pub fn hold(&mut self, until: u64, now: u64) {
        self.open_until.iter_mut().filter(|open| **open > now).for_each(|open| *open = until);
    }

    /// Whether the gate is open anywhere.
    #[must_use]
    pub fn is_open(&self, now: u64) -> bool {
        self.open_until.iter().any(|until| now < *until)
    }

    /// Whether the rules are there.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.installed
    }

    /// A packet for the service arrives.
    pub fn packet(&mut self, client: IpAddr, path: usize, now: u64) -> Fate {
        if !self.installed || now >= self.open_until[path] {
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
    pub fn apply(&mut self, mutation: Option<Mutation>, now: u64) -> Option<KernelPlan> {
        let plan = self.applying.take()?;
        self.installed = true;
        if plan.flush && mutation != Some(Mutation::IgnoreFlush) {
            self.sticky.clear();
        }
        if plan.reopen {
            self.foreign.clear();
        }
        if mutation != Some(Mutation::IgnoreForget) && !plan.forget.is_empty() {
            self.sticky.retain(|client, _| !plan.forget.contains(client));
        }
        for client in plan.renew.iter().chain(&plan.remember) {
            self.sticky.insert(*client, now + self.idle);
        }
        self.filter = plan.filter.clone();
        self.divert = plan.divert;
        self.seed = plan.seed;
        self.last = Some((plan.filter.clone(), plan.divert));
        Some(plan)
    }

    /// Clients of buckets that are let through no more are kept no more: a table without a memory.
    pub fn forget_moved(&mut self) {
        let Self { sticky, filter, seed, .. } = self;
        sticky.retain(|client, _| filter.contains(hash::bucket(*client, *seed)));
    }

    /// Its clock stood still for so long.
    pub fn stood_still(&mut self, long: u64) {
        let kept = self.sticky.values_mut().chain(self.foreign.values_mut());
        for until in self.open_until.iter_mut().chain(kept) {
            *until = until.saturating_add(long);
        }
    }

    /// The plan in hand was not taken: it is tried again, with what came after it.
    pub fn plan_refused(&mut self) {
        let Some(plan) = self.applying.take() else { return };
        self.applying = Some(match self.next.take() {
            Some(next) => next.follow(plan),
            None => plan,
        });
    }

    /// Somebody flushed all rules: everything is gone, and nothing passes.
    pub fn rules_lost(&mut self) {
        self.sticky.clear();
        self.foreign.clear();
        self.filter = Buckets::EMPTY;
        self.lost |= self.installed;
        self.installed = false;
        self.open_until = [0; 8];
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

    /// How long a client is kept yet, if it is.
    #[must_use]
    pub fn left(&self, client: IpAddr, now: u64) -> Option<u64> {
        self.sticky.get(&client).filter(|until| **until > now).map(|until| until - now)
    }

    /// What `nft list set` would show: each client with the time left.
    #[must_use]
    pub fn listed(&self, now: u64) -> Vec<(IpAddr, u64)> {
        let alive = self.sticky.iter().filter(|(_, until)| **until > now);
        alive.map(|(client, until)| (*client, until - now)).collect()
    }
}
