//! View, epoch, table: R2, R3 (SPEC 6.4, 6.5).

use std::sync::Arc;

use nlb_protocol::frame::State;
use nlb_protocol::table::{Table, View};
use nlb_protocol::{Buckets, Digest, Epoch, NodeId, Weight};

use super::Engine;
use super::image::{Image, Input};
use crate::notice::Notice;
use crate::time::Time;

/// The view and what follows from it.
#[derive(Debug, Clone, Hash)]
pub(super) struct ViewState {
    pub(super) view: View,
    pub(super) digest: Digest,
    /// The hash seed that is in the digest.
    seed: u32,
    pub(super) table: Arc<Table>,
    pub(super) epoch: Epoch,
    /// The highest epoch that anybody named.
    highest: Epoch,
    /// What the heartbeats name: the latest view that the own kernel lets through.
    pub(super) named: (Epoch, Digest),
    /// What the table gives to this node.
    pub(super) mine: Buckets,
    /// When the view last changed.
    pub(super) changed: Time,
    pub(super) converged: bool,
    /// The peers that are late, and what would be ours without them.
    late: (Vec<NodeId>, Digest),
    pub(super) late_mine: Buckets,
}

impl ViewState {
    pub(super) fn new(seed: u32, now: Time) -> Self {
        let view = View::default();
        let digest = view.digest(seed);
        Self {
            table: Arc::default(),
            view,
            digest,
            seed,
            epoch: Epoch(0),
            highest: Epoch(0),
            named: (Epoch(0), digest),
            mine: Buckets::EMPTY,
            changed: now,
            converged: false,
            late: (Vec::new(), digest),
            late_mine: Buckets::EMPTY,
        }
    }

    /// Somebody named this epoch.
    pub(super) fn see(&mut self, epoch: Epoch) {
        self.highest = self.highest.max(epoch);
    }

    /// The highest epoch that anybody named.
    pub(super) fn highest(&self) -> Epoch {
        self.highest.max(self.epoch)
    }

    /// Whether the heartbeats name the current view.
    pub(super) fn is_named(&self) -> bool {
        self.named == (self.epoch, self.digest)
    }
}

impl Engine {
    /// Computes the view anew and names it when the kernel is ready for it.
    pub(super) fn refresh_view(&mut self) {
        let me = (self.state == State::Active).then_some((self.config.node, self.weight));
        let others = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.says.state == State::Active && peer.hears_us())
            .map(|(node, peer)| (node, peer.says.weight));
        let view = View::new(me.into_iter().chain(others));
        if self.seed != self.view.seed || view != self.view.view {
            self.change_view(view);
        } else if self.view.highest > self.view.epoch {
            self.view.epoch = self.view.highest;
            self.view.converged = false;
        }
        self.refresh_late();
        self.name_view();
    }

    fn change_view(&mut self, view: View) {
        let epoch = Epoch(self.view.highest.max(self.view.epoch).0.saturating_add(1));
        let digest = view.digest(self.seed);
        self.view.table = (self.config.tables)(&view);
        self.view.mine = self.view.table.of(self.config.node);
        self.view.epoch = epoch;
        self.view.highest = epoch;
        (self.view.digest, self.view.seed) = (digest, self.seed);
        self.view.changed = self.now;
        self.view.converged = false;
        let members = view.members().len();
        self.view.view = view;
        self.notify(Notice::View { epoch, digest, members });
    }

    /// D: a view is named once the own kernel lets through what it gives to this node, so that a
    /// peer that sees it named may release (SPEC 6.4).
    fn name_view(&mut self) {
        if !self.view.is_named() && self.kernel.passes(&self.view.mine, self.seed) {
            self.view.named = (self.view.epoch, self.view.digest);
            self.sender.dirty = true;
        }
    }

    /// Which buckets would become ours if the peers that are late died.
    fn refresh_late(&mut self) {
        let timing = &self.config.timing;
        let late: Vec<NodeId> = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                peer.says.state == State::Active && self.now.since(peer.heard) >= timing.late()
            })
            .map(|(node, _)| node)
            .collect();
        let key = (late, self.view.digest);
        if key == self.view.late {
            return;
        }
        self.view.late_mine = Buckets::EMPTY;
        if !key.0.is_empty() && self.state == State::Active {
            let members = self.view.view.members().iter().copied();
            let rest = View::new(members.filter(|(node, _)| !key.0.contains(node)));
            self.view.late_mine = (self.config.tables)(&rest).of(self.config.node);
        }
        self.view.late = key;
    }

    /// What the kernel has to let through to the queue: what is accepted, what the table gives,
    /// and what it would give without the peers that are late.
    pub(super) fn coming_filter(&self) -> Buckets {
        let mut filter = self.accepts.clone();
        if self.state == State::Active {
            filter.union_with(&self.view.mine);
            filter.union_with(&self.view.late_mine);
        }
        filter
    }

    /// Says it when every node agrees and every bucket lies where the table says.
    pub(super) fn note_convergence(&mut self) {
        let converged = self.is_converged();
        if converged && !self.view.converged {
            let took = self.now.since(self.view.changed);
            let buckets = self.accepts.len();
            self.notify(Notice::Converged { epoch: self.view.epoch, buckets, took });
        }
        self.view.converged = converged;
    }

    fn is_converged(&self) -> bool {
        let settled = match self.state {
            State::Active | State::Draining => self.shown() == self.view.mine,
            State::Joining | State::Fenced | State::Leaving | State::Restarting => false,
        };
        settled
            && self.view.is_named()
            && self.peers.iter().all(|(node, peer)| match peer.says.state {
                State::Active => self.agrees(peer) && peer.shows == self.view.table.share(node),
                State::Joining => self.agrees(peer),
                State::Draining | State::Fenced | State::Leaving | State::Restarting => {
                    peer.shows == 0
                }
            })
    }
}

/// The table is what the view makes it.
impl Image for ViewState {
    fn put(&self, out: &mut Vec<u8>) {
        let Self {
            view,
            digest,
            seed,
            table: _,
            epoch,
            highest,
            named,
            mine,
            changed,
            converged,
            late,
            late_mine,
        } = self;
        view.members().to_vec().put(out);
        ((*digest, *epoch), (*highest, *named)).put(out);
        seed.put(out);
        mine.put(out);
        (*changed, *converged).put(out);
        late.put(out);
        late_mine.put(out);
    }

    fn take(input: &mut Input<'_>) -> Option<Self> {
        let members: Vec<(NodeId, Weight)> = Image::take(input)?;
        let view = View::new(members);
        Some(Self {
            table: Arc::new(Table::build(&view)),
            view,
            digest: Image::take(input)?,
            epoch: Image::take(input)?,
            highest: Image::take(input)?,
            named: Image::take(input)?,
            seed: Image::take(input)?,
            mine: Image::take(input)?,
            changed: Image::take(input)?,
            converged: Image::take(input)?,
            late: Image::take(input)?,
            late_mine: Image::take(input)?,
        })
    }
}
