//! What somebody without the key can send.

use std::rc::Rc;

use nlb_protocol::auth::KeyRing;
use nlb_protocol::frame::{Frame, MAX_FRAME};
use nlb_protocol::{ClusterId, Sequence};

use super::{Event, US, World};
use crate::check::Violation;
use crate::mutate::Mutation;
use crate::rng::{Chance, Rng};
use crate::schedule::Attack;

/// Frames that the attacker keeps; older ones make room.
const RECORDED: usize = 4096;

impl World {
    /// A frame left, as bytes: its length counts, and somebody may record it.
    pub(super) fn encode(&mut self, frame: &Frame) -> usize {
        let mut bytes = [0; MAX_FRAME];
        let length = frame.encode(&self.keys, &mut bytes);
        if self.records {
            if self.recorded.len() >= RECORDED {
                self.recorded.pop_front();
            }
            self.recorded.push_back(Rc::from(&bytes[..length]));
        }
        length
    }

    pub(super) fn attack(&mut self, kind: Attack, index: usize, frames: usize) {
        let order = self.now / US;
        let mut rng = self.chance(Chance::Attack, order, index as u64);
        self.tell(index, || format!("gets {frames} frames of an attacker: {kind:?}"));
        for _ in 0..frames {
            let Some(bytes) = self.attacking(kind, &mut rng) else { return };
            let decoded = Frame::decode(&bytes, ClusterId(1), &self.keys);
            match (kind, decoded) {
                (Attack::Replay, Ok(mut frame)) => {
                    if self.options.mutation == Some(Mutation::Replays) {
                        self.freshen(&mut frame);
                    }
                    let at = self.now + rng.range(0, 5_000 * US);
                    self.at(at, Event::Frame(index, Rc::new(frame)));
                }
                (Attack::Replay, Err(_)) | (_, Ok(_)) => {
                    let violation = Violation::Misread { at: self.now, kind };
                    self.check.violations.push(violation);
                }
                (Attack::Corrupt | Attack::Forge, Err(_)) => {}
            }
        }
    }

    /// Makes a recording look like the next frame of its sender.
    fn freshen(&self, frame: &mut Frame) {
        if let Some(node) = self.nodes.iter().find(|node| node.id == frame.header.node) {
            frame.header.incarnation = node.incarnation;
            frame.header.sequence = Sequence(node.sequence.0 + 1);
        }
    }

    fn attacking(&self, kind: Attack, rng: &mut Rng) -> Option<Vec<u8>> {
        if self.recorded.is_empty() {
            return None;
        }
        // The oldest, any, or one of the last.
        let count = self.recorded.len();
        let index = match rng.index(3) {
            0 => rng.index(count.min(16)),
            1 => rng.index(count),
            _ => count - 1 - rng.index(count.min(16)),
        };
        let mut bytes = self.recorded[index].to_vec();
        match kind {
            Attack::Replay => {}
            Attack::Corrupt => {
                for _ in 0..=rng.index(3) {
                    let bit = rng.index(bytes.len() * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
                // Flipped back again: as it was.
                if bytes[..] == self.recorded[index][..] {
                    bytes[0] ^= 1;
                }
            }
            Attack::Forge => {
                let other = KeyRing::new(&[[7; 32]])?;
                let frame = Frame::decode(&bytes, ClusterId(1), &self.keys).ok()?;
                let mut forged = [0; MAX_FRAME];
                let length = frame.encode(&other, &mut forged);
                bytes = forged[..length].to_vec();
            }
        }
        Some(bytes)
    }
}
