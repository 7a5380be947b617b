//! The clients: flows of a first packet and some that follow.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::rng::Rng;

/// One client.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// How many packets of the flow are still to come.
    pub follow: u64,
    /// The packet that began the flow: nothing follows before it is answered.
    pub opened: usize,
}

impl Client {
    /// The client with this number: every fourth speaks IPv6.
    #[must_use]
    pub fn new(number: u32) -> Self {
        let address = if number % 4 == 3 {
            IpAddr::V6(Ipv6Addr::from((0x2001_0db8 << 96) | (u128::from(number) * 0x1_0001)))
        } else {
            IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number * 77))
        };
        Self { address, follow: 0, opened: 0 }
    }

    /// Whether the packet that is due begins a flow, and when the next one is due.
    pub fn step(&mut self, rng: &mut Rng, period: u64, flow: u64) -> (bool, u64) {
        if self.follow > 0 {
            self.follow -= 1;
            let gap = if self.follow > 0 { flow } else { period };
            return (false, rng.range(gap / 4, gap * 2));
        }
        self.follow = rng.range(1, 6);
        // Some fall silent for longer than anybody remembers them.
        let gap = if rng.chance(5_000) { period * 40 } else { flow };
        (true, rng.range(gap / 4, gap * 2))
    }
}
