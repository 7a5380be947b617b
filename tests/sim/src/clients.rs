//! The clients: flows of a first packet and some that follow.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::rng::Rng;
use crate::schedule::ClientSpec;

/// One client.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// How many packets of the flow are still to come.
    pub follow: u64,
    /// The packet that began the flow: nothing follows before it is answered.
    pub opened: usize,
    /// Its own chance: what others do does not change it.
    pub rng: Rng,
}

impl Client {
    /// The client with this number: every fourth speaks IPv6.
    #[must_use]
    pub fn new(number: u32, rng: Rng) -> Self {
        let address = if number % 4 == 3 {
            IpAddr::V6(Ipv6Addr::from((0x2001_0db8 << 96) | (u128::from(number) * 0x1_0001)))
        } else {
            IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number * 77))
        };
        Self { address, follow: 0, opened: 0, rng }
    }

    /// Whether the packet that is due begins a flow, and after how many microseconds the next one
    /// is due.
    pub fn step(&mut self, spec: &ClientSpec) -> (bool, u64) {
        let rng = &mut self.rng;
        if self.follow > 0 {
            self.follow -= 1;
            let gap = match self.follow {
                // Silent for about as long as it is remembered: the entry is about to go.
                0 if rng.chance(spec.idles_ppm) => {
                    return (false, rng.range(spec.idle_us * 7 / 10, spec.idle_us * 16 / 10));
                }
                0 => spec.period_us,
                _ => spec.flow_us,
            };
            return (false, rng.range(gap / 4, gap * 2));
        }
        self.follow = rng.range(1, 6);
        (true, rng.range(spec.flow_us / 4, spec.flow_us * 2))
    }
}
