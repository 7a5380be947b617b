//! The client hash: the kernel's `jhash()` over the address bytes, scaled to buckets (SPEC 3.2).

use core::net::IpAddr;

use crate::ids::Bucket;

/// Linux `jhash()` of `bytes` with `seed` as initval.
#[must_use]
pub fn jhash(_bytes: &[u8], _seed: u32) -> u32 {
    unimplemented!()
}

/// The bucket of a client: `(jhash(address bytes in network order, seed) * 4096) >> 32`.
#[must_use]
pub fn bucket(_client: IpAddr, _seed: u32) -> Bucket {
    unimplemented!()
}
