//! The numbers that name things: nodes, clusters, incarnations, epochs, weights, buckets.

use core::fmt;

/// How many hash slots a cluster has (SPEC 3.1). A power of two, so that scaling a 32-bit hash is
/// exact, and large enough that 64 nodes share to within one part in 64 of each other's quota.
pub const BUCKETS: usize = BUCKET_COUNT as usize;
const BUCKET_COUNT: u16 = 4096;

/// The most nodes one cluster can have (SPEC 3.1): as many peers as one heartbeat can name within
/// 1500 bytes.
pub const MAX_NODES: usize = 64;

/// The most peers a node can know: everyone but itself.
pub const MAX_PEERS: usize = MAX_NODES - 1;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $format:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }
    };
}

number!(
    /// A node of a cluster, for as long as the machine lives (from machine-id or configured).
    NodeId(u64), "{:016x}"
);
number!(
    /// One life of a node: random, new at each fresh start, never zero.
    Incarnation(u64), "{:016x}"
);
number!(
    /// The number of a frame within an incarnation. Rises strictly, starts at 1.
    Sequence(u64), "{}"
);
number!(
    /// Lamport number of the view (SPEC rule R2).
    Epoch(u64), "{}"
);
number!(
    /// Names a view: equal digest means equal view and therefore equal table.
    Digest(u64), "{:016x}"
);
number!(
    /// How far a node's pin log has come (SPEC rule R5). Zero: nothing was ever pinned.
    PinVersion(u64), "{}"
);
number!(
    /// Names a cluster on its segment.
    ClusterId(u16), "{}"
);

impl Incarnation {
    /// The low 32 bits, as heartbeats acknowledge them (SPEC 4.3).
    #[must_use]
    pub const fn low32(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }
}

impl Sequence {
    /// The low 16 bits, as heartbeats acknowledge them (SPEC 4.3).
    #[must_use]
    pub const fn low16(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

/// A node's weight, 1 to 65535. The HIGHER the weight, the LESS traffic: shares are proportional
/// to 1/weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(core::num::NonZeroU16);

impl Weight {
    /// The weight of a node that nobody weighed.
    pub const DEFAULT: Self = Self(core::num::NonZeroU16::new(100).unwrap());

    /// `None` for zero, which is no weight.
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        match core::num::NonZeroU16::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The weight as a plain number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// One of the [`BUCKETS`] hash slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(u16);

impl Bucket {
    /// The slot with number zero.
    pub(crate) const FIRST: Self = Self(0);

    /// `None` where there is no such slot.
    #[must_use]
    pub const fn new(index: u16) -> Option<Self> {
        if index < BUCKET_COUNT { Some(Self(index)) } else { None }
    }

    /// The slot's number, below [`BUCKETS`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Every slot in rising order.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..BUCKET_COUNT).map(Self)
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
