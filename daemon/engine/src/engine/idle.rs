//! Clients that send nothing any more (SPEC 6.7), and what the kernel says of them.
//!
//! The kernel's own entries expire by themselves, at one instant as packets see it. Only when a
//! listing shows that an entry is gone does the client leave the engine and the log: nobody else
//! may take it while this kernel still would.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use nlb_protocol::Bucket;

use super::Engine;
use crate::time::Time;

/// The table is looked through so many times per idle time.
const SWEEPS: u32 = 16;

impl Engine {
    /// What the kernel's sets held as of `listed`, each with the idle time left.
    pub(super) fn listed(&mut self, clients: &[(IpAddr, Duration)], listed: Time) {
        let full = self.config.kernel_idle();
        let in_kernel: BTreeMap<IpAddr, Duration> = clients.iter().copied().collect();
        // What was admitted just before the listing may not have been in it.
        let settled = self.config.timing.dead_after;
        let mut ended = Vec::new();
        for (bucket, address, client) in self.clients.iter_mut() {
            match in_kernel.get(&address) {
                Some(left) => {
                    let seen = listed.before(full.saturating_sub(*left));
                    client.seen = client.seen.max(seen);
                }
                None if listed.since(client.seen) > settled => ended.push((bucket, address)),
                None => {}
            }
        }
        for (address, _) in clients {
            if self.clients.get(self.bucket(*address), *address).is_none() {
                self.kernel.forget(*address);
            }
        }
        if !self.wanted_filter().divert {
            self.end_clients(&ended);
        }
    }

    /// Ends the clients that were idle for too long, where the stage sees every packet.
    pub(super) fn sweep_clients(&mut self) {
        let idle = self.config.sticky_idle;
        let due = self.now.since(self.swept) >= idle / SWEEPS && !self.clients.is_empty();
        if !due || self.config.offload {
            return;
        }
        self.swept = self.now;
        let now = self.now;
        let over: Vec<(Bucket, IpAddr)> = self
            .clients
            .iter()
            .filter(|(_, _, client)| now.since(client.seen) >= idle)
            .map(|(bucket, address, _)| (bucket, address))
            .collect();
        self.end_clients(&over);
    }

    fn end_clients(&mut self, clients: &[(Bucket, IpAddr)]) {
        for (bucket, address) in clients {
            self.clients.remove(*bucket, *address);
            self.log.unpin(*address);
        }
    }

    /// The kernel no longer knows these clients.
    pub(super) fn forgotten(&mut self, clients: &[IpAddr]) {
        for address in clients {
            // It may have been taken again meanwhile.
            if self.clients.get(self.bucket(*address), *address).is_some() {
                self.kernel.remember(*address);
            } else {
                self.log.unpin(*address);
            }
        }
    }

    /// The kernel lost everything: it is told the clients that this node keeps.
    pub(super) fn remember_all(&mut self) {
        if !super::machine::serves(self.state) || self.leave.is_over() {
            return;
        }
        let now = self.now;
        for (_, address, client) in self.clients.iter_mut() {
            // Whether it is idle is not known any more: it gets its whole time again, and a
            // listing made before the kernel has it back does not end it.
            client.seen = now;
            self.kernel.remember(address);
        }
    }

    /// When the table is looked through next.
    pub(super) fn sweep_deadline(&self) -> Option<Time> {
        let next = self.swept + self.config.sticky_idle / SWEEPS;
        (!self.config.offload && !self.clients.is_empty()).then_some(next)
    }
}
