//! Draws faults: which, when, to whom; alone, or several in the middle of what the first begins.

use crate::rng::Rng;
use crate::schedule::{Attack, Fault, Schedule, Timed, Wake};

/// Something to do to a node that is chosen by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Crash,
    Boot,
    Restart,
    Return,
    Pause,
    Freeze,
    Stall,
    Stale,
    Relay,
    Weight,
    Burst,
    Leave,
    Rules,
    Refuse,
    Slow,
    Drain,
    Undrain,
    Cut,
    Cuts,
    Mend,
    Partition,
    Deaf,
    Mute,
    Down,
    Heal,
    Loss,
    Attack,
}

/// What a chaotic schedule is made of; who stands more often is drawn more often.
const EVERYTHING: &[Op] = &[
    Op::Crash,
    Op::Crash,
    Op::Boot,
    Op::Boot,
    Op::Boot,
    Op::Return,
    Op::Return,
    Op::Pause,
    Op::Pause,
    Op::Pause,
    Op::Freeze,
    Op::Stall,
    Op::Weight,
    Op::Weight,
    Op::Weight,
    Op::Burst,
    Op::Leave,
    Op::Leave,
    Op::Rules,
    Op::Refuse,
    Op::Slow,
    Op::Drain,
    Op::Undrain,
    Op::Cut,
    Op::Cuts,
    Op::Mend,
    Op::Partition,
    Op::Deaf,
    Op::Mute,
    Op::Down,
    Op::Heal,
    Op::Heal,
    Op::Loss,
    Op::Attack,
    Op::Attack,
];

/// A schedule's faults in the making.
pub(crate) struct Draw {
    rng: Rng,
    nodes: usize,
    paths: u8,
    heartbeat: u64,
    unit: u64,
    careful: bool,
    now: u64,
    /// Who is down, as far as can be known here.
    down: Vec<usize>,
    faults: Vec<Timed>,
}

impl Draw {
    pub(crate) fn new(rng: Rng, schedule: &Schedule) -> Self {
        Self {
            rng,
            nodes: schedule.nodes.len(),
            paths: schedule.all_paths(),
            heartbeat: schedule.heartbeat_us,
            unit: schedule.dead_after_us,
            careful: schedule.careful,
            now: 0,
            down: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn add(&mut self, fault: Fault) {
        self.add_at(self.now, fault);
    }

    fn add_at(&mut self, at_us: u64, fault: Fault) {
        self.faults.push(Timed { at_us, fault });
    }

    fn node(&mut self) -> usize {
        1 + self.rng.index(self.nodes)
    }

    /// Everybody starts, and settles.
    pub(crate) fn start(&mut self) {
        for node in 1..=self.nodes {
            let at = self.rng.range(1000, self.unit / 2);
            self.add_at(at, Fault::Boot(node));
        }
        self.now = self.unit * 7 / 2;
    }

    /// Time passes: so many hundredths of dead-after.
    pub(crate) fn wait(&mut self, least: u64, most: u64) {
        self.now += self.rng.range(self.unit * least / 100, self.unit * most / 100);
    }

    /// One of these.
    pub(crate) fn pick(&mut self, ops: &[Op]) {
        let op = ops[self.rng.index(ops.len())];
        let node = self.node();
        self.act(op, node);
    }

    /// So many rounds of anything. In each, more may follow while the first is on its way.
    pub(crate) fn everything(&mut self, rounds: usize, restarts: bool) {
        let mut ops = EVERYTHING.to_vec();
        ops.extend(restarts.then_some([Op::Restart; 3]).into_iter().flatten());
        for _ in 0..rounds {
            self.wait(3, 200);
            let node = self.node();
            self.pick(&ops);
            while self.rng.chance(500_000) {
                // A kernel, a frame, a heartbeat or a detection later.
                let steps = [self.heartbeat / 50, self.heartbeat / 4, self.heartbeat, self.unit];
                let step = steps[self.rng.index(steps.len())];
                self.now += self.rng.range(0, step);
                let op = ops[self.rng.index(ops.len())];
                let same = self.rng.chance(300_000);
                let other = self.node();
                self.act(op, if same { node } else { other });
            }
        }
    }

    /// The faults, in their order.
    pub(crate) fn finish(mut self) -> Vec<Timed> {
        self.faults.sort_by_key(|timed| timed.at_us);
        self.faults
    }

    fn act(&mut self, op: Op, node: usize) {
        match op {
            Op::Crash => {
                self.down.push(node);
                self.add(Fault::Crash(node));
            }
            Op::Boot => {
                let node = self.down.pop().unwrap_or(node);
                self.add(Fault::Boot(node));
            }
            Op::Restart => self.restart(node),
            Op::Return => {
                self.add(Fault::Crash(node));
                let after = self.rng.range(0, self.unit * 12 / 10);
                self.add_at(self.now + after, Fault::Boot(node));
            }
            Op::Pause => self.pause(node),
            Op::Freeze => {
                let us = self.long();
                self.add(Fault::Freeze(node, us));
            }
            Op::Stall => {
                let us = self.rng.range(self.unit / 1000, self.unit * 8 / 100);
                self.add(Fault::Pause { node, us, first: Wake::Packets });
            }
            Op::Stale => self.stale(node),
            Op::Relay => self.relay(node),
            Op::Weight => {
                let weight = [1, 50, 100, 100, 200, 300, 65_535][self.rng.index(7)];
                self.add(Fault::Weight(node, weight));
            }
            Op::Burst => self.burst(node),
            Op::Leave => {
                self.down.insert(0, node);
                self.add(Fault::Leave(node));
            }
            Op::Rules => {
                let us = self.rng.range(self.unit / 200, self.unit * 3 / 10);
                self.add(Fault::FlushRules(node, us));
            }
            Op::Refuse => {
                let us = self.rng.range(self.unit / 100, self.unit);
                self.add(Fault::Refuse(node, us));
            }
            Op::Slow => {
                let each = self.rng.range(self.unit / 50, self.unit / 5);
                let us = self.rng.range(self.unit / 10, self.unit * 2);
                self.add(Fault::Slow(node, each, us));
            }
            Op::Drain => self.drain(node),
            Op::Undrain => self.add(Fault::Undrain(node)),
            Op::Cut | Op::Cuts | Op::Mend | Op::Partition => self.link(op, node),
            Op::Deaf => self.add(Fault::Deaf(node)),
            Op::Mute => self.add(Fault::Mute(node)),
            Op::Down => {
                let us = self.rng.range(self.unit / 20, self.unit * 2);
                let paths = self.mask();
                self.add(Fault::Down(node, paths, us));
            }
            Op::Heal => self.add(Fault::Heal),
            Op::Loss => {
                let loss = [0, 10_000, 100_000, 300_000][self.rng.index(4)];
                self.add(Fault::Loss(loss));
            }
            Op::Attack => {
                let kind = [Attack::Replay, Attack::Replay, Attack::Corrupt, Attack::Forge];
                let kind = kind[self.rng.index(kind.len())];
                let frames = 1 + self.rng.index(200);
                self.add(Fault::Attack(kind, node, frames));
            }
        }
    }

    /// Some of the paths; usually all.
    fn mask(&mut self) -> u8 {
        if self.rng.chance(500_000) {
            return self.paths;
        }
        let bits = u8::try_from(self.rng.range(1, u64::from(self.paths) + 1)).unwrap_or(1);
        (bits & self.paths).max(1)
    }

    /// For how long something stands still: across every deadline, often just before or behind one.
    fn long(&mut self) -> u64 {
        let unit = self.unit;
        let near = [2, 3, 4, 7, 10, 12][self.rng.index(6)] * unit / 10;
        match self.rng.index(3) {
            0 => self.rng.range(unit / 10, unit * 5),
            1 => near + self.rng.range(0, unit / 50),
            _ => (near + self.rng.range(0, unit / 10)).saturating_sub(unit / 10),
        }
    }

    /// A process is stopped.
    fn pause(&mut self, node: usize) {
        let us = self.long();
        let first = [Wake::Packets, Wake::Timer, Wake::Frames][self.rng.index(3)];
        self.add(Fault::Pause { node, us, first });
        // A busy host stops several of its machines at once.
        if self.rng.chance(200_000) {
            let other = self.node();
            self.add(Fault::Pause { node: other, us, first });
        }
    }

    /// A node dies; others stop while its kernel still answers, and go on when it certainly does
    /// not, with what came in between still to be read.
    fn stale(&mut self, node: usize) {
        self.down.push(node);
        self.add(Fault::Crash(node));
        for other in (1..=self.nodes).filter(|other| *other != node) {
            if self.rng.chance(600_000) {
                let after = self.rng.range(self.unit / 10, self.unit * 4 / 10);
                let us = self.rng.range(self.unit / 5, self.unit * 7 / 10);
                let first = [Wake::Packets, Wake::Timer, Wake::Frames][self.rng.index(3)];
                self.add_at(self.now + after, Fault::Pause { node: other, us, first });
            }
        }
        if self.rng.chance(300_000) {
            // It begins anew while they are silent.
            self.down.pop();
            let after = self.rng.range(self.unit / 10, self.unit * 6 / 10);
            self.add_at(self.now + after, Fault::Boot(node));
        }
    }

    /// A node stands still, and before it goes on so does another: when that one wakes, it last
    /// heard the first about dead-after ago, and what came since waits to be read.
    fn relay(&mut self, node: usize) {
        let unit = self.unit;
        let others = (1..=self.nodes).filter(|other| *other != node).collect::<Vec<_>>();
        let other = others[self.rng.index(others.len())];
        let still = self.rng.range(unit / 2, unit * 69 / 100);
        self.add(Fault::Pause { node, us: still, first: Wake::Frames });
        let (after, us) =
            (self.rng.range(unit * 4 / 10, still), self.rng.range(unit / 2, unit * 69 / 100));
        let first = [Wake::Packets, Wake::Timer][self.rng.index(2)];
        self.add_at(self.now + after, Fault::Pause { node: other, us, first });
    }

    /// One of these sets, for good. Often while a node is away, which comes back afterwards.
    pub(crate) fn stand(&mut self, sets: &[Vec<Fault>]) {
        let set = &sets[self.rng.index(sets.len())];
        let away = Some(self.node()).filter(|_| self.rng.chance(500_000));
        if let Some(node) = away {
            self.add(Fault::Crash(node));
            self.wait(0, 300);
        }
        set.iter().for_each(|fault| self.add(fault.clone()));
        if let Some(node) = away {
            self.wait(0, 300);
            self.add(Fault::Boot(node));
        }
    }

    fn restart(&mut self, node: usize) {
        let hold_us = self.rng.range(self.unit * 2, self.unit * 10);
        // Usually in time.
        let most = if self.careful { hold_us / 2 } else { hold_us * 12 / 10 };
        let away_us = self.rng.range(self.unit / 20, most);
        self.add(Fault::Restart { node, hold_us, away_us });
    }

    fn burst(&mut self, node: usize) {
        let gap = self.unit / 20;
        for time in 0..20 {
            let weight = u16::try_from(self.rng.range(50, 400)).unwrap_or(100);
            self.add_at(self.now + time * gap, Fault::Weight(node, weight));
        }
    }

    fn drain(&mut self, node: usize) {
        if self.rng.chance(500_000) {
            self.add(Fault::Drain(node, None));
            let after = self.rng.range(self.unit / 10, self.unit * 2);
            self.add_at(self.now + after, Fault::Undrain(node));
        } else {
            self.add(Fault::Drain(node, Some(self.unit)));
        }
    }

    fn link(&mut self, op: Op, node: usize) {
        match op {
            Op::Partition => {
                let side = (1..=self.nodes).filter(|_| self.rng.chance(500_000)).collect();
                self.add(Fault::Partition(side));
            }
            Op::Cuts => {
                for _ in 0..self.rng.range(2, 2 + self.nodes as u64) {
                    let node = self.node();
                    self.link(Op::Cut, node);
                }
            }
            _ => {
                let other = self.node();
                if other != node {
                    let paths = self.mask();
                    let cut = Fault::Cut(node, other, paths);
                    self.add(if op == Op::Cut { cut } else { Fault::Mend(node, other) });
                }
            }
        }
    }
}
