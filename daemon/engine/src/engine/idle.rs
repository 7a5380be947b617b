//! Clients that send nothing any more (SPEC 6.7), and what the kernel says of them.
//!
//! A client leaves the kernel first and the log after that, so that nobody else takes it while
//! this kernel still would.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

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
        let over = self.config.sticky_idle;
        let mut ended = Vec::new();
        for (address, client) in self.clients.iter_mut() {
            match in_kernel.get(&address) {
                Some(left) => {
                    let idle = full.saturating_sub(*left);
                    let seen = listed.before(idle);
                    client.seen = client.seen.max(seen);
                    if listed.since(client.seen) >= over && !client.ending {
                        ended.push(address);
                    }
                }
                None if listed.since(client.seen) > settled && !client.ending => {
                    ended.push(address);
                }
                None => {}
            }
        }
        for (address, _) in clients {
            if self.clients.get(self.bucket(*address), *address).is_none() {
                self.kernel.forget(*address);
            }
        }
        if self.config.offload {
            ended.into_iter().for_each(|client| self.end_client(client));
        }
    }

    /// Begins to take out the clients that were idle for too long, where the stage sees every
    /// packet. Where the kernel answers for itself, only its listing tells who is idle.
    pub(super) fn sweep_clients(&mut self) {
        let idle = self.config.sticky_idle;
        let due = self.now.since(self.swept) >= idle / SWEEPS && !self.clients.is_empty();
        if !due || self.config.offload {
            return;
        }
        self.swept = self.now;
        let now = self.now;
        let over: Vec<IpAddr> = self
            .clients
            .iter()
            .filter(|(_, _, client)| !client.ending && now.since(client.seen) >= idle)
            .map(|(_, address, _)| address)
            .collect();
        for address in over {
            self.end_client(address);
        }
    }

    fn end_client(&mut self, address: IpAddr) {
        let bucket = self.bucket(address);
        if let Some(client) = self.clients.get_mut(bucket, address) {
            client.ending = true;
            self.kernel.forget(address);
        }
    }

    /// The kernel no longer knows these clients.
    pub(super) fn forgotten(&mut self, clients: &[IpAddr]) {
        for address in clients {
            let bucket = self.bucket(*address);
            match self.clients.get(bucket, *address) {
                Some(client) if client.ending => {
                    self.clients.remove(bucket, *address);
                    self.log.unpin(*address);
                }
                // It came back meanwhile.
                Some(_) => self.kernel.remember(*address),
                None => {}
            }
        }
    }

    /// The kernel lost everything: it is told the clients that this node keeps.
    pub(super) fn remember_all(&mut self) {
        if !super::machine::serves(self.state) || self.leave.is_over() {
            return;
        }
        let now = self.now;
        for (address, client) in self.clients.iter_mut() {
            if !client.ending {
                // Whether it is idle is not known any more: it gets its whole time again, and a
                // listing made before the kernel has it back does not end it.
                client.seen = now;
                self.kernel.remember(address);
            }
        }
    }

    /// When the table is looked through next.
    pub(super) fn sweep_deadline(&self) -> Option<Time> {
        let next = self.swept + self.config.sticky_idle / SWEEPS;
        (!self.config.offload && !self.clients.is_empty()).then_some(next)
    }
}
