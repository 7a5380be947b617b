//! Cluster keys, frame authentication (SPEC 5) and what derives from the key.
//!
//! Keys live only in a [`KeyRing`], which wipes them when it is dropped and never shows them.

#[cfg(test)]
mod tests;

use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::frame::Header;
use crate::ids::ClusterId;

/// Bytes of a cluster key.
pub const KEY_LEN: usize = 32;
/// Bytes of the authentication tag at the end of every frame: HMAC-SHA-256 cut to 128 bits.
pub const TAG_LEN: usize = 16;
/// The most keys a key ring holds: one that signs and three that still verify. Each costs one
/// HMAC for a frame that none of them signed, so the number bounds what a forger can make us do.
pub const MAX_KEYS: usize = 4;

/// The key of a cluster that says `insecure: true`: public, so it only tells clusters apart.
const INSECURE_KEY: [u8; KEY_LEN] = *b"nlbd insecure: no authentication";
/// Separates the hash seed from all else that the key makes. Frames begin with "NL", never so.
const SEED_LABEL: &[u8] = b"nlbd hash seed 1";
/// Separates the seal of the seed from all else that the key makes.
const SEAL_LABEL: &[u8] = b"nlbd seed seal 1";
/// Separates the name of the keys from all else that the first one makes.
const KEYS_LABEL: &[u8] = b"nlbd keys 1";

/// The keys of a cluster: the first signs, all verify.
#[derive(Clone)]
pub struct KeyRing(Zeroizing<Vec<[u8; KEY_LEN]>>);

/// Which key of a ring verified a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyIndex(usize);

/// Why a line is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The number of digits is wrong.
    #[error("a key is 64 hexadecimal digits, this line has {0} characters")]
    Length(usize),
    /// A character is no digit.
    #[error("column {0} is no hexadecimal digit")]
    NotHexadecimal(usize),
}

/// Reads one line of a key file: 64 hexadecimal digits, blanks around them ignored (SPEC 5.1).
///
/// # Errors
/// When the line is anything else. The error never repeats what the line holds.
pub fn parse_key(line: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, KeyError> {
    let indent = line.len() - line.trim_start().len();
    let digits = line.trim();
    if let Some(position) = digits.chars().position(|c| !c.is_ascii_hexdigit()) {
        return Err(KeyError::NotHexadecimal(indent + position + 1));
    }
    if digits.len() != 2 * KEY_LEN {
        return Err(KeyError::Length(digits.len()));
    }
    let mut key = Zeroizing::new([0; KEY_LEN]);
    for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = pair.iter().fold(0, |byte, digit| byte << 4 | nibble(*digit));
    }
    Ok(key)
}

/// The value of a hexadecimal digit.
const fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20).wrapping_sub(b'a').wrapping_add(10),
    }
}

impl KeyRing {
    /// `None` if `keys` is empty or holds more than [`MAX_KEYS`].
    #[must_use]
    pub fn new(keys: &[[u8; KEY_LEN]]) -> Option<Self> {
        (1..=MAX_KEYS).contains(&keys.len()).then(|| Self(Zeroizing::new(keys.to_vec())))
    }

    /// The well-known key of a cluster that says `insecure: true` (SPEC 5.4).
    #[must_use]
    pub fn insecure() -> Self {
        Self(Zeroizing::new(vec![INSECURE_KEY]))
    }

    /// The hash seed that the first key gives this cluster (SPEC 5.5).
    #[must_use]
    pub fn hash_seed(&self, cluster: ClusterId) -> u32 {
        self.word(Self::SIGNING, &[SEED_LABEL, &cluster.0.to_be_bytes()])
    }

    /// Names these keys in this order, so that nodes can tell whether they hold the same (SPEC 5.6).
    #[must_use]
    pub fn name(&self) -> u32 {
        let others = self.0.iter().skip(1).map(<[u8; KEY_LEN]>::as_slice);
        let parts: Vec<&[u8]> = core::iter::once(KEYS_LABEL).chain(others).collect();
        self.word(Self::SIGNING, &parts)
    }

    /// The key that signs.
    pub const SIGNING: KeyIndex = KeyIndex(0);

    /// The tag of `bytes` under the first key (SPEC 5.2).
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> [u8; TAG_LEN] {
        self.tag(Self::SIGNING, bytes)
    }

    /// Which key made `tag` for `bytes`, if one of them did (SPEC 5.2). Each comparison takes the
    /// same time whatever it finds.
    #[must_use]
    pub fn verify(&self, bytes: &[u8], tag: &[u8; TAG_LEN]) -> Option<KeyIndex> {
        (0..self.0.len()).map(KeyIndex).find(|index| bool::from(self.tag(*index, bytes).ct_eq(tag)))
    }

    /// Seals a seed for the frame with this header, or opens it: both are the same (SPEC 5.5).
    /// `index` is the key that signs or that verified the frame.
    #[must_use]
    pub fn seal_seed(&self, index: KeyIndex, header: &Header, seed: u32) -> u32 {
        let mask = self.word(
            index,
            &[
                SEAL_LABEL,
                &header.cluster.0.to_be_bytes(),
                &header.node.0.to_be_bytes(),
                &header.incarnation.0.to_be_bytes(),
                &header.sequence.0.to_be_bytes(),
            ],
        );
        seed ^ mask
    }

    fn tag(&self, index: KeyIndex, bytes: &[u8]) -> [u8; TAG_LEN] {
        let whole = self.mac(index, &[bytes]);
        core::array::from_fn(|i| whole[i])
    }

    /// The first four bytes of a MAC as a big-endian number.
    fn word(&self, index: KeyIndex, parts: &[&[u8]]) -> u32 {
        let [a, b, c, d, ..] = self.mac(index, parts);
        u32::from_be_bytes([a, b, c, d])
    }

    fn mac(&self, index: KeyIndex, parts: &[&[u8]]) -> [u8; 32] {
        // An index comes from this ring or from one of the same size; the first key is the
        // harmless answer to any other: what it makes does not verify.
        let key = self.0.get(index.0).unwrap_or(&self.0[0]);
        // HMAC pads a short key with zeros to the block of its hash.
        let mut block = Zeroizing::new([0; 64]);
        block[..KEY_LEN].copy_from_slice(key);
        let mut mac = Hmac::<Sha256>::new((&*block).into());
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys)", self.0.len())
    }
}
