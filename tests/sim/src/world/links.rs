//! Who reaches whom, and since when.

use super::World;

/// The links between nodes: each on several paths, in both directions.
#[derive(Debug)]
pub(super) struct Links {
    size: usize,
    all: u8,
    /// By `from * size + to`: the paths that are cut.
    cut: Vec<u8>,
    /// The same: the paths that work, after all is taken together.
    works: Vec<u8>,
    /// The same: whether some would work if every interface were up. What a node's own kernel
    /// knows not to leave excuses nothing (SPEC 6.8.1).
    joins: Vec<bool>,
    /// The same, both ways alike: when that last changed between the two.
    changed: Vec<u64>,
    /// Whether no direction worked before that.
    parted: Vec<bool>,
}

impl Links {
    pub(super) fn new(size: usize, all: u8) -> Self {
        let links = size * size;
        Self {
            size,
            all,
            cut: vec![0; links],
            works: vec![all; links],
            joins: vec![true; links],
            changed: vec![0; links],
            parted: vec![false; links],
        }
    }

    /// Every path.
    pub(super) fn all(&self) -> u8 {
        self.all
    }

    /// The paths on which frames of one node reach another.
    pub(super) fn works(&self, from: usize, to: usize) -> u8 {
        self.works[from * self.size + to]
    }

    /// Whether anything but an interface that is down keeps one from reaching another.
    pub(super) fn joins(&self, from: usize, to: usize) -> bool {
        self.joins[from * self.size + to]
    }

    /// When a direction between the two was last cut as a whole, or mended.
    pub(super) fn changed(&self, one: usize, other: usize) -> u64 {
        self.changed[one * self.size + other]
    }

    /// When anything last changed between any two; 0: never.
    pub(super) fn latest_change(&self) -> u64 {
        self.changed.iter().max().copied().unwrap_or(0)
    }

    /// Whether neither heard the other until that.
    pub(super) fn was_parted(&self, one: usize, other: usize) -> bool {
        self.parted[one * self.size + other]
    }

    fn set(&mut self, from: usize, to: usize, (works, joins): (u8, bool), now: u64) {
        let (link, back) = (from * self.size + to, to * self.size + from);
        if self.joins[link] != joins {
            // Both directions may change at one instant.
            let parted = !self.joins[link] && !self.joins[back]
                || self.changed[link] == now && self.parted[link];
            for link in [link, back] {
                self.changed[link] = now;
                self.parted[link] = parted;
            }
        }
        (self.works[link], self.joins[link]) = (works, joins);
    }
}

impl World {
    /// Frames from one node no longer reach another on these paths, or reach it again.
    pub(super) fn cut(&mut self, from: usize, to: usize, paths: u8, cut: bool) {
        if from != to {
            let link = from * self.links.size + to;
            let before = self.links.cut[link];
            self.links.cut[link] = if cut { before | paths } else { before & !paths };
        }
    }

    /// Interfaces of a node go down, or come up.
    pub(super) fn plug(&mut self, index: usize, paths: u8, down: bool) {
        let (all, now, node) = (self.links.all, self.now, &mut self.nodes[index]);
        let before = node.down & all;
        node.down = if down { node.down | paths } else { node.down & !paths };
        match (before == all, node.down & all == all) {
            (false, true) => node.unplugged.0 = now,
            (true, false) => node.unplugged.1 = now,
            _ => {}
        }
    }

    /// No cuts, nobody deaf or mute.
    pub fn heal(&mut self) {
        self.links.cut.fill(0);
        self.nodes.iter_mut().for_each(|node| (node.deaf, node.mute) = (false, false));
        self.relink();
    }

    /// Takes account of cuts, of who is deaf or mute, and of interfaces that are down.
    pub(super) fn relink(&mut self) {
        let all = self.links.all;
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                let (sender, receiver) = (&self.nodes[from], &self.nodes[to]);
                let lost = self.links.cut[from * self.links.size + to];
                let none = if sender.mute || receiver.deaf { all } else { 0 };
                let joined = all & !(lost | none);
                let works = joined & !(sender.down | receiver.down);
                self.links.set(from, to, (works, joined != 0), self.now);
            }
        }
    }

    /// Whether everybody reaches everybody.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.links.works.iter().all(|works| *works == self.links.all)
    }
}
