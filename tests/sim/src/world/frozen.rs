//! Machines that a hypervisor stops: their clocks stand still with them.

use super::{Event, US, World};
use crate::node::nanos;
use crate::schedule::Fault;

/// What finds room in a machine that stands still.
const RING: usize = 256;

impl World {
    /// The machine stands still.
    pub(super) fn freeze(&mut self, index: usize, long: u64) -> u64 {
        if !self.nodes[index].runs() {
            return self.now;
        }
        self.note_stop(index);
        let (now, until) = (self.now, self.now + long);
        let heartbeat = nanos(self.schedule.timing().heartbeat);
        let node = &mut self.nodes[index];
        if node.frozen_from == 0 || now > node.thawed + heartbeat {
            // Else it had no time to say or hear anything since it last did.
            node.frozen_from = now;
        }
        node.frozen = Some((now, until));
        self.at(until, Event::Thaw(index));
        until
    }

    /// It goes on as if nothing had been. What came meanwhile comes now.
    pub(super) fn thaw(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        let Some((since, _)) = node.frozen.take() else { return };
        node.thawed = now;
        node.stood += node.clock(now).as_nanos().saturating_sub(node.clock(since).as_nanos());
        node.kernel.stood_still(now - since);
        self.tell(index, || "stood still, and goes on".to_owned());
        for event in core::mem::take(&mut self.rings[index]) {
            self.at(now, event);
        }
    }

    /// What does not happen now, because the machine stands still, happens later or never.
    pub(super) fn unless_frozen(&mut self, event: Event) -> Option<Event> {
        let index = match &event {
            Event::Fault(fault) => match &self.schedule.faults[*fault].fault {
                // These are the network's.
                Fault::Cut(..)
                | Fault::Mend(..)
                | Fault::Partition(_)
                | Fault::Deaf(_)
                | Fault::Mute(_)
                | Fault::Down(..)
                | Fault::Heal
                | Fault::Loss(_)
                | Fault::Attack(..) => return Some(event),
                fault => fault.nodes().first()? - 1,
            },
            Event::Thaw(_) | Event::Client(_) | Event::Up(..) => return Some(event),
            Event::Boot(index)
            | Event::Timer(index, _)
            | Event::Frame(index, _)
            | Event::Packet(index, ..)
            | Event::Applied(index, _)
            | Event::Witness(index, _)
            | Event::Wake(index, ..)
            | Event::List(index, _)
            | Event::Repair(index, _) => *index,
        };
        let Some((_, until)) = self.nodes[index].frozen else { return Some(event) };
        match event {
            Event::Frame(..) | Event::Packet(..) => {
                let ring = &mut self.rings[index];
                if ring.len() < RING {
                    ring.push(event);
                }
            }
            event => self.at(until, event),
        }
        None
    }

    /// Whether a node stood still at `since`, and its lease with it, or just before, and had no time
    /// yet to hear what others had taken meanwhile (SPEC 6.9, known limit).
    pub(super) fn is_behind(&self, index: usize, since: u64) -> bool {
        let node = &self.nodes[index];
        let from = node.frozen_from;
        let to = if node.frozen.is_some() { u64::MAX / 2 } else { node.thawed };
        let timing = self.schedule.timing();
        let waits = if self.lost_in_a_row() > 0 {
            // It may not be told, and goes on as beside a partition that has healed.
            timing.rights() + timing.heartbeat * (1 + self.lost_in_a_row())
        } else {
            timing.heartbeat + timing.frame_delay() * 2 + timing.min_gap()
        };
        let known = to + nanos(waits) + self.longest_flush();
        to - from >= nanos(timing.heartbeat) && (from..=known).contains(&since)
    }

    /// The longest that a kernel takes for a plan.
    pub(super) fn longest_flush(&self) -> u64 {
        let slow = self.schedule.faults.iter().map(|timed| match timed.fault {
            Fault::Refuse(_, us) | Fault::Slow(_, us, _) => us,
            _ => 0,
        });
        (self.schedule.kernel.worst_us + slow.max().unwrap_or(0)) * US
    }
}
