//! The order of the addresses, and walks that stop.

use core::net::IpAddr;
use core::ops::Bound;

use super::AddressSet;

fn addresses() -> Vec<IpAddr> {
    ["0.0.0.0", "10.0.0.1", "255.255.255.255", "::", "::1", "2001:db8::1"]
        .map(|address| address.parse().expect("an address"))
        .to_vec()
}

#[test]
fn a_walk_goes_on_from_any_address() {
    let mut set = AddressSet::default();
    addresses().into_iter().rev().for_each(|client| assert!(set.insert(client, ()).is_none()));
    let from = |start| set.from(start).map(|(client, ())| client).collect::<Vec<_>>();
    assert_eq!(from(Bound::Unbounded), addresses());
    for (index, client) in addresses().into_iter().enumerate() {
        assert_eq!(from(Bound::Included(client)), addresses()[index..]);
        assert_eq!(from(Bound::Excluded(client)), addresses()[index + 1..]);
    }
}

#[test]
fn everyone_is_popped_once() {
    let mut set = AddressSet::default();
    addresses().into_iter().for_each(|client| assert!(set.insert(client, ()).is_none()));
    assert_eq!(set.len(), 6);
    let popped: Vec<IpAddr> = core::iter::from_fn(|| set.pop()).collect();
    assert_eq!(popped, addresses());
    assert!(set.is_empty());
}
