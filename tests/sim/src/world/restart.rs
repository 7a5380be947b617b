//! From one process to the next: planned, and after a crash (SPEC 6.11.3).

use core::net::IpAddr;
use core::time::Duration;

use nlb_engine::manage::Command;
use nlb_engine::{Engine, Saved};

use super::{Event, World};
use crate::node::{Node, nanos};

impl World {
    /// A planned restart: the next process comes `away` after this one has ended.
    pub(super) fn restart(&mut self, index: usize, hold: Duration, away: u64) -> u64 {
        if self.schedule.careful && !self.others_serve(index) || !self.nodes[index].runs() {
            return self.now;
        }
        self.nodes[index].returns = Some(away);
        self.command(index, Command::Restart { hold });
        self.now + nanos(hold) + 2 * away + 4 * self.unit()
    }

    /// What the process writes down.
    pub(super) fn save(&mut self, index: usize) {
        if self.schedule.resumes {
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
        node.kernel.hold(node.held_until, self.now);
        node.kernel.orphaned();
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
