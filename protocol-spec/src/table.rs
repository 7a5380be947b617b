//! The table: a pure integer function from the view to the owner of every bucket (SPEC 3.3).
//!
//! No history and no leader: whoever knows the view knows the table. Everything is integer
//! arithmetic of 64 bits, so that every implementation computes the same.

#[cfg(test)]
mod tests;

use core::fmt;
use std::collections::BinaryHeap;

use sha2::{Digest as _, Sha256};

use crate::buckets::Buckets;
use crate::ids::{BUCKETS, Bucket, Digest, MAX_NODES, NodeId, Weight};

/// What a view's digest begins with.
const DIGEST_LABEL: &[u8] = b"nlbd view 1";
/// The share of weight 1, in units of which every weight's share is a whole number, rounded down:
/// large enough that rounding is below a millionth of a bucket, small enough that
/// no product or sum below leaves 64 bits.
const UNIT: u64 = 1 << 48;
/// The increment of SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Rounds of the permutation that ranks the buckets for a node: the fewest that show no pattern.
const ROUNDS: usize = 4;
/// The number of buckets where the arithmetic is of 64 bits.
const SLOTS: u64 = BUCKETS as u64;
/// The same of the nodes.
const NODES: u64 = MAX_NODES as u64;
/// Above every cost (SPEC 3.3.2): 65 doublings in units of 2^-32, times the greatest weight.
const COSTS: u64 = 65 << 32 << 16;

const _: () = assert!(UNIT.checked_mul(MAX_NODES as u64).is_some());
const _: () = assert!(UNIT.checked_mul(SLOTS).is_some());
const _: () = assert!(COSTS.checked_mul(NODES).is_some());

/// The active nodes and their weights, sorted by node id, each id once, at most
/// [`MAX_NODES`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct View(Vec<(NodeId, Weight)>);

impl View {
    /// Sorts; of two entries with one id the later counts; keeps the lowest `MAX_NODES` ids.
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = (NodeId, Weight)>) -> Self {
        let mut sorted: Vec<_> = members.into_iter().collect();
        sorted.sort_by_key(|(id, _)| *id); // stable: the later of two stays behind
        sorted.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = later.1;
            }
            same
        });
        sorted.truncate(MAX_NODES);
        Self(sorted)
    }

    /// The members in rising order of their ids.
    #[must_use]
    pub fn members(&self) -> &[(NodeId, Weight)] {
        &self.0
    }

    /// Names the view under a hash seed: equal digest, equal table, equal client hash (SPEC 3.4).
    #[must_use]
    pub fn digest(&self, seed: u32) -> Digest {
        let mut hash = Sha256::new();
        hash.update(DIGEST_LABEL);
        hash.update(seed.to_be_bytes());
        hash.update([u8::try_from(self.0.len()).unwrap_or(u8::MAX)]);
        for (id, weight) in &self.0 {
            hash.update(id.0.to_be_bytes());
            hash.update(weight.get().to_be_bytes());
        }
        let whole: [u8; 32] = hash.finalize().into();
        Digest(u64::from_be_bytes(core::array::from_fn(|i| whole[i])))
    }
}

/// Which node owns which bucket.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Table {
    /// The members of the view with their quotas, in rising order of the ids.
    members: Vec<(NodeId, u16)>,
    /// Positions in `members`; meaningless without members.
    owners: Box<[u8; BUCKETS]>,
}

impl Table {
    /// The table of a view. An empty view gives a table without owners.
    #[must_use]
    pub fn build(view: &View) -> Self {
        let draws: Vec<Draws> = view.members().iter().map(|(id, _)| Draws::new(*id)).collect();
        Self::assign(view, |position, bucket| draws[position].draw(bucket))
    }

    /// The same from the draws of its members, in their order, for whoever makes many tables of
    /// the same nodes.
    ///
    /// # Panics
    /// If there are not as many as members.
    #[must_use]
    pub fn build_from(view: &View, draws: &[&AllDraws]) -> Self {
        assert_eq!(draws.len(), view.members().len(), "each member has its draws");
        Self::assign(view, |position, bucket| draws[position].0[bucket])
    }

    fn assign(view: &View, draw: impl Fn(usize, usize) -> u64) -> Self {
        let quotas = quotas(view.members());
        let members: Vec<_> =
            view.members().iter().zip(&quotas).map(|((id, _), quota)| (*id, *quota)).collect();
        let owners = assign(view.members(), &quotas, draw);
        Self { members, owners }
    }

    /// Who owns `bucket`; `None` only in the table of the empty view.
    #[must_use]
    pub fn owner(&self, bucket: Bucket) -> Option<NodeId> {
        let position = usize::from(self.owners[bucket.index()]);
        self.members.get(position).map(|(id, _)| *id)
    }

    /// How many buckets `node` owns.
    #[must_use]
    pub fn share(&self, node: NodeId) -> usize {
        self.position(node).map_or(0, |position| usize::from(self.members[position].1))
    }

    /// The buckets that `node` owns.
    #[must_use]
    pub fn of(&self, node: NodeId) -> Buckets {
        let Some(position) = self.position(node) else { return Buckets::EMPTY };
        Bucket::all()
            .filter(|bucket| usize::from(self.owners[bucket.index()]) == position)
            .collect()
    }

    /// Those of `buckets` whose owners are among these.
    #[must_use]
    pub fn owned(&self, buckets: &Buckets, by: impl Fn(NodeId) -> bool) -> Buckets {
        let by: Vec<bool> = self.members.iter().map(|(node, _)| by(*node)).collect();
        let owned =
            |bucket: &Bucket| by.get(usize::from(self.owners[bucket.index()])) == Some(&true);
        buckets.iter().filter(owned).collect()
    }

    /// Who owns any of `buckets`, in rising order.
    #[must_use]
    pub fn owners_of(&self, buckets: &Buckets) -> Vec<NodeId> {
        let mut some = vec![false; self.members.len()];
        for bucket in buckets.iter() {
            if let Some(some) = some.get_mut(usize::from(self.owners[bucket.index()])) {
                *some = true;
            }
        }
        self.members
            .iter()
            .zip(some)
            .filter(|(_, some)| *some)
            .map(|((node, _), _)| *node)
            .collect()
    }

    /// The owner of every bucket in rising order; nothing in the table of the empty view.
    pub fn owners(&self) -> impl Iterator<Item = (Bucket, NodeId)> + '_ {
        Bucket::all().filter_map(|bucket| self.owner(bucket).map(|owner| (bucket, owner)))
    }

    /// The nodes of the view, each with the number of buckets it owns, in rising order.
    #[must_use]
    pub fn shares(&self) -> &[(NodeId, u16)] {
        &self.members
    }

    fn position(&self, node: NodeId) -> Option<usize> {
        self.members.binary_search_by_key(&node, |(id, _)| *id).ok()
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::build(&View::default())
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.members.iter().map(|(id, share)| (id, share))).finish()
    }
}

/// How many buckets each member owns: proportional to 1/weight by largest remainder (SPEC 3.3.1).
fn quotas(members: &[(NodeId, Weight)]) -> Vec<u16> {
    let shares: Vec<u64> =
        members.iter().map(|(_, weight)| UNIT / u64::from(weight.get())).collect();
    let total: u64 = shares.iter().sum();
    let whole = |share: &u64| share * SLOTS / total.max(1);
    let rest = |share: &u64| share * SLOTS % total.max(1);
    let mut quotas: Vec<u64> = shares.iter().map(whole).collect();
    let left = (SLOTS).saturating_sub(quotas.iter().sum());
    let mut order: Vec<usize> = (0..members.len()).collect();
    // Stable, and the members rise by id: of equal remainders the lower id comes first.
    order.sort_by_key(|position| core::cmp::Reverse(rest(&shares[*position])));
    for position in order.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        quotas[position] += 1;
    }
    quotas.into_iter().map(|quota| u16::try_from(quota).unwrap_or(u16::MAX)).collect()
}

/// What the draws of one node are made of (SPEC 3.3.2).
struct Draws {
    seed: u64,
    /// Of each round what is multiplied by and what is added.
    rounds: [(u64, u64); ROUNDS],
}

/// What one node draws for every bucket (SPEC 3.3.2): all that a table takes of it besides its
/// weight, and by far the most work. 32 KiB.
#[derive(Debug, Clone)]
pub struct AllDraws(Box<[u64]>);

impl AllDraws {
    /// The draws of a node.
    #[must_use]
    pub fn of(node: NodeId) -> Self {
        let draws = Draws::new(node);
        Self((0..BUCKETS).map(|bucket| draws.draw(bucket)).collect())
    }
}

impl Draws {
    fn new(id: NodeId) -> Self {
        let seed = mix(id.0.wrapping_add(GOLDEN));
        let rounds = core::array::from_fn(|round| {
            let key = stream(seed, round as u64);
            ((key % SLOTS) | 1, key >> 32)
        });
        Self { seed, rounds }
    }

    /// How dear a bucket is to the node and the node to the bucket, for each unit of its weight:
    /// lower is better, for both.
    ///
    /// An exponentially distributed number. Times the weight that is by itself weighted
    /// rendezvous, so the quotas have little left to correct.
    fn draw(&self, bucket: usize) -> u64 {
        let bucket = bucket as u64;
        let rank = self.rank(bucket);
        // Below the rank, bits that keep two nodes from a tie.
        let draw = (rank << 52) | (stream(self.seed, ROUNDS as u64 + bucket) >> 12) | 1;
        exponential(draw)
    }

    /// The place of the bucket among all for this node. A permutation, because that spreads more
    /// evenly than independent draws.
    fn rank(&self, bucket: u64) -> u64 {
        self.rounds.iter().fold(bucket, |x, (factor, summand)| {
            let x = (x * factor + summand) % SLOTS;
            x ^ (x >> 6)
        })
    }
}

/// `-log2(draw / 2^64)` in units of 2^-32, to within a hundredth of a unit of the logarithm.
const fn exponential(draw: u64) -> u64 {
    let zeros = draw.leading_zeros();
    let fraction = (draw << zeros << 1) >> 32;
    // A parabola between two powers of two: a straight line would favour the light nodes.
    let parabola = (fraction * ((1 << 32) - fraction)) >> 32;
    let bent = fraction + ((parabola * 88) >> 8);
    ((zeros as u64 + 1) << 32) - bent
}

/// Number `index` of the SplitMix64 stream that begins at `seed`.
const fn stream(seed: u64, index: u64) -> u64 {
    mix(seed.wrapping_add(GOLDEN.wrapping_mul(index + 1)))
}

/// The finaliser of SplitMix64.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Deferred acceptance (SPEC 3.3.3): every bucket asks the nodes from its best on; a node keeps the
/// best that asked, up to its quota, and sends the rest on.
fn assign(
    members: &[(NodeId, Weight)],
    quotas: &[u16],
    draw: impl Fn(usize, usize) -> u64,
) -> Box<[u8; BUCKETS]> {
    let mut owners = Box::new([0; BUCKETS]);
    let count = members.len();
    if count == 0 {
        return owners;
    }
    // Costs with the position behind: in this order a bucket asks, and no two are equal.
    let mut offers = Vec::with_capacity(BUCKETS * count);
    for bucket in 0..BUCKETS {
        offers.extend(members.iter().enumerate().map(|(position, (_, weight))| {
            draw(position, bucket) * u64::from(weight.get()) * NODES + position as u64
        }));
    }
    // The offer that a bucket made last. No cost is zero, so none is below the first.
    let mut asked = vec![0; BUCKETS];
    let mut kept: Vec<BinaryHeap<(u64, usize)>> =
        quotas.iter().map(|quota| BinaryHeap::with_capacity(usize::from(*quota) + 1)).collect();
    for first in 0..BUCKETS {
        let mut homeless = Some(first);
        while let Some(bucket) = homeless {
            let row = &offers[bucket * count..(bucket + 1) * count];
            let last = asked[bucket];
            let behind = |offer: &u64| if *offer > last { *offer } else { u64::MAX };
            let next = row.iter().map(behind).min().unwrap_or(u64::MAX);
            // The quotas add up to the buckets, so nobody is refused everywhere.
            if next == u64::MAX {
                break;
            }
            asked[bucket] = next;
            let (cost, position) = (next / NODES, usize::try_from(next % NODES).unwrap_or(0));
            kept[position].push((cost, bucket));
            homeless = if kept[position].len() > usize::from(quotas[position]) {
                kept[position].pop().map(|(_, worst)| worst)
            } else {
                None
            };
        }
    }
    for (position, buckets) in kept.into_iter().enumerate() {
        for (_, bucket) in buckets {
            owners[bucket] = u8::try_from(position).unwrap_or(u8::MAX);
        }
    }
    owners
}
