//! Random packets of every kind that a service meets, and some that it should not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nlb_protocol::MacAddr;

use crate::inject::{ethernet, icmp, ip, ipv4, ipv6, tcp, udp};
use crate::lab::{SERVICE4, SERVICE6};
use crate::random::Random;

/// A packet, and whose node shall take it.
#[derive(Debug, Clone)]
pub struct Packet {
    /// The frame.
    pub frame: Vec<u8>,
    /// Its source address.
    pub source: IpAddr,
    /// The client whose node takes it; `None` when nobody may.
    pub client: Option<IpAddr>,
    /// What it is.
    pub kind: &'static str,
}

/// Makes random packets to the cluster MAC.
#[derive(Debug)]
pub struct Traffic {
    random: Random,
    mac: MacAddr,
    known: Vec<IpAddr>,
}

/// From whom frames come that are made here, and no others.
pub const SENDER: MacAddr = MacAddr([2, 0x10, 0, 0, 2, 1]);
/// How many earlier sources are remembered, to come again.
const KNOWN: usize = 4096;

impl Traffic {
    /// The sequence named by `seed`, to this cluster MAC.
    #[must_use]
    pub const fn new(mac: MacAddr, seed: u64) -> Self {
        Self { random: Random::new(seed), mac, known: Vec::new() }
    }

    fn packet(&mut self) -> Packet {
        let source = self.source();
        let service = if source.is_ipv4() { SERVICE4.into() } else { SERVICE6.into() };
        let mut client = Some(source);
        let (kind, (ethertype, packet)) = match self.random.below(100) {
            0..30 => ("SYN", ip(source, service, 6, &self.segment(0x02))),
            30..40 => {
                let flags = [0x10, 0x18, 0x11, 0x04, 0x14, 0x00][self.random.below(6)];
                ("other TCP", ip(source, service, 6, &self.segment(flags)))
            }
            40..58 => ("UDP", ip(source, service, 17, &self.datagram())),
            58..68 => ("ping", ip(source, service, icmp_of(source), &self.echo(source))),
            68..74 => {
                let protocol = [47, 50, 132, 136][self.random.below(4)];
                ("other protocol", ip(source, service, protocol, &[0x55; 24]))
            }
            74..82 => ("fragment", self.fragment(source)),
            82..92 => {
                let concerned = self.address(source.is_ipv4());
                client = Some(concerned);
                ("ICMP error", self.error(source, service, concerned))
            }
            92..95 => {
                client = None;
                let other = self.address(source.is_ipv4());
                ("other destination", ip(source, other, 17, &self.datagram()))
            }
            _ => {
                client = None;
                // Errors about nobody: what they quote ends early or is not of the service.
                ("unusable ICMP error", self.unusable_error(source, service))
            }
        };
        Packet { frame: ethernet(self.mac, SENDER, ethertype, &packet), source, client, kind }
    }

    /// A source: every fourth has come before.
    fn source(&mut self) -> IpAddr {
        if self.known.len() > 64 && self.random.below(4) == 0 {
            let index = self.random.below(self.known.len());
            return self.known[index];
        }
        let four = self.random.below(2) == 0;
        let source = self.address(four);
        if self.known.len() < KNOWN {
            self.known.push(source);
        }
        source
    }

    /// Any address that a client on the Internet may have.
    fn address(&mut self, four: bool) -> IpAddr {
        if four {
            loop {
                let address = Ipv4Addr::from(self.random.next32());
                let first = address.octets()[0];
                let special = first == 0 || first == 10 || first == 127 || first == 192;
                if !special && first < 224 {
                    return address.into();
                }
            }
        }
        let low = u128::from(self.random.next()) << 64 | u128::from(self.random.next());
        // 2400::/6 lies within what is given to networks, and outside of all examples.
        Ipv6Addr::from(0x24 << 120 | low >> 6).into()
    }

    fn segment(&mut self, flags: u8) -> Vec<u8> {
        tcp(self.random.next16(), self.random.next16(), self.random.next32(), flags)
    }

    fn datagram(&mut self) -> Vec<u8> {
        let data = vec![0x2e; self.random.below(64)];
        udp(self.random.next16(), self.random.next16(), &data)
    }

    fn echo(&mut self, source: IpAddr) -> Vec<u8> {
        let kind = if source.is_ipv4() { 8 } else { 128 };
        icmp(kind, 0, self.random.next32().to_be_bytes(), b"random")
    }

    /// The first or a later fragment of a datagram.
    fn fragment(&mut self, source: IpAddr) -> (u16, Vec<u8>) {
        let later = self.random.below(2) == 1;
        let id = self.random.next32().to_be_bytes();
        let data = if later { vec![0x2e; 64] } else { udp(4000, 53, &[0x2e; 56]) };
        // In units of 8 bytes; the first says that more follow.
        let offset = if later { 1 + self.random.next16() % 100 } else { 0 };
        match source {
            IpAddr::V4(source) => {
                let field = if later { offset } else { 0x2000 };
                (0x0800, ipv4(source, SERVICE4, 17, field, &data))
            }
            IpAddr::V6(source) => {
                let [high, low] = (offset << 3 | u16::from(!later)).to_be_bytes();
                let header = [[17, 0, high, low], id].concat();
                (0x86dd, ipv6(source, SERVICE6, 44, &[header, data].concat()))
            }
        }
    }

    /// A router's complaint about a packet from the service to `concerned`.
    fn error(&mut self, router: IpAddr, service: IpAddr, concerned: IpAddr) -> (u16, Vec<u8>) {
        let inner = if self.random.below(2) == 0 {
            ip(service, concerned, 6, &self.segment(0x10)).1
        } else {
            ip(service, concerned, 17, &self.datagram()).1
        };
        self.complaint(router, service, &inner)
    }

    fn complaint(&mut self, router: IpAddr, service: IpAddr, quoted: &[u8]) -> (u16, Vec<u8>) {
        let kinds: &[(u8, u8)] = if router.is_ipv4() {
            &[(3, 4), (3, 1), (3, 3), (11, 0), (12, 0)]
        } else {
            &[(2, 0), (1, 0), (1, 4), (3, 0), (4, 1)]
        };
        let (kind, code) = kinds[self.random.below(kinds.len())];
        ip(router, service, icmp_of(router), &icmp(kind, code, [0, 0, 5, 0], quoted))
    }

    fn unusable_error(&mut self, router: IpAddr, service: IpAddr) -> (u16, Vec<u8>) {
        let concerned = self.address(router.is_ipv4());
        let other = self.address(router.is_ipv4());
        let segment = self.segment(0x10);
        let mut inner = ip(service, concerned, 6, &segment).1;
        match self.random.below(3) {
            // Too short to name a client.
            0 => inner.truncate(self.random.below(16)),
            // A packet that the service never sent.
            1 => inner = ip(other, concerned, 6, &segment).1,
            // Not even IP.
            _ => inner.fill(0xff),
        }
        self.complaint(router, service, &inner)
    }
}

impl Iterator for Traffic {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        Some(self.packet())
    }
}

/// ICMP or ICMPv6, as the address needs.
const fn icmp_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 1 } else { 58 }
}
