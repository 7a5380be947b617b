//! Sets and maps of client addresses, IPv4 and IPv6 apart: an address takes its 4 or 16 bytes.
//!
//! Ordered, so that a walk can stop anywhere and go on later whatever changed meanwhile, and the
//! same events lead to the same walks (I7).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Bound;
use std::collections::BTreeMap;

/// Clients, and something of each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct AddressMap<V> {
    v4: BTreeMap<Ipv4Addr, V>,
    v6: BTreeMap<Ipv6Addr, V>,
}

/// Clients.
pub(super) type AddressSet = AddressMap<()>;

impl<V> Default for AddressMap<V> {
    fn default() -> Self {
        Self { v4: BTreeMap::new(), v6: BTreeMap::new() }
    }
}

impl<V> AddressMap<V> {
    /// Those with 4 bytes and those with 16.
    pub(super) fn parts(&self) -> (&BTreeMap<Ipv4Addr, V>, &BTreeMap<Ipv6Addr, V>) {
        (&self.v4, &self.v6)
    }

    /// Of these.
    pub(super) fn of_parts(v4: BTreeMap<Ipv4Addr, V>, v6: BTreeMap<Ipv6Addr, V>) -> Self {
        Self { v4, v6 }
    }

    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub(super) fn get(&self, client: IpAddr) -> Option<&V> {
        match client {
            IpAddr::V4(client) => self.v4.get(&client),
            IpAddr::V6(client) => self.v6.get(&client),
        }
    }

    pub(super) fn get_mut(&mut self, client: IpAddr) -> Option<&mut V> {
        match client {
            IpAddr::V4(client) => self.v4.get_mut(&client),
            IpAddr::V6(client) => self.v6.get_mut(&client),
        }
    }

    pub(super) fn contains(&self, client: IpAddr) -> bool {
        self.get(client).is_some()
    }

    /// What was there before.
    pub(super) fn insert(&mut self, client: IpAddr, value: V) -> Option<V> {
        match client {
            IpAddr::V4(client) => self.v4.insert(client, value),
            IpAddr::V6(client) => self.v6.insert(client, value),
        }
    }

    pub(super) fn remove(&mut self, client: IpAddr) -> Option<V> {
        match client {
            IpAddr::V4(client) => self.v4.remove(&client),
            IpAddr::V6(client) => self.v6.remove(&client),
        }
    }

    pub(super) fn clear(&mut self) {
        self.v4.clear();
        self.v6.clear();
    }

    /// Everyone, in the order of the addresses: IPv4 before IPv6.
    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, &V)> {
        self.from(Bound::Unbounded)
    }

    /// Those from `start` on, in the order of the addresses.
    pub(super) fn from(&self, start: Bound<IpAddr>) -> impl Iterator<Item = (IpAddr, &V)> {
        const NO_V4: Bound<Ipv4Addr> = Bound::Excluded(Ipv4Addr::BROADCAST);
        let (v4, v6) = match start {
            Bound::Unbounded => (Bound::Unbounded, Bound::Unbounded),
            Bound::Included(IpAddr::V4(at)) => (Bound::Included(at), Bound::Unbounded),
            Bound::Excluded(IpAddr::V4(at)) => (Bound::Excluded(at), Bound::Unbounded),
            Bound::Included(IpAddr::V6(at)) => (NO_V4, Bound::Included(at)),
            Bound::Excluded(IpAddr::V6(at)) => (NO_V4, Bound::Excluded(at)),
        };
        let v4 = self.v4.range((v4, Bound::Unbounded));
        let v6 = self.v6.range((v6, Bound::Unbounded));
        v4.map(|(client, value)| (IpAddr::V4(*client), value))
            .chain(v6.map(|(client, value)| (IpAddr::V6(*client), value)))
    }

    /// Takes one out.
    pub(super) fn pop(&mut self) -> Option<IpAddr> {
        match self.v4.pop_first() {
            Some((client, _)) => Some(client.into()),
            None => self.v6.pop_first().map(|(client, _)| client.into()),
        }
    }
}

#[cfg(test)]
mod tests;
