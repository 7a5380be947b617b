//! The table: a pure integer function from the view to the owner of every bucket (SPEC 3.3).

use crate::ids::{BUCKETS, Bucket, Digest, NodeId, Weight};

/// The active nodes and their weights, sorted by node id, each id once, at most
/// [`MAX_NODES`](crate::ids::MAX_NODES).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View(Vec<(NodeId, Weight)>);

impl View {
    /// Sorts; of two entries with one id the later counts; keeps the lowest `MAX_NODES` ids.
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = (NodeId, Weight)>) -> Self {
        let mut view = Self(members.into_iter().collect());
        view.0.sort_by_key(|(id, _)| *id);
        view
    }

    /// The members in rising order of their ids.
    #[must_use]
    pub fn members(&self) -> &[(NodeId, Weight)] {
        &self.0
    }

    /// Names the view under a hash seed: equal digest, equal table, equal client hash (SPEC 3.4).
    #[must_use]
    pub fn digest(&self, _seed: u32) -> Digest {
        unimplemented!()
    }
}

/// Which node owns which bucket.
#[derive(Clone, PartialEq, Eq)]
pub struct Table(Vec<(NodeId, u16)>, Box<[u8; BUCKETS]>);

impl Table {
    /// The table of a view. An empty view gives a table without owners.
    #[must_use]
    pub fn build(_view: &View) -> Self {
        unimplemented!()
    }

    /// Who owns `bucket`; `None` only in the table of the empty view.
    #[must_use]
    pub fn owner(&self, _bucket: Bucket) -> Option<NodeId> {
        unimplemented!()
    }

    /// How many buckets `node` owns.
    #[must_use]
    pub fn share(&self, _node: NodeId) -> usize {
        unimplemented!()
    }
}
