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
    /// The same, both ways alike: when something last changed between the two.
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

    /// When a direction between the two began or ceased to work as a whole.
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

    fn set(&mut self, from: usize, to: usize, works: u8, now: u64) {
        let (link, back) = (from * self.size + to, to * self.size + from);
        if (self.works[link] == 0) != (works == 0) {
            // Both directions may change at one instant.
            let parted = self.works[link] == 0 && self.works[back] == 0
                || self.changed[link] == now && self.parted[link];
            for link in [link, back] {
                self.changed[link] = now;
                self.parted[link] = parted;
            }
        }
        self.works[link] = works;
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
                let mut works = all & !(lost | sender.down | receiver.down);
                if sender.mute || receiver.deaf {
                    works = 0;
                }
                self.links.set(from, to, works, self.now);
            }
        }
    }

    /// Whether everybody reaches everybody.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.links.works.iter().all(|works| *works == self.links.all)
    }
}
