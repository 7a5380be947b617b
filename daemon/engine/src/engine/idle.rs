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
        let mut vanished = Vec::new();
        for (address, client) in self.clients.iter_mut() {
            match in_kernel.get(&address) {
                Some(left) => {
                    let idle = full.saturating_sub(*left);
                    let seen = listed.before(idle);
                    client.seen = client.seen.max(seen);
                }
                None if listed.since(client.seen) > settled && !client.ending => {
                    vanished.push(address);
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
            vanished.into_iter().for_each(|client| self.end_client(client));
        }
    }

    /// Begins to take out the clients that were idle for too long.
    pub(super) fn sweep_clients(&mut self) {
        let idle = self.config.sticky_idle;
        if self.now.since(self.swept) < idle / SWEEPS || self.clients.is_empty() {
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
        for (_, address, client) in self.clients.iter() {
            if !client.ending {
                self.kernel.remember(address);
            }
        }
    }

    /// When the table is looked through next.
    pub(super) fn sweep_deadline(&self) -> Option<Time> {
        let next = self.swept + self.config.sticky_idle / SWEEPS;
        (!self.clients.is_empty()).then_some(next)
    }
}
