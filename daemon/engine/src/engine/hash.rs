//! What makes two engines alike: everything that what they do next depends on.
//!
//! For searches that meet the same state on many ways. Counters and notices are told to people and
//! decide nothing, so they are left out.

use core::hash::{Hash, Hasher};

use super::Engine;

impl Hash for Engine {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // Every field by name, so that a new one is not forgotten.
        let Self {
            config,
            now,
            read,
            state,
            cause,
            membership,
            peers,
            view,
            accepts,
            moving,
            clients,
            waiting,
            log,
            refused,
            kernel,
            retry_at,
            leave,
            restart,
            away,
            abandoned,
            sender,
            seed,
            weight,
            weighed,
            weight_wanted,
            load: _,
            alike: _,
            service,
            drain,
            recheck,
            swept,
            counters: _,
            notices: _,
            notices_lost: _,
        } = self;
        (config.node, config.incarnation, now, read, state, cause).hash(hasher);
        (membership, peers, view, accepts, moving).hash(hasher);
        (clients, waiting, log, refused, kernel, retry_at).hash(hasher);
        (leave, abandoned, restart, away).hash(hasher);
        (sender, seed, weight, weighed, weight_wanted, service).hash(hasher);
        (drain, recheck, swept).hash(hasher);
    }
}
