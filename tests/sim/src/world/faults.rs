//! What goes wrong, and what administrators do.

use core::time::Duration;

use nlb_engine::manage::Command;
use nlb_engine::{Engine, Time};
use nlb_protocol::Weight;
use nlb_protocol::frame::State;

use super::{Event, MS, US, World};
use crate::mutate::Mutation;
use crate::node::nanos;
use crate::schedule::{Fault, Wake};

impl World {
    /// Something happens.
    pub fn act(&mut self, fault: &Fault) {
        let by = fault.nodes().first().copied().unwrap_or(1);
        self.tell(by - 1, || format!("FAULT {fault:?}"));
        let until = match *fault {
            Fault::Boot(node) => self.boot(node - 1),
            Fault::Crash(node) => self.crash(node - 1),
            Fault::Pause { node, us, first } => self.pause(node - 1, us * US, first),
            Fault::Freeze(node, us) => self.freeze(node - 1, us * US),
            Fault::Weight(node, weight) => {
                let weight = Weight::new(weight).unwrap_or(Weight::DEFAULT);
                self.command(node - 1, Command::SetWeight(weight))
            }
            Fault::Leave(node) => self.planned(node - 1, Command::Leave, 5),
            Fault::Drain(node, timeout) => {
                let timeout = timeout.map(Duration::from_micros);
                let units = if timeout.is_some() { 6 } else { 0 };
                self.planned(node - 1, Command::Drain { timeout, force: true }, units)
            }
            Fault::Restart { node, hold_us, away_us } => {
                self.restart(node - 1, Duration::from_micros(hold_us), away_us * US)
            }
            Fault::Undrain(node) => self.command(node - 1, Command::Undrain),
            Fault::FlushRules(node, us) => self.flush_rules(node - 1, us * US),
            Fault::Refuse(node, us) => {
                self.nodes[node - 1].refuses_until = self.now + us * US;
                self.now + us * US
            }
            Fault::Slow(node, each, us) => {
                self.nodes[node - 1].slow = (self.now + us * US, each * US);
                self.now + (us + each) * US
            }
            Fault::Cut(from, to, paths) => {
                self.links_changed(|w| w.cut(from - 1, to - 1, paths, true))
            }
            Fault::Mend(from, to) => {
                self.links_changed(|w| w.cut(from - 1, to - 1, u8::MAX, false))
            }
            Fault::Partition(ref side) => self.links_changed(|world| {
                for from in 1..=world.nodes.len() {
                    for to in 1..=world.nodes.len() {
                        if side.contains(&from) != side.contains(&to) {
                            world.cut(from - 1, to - 1, u8::MAX, true);
                        }
                    }
                }
            }),
            Fault::Deaf(node) => self.links_changed(|world| world.nodes[node - 1].deaf = true),
            Fault::Mute(node) => self.links_changed(|world| world.nodes[node - 1].mute = true),
            Fault::Down(node, paths, us) => {
                self.at(self.now + us * US, Event::Up(node - 1, paths));
                self.links_changed(|world| world.plug(node - 1, paths, true)) + us * US
            }
            Fault::Heal => self.links_changed(Self::heal),
            Fault::Loss(loss) => {
                self.schedule.network.loss_ppm = loss;
                self.now
            }
            Fault::Attack(kind, node, frames) => {
                self.attack(kind, node - 1, frames);
                self.now + 10 * MS
            }
        };
        self.last_fault = self.last_fault.max(until);
    }

    fn links_changed(&mut self, change: impl FnOnce(&mut Self)) -> u64 {
        change(self);
        self.relink();
        self.now
    }

    pub(super) fn boot(&mut self, index: usize) -> u64 {
        let now = self.now;
        if self.nodes[index].engine.is_some() {
            return now;
        }
        let unit = self.unit();
        let mutation = self.options.mutation;
        let node = &mut self.nodes[index];
        node.life += 1;
        node.kept += 1;
        let mut config = node.config(&self.schedule);
        node.incarnation = config.incarnation;
        node.paused = None;
        node.lost = now;
        node.booted = now;
        let mut clock = node.clock(now);
        match mutation {
            // It believes that it has listened for long already.
            Some(Mutation::NoListening) => {
                clock = Time::from_nanos(clock.as_nanos().saturating_sub(unit * 3));
            }
            Some(Mutation::HastyDeath) => {
                config.timing.dead_after = config.timing.dead_after * 6 / 10
            }
            Some(Mutation::AnyGroup) => config.min_members = 1,
            _ => {}
        }
        let incarnation = config.incarnation;
        node.engine = Some(match node.left_behind(now) {
            Some((saved, clients)) => Engine::resume(config, &saved, &clients, clock),
            None => Engine::new(config, clock),
        });
        match node.saved.as_ref().and_then(|saved| saved.life) {
            Some(life) => node.incarnation = life.incarnation,
            None => node.began = now,
        }
        let life = node.life;
        self.tell(index, || format!("boots as {incarnation}"));
        self.at(now + unit, Event::List(index, life));
        self.pump(index);
        now
    }

    fn crash(&mut self, index: usize) -> u64 {
        self.note_stop(index);
        let node = &mut self.nodes[index];
        if node.engine.take().is_some() {
            node.lost = self.now;
            node.kernel.orphaned();
            self.clear(index);
        }
        self.now
    }

    pub(super) fn clear(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.socket.clear();
        node.queue.clear();
        node.held = 0;
        node.confirmed = None;
        node.timer += 1;
        node.paused = None;
    }

    fn pause(&mut self, index: usize, duration: u64, first: Wake) -> u64 {
        if !self.nodes[index].runs() {
            return self.now;
        }
        self.note_stop(index);
        self.nodes[index].paused = Some(first);
        let (life, since) = (self.nodes[index].life, self.now);
        self.at(since + duration, Event::Wake(index, life, since));
        since + duration
    }

    /// Wakes up: what waits is worked off in any order.
    pub(super) fn wake(&mut self, index: usize, life: u32, since: u64) {
        let node = &mut self.nodes[index];
        let Some(first) = node.paused.filter(|_| node.life == life) else { return };
        node.paused = None;
        node.stalled = (since, self.now);
        if self.options.mutation == Some(Mutation::StoppedClock) {
            self.nodes[index].stood += self.now - since;
        }
        if self.is_behind(index, since) {
            // In all that time it could not hear what it had missed.
            self.nodes[index].thawed = self.now;
        }
        self.tell(index, || format!("goes on, {first:?} first"));
        match first {
            Wake::Packets => {
                self.read_queue(index);
                self.read_socket(index);
            }
            Wake::Timer => {
                self.timeout(index);
                self.read_socket(index);
                self.read_queue(index);
            }
            Wake::Frames => {
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

    pub(super) fn timeout(&mut self, index: usize) {
        self.handle_timeout(index);
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

    /// A command by an administrator.
    pub(super) fn command(&mut self, index: usize, command: Command) -> u64 {
        if self.nodes[index].runs() {
            let now = self.nodes[index].clock(self.now);
            let _ = self.with(index, |engine| engine.handle_command(command, now));
            self.pump(index);
        }
        self.now
    }

    /// A drain without end whose end was said to a process that was stopped: it is said again.
    pub fn end_drains(&mut self) {
        for index in 0..self.nodes.len() {
            // One that is fenced now would drain as soon as it is active.
            let wished = |engine: &Engine| engine.saved().drain.is_some();
            let drains = self.nodes[index].engine.as_ref().is_some_and(wished);
            if drains && !self.others_serve(index) {
                self.command(index, Command::Undrain);
            }
        }
    }

    /// A command that takes a node out. What it began is over after so many dead-afters.
    fn planned(&mut self, index: usize, command: Command, units: u64) -> u64 {
        if self.schedule.careful && !self.others_serve(index) {
            return self.now;
        }
        self.command(index, command) + self.unit() * units
    }

    /// Whether somebody else is there to take what `index` has.
    pub(super) fn others_serve(&self, index: usize) -> bool {
        self.nodes.iter().enumerate().any(|(other, node)| {
            other != index && node.engine.as_ref().is_some_and(|e| e.state() == State::Active)
        })
    }

    /// Somebody flushed the ruleset; the daemon notices later.
    fn flush_rules(&mut self, index: usize, delay: u64) -> u64 {
        if self.nodes[index].engine.is_some() {
            self.nodes[index].kernel.rules_lost();
            let life = self.nodes[index].life;
            self.at(self.now + delay, Event::Repair(index, life));
        }
        self.now + delay
    }

    pub(super) fn repair(&mut self, index: usize, life: u32) {
        if self.nodes[index].life != life || self.nodes[index].engine.is_none() {
            return;
        }
        if !self.nodes[index].runs() {
            self.at(self.now + nanos(self.schedule.timing().heartbeat), Event::Repair(index, life));
            return;
        }
        if !self.nodes[index].kernel.was_lost() {
            return;
        }
        self.nodes[index].kernel.reinstall();
        let now = self.nodes[index].clock(self.now);
        self.with(index, |engine| engine.handle_sticky_lost(now));
        self.with(index, |engine| engine.handle_rules_repaired(now));
        self.pump(index);
    }
}
