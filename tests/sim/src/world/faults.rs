//! What goes wrong, and what administrators do.

use nlb_engine::Engine;
use nlb_engine::manage::Command;
use nlb_protocol::Incarnation;
use nlb_protocol::Weight;

use super::Event;
use super::MS;
use super::World;
use crate::mutate::Mutation;
use crate::node;
use crate::node::nanos;

impl World {
    /// Starts a process at a later time.
    pub fn boot_at(&mut self, at: u64, index: usize) {
        self.at(at, Event::Boot(index));
    }

    pub(super) fn boot(&mut self, index: usize) {
        if self.nodes[index].engine.is_some() {
            return;
        }
        let incarnation = Incarnation(self.rng.bits() | 1);
        let (timing, idle) = (self.settings.timing, self.settings.idle);
        let now = self.now;
        let node = &mut self.nodes[index];
        node.life += 1;
        node.kept += 1;
        node.incarnation = incarnation;
        node.paused = false;
        node.lost = now;
        let config = node::config(node.id.0, incarnation, timing, idle);
        node.engine = Some(match node.left_behind(now) {
            Some((saved, clients)) => Engine::resume(config, &saved, &clients, node.clock(now)),
            None => Engine::new(config, node.clock(now)),
        });
        if let Some(life) = node.saved.as_ref().and_then(|saved| saved.life) {
            node.incarnation = life.incarnation;
        }
        let life = node.life;
        self.tell(index, || format!("boots as {incarnation}"));
        self.at(now + nanos(timing.dead_after), Event::List(index, life));
        self.pump(index);
    }

    /// The process dies; its kernel does not.
    pub fn crash(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        if node.engine.take().is_some() {
            node.lost = now;
            node.kernel.orphaned();
            self.clear(index);
            self.tell(index, || "crashes".to_owned());
        }
    }

    pub(super) fn clear(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.socket.clear();
        node.queue.clear();
        node.held = 0;
        node.confirmed = None;
        node.timer += 1;
        node.paused = false;
    }

    /// The process is stopped for so long.
    pub fn pause(&mut self, index: usize, duration: u64) {
        if self.nodes[index].runs() {
            self.nodes[index].paused = true;
            let (life, since) = (self.nodes[index].life, self.now);
            self.tell(index, || format!("stops for {} ms", duration / MS));
            self.at(since + duration, Event::Wake(index, life, since));
            self.last_fault = self.last_fault.max(since + duration);
        }
    }

    /// Wakes up: what waits is worked off in any order.
    pub(super) fn wake(&mut self, index: usize, life: u32, since: u64) {
        if self.nodes[index].life != life || !self.nodes[index].paused {
            return;
        }
        self.nodes[index].paused = false;
        if self.settings.mutation == Some(Mutation::StoppedClock) {
            self.nodes[index].stood += self.now - since;
        }
        let order = self.rng.range(0, 3);
        self.tell(index, || format!("goes on, order {order}"));
        match order {
            0 => {
                self.read_queue(index);
                self.read_socket(index);
            }
            1 => {
                self.timeout(index);
                self.read_socket(index);
                self.read_queue(index);
            }
            _ => {
                self.read_socket(index);
                self.timeout(index);
                self.read_queue(index);
            }
        }
        let confirmed = self.nodes[index].confirmed.take();
        let now = self.nodes[index].clock(self.now);
        if let Some(generation) = confirmed {
            self.with(index, |engine| engine.handle_applied(generation, now));
        }
        self.timeout(index);
    }

    fn timeout(&mut self, index: usize) {
        let now = self.nodes[index].clock(self.now);
        self.with(index, |engine| engine.handle_timeout(now));
        self.pump(index);
    }

    fn read_queue(&mut self, index: usize) {
        let waiting = core::mem::take(&mut self.nodes[index].queue);
        for (packet, arrival) in waiting {
            self.judge(index, packet, arrival);
        }
        self.pump(index);
    }

    fn read_socket(&mut self, index: usize) {
        let waiting = core::mem::take(&mut self.nodes[index].socket);
        for (frame, arrival) in waiting {
            self.read_frame(index, frame, arrival);
        }
        self.pump(index);
    }

    /// A new weight.
    pub fn weigh(&mut self, index: usize, weight: u16) {
        if self.nodes[index].runs()
            && let Some(weight) = Weight::new(weight)
        {
            self.tell(index, || format!("weight {weight}"));
            self.command(index, Command::SetWeight(weight));
        }
    }

    /// Many weights, one after the other.
    pub fn weigh_often(&mut self, index: usize, times: u64, gap: u64) {
        for time in 0..times {
            let weight = u16::try_from(self.rng.range(50, 400)).unwrap_or(100);
            let life = self.nodes[index].life;
            self.at(self.now + time * gap, Event::Weigh(index, life, weight));
        }
        self.last_fault = self.last_fault.max(self.now + times * gap);
    }

    /// Hand everything over.
    pub fn leave(&mut self, index: usize) {
        if self.nodes[index].runs() {
            self.tell(index, || "is to leave".to_owned());
            self.command(index, Command::Leave);
        }
    }

    /// A command by an administrator.
    pub fn command(&mut self, index: usize, command: Command) {
        let now = self.nodes[index].clock(self.now);
        let _ = self.with(index, |engine| engine.handle_command(command, now));
        self.pump(index);
    }

    /// Frames from one node no longer reach another, or reach it again.
    pub fn cut(&mut self, from: usize, to: usize, cut: bool) {
        if self.cuts[from][to] != cut {
            self.cuts[from][to] = cut;
            self.clean_since[from][to] = self.now;
            self.clean_since[to][from] = self.now;
            self.tell(from, || format!("{} to n{}", if cut { "cut" } else { "healed" }, to + 1));
        }
    }

    /// How many cuts there are.
    #[must_use]
    pub fn cut_count(&self) -> usize {
        self.cuts.iter().flatten().filter(|cut| **cut).count()
    }

    /// Nothing reaches the node any more, or everything does again.
    pub fn deafen(&mut self, index: usize, deaf: bool) {
        self.nodes[index].deaf = deaf;
        for other in 0..self.nodes.len() {
            if other != index {
                self.cut(other, index, deaf);
            }
        }
    }

    /// No cuts, nobody deaf.
    pub fn heal(&mut self) {
        for from in 0..self.nodes.len() {
            self.nodes[from].deaf = false;
            for to in 0..self.nodes.len() {
                self.cut(from, to, false);
            }
        }
    }

    /// Somebody flushed the ruleset; the daemon notices later.
    pub fn flush_rules(&mut self, index: usize) {
        if self.nodes[index].engine.is_some() {
            self.nodes[index].kernel.rules_lost();
            let (life, delay) = (self.nodes[index].life, self.rng.range(5 * MS, 300 * MS));
            self.tell(index, || "loses its rules".to_owned());
            self.at(self.now + delay, Event::Repair(index, life));
            self.last_fault = self.last_fault.max(self.now + delay);
        }
    }

    pub(super) fn repair(&mut self, index: usize, life: u32) {
        if self.nodes[index].life != life || self.nodes[index].engine.is_none() {
            return;
        }
        if !self.nodes[index].runs() {
            self.at(self.now + 100 * MS, Event::Repair(index, life));
            return;
        }
        if !self.nodes[index].kernel.was_lost() {
            return;
        }
        self.nodes[index].kernel.reinstall();
        let now = self.nodes[index].clock(self.now);
        self.with(index, |engine| engine.handle_sticky_lost(now));
        self.pump(index);
    }
}
