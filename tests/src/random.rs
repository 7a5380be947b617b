//! Random numbers that the same seed repeats.

/// SplitMix64: tiny, good enough to scatter addresses.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A sequence named by `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// The next 16 bits.
    pub const fn next16(&mut self) -> u16 {
        (self.next() >> 48) as u16
    }

    /// The next 32 bits.
    pub const fn next32(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }
}
