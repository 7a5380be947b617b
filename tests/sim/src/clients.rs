//! The clients: flows of a first packet and some that follow.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nlb_protocol::hash;
use nlb_protocol::ids::BUCKETS;

use crate::rng::Rng;
use crate::schedule::{ClientSpec, Schedule};

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
    pub fn new(number: u32, schedule: &Schedule, rng: Rng) -> Self {
        let address = match schedule.clients.buckets {
            0 if number % 4 == 3 => address(number, number),
            0 => address(number, number * 77),
            buckets => crowded(number, usize::from(buckets), schedule.nodes[0].hash_seed),
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

fn address(number: u32, host: u32) -> IpAddr {
    if number % 4 == 3 {
        IpAddr::V6(Ipv6Addr::from((0x2001_0db8 << 96) | (u128::from(host) * 0x1_0001)))
    } else {
        IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + host))
    }
}

/// An address of this client alone, in one of so many buckets that lie evenly.
fn crowded(number: u32, buckets: usize, seed: u32) -> IpAddr {
    let apart = BUCKETS / buckets.clamp(1, BUCKETS);
    let own = (0..1 << 16).map(|host| address(number, number << 16 | host));
    let mut fitting =
        own.filter(|client| hash::bucket(*client, seed).index().is_multiple_of(apart));
    fitting.next().unwrap_or_else(|| address(number, number << 16))
}
