//! What the kernel shall do, what it was told, what it is known to do (SPEC 7.2).

use core::net::IpAddr;
use std::collections::VecDeque;

use nlb_protocol::Buckets;

use super::image::image;
use crate::plan::{Generation, KernelPlan};

/// Plans that were told and not yet confirmed. The driver applies the latest, so older ones are
/// only kept because the kernel may be in any of them.
const OUTSTANDING: usize = 256;
/// Clients that one plan adds to the sticky sets.
const REMEMBER: usize = 1 << 20;

/// What the bucket filter lets through, and whether everything is diverted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Filter {
    pub(super) buckets: Buckets,
    pub(super) divert: bool,
    pub(super) seed: u32,
}

/// The engine's side of the kernel.
#[derive(Debug, Clone, Hash)]
pub(super) struct Kernel {
    generation: Generation,
    applied: Generation,
    /// The filter last told.
    told: Option<Filter>,
    /// The filters that the kernel may have: the confirmed one first.
    possible: VecDeque<(Generation, Filter)>,
    overflowed: bool,
    /// A flush was decided and not yet told.
    flush_wanted: bool,
    /// The plan that flushes.
    flush: Option<Generation>,
    /// Nobody is to be refused without being asked for.
    reopen: bool,
    forget: Vec<IpAddr>,
    renew: Vec<IpAddr>,
    remember: Vec<IpAddr>,
    /// The latest plan that remembers somebody, until it is confirmed.
    remembering: Option<Generation>,
    /// Clients that are being taken out, by the plan that does it.
    forgetting: VecDeque<(Generation, Vec<IpAddr>)>,
    failed: bool,
}

impl Kernel {
    /// At the start the kernel may still hold the clients of an earlier life: they go first.
    pub(super) fn new() -> Self {
        Self {
            generation: Generation(0),
            applied: Generation(0),
            told: None,
            possible: VecDeque::new(),
            overflowed: false,
            flush_wanted: true,
            flush: None,
            // Nor whom it refused in an earlier life.
            reopen: true,
            forget: Vec::new(),
            renew: Vec::new(),
            remember: Vec::new(),
            remembering: None,
            forgetting: VecDeque::new(),
            failed: false,
        }
    }

    /// What an earlier process of this life put there stays.
    pub(super) fn resumed() -> Self {
        Self { flush_wanted: false, ..Self::new() }
    }

    /// All clients are to go. Until the kernel says that they went, nothing may be sent.
    pub(super) fn flush(&mut self) {
        self.flush_wanted = true;
        self.forget.clear();
        self.renew.clear();
        self.remember.clear();
        self.forgetting.clear();
    }

    /// The kernel is to forget whom it refuses. It does so with everything else that the plan
    /// changes, so buckets that are let through are let through for everybody.
    pub(super) fn reopen(&mut self) {
        self.reopen = true;
    }

    /// Whether rights that were given up may still be in the kernel.
    pub(super) fn is_flushing(&self) -> bool {
        self.flush_wanted || self.flush.is_some()
    }

    pub(super) fn forget(&mut self, client: IpAddr) {
        self.remember.retain(|other| *other != client);
        self.renew.retain(|other| *other != client);
        self.forget.push(client);
    }

    /// No more than one question asks about.
    pub(super) fn renew(&mut self, client: IpAddr) {
        self.renew.push(client);
    }

    pub(super) fn remember(&mut self, client: IpAddr) {
        if self.remember.len() < REMEMBER {
            self.remember.push(client);
        }
    }

    /// Whether clients that shall be remembered may not be yet.
    pub(super) fn is_remembering(&self) -> bool {
        !self.remember.is_empty() || self.remembering.is_some()
    }

    /// The kernel did not take a plan: it is told again, with everything.
    pub(super) fn failed(&mut self) {
        self.failed = true;
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether `poll` would give a plan.
    pub(super) fn wants(&self, filter: &Filter) -> bool {
        self.flush_wanted
            || self.reopen
            || !self.forget.is_empty()
            || !self.renew.is_empty()
            || !self.remember.is_empty()
            || self.told.as_ref() != Some(filter)
    }

    /// The plan that leads to `filter`, if the kernel was told something else.
    pub(super) fn poll(&mut self, filter: Filter) -> Option<KernelPlan> {
        if !self.wants(&filter) {
            return None;
        }
        self.generation.0 += 1;
        let generation = self.generation;
        let flush = core::mem::take(&mut self.flush_wanted);
        if flush {
            self.flush = Some(generation);
        }
        let forget = core::mem::take(&mut self.forget);
        if !forget.is_empty() {
            self.forgetting.push_back((generation, forget.clone()));
        }
        if !self.remember.is_empty() {
            self.remembering = Some(generation);
        }
        self.possible.push_back((generation, filter.clone()));
        if self.possible.len() > OUTSTANDING {
            // Too many to tell apart: nothing is certain until the latest is confirmed.
            self.possible.pop_front();
            self.overflowed = true;
        }
        self.told = Some(filter.clone());
        Some(KernelPlan {
            generation,
            filter: filter.buckets,
            divert: filter.divert,
            seed: filter.seed,
            flush,
            reopen: core::mem::take(&mut self.reopen),
            forget,
            renew: core::mem::take(&mut self.renew),
            remember: core::mem::take(&mut self.remember),
        })
    }

    /// The kernel is in the state of this plan or a later one. Gives the clients that went.
    pub(super) fn applied(&mut self, generation: Generation) -> Vec<IpAddr> {
        if generation <= self.applied || generation > self.generation {
            return Vec::new();
        }
        self.applied = generation;
        self.failed = false;
        self.overflowed &= generation < self.generation;
        self.possible.retain(|(possible, _)| *possible >= generation);
        if self.flush.is_some_and(|flush| flush <= generation) {
            self.flush = None;
        }
        if self.remembering.is_some_and(|plan| plan <= generation) {
            self.remembering = None;
        }
        let mut gone = Vec::new();
        while self.forgetting.front().is_some_and(|(plan, _)| *plan <= generation) {
            gone.extend(self.forgetting.pop_front().into_iter().flat_map(|(_, clients)| clients));
        }
        gone
    }

    /// Whether the kernel, in whichever state it is, lets `buckets` through to the queue under
    /// `seed` (SPEC 6.4).
    pub(super) fn passes(&self, buckets: &Buckets, seed: u32) -> bool {
        let passes = |filter: &Filter| {
            filter.divert || (filter.seed == seed && filter.buckets.is_superset(buckets))
        };
        self.is_certain() && self.possible.iter().all(|(_, filter)| passes(filter))
    }

    /// Whether the kernel certainly sends every packet for the service to the queue.
    pub(super) fn diverts(&self) -> bool {
        self.is_certain() && self.possible.iter().all(|(_, filter)| filter.divert)
    }

    fn is_certain(&self) -> bool {
        self.applied > Generation(0) && !self.overflowed && !self.failed
    }
}

image! { Filter { buckets, divert, seed } }
image! {
    Kernel {
        generation, applied, told, possible, overflowed, flush_wanted, flush, reopen, forget,
        renew, remember, remembering, forgetting, failed,
    }
}

#[cfg(test)]
mod tests;
