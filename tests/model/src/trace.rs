//! How it came to something: the way back, told step by step.

use std::rc::Rc;

use nlb_protocol::frame::{Frame, Message};

use crate::scenario;
use crate::search::{Choice, Search};
use crate::step::{Act, Event};
use crate::world::World;

/// What happened in one step.
#[derive(Debug, Clone)]
pub struct Acts {
    event: Option<(usize, Event)>,
    sends: usize,
    nodes: Vec<(Vec<Act>, Vec<nlb_engine::PacketId>, u32)>,
}

impl Acts {
    /// Keeps what a choice was.
    #[must_use]
    pub fn of(choice: &Choice<'_>) -> Self {
        let nodes = choice.ends.iter();
        let nodes = nodes.map(|end| (end.acts.clone(), end.answered.clone(), end.node));
        Self { event: choice.event, sends: choice.sends, nodes: nodes.collect() }
    }
}

impl Search {
    /// The way to the state `from` of the last layer, and what happened then.
    pub(crate) fn trace(&mut self, from: u32, last: &Acts) -> Vec<String> {
        let mut names = Vec::new();
        let mut index = from as usize;
        for layer in self.origins.iter().rev() {
            let (parent, name) = layer[index];
            names.push(name);
            index = parent as usize;
        }
        names.reverse();
        let mut world = self.start.world.clone();
        for (number, node) in &self.start.nodes {
            self.memory.nodes.restore(*number, Rc::clone(node));
        }
        for (number, frame) in &self.start.frames {
            self.memory.frames.restore(*number, Rc::clone(frame));
        }
        let mut lines = Vec::new();
        let mut step = self.start.step;
        for name in names.into_iter().skip(1) {
            let Some((next, acts)) = self.find(&world, step, name) else {
                lines.push("(the way back was lost)".to_owned());
                return lines;
            };
            self.tell(&acts, step, &mut lines);
            self.forget(core::slice::from_ref(&next));
            world = next;
            step += 1;
        }
        // Once more, so that what the last step came to is known.
        let _ = self.find(&world, step, 0);
        self.tell(last, step, &mut lines);
        lines
    }

    fn find(&mut self, world: &World, step: u16, name: u128) -> Option<(World, Acts)> {
        let mut way = None;
        self.successors(world, step, &mut |found, choice| {
            if let Ok(next) = found
                && crate::fingerprint::of(&next) == name
            {
                way = Some((next, Acts::of(choice)));
            }
            way.is_none()
        });
        way
    }

    fn tell(&self, acts: &Acts, step: u16, lines: &mut Vec<String>) {
        let ms = scenario::milliseconds(&self.start, step);
        if let Some((node, event)) = acts.event {
            lines.push(format!("{ms:>5} ms  n{} {event:?}", node + 1));
        }
        for client in (0..crate::world::CLIENTS).filter(|client| acts.sends >> client & 1 == 1) {
            lines.push(format!("{ms:>5} ms  client {} sends", client + 1));
        }
        for (node, (acts, answered, end)) in acts.nodes.iter().enumerate() {
            let mut words: Vec<String> = acts.iter().map(|act| self.word(*act)).collect();
            words.extend(
                answered.iter().map(|id| format!("ANSWERS {}", crate::world::client_of(*id))),
            );
            let end = self.memory.nodes.get(*end);
            let state = end.engine.as_ref().map_or_else(
                || "down".to_owned(),
                |engine| {
                    let (epoch, _) = engine.view();
                    format!(
                        "{:?} epoch {} accepts {}",
                        engine.state(),
                        epoch.0,
                        engine.accepts().len()
                    )
                },
            );
            lines.push(format!("{ms:>5} ms  n{}: {} => {state}", node + 1, words.join(", ")));
        }
    }

    fn word(&self, act: Act) -> String {
        match act {
            Act::Frame(frame) => told(&self.memory.frames.get(frame)),
            Act::Packet(id) => format!("packet of {}", crate::world::client_of(id)),
            other => format!("{other:?}"),
        }
    }
}

fn told(frame: &Frame) -> String {
    let from = frame.header.node.0;
    let number = frame.header.sequence.0;
    let what = match &frame.message {
        Message::Heartbeat(says) => format!(
            "{:?} epoch {} digest {:04x} pins {} accepts {}",
            says.state,
            says.epoch.0,
            says.digest.0 & 0xffff,
            says.pin_version.0,
            says.accepts.len()
        ),
        Message::PinDelta(delta) => format!("pins from {}: {}", delta.first.0, delta.entries.len()),
        Message::PinSnapshot(part) => format!("pins of version {}", part.version.0),
        Message::PinRequest(request) => format!("asks for pins of {}", request.owner),
        Message::Information(_) => "information".to_owned(),
    };
    format!("n{from}#{number} [{what}]")
}
