//! Random numbers that are the same on every machine: xoshiro256**, seeded by splitmix64.

/// What happens by chance.
#[derive(Debug, Clone, Copy)]
pub enum Chance {
    /// The schedule itself.
    Schedule,
    /// The incarnation of a life, and where its clock stands.
    Life,
    /// A client's flows.
    Client,
    /// A frame's way to one node.
    Frame,
    /// A packet's way to one node.
    Packet,
    /// How long a kernel takes.
    Kernel,
    /// How late a timer is.
    Timer,
    /// What an attacker sends.
    Attack,
}

/// A generator.
#[derive(Debug, Clone)]
pub struct Rng([u64; 4]);

impl Rng {
    /// From one seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(core::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }))
    }

    /// For one thing that happens by chance under a seed, named by three numbers.
    #[must_use]
    pub fn of(seed: u64, what: Chance, one: u64, other: u64) -> Self {
        let mix = |state: u64, value: u64| {
            let z = (state ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (z ^ (z >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        };
        Self::new(mix(mix(mix(seed, what as u64 + 1), one), other))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// From `low` up to, not including, `high`; `low` where there is no room.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.bits() % high.saturating_sub(low).max(1)
    }

    /// An index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.range(0, len as u64)).unwrap_or(0)
    }

    /// True `per_million` times in a million.
    pub fn chance(&mut self, per_million: u64) -> bool {
        self.range(0, 1_000_000) < per_million
    }
}
