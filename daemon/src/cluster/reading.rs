//! What arrives, and until when everything that arrived was read.

use nlb_engine::Time;

use super::clock::now;
use super::drops::Drops;
use super::links::Links;
use crate::link::{LinkEvent, RECEIVE_BUFFER, Received};

/// Frames taken from one socket before the others have their turn: more than 63 peers send in
/// one interval, so that a burst is taken at once, and few enough that a flood of forged frames
/// does not hold up verdicts (64 HMACs are some 30 µs).
const FRAMES_A_TURN: usize = 64;

/// Hands in what waits in the sockets, and gives back a time: every frame that arrived before it was
/// handed in. Silence may be judged up to then (SPEC 6.3.4).
pub(super) fn read(
    links: &Links,
    drops: &mut Drops,
    mut take: impl FnMut(&Received, &[u8], &mut Drops),
) -> Time {
    let mut read = now();
    let mut buffer = [0; RECEIVE_BUFFER];
    for socket in links.heartbeats() {
        let mut last = read;
        for taken in 0.. {
            if taken == FRAMES_A_TURN {
                // More may wait, all of which came behind this one.
                read = read.min(last);
                break;
            }
            match socket.try_recv(&mut buffer) {
                Ok(Some(LinkEvent::Frame(received))) => {
                    last = received.arrival;
                    take(&received, buffer.get(..received.len).unwrap_or_default(), drops);
                }
                Ok(Some(LinkEvent::Down)) => drops.count("link_down"),
                Ok(None) => break,
                Err(_) => {
                    drops.count("receive_failed");
                    break;
                }
            }
        }
    }
    read
}
