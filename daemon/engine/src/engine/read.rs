//! What people see of the engine: snapshots for management.

use core::net::IpAddr;

use nlb_protocol::frame::State;
use nlb_protocol::table::View;
use nlb_protocol::{Bucket, Buckets, Digest, Epoch, NodeId, hash};

use super::Engine;
use crate::manage::{BucketView, ClientView, Explanation, NodeView, Snapshot};
use crate::time::Time;

impl Engine {
    /// The bucket of a client under the seed in use.
    #[must_use]
    pub fn bucket(&self, client: IpAddr) -> Bucket {
        hash::bucket(client, self.seed)
    }

    /// The cluster as this node sees it.
    #[must_use]
    pub fn snapshot(&self, now: Time) -> Snapshot {
        self.read_snapshot(now)
    }

    /// Every bucket.
    #[must_use]
    pub fn buckets(&self) -> Vec<BucketView> {
        Bucket::all().map(|bucket| self.read_bucket(bucket)).collect()
    }

    /// At most `limit` of the clients that this node keeps.
    #[must_use]
    pub fn clients(&self, limit: usize, now: Time) -> Vec<ClientView> {
        self.read_clients(limit, now)
    }

    /// Where a client goes, and why.
    #[must_use]
    pub fn explain(&self, client: IpAddr, now: Time) -> Explanation {
        self.read_explanation(client, now)
    }

    /// This node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.config.node
    }

    /// This node's state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The buckets whose new clients this node accepts now.
    #[must_use]
    pub fn accepts(&self) -> &Buckets {
        &self.accepts
    }

    /// The epoch and digest that this node's heartbeats name.
    #[must_use]
    pub fn view(&self) -> (Epoch, Digest) {
        self.view.named
    }

    /// Notices that were dropped because nobody fetched them.
    #[must_use]
    pub fn notices_lost(&self) -> u64 {
        self.notices_lost
    }

    pub(super) fn read_snapshot(&self, now: Time) -> Snapshot {
        let mut nodes: Vec<NodeView> = self
            .peers
            .iter()
            .map(|(id, peer)| NodeView {
                id,
                incarnation: peer.incarnation,
                name: peer.name.clone(),
                software: peer.software.clone(),
                load: peer.load,
                health: peer.says.health,
                state: peer.says.state,
                weight: peer.says.weight,
                buckets: peer.says.accepts.len(),
                pins: peer.pins.clients.len(),
                local: false,
                hears_us: peer.hears_us(),
                last_heard: now.since(peer.heard),
                differs: self.alike.differences(id, peer.incarnation),
            })
            .collect();
        nodes.push(self.read_self());
        nodes.sort_by_key(|node| node.id);
        Snapshot {
            cluster: self.config.cluster,
            converged: self.view.converged,
            epoch: self.view.epoch,
            digest: self.view.digest,
            seed: self.seed,
            state: self.state,
            cause: self.cause_words(),
            local_node: self.config.node,
            buckets_accepted: self.accepts.len(),
            clients: self.clients.len(),
            pins: self.log.len(),
            pin_version: self.log.version(),
            held: self.waiting.len(),
            drain: self.read_drain(now),
            nodes,
            counters: self.counters,
        }
    }

    fn read_self(&self) -> NodeView {
        NodeView {
            id: self.config.node,
            incarnation: self.config.incarnation,
            name: self.config.name.clone(),
            software: self.config.software.clone(),
            load: self.load,
            health: self.service.health(),
            state: self.state,
            weight: self.weight,
            buckets: self.accepts.len(),
            pins: self.log.len(),
            local: true,
            hears_us: true,
            last_heard: core::time::Duration::ZERO,
            differs: Vec::new(),
        }
    }

    pub(super) fn read_bucket(&self, bucket: Bucket) -> BucketView {
        let owner = self.view.table.owner(bucket);
        BucketView { bucket, owner, accepted_by: self.accepted_by(bucket) }
    }

    fn accepted_by(&self, bucket: Bucket) -> Option<NodeId> {
        if self.accepts.contains(bucket) {
            return Some(self.config.node);
        }
        let mut peers = self.peers.iter().filter(|(_, peer)| peer.says.accepts.contains(bucket));
        peers.next().map(|(node, _)| node)
    }

    pub(super) fn read_clients(&self, limit: usize, now: Time) -> Vec<ClientView> {
        let view = |(bucket, client, entry): (Bucket, IpAddr, &super::clients::Client)| {
            let seen = Some(now.since(entry.seen));
            let pinned = self.view.table.owner(bucket) != Some(self.config.node);
            ClientView { client, bucket, node: self.config.node, pinned, seen }
        };
        self.clients.iter().take(limit).map(view).collect()
    }

    pub(super) fn read_explanation(&self, client: IpAddr, now: Time) -> Explanation {
        let hash = hash::client_hash(client, self.seed);
        let bucket = self.bucket(client);
        let owner = self.view.table.owner(bucket);
        let accepted_by = self.accepted_by(bucket);
        let here = self.clients.get(bucket, client).map(|entry| now.since(entry.seen));
        let elsewhere = self.keeper(client);
        let pinned_here = here.is_some() && owner != Some(self.config.node);
        let pinned_to = elsewhere.or(pinned_here.then_some(self.config.node));
        let node = here.map(|_| self.config.node).or(elsewhere).or(accepted_by);
        Explanation {
            client,
            hash,
            bucket,
            owner,
            accepted_by,
            pinned_to,
            sticky_here: here,
            node,
            heirs: node.or(owner).map(|node| self.heirs(node)).unwrap_or_default(),
        }
    }

    /// The members of the view when `node` is gone.
    fn heirs(&self, node: NodeId) -> View {
        let members = self.view.view.members().iter().copied();
        View::new(members.filter(|(member, _)| *member != node))
    }
}
