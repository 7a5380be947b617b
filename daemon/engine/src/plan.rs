//! What the engine wants of the kernel.

use core::net::IpAddr;
use std::collections::BTreeSet;

use nlb_protocol::Buckets;

/// Rises with every plan of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u64);

/// The state that the kernel shall be in. The latest plan wins; a plan that was overtaken before
/// it was applied hands its `forget`, `flush` and `reopen` on to the next ([`KernelPlan::follow`]).
///
/// The engine waits for [`Engine::handle_applied`](crate::Engine::handle_applied) where its
/// promises need it: rights are flushed before `fenced` is said, and a view is named in
/// heartbeats only when the filter lets its buckets through.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KernelPlan {
    /// Which plan this is.
    pub generation: Generation,
    /// The buckets whose new clients go to the queue: those that are mine and those that may
    /// become mine soon. Everything else is dropped in the kernel.
    pub filter: Buckets,
    /// Whether every packet for the service goes to the queue and the kernel knows no clients of
    /// its own: without offload, and while leaving.
    pub divert: bool,
    /// The hash seed of the cluster.
    pub seed: u32,
    /// Whether all clients are to be taken out of the sticky sets, before anything else.
    pub flush: bool,
    /// Whether the kernel is to forget whose packets it may drop by itself
    /// ([`Verdict::Refuse`](crate::packet::Verdict::Refuse)).
    pub reopen: bool,
    /// Clients to be taken out of the sticky sets.
    pub forget: Vec<IpAddr>,
    /// Clients whose time in the sticky sets begins anew: they send nothing but are connected.
    pub renew: Vec<IpAddr>,
    /// Clients to be put into the sticky sets: those that the stage keeps and the kernel lost.
    pub remember: Vec<IpAddr>,
}

impl KernelPlan {
    /// This plan without what is to be done only once.
    #[must_use]
    pub fn lasting(&self) -> Self {
        Self {
            flush: false,
            reopen: false,
            forget: Vec::new(),
            renew: Vec::new(),
            remember: Vec::new(),
            ..self.clone()
        }
    }

    /// This plan, when `earlier` was never applied.
    #[must_use]
    pub fn follow(mut self, mut earlier: Self) -> Self {
        self.reopen |= earlier.reopen;
        if !self.flush {
            self.flush = earlier.flush;
            earlier.forget.append(&mut self.forget);
            self.forget = earlier.forget;
            let forgotten: BTreeSet<&IpAddr> = self.forget.iter().collect();
            earlier.remember.retain(|client| !forgotten.contains(client));
            earlier.renew.retain(|client| !forgotten.contains(client));
            earlier.renew.append(&mut self.renew);
            self.renew = earlier.renew;
            earlier.remember.append(&mut self.remember);
            self.remember = earlier.remember;
        }
        self
    }
}
