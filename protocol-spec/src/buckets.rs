//! A set of buckets, as heartbeats carry it and the kernel's filter is built from it.

#[cfg(test)]
mod tests;

use crate::ids::{BUCKETS, Bucket};

const WORDS: usize = BUCKETS / 64;

/// Bytes of the set on the wire (SPEC 4.3): bit `b` is bit `b % 8` of byte `b / 8`.
pub const WIRE_LEN: usize = BUCKETS / 8;

/// A set of [`Bucket`]s of fixed size: copying it never allocates.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Buckets([u64; WORDS]);

impl Buckets {
    /// No bucket.
    pub const EMPTY: Self = Self([0; WORDS]);
    /// Every bucket.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    /// Whether `bucket` is in the set.
    #[must_use]
    pub const fn contains(&self, bucket: Bucket) -> bool {
        self.0[bucket.index() / 64] >> (bucket.index() % 64) & 1 == 1
    }

    /// Adds `bucket`.
    pub const fn insert(&mut self, bucket: Bucket) {
        self.0[bucket.index() / 64] |= 1 << (bucket.index() % 64);
    }

    /// Takes `bucket` out.
    pub const fn remove(&mut self, bucket: Bucket) {
        self.0[bucket.index() / 64] &= !(1 << (bucket.index() % 64));
    }

    /// How many buckets are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no bucket is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Adds every bucket of `other`.
    pub fn union_with(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, other)| *mine |= other);
    }

    /// Keeps only what `other` has too.
    pub fn intersect_with(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, other)| *mine &= other);
    }

    /// Takes out every bucket of `other`.
    pub fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, other)| *mine &= !other);
    }

    /// Whether every bucket of `other` is in this set.
    #[must_use]
    pub fn is_superset(&self, other: &Self) -> bool {
        // All of them: that is faster than to stop at the first.
        self.0.iter().zip(&other.0).fold(0, |any, (mine, other)| any | other & !mine) == 0
    }

    /// Whether the sets share no bucket.
    #[must_use]
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |any, (mine, other)| any | other & mine) == 0
    }

    /// The buckets of the set in rising order.
    pub fn iter(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.0.iter().zip(0..).flat_map(|(word, number)| {
            let mut left = *word;
            core::iter::from_fn(move || {
                let bit = u16::try_from(left.trailing_zeros()).unwrap_or(0);
                let some = left != 0;
                left &= left.wrapping_sub(1);
                Bucket::new(number * 64 + bit).filter(|_| some)
            })
        })
    }

    /// The set as it goes on the wire.
    #[must_use]
    pub fn to_wire(&self) -> [u8; WIRE_LEN] {
        let mut bytes = [0; WIRE_LEN];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The set that [`Self::to_wire`] wrote.
    #[must_use]
    pub fn from_wire(bytes: &[u8; WIRE_LEN]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        Self(core::array::from_fn(|i| u64::from_le_bytes(words[i])))
    }
}

impl Default for Buckets {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl FromIterator<Bucket> for Buckets {
    fn from_iter<I: IntoIterator<Item = Bucket>>(buckets: I) -> Self {
        let mut set = Self::EMPTY;
        buckets.into_iter().for_each(|bucket| set.insert(bucket));
        set
    }
}

impl core::fmt::Debug for Buckets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Buckets({} of {BUCKETS})", self.len())
    }
}
