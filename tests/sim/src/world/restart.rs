//! From one process to the next: planned, and after a crash (SPEC 6.11.3).

use core::net::IpAddr;
use core::time::Duration;

use nlb_engine::manage::Command;
use nlb_engine::{Engine, Saved};
use nlb_protocol::frame::State;

use super::World;
use crate::node::{Node, nanos};

impl World {
    /// A planned restart: the next process comes `away` after this one has ended.
    pub fn restart(&mut self, index: usize, hold: Duration, away: u64) {
        if self.nodes[index].runs() {
            self.tell(index, || format!("is to restart within {hold:?}"));
            self.nodes[index].returns = Some(away);
            self.command(index, Command::Restart { hold });
            let fault = self.now + nanos(hold) + 2 * away;
            self.last_fault =
                self.last_fault.max(fault + 4 * nanos(self.settings.timing.dead_after));
        }
    }

    /// What the process writes down.
    pub(super) fn save(&mut self, index: usize) {
        if self.settings.resumes {
            self.nodes[index].saved = self.nodes[index].engine.as_ref().map(Engine::saved);
        }
    }

    /// The process ends, its kernel goes on.
    pub(super) fn end_if_held(&mut self, index: usize) {
        let Some(until) = self.nodes[index].engine.as_ref().and_then(Engine::held) else { return };
        self.save(index);
        // Writing it into the kernel takes a moment, in which the gate may close.
        let node = &mut self.nodes[index];
        node.held_until = node.world(until);
        node.kernel.hold(node.held_until);
        node.kernel.orphaned();
        node.engine = None;
        let away = node.returns.take();
        self.clear(index);
        self.tell(index, || "ends; its kernel goes on".to_owned());
        if let Some(away) = away {
            self.boot_at(self.now + away, index);
        }
    }

    /// Whether a client of this node is to stay with it.
    pub(super) fn keeps_clients(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        match &node.engine {
            Some(engine) => !node.paused && engine.state() == State::Active,
            None => self.now < node.held_until,
        }
    }

    /// A crash from which the process is back quickly.
    pub fn crash_and_return(&mut self, index: usize, away: u64) {
        if self.nodes[index].engine.is_some() {
            self.crash(index);
            self.boot_at(self.now + away, index);
            let dead_after = nanos(self.settings.timing.dead_after);
            self.last_fault = self.last_fault.max(self.now + away + dead_after);
        }
    }
}

impl Node {
    /// What a new process finds: what was written down, and whom the kernel keeps.
    pub(super) fn left_behind(&mut self, now: u64) -> Option<(Saved, Vec<(IpAddr, Duration)>)> {
        let clock = self.clock(now);
        let saved = self.saved.as_mut()?;
        // An administrator thinks of it.
        saved.drain = None;
        let installed = self.kernel.is_installed();
        saved.life = saved.life.filter(|life| installed && clock < life.until);
        self.held_until = 0;
        let listed = self.kernel.listed(now).into_iter();
        let clients = listed.map(|(client, left)| (client, Duration::from_nanos(left)));
        Some((saved.clone(), clients.collect()))
    }
}
