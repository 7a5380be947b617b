//! What lies between two nodes, and what one knows of the other.

use nlb_engine::manage::NodeView;
use nlb_protocol::Incarnation;
use nlb_protocol::frame::State;

use super::{MS, World};
use crate::check::Between;
use crate::node::nanos;

impl World {
    /// What lies between two nodes at `since`, and for how long it has been so.
    #[must_use]
    pub fn between(&self, one: usize, other: usize, since: u64) -> (Between, u64) {
        let (between, age) = self.directly_between(one, other, since);
        let beside = between == Between::Nothing
            && (self.speaks_for_others(one, other, since)
                || self.speaks_for_others(other, one, since));
        if beside { (Between::Partition, age) } else { (between, age) }
    }

    /// Whether a node that began beside a partition knows of one side only, because the other
    /// side's `other` is stopped: it belongs to whom it hears.
    fn speaks_for_others(&self, one: usize, other: usize, since: u64) -> bool {
        !self.hears(one, other)
            && (0..self.nodes.len()).any(|third| {
                let apart = || self.directly_between(third, other, since).0 == Between::Partition;
                third != one && third != other && self.hears(one, third) && apart()
            })
    }

    fn directly_between(&self, one: usize, other: usize, since: u64) -> (Between, u64) {
        let timing = self.schedule.timing();
        let settle = timing.rights() + timing.heartbeat * (1 + self.lost_in_a_row());
        let settle = nanos(settle) + self.transfer();
        // A kernel that goes on without its process, and nobody to tell of it.
        let unknown = self.unknown_until(one, other);
        if self.now < unknown {
            return (Between::Partition, 0);
        }
        if self.is_behind(one, since) || self.is_behind(other, since) {
            return (Between::Partition, 0);
        }
        let changed = self.mended(one, other, settle).max(unknown);
        let age = since.saturating_sub(changed);
        let (there, back) = (self.links.joins(one, other), self.links.joins(other, one));
        let between = match (there, back) {
            (true, true) if changed == 0 || age > settle => Between::Nothing,
            (true, true) if changed == unknown || self.links.was_parted(one, other) => {
                Between::Partition
            }
            (false, false) => Between::Partition,
            _ => Between::OneWay,
        };
        (between, age)
    }

    /// When the links between two were last mended: if one of them was unplugged meanwhile, or stood
    /// still, when it was plugged in again or went on. (That alone excuses nothing.)
    fn mended(&self, one: usize, other: usize, settle: u64) -> u64 {
        let changed = self.links.changed(one, other);
        if changed == 0 {
            return 0;
        }
        let nodes = [&self.nodes[one], &self.nodes[other]];
        let away = nodes.into_iter().flat_map(|node| [node.unplugged, node.stalled]);
        let meanwhile = away.filter(|(from, to)| *to > changed && *from <= changed + settle);
        meanwhile.map(|(_, back)| back).max().unwrap_or(changed)
    }

    /// How many of a node's heartbeats in a row may be lost, or be overtaken by its next frame,
    /// which is the same. Each takes a heartbeat longer (SPEC 6.9).
    pub(super) fn lost_in_a_row(&self) -> u32 {
        let network = self.schedule.network;
        let overtaken =
            u128::from(network.delay_us) > self.schedule.timing().heartbeat.as_micros() / 10;
        if network.loss_ppm > 0 || overtaken { 2 } else { 0 }
    }

    /// How long two nodes may take to tell each other whom they keep and to look at that, where
    /// they do little at a time (SPEC 6.9).
    pub(super) fn transfer(&self) -> u64 {
        let limits = self.schedule.limits;
        let slices = self.clients.len() / limits.slice.min(limits.backlog);
        2 * slices as u64 * MS
    }

    /// Whether one of two leaves, or began anew while the other holds its earlier life for a restart,
    /// and does not hear that other (SPEC 6.9b).
    pub(super) fn knows_nothing(&self, one: usize, other: usize) -> bool {
        [(one, other), (other, one)].into_iter().any(|(this, that)| {
            let engine = self.nodes[this].engine.as_ref();
            let leaves = engine.is_some_and(|engine| engine.state() == State::Leaving);
            let present = self.nodes[this].incarnation;
            let began = self.held_life(that, this).is_some_and(|held| held != present);
            !self.hears(this, that) && (leaves || began)
        })
    }

    /// Which life of another a node holds for a restart.
    pub(super) fn held_life(&self, index: usize, of: usize) -> Option<Incarnation> {
        let nodes = self.nodes[index].engine.as_ref()?.snapshot(nlb_engine::Time::ZERO).nodes;
        let held =
            |node: &&NodeView| node.id == self.nodes[of].id && node.state == State::Restarting;
        nodes.iter().find(held).map(|node| node.incarnation)
    }

    /// Whether a node's last heartbeats left and were lost on every way to everybody: the kernel
    /// goes by what has left (SPEC 6.9, known limit).
    pub(super) fn spoke_to_nobody(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        let reaches = |other: usize| {
            other != index && self.nodes[other].runs() && self.links.works(index, other) != 0
        };
        node.spoke > node.reached + nanos(self.schedule.timing().heartbeat * 2)
            && (0..self.nodes.len()).any(reaches)
    }

    /// Whether one node hears another.
    pub(super) fn hears(&self, index: usize, other: usize) -> bool {
        let id = self.nodes[other].id;
        let engine = self.nodes[index].engine.as_ref();
        let seen = engine.map(|engine| engine.snapshot(nlb_engine::Time::ZERO).nodes);
        seen.is_some_and(|nodes| nodes.iter().any(|node| node.id == id))
    }
}
