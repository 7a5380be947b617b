//! Every segment of every TCP connection, and which node answered it.
//!
//! A node that takes a segment acknowledges it; a node that does not know the connection resets
//! it. When both happen to one segment, two nodes took it: this is how a doubled reply to a client
//! that is connected already looks on the wire.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use nlb_protocol::MacAddr;

use super::frame::Segment;
use crate::stamp::Stamp;

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;

/// Segments remembered of a connection: those of some three seconds of a busy one. What is answered
/// later than that was answered by a retransmission.
const SEGMENTS: usize = 128;
/// Segments kept of a connection as they passed.
const PASSED: usize = 48;
/// A segment that is sent so often tells that the connection is stuck.
const STUCK: u32 = 4;
/// How many doubled answers are kept in full.
const KEPT: usize = 1000;
/// How many resets are kept, and repeated segments.
const RESETS: usize = 100_000;
/// A connection on which nothing happened for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// How often that is looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// A client's end and the service's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connection {
    /// The client and its port.
    pub client: (IpAddr, u16),
    /// The service address and its port.
    pub service: (IpAddr, u16),
}

/// A segment that two nodes answered.
#[derive(Debug, Clone)]
pub struct Doubled {
    /// Of which connection.
    pub connection: Connection,
    /// When it was seen on its way.
    pub asked: Stamp,
    /// Who answered first, and when.
    pub first: (MacAddr, Stamp),
    /// Who else, and when.
    pub second: (MacAddr, Stamp),
    /// Whether the second answer was a reset.
    pub reset: bool,
}

/// A segment with data that a client sent again.
#[derive(Debug, Clone)]
pub struct Repeated {
    /// Of which connection.
    pub connection: Connection,
    /// When it was sent first, and when again.
    pub at: (Stamp, Stamp),
    /// The node that had answered on this connection last, not counting resets.
    pub answered: Option<(MacAddr, Stamp)>,
    /// Not lost: it had been acknowledged when it came again, but the client had not seen that yet;
    /// or the node said later that it has it twice.
    pub late: bool,
}

/// A reset that reached a client.
#[derive(Debug, Clone)]
pub struct Reset {
    /// Of which connection.
    pub connection: Connection,
    /// By whom.
    pub node: MacAddr,
    /// When.
    pub at: Stamp,
    /// Who had answered on this connection last, and when.
    pub last: Option<(MacAddr, Stamp)>,
}

/// A segment of a client.
#[derive(Debug, Clone)]
struct Asked {
    /// The sequence number behind it: what acknowledges all of it.
    end: u32,
    /// What it acknowledges itself: the sequence number of a reset that answers it.
    acknowledges: Option<u32>,
    /// Whether it takes an acknowledgement: not so an acknowledgement alone.
    counts: bool,
    at: Stamp,
    /// How often it was seen.
    copies: u32,
    /// Where it stands among those that were repeated, the last time.
    repeated: Option<usize>,
    answers: Vec<(MacAddr, Stamp)>,
}

#[derive(Debug, Clone, Default)]
struct Track {
    asked: VecDeque<Asked>,
    last: Stamp,
    answered: Option<(MacAddr, Stamp)>,
    passed: VecDeque<Passed>,
}

/// A segment as it passed, for people who want to know what happened on a connection.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    /// When.
    pub at: Stamp,
    /// The node that it came from; none: from the client.
    pub from: Option<MacAddr>,
    /// Sequence and acknowledgement number, FIN 1, SYN 2, RST 4, ACK 16, and bytes of data.
    pub numbers: (u32, u32, u8, u16),
}

impl Track {
    fn note(&mut self, at: Stamp, from: Option<MacAddr>, numbers: (u32, u32, u8, u16)) {
        if self.passed.len() == PASSED {
            self.passed.pop_front();
        }
        self.passed.push_back(Passed { at, from, numbers });
    }
}

/// All connections.
#[derive(Debug, Clone, Default)]
pub struct Segments {
    tracks: HashMap<Connection, Track>,
    swept: Stamp,
    /// How many segments of clients were seen.
    pub asked: u64,
    /// How many answers.
    pub answers: u64,
    /// Segments that two nodes answered, the first of them.
    pub doubled: Vec<Doubled>,
    /// How many there were.
    pub doubled_count: u64,
    /// Resets that answered a segment: the connection's end, and by whom.
    pub resets: Vec<Reset>,
    /// Segments with data that a client sent again: lost, or answered too late.
    pub repeated: Vec<Repeated>,
    /// Connections on which a segment was sent four times, and what passed on them before.
    pub stuck: Vec<(Connection, Vec<Passed>)>,
}

impl Segments {
    /// A packet of a client to a service address: (client, service).
    pub fn handle_asked(&mut self, ends: (IpAddr, IpAddr), segment: Segment, at: Stamp) {
        let Segment::Tcp { source, destination, sequence, acknowledged, flags, length, .. } =
            segment
        else {
            return;
        };
        self.asked += 1;
        self.sweep(at);
        let connection = Connection { client: (ends.0, source), service: (ends.1, destination) };
        let track = self.tracks.entry(connection).or_default();
        if flags & (SYN | ACK) == SYN {
            // A new connection from an old port begins anew; a repeated SYN does not.
            track.asked.retain(|asked| asked.end == sequence.wrapping_add(1));
        }
        track.last = at;
        track.note(at, None, (sequence, acknowledged, flags, length));
        let control = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let end = sequence.wrapping_add(u32::from(length)).wrapping_add(control);
        let counts = length > 0 || control > 0;
        let acknowledges = (flags & ACK != 0).then_some(acknowledged);
        if flags & RST != 0 {
            return; // Nobody answers a reset.
        }
        let same = |old: &&mut Asked| {
            counts && old.counts && old.end == end && old.acknowledges == acknowledges
        };
        if let Some(old) = track.asked.iter_mut().find(same) {
            old.copies += 1;
            if length > 0 && self.repeated.len() < RESETS {
                let (at, answered) = ((old.at, at), track.answered);
                let late = !old.answers.is_empty();
                old.repeated = Some(self.repeated.len());
                self.repeated.push(Repeated { connection, at, answered, late });
                if old.copies == STUCK && self.stuck.len() < KEPT {
                    self.stuck.push((connection, track.passed.iter().copied().collect()));
                }
            }
            return;
        }
        if track.asked.len() == SEGMENTS {
            track.asked.pop_front();
        }
        let asked =
            Asked { end, acknowledges, counts, at, copies: 1, repeated: None, answers: Vec::new() };
        track.asked.push_back(asked);
    }

    /// A packet of `node` to a client, for (client, service).
    pub fn handle_answer(
        &mut self,
        ends: (IpAddr, IpAddr),
        node: MacAddr,
        segment: Segment,
        at: Stamp,
    ) {
        let Segment::Tcp { source, destination, sequence, acknowledged, flags, length, twice } =
            segment
        else {
            return;
        };
        self.answers += 1;
        let connection = Connection { client: (ends.0, destination), service: (ends.1, source) };
        let reset = flags & RST != 0;
        if reset && self.resets.len() < RESETS {
            let last = self.tracks.get(&connection).and_then(|track| track.answered);
            self.resets.push(Reset { connection, node, at, last });
        }
        let Some(track) = self.tracks.get_mut(&connection) else { return };
        track.note(at, Some(node), (sequence, acknowledged, flags, length));
        let inside = |end: u32, (from, to): (u32, u32)| {
            end != from && end.wrapping_sub(from) <= to.wrapping_sub(from)
        };
        let both = track.asked.iter().filter(|asked| twice.is_some_and(|it| inside(asked.end, it)));
        for index in both.filter_map(|asked| asked.repeated) {
            if let Some(repeated) = self.repeated.get_mut(index) {
                repeated.late = true;
            }
        }
        let answers = |asked: &Asked| {
            if flags & ACK != 0 {
                asked.counts && asked.end == acknowledged
            } else {
                reset && asked.acknowledges == Some(sequence)
            }
        };
        // Of several that this can be the answer to, one that nobody else has answered.
        let free = |asked: &Asked| asked.answers.iter().all(|(by, _)| *by == node);
        let found = track.asked.iter().position(|asked| answers(asked) && free(asked));
        let found = found.or_else(|| track.asked.iter().position(answers));
        let Some(asked) = found.and_then(|index| track.asked.get_mut(index)) else {
            // Of what is left of an earlier connection with the same ports.
            return;
        };
        if !reset {
            track.answered = Some((node, at));
        }
        if asked.answers.iter().any(|(by, _)| *by == node) {
            return;
        }
        // A copy that the client sent again is another packet, which another node may answer.
        if let Some(first) = asked.answers.first()
            && u32::try_from(asked.answers.len()).unwrap_or(u32::MAX) >= asked.copies
        {
            self.doubled_count += 1;
            if self.doubled.len() < KEPT {
                let (first, second, asked) = (*first, (node, at), asked.at);
                self.doubled.push(Doubled { connection, asked, first, second, reset });
            }
        }
        asked.answers.push((node, at));
    }

    /// What passed on the connections of a client, for people who want to know what happened.
    pub fn of_client(&self, client: IpAddr) -> impl Iterator<Item = &Passed> {
        let own = self.tracks.iter().filter(move |(connection, _)| connection.client.0 == client);
        own.flat_map(|(_, track)| &track.passed)
    }

    fn sweep(&mut self, at: Stamp) {
        if at.since(self.swept) > SWEEP {
            self.swept = at;
            self.tracks.retain(|_, track| at.since(track.last) < FORGOTTEN);
        }
    }
}

#[cfg(test)]
mod tests;
