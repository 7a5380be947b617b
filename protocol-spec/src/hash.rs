//! The client hash: the kernel's `jhash()` over the address bytes, scaled to buckets (SPEC 3.2).
//!
//! Every node and every node's kernel must agree on it for every address, so nothing here may
//! ever change.

#[cfg(test)]
mod tests;

use core::net::IpAddr;

use crate::ids::{BUCKETS, Bucket};

/// What `include/linux/jhash.h` calls `JHASH_INITVAL`.
const INITVAL: u32 = 0xdead_beef;

/// Linux `jhash()` of `bytes` with `seed` as initval, as a little-endian machine computes it.
#[must_use]
pub fn jhash(bytes: &[u8], seed: u32) -> u32 {
    // The kernel's length is a u32 too; nothing here hashes more than a packet.
    #[allow(clippy::cast_possible_truncation)]
    let start = INITVAL.wrapping_add(bytes.len() as u32).wrapping_add(seed);
    let mut state = [start; 3];
    let mut rest = bytes;
    // The last block, full or not, is left for the final mix: hence more than 12, not at least.
    while rest.len() > 12 {
        let (block, tail) = rest.split_at(12);
        add(&mut state, block);
        mix(&mut state);
        rest = tail;
    }
    if !rest.is_empty() {
        add(&mut state, rest);
        finish(&mut state);
    }
    state[2]
}

/// The bucket of a client: `(jhash(address bytes in network order, seed) * 4096) >> 32`.
#[must_use]
pub fn bucket(client: IpAddr, seed: u32) -> Bucket {
    scale(client_hash(client, seed))
}

/// The hash of a client's address, before it is scaled: the kernel hashes 4 bytes or 16.
#[must_use]
pub fn client_hash(client: IpAddr, seed: u32) -> u32 {
    match client {
        IpAddr::V4(address) => jhash(&address.octets(), seed),
        IpAddr::V6(address) => jhash(&address.octets(), seed),
    }
}

/// The kernel's `reciprocal_scale()` of a hash to the number of buckets.
#[must_use]
pub fn scale(hash: u32) -> Bucket {
    let index = (u64::from(hash) * BUCKETS as u64) >> 32;
    // Below 4096 by construction; `new` cannot refuse it.
    u16::try_from(index).ok().and_then(Bucket::new).unwrap_or(Bucket::FIRST)
}

/// Adds up to twelve bytes to the state, as three little-endian words padded with zeros.
fn add(state: &mut [u32; 3], bytes: &[u8]) {
    for (word, chunk) in state.iter_mut().zip(bytes.chunks(4)) {
        let mut padded = [0; 4];
        padded[..chunk.len()].copy_from_slice(chunk);
        *word = word.wrapping_add(u32::from_le_bytes(padded));
    }
}

/// `__jhash_mix`.
const fn mix(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    *state = [a, b, c];
}

/// `__jhash_final`.
const fn finish(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    *state = [a, b, c];
}
