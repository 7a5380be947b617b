//! Fingerprints of packets (SPEC 6.9): 64 bits by which nodes tell each other which packet one of
//! them has answered. What bytes of a packet are hashed is the reader's of the packet to collect.

use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::ids::ClusterId;

/// Separates fingerprints from all else. With cluster id and seed behind it, this is the key.
const LABEL: &[u8; 18] = b"nlbd fingerprint 1";

/// Makes the fingerprints of one cluster. All nodes that agree on a table use the same hash seed
/// and so make the same fingerprints, also while the cluster key is being changed.
#[derive(Clone)]
pub struct Fingerprinter(Hmac<Sha256>);

impl Fingerprinter {
    /// The key is the label, the cluster id and the hash seed, both big-endian: 24 bytes.
    #[must_use]
    pub fn new(cluster: ClusterId, seed: u32) -> Self {
        // HMAC pads a short key with zeros to the block of its hash.
        let mut block = [0; 64];
        block[..18].copy_from_slice(LABEL);
        block[18..20].copy_from_slice(&cluster.0.to_be_bytes());
        block[20..24].copy_from_slice(&seed.to_be_bytes());
        Self(Hmac::new((&block).into()))
    }

    /// The first eight bytes of the HMAC-SHA-256 of the parts, one behind the other, as a
    /// big-endian number.
    #[must_use]
    pub fn of(&self, parts: &[&[u8]]) -> u64 {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        let [a, b, c, d, e, f, g, h, ..] = whole;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprinter")
    }
}
