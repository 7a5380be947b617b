//! Cluster keys, frame authentication (SPEC 5) and what derives from the key.

use crate::ids::ClusterId;

/// Bytes of a cluster key.
pub const KEY_LEN: usize = 32;
/// Bytes of the authentication tag at the end of every frame: HMAC-SHA-256 cut to 128 bits.
pub const TAG_LEN: usize = 16;
/// The most keys a key ring holds: one that signs and three that still verify.
pub const MAX_KEYS: usize = 4;

/// The keys of a cluster: the first signs, all verify.
#[derive(Clone)]
pub struct KeyRing(());

impl KeyRing {
    /// `None` if `keys` is empty or holds more than [`MAX_KEYS`].
    #[must_use]
    pub fn new(_keys: &[[u8; KEY_LEN]]) -> Option<Self> {
        unimplemented!()
    }

    /// The well-known key of a cluster that says `insecure: true` (SPEC 5.4).
    #[must_use]
    pub fn insecure() -> Self {
        unimplemented!()
    }

    /// The hash seed that the first key gives this cluster (SPEC 5.5).
    #[must_use]
    pub fn hash_seed(&self, _cluster: ClusterId) -> u32 {
        unimplemented!()
    }
}
