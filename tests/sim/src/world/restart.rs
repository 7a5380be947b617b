//! From one process to the next: planned, and after a crash (SPEC 6.11.3).

use core::net::IpAddr;
use core::time::Duration;

use nlb_engine::manage::Command;
use nlb_engine::{Engine, Saved};

use super::{Event, World};
use crate::check::Between;
use crate::node::{Node, nanos};

impl World {
    /// A planned restart: the next process comes `away` after this one has ended.
    pub(super) fn restart(&mut self, index: usize, hold: Duration, away: u64) -> u64 {
        if self.schedule.careful && !self.others_serve(index) || !self.nodes[index].runs() {
            return self.now;
        }
        let now = self.nodes[index].clock(self.now);
        let begun =
            self.with(index, |engine| engine.handle_command(Command::Restart { hold }, now));
        // One that is refused, as during another, changes nothing.
        if matches!(begun, Some(Ok(_))) {
            self.nodes[index].returns = Some(away);
        }
        self.pump(index);
        self.now + nanos(hold) + 2 * away + 4 * self.unit()
    }

    /// What the process writes down.
    pub(super) fn save(&mut self, index: usize) {
        if self.schedule.resumes {
            self.nodes[index].saved = self.nodes[index].engine.as_ref().map(Engine::saved);
        }
    }

    /// A process stops, for a while or for good.
    pub(super) fn note_stop(&mut self, index: usize) {
        // Whoever stood still has said nothing since.
        if self.nodes[index].paused.is_some() {
            return;
        }
        let knew = (0..self.nodes.len()).filter(|held| self.knows(index, *held));
        let knew = knew.fold(0, |all, held| all | 1 << held);
        let node = &mut self.nodes[index];
        (node.knew, node.stopped) = (knew, self.now);
    }

    /// Whether the engine of one node keeps another as one that restarts.
    fn knows(&self, index: usize, held: usize) -> bool {
        let held = self.nodes[held].id;
        let engine = self.nodes[index].engine.as_ref();
        engine.is_some_and(|engine| engine.saved().away.iter().any(|(ack, _)| ack.node == held))
    }

    /// The process ends and its kernel goes on: whoever could not hear it then does not know.
    fn note_unheard(&mut self, index: usize) {
        let others = 0..self.nodes.len();
        let unheard = others.filter(|other| {
            *other != index && self.between(index, *other, self.now).0 != Between::Nothing
        });
        self.nodes[index].unknown_to = unheard.fold(0, |all, other| all | 1 << other);
    }

    /// A node becomes active: kernels that go on without their processes may be unknown to it, if
    /// whoever knew of them stopped within dead-after of its start (SPEC 6.11.3, known limits).
    pub(super) fn note_active(&mut self, index: usize) {
        let late = self.nodes[index].booted + self.unit();
        let on_its_way = nanos(self.schedule.timing().frame_delay());
        for held in 0..self.nodes.len() {
            // Its next process may have begun, and its first word be on its way.
            let word = if self.nodes[held].engine.is_some() { on_its_way } else { 0 };
            let waits = self.now < self.nodes[held].held_until + word;
            if !waits || self.knows(index, held) || self.hears(index, held) {
                continue;
            }
            let told = (0..self.nodes.len()).filter(|other| *other != index).any(|other| {
                let node = &self.nodes[other];
                let knew = if node.runs() {
                    self.knows(other, held)
                } else {
                    node.knew >> held & 1 == 1 && node.stopped > late
                };
                knew && self.links.works(other, index) != 0
            });
            if !told {
                self.nodes[held].unknown_to |= 1 << index;
            }
        }
    }

    /// Until when the kernel of a node went on that the other did not know of; 0: it did not.
    pub(super) fn unknown_until(&self, one: usize, other: usize) -> u64 {
        let until = |held: usize, to: usize| {
            let node = &self.nodes[held];
            if node.unknown_to >> to & 1 == 1 { node.held_until } else { 0 }
        };
        until(one, other).max(until(other, one))
    }

    /// The process ends, its kernel goes on.
    pub(super) fn end_if_held(&mut self, index: usize) {
        let Some(until) = self.nodes[index].engine.as_ref().and_then(Engine::held) else { return };
        self.save(index);
        // Writing it into the kernel takes a moment, in which the gate may close.
        let node = &mut self.nodes[index];
        node.held_until = node.world(until);
        node.kernel.hold(node.held_until, self.now);
        node.kernel.orphaned();
        self.note_stop(index);
        self.note_unheard(index);
        let node = &mut self.nodes[index];
        node.engine = None;
        let away = node.returns.take();
        self.clear(index);
        self.tell(index, || "ends; its kernel goes on".to_owned());
        if let Some(away) = away {
            self.at(self.now + away, Event::Boot(index));
        }
    }
}

impl Node {
    /// What a new process finds: what was written down, and whom the kernel keeps.
    pub(super) fn left_behind(&mut self, now: u64) -> Option<(Saved, Vec<(IpAddr, Duration)>)> {
        self.held_until = self.held_until.min(now);
        let clock = self.clock(now);
        let saved = self.saved.as_mut()?;
        // An administrator thinks of it.
        saved.drain = None;
        let installed = self.kernel.is_installed();
        saved.life = saved.life.filter(|life| installed && clock < life.until);
        let listed = self.kernel.listed(now).into_iter();
        let clients = listed.map(|(client, left)| (client, Duration::from_nanos(left)));
        Some((saved.clone(), clients.collect()))
    }
}
