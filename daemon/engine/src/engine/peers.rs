//! The peers that this node hears, and who is remembered of those it heard (SPEC 6.3).

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use nlb_protocol::frame::{Header, Heartbeat, Load, PeerAck, State};
use nlb_protocol::ids::MAX_PEERS;
use nlb_protocol::{Incarnation, NodeId, PinVersion, Sequence};

use super::image::image;
use super::replica::Replica;
use crate::time::Time;

/// Lives that are remembered after they ended, so that a recording of them stays one.
const RETIRED: usize = 256;
/// The same of one node: whoever begins again and again makes nobody else's forgotten.
const RETIRED_OF_ONE: usize = 4;
const _: () = assert!(RETIRED_OF_ONE * (MAX_PEERS + 1) <= RETIRED);

/// A node that is heard.
#[derive(Debug, Clone, Hash)]
pub(super) struct Peer {
    pub(super) incarnation: Incarnation,
    /// Of the latest frame of any kind.
    pub(super) sequence: Sequence,
    /// Of the latest heartbeat.
    pub(super) heartbeat_sequence: Sequence,
    /// When the latest heartbeat arrived.
    pub(super) heard: Time,
    /// When its latest frame of any kind arrived: one behind a heartbeat may overtake it.
    pub(super) seen: Time,
    /// When it last gave a sign of life: a frame of any kind, for whoever sent it may have sent a
    /// heartbeat as late, or another peer's word that it heard a later heartbeat.
    pub(super) lively: Time,
    /// The latest heartbeat that anybody heard, the low 16 bits.
    pub(super) latest: u16,
    /// When the first one of this life, or of the process that goes on with it, arrived.
    pub(super) appeared: Time,
    /// If it was dead before in this life: when it was heard again.
    pub(super) back: Option<Time>,
    /// The latest heartbeat.
    pub(super) says: Heartbeat,
    /// How many buckets it shows.
    pub(super) shows: usize,
    /// Whom it names, and this node does not hear.
    pub(super) strangers: Vec<PeerAck>,
    /// Which heartbeat of this node the peer heard last; `None`: it does not hear this life.
    pub(super) acked: Option<Sequence>,
    /// It has acknowledged this node's process once: whatever it is, it is of this time.
    pub(super) proven: bool,
    /// How many buckets of ours it showed in its latest heartbeat.
    pub(super) overlap: usize,
    pub(super) name: String,
    pub(super) software: String,
    pub(super) load: Load,
    pub(super) pins: Replica,
    /// How far it said that it holds this node's log.
    pub(super) holds: PinVersion,
}

impl Peer {
    /// This peer as heartbeats name it.
    pub(super) fn named(&self, node: NodeId) -> PeerAck {
        PeerAck {
            node,
            incarnation_low: incarnation_low(self.incarnation),
            sequence_low: self.heartbeat_sequence.low16(),
        }
    }

    pub(super) fn hears_us(&self) -> bool {
        self.acked.is_some()
    }

    /// Whether it is time to decide who goes on with clients that both keep (SPEC 6.7.7). Whoever
    /// does not hear this node may be about to give up its own.
    pub(super) fn is_to_settle(&self) -> bool {
        !self.pins.twice.is_empty() && self.hears_us() && self.pins.holds(self.says.pin_version)
    }

    /// Whether its next process has begun to go on with its life (SPEC 6.11.3f).
    pub(super) fn takes_up(&self) -> bool {
        takes_up(&self.says)
    }
}

/// Whether a heartbeat is of a process that goes on with the life of another.
pub(super) fn takes_up(says: &Heartbeat) -> bool {
    says.state == State::Restarting && says.hold.is_zero()
}

/// Whether `low` is a later sequence number than `than`, both cut to 16 bits.
pub(super) const fn later16(low: u16, than: u16) -> bool {
    let ahead = low.wrapping_sub(than);
    ahead != 0 && ahead < 0x8000
}

/// The low half of an incarnation, as acknowledgements name it (SPEC 4.3).
pub(super) const fn incarnation_low(incarnation: Incarnation) -> u32 {
    (incarnation.0 & 0xffff_ffff) as u32
}

/// Why a frame of a peer is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its number is not higher than that of an earlier frame.
    Replayed,
    /// It comes from a life that ended.
    OldIncarnation,
    /// There is no room for another peer.
    TooMany,
    /// Nothing was heard of the sender that this could belong to, or its new life is not proven.
    Unknown,
}

/// What shows that a frame is no recording (SPEC 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing does.
    None,
    /// It is a heartbeat that acknowledges one of this process.
    Process,
    /// It acknowledges one that was sent less than *rights* ago.
    Present,
}

/// A life that is not heard any more.
#[derive(Debug, Clone, Hash)]
struct Past {
    node: NodeId,
    incarnation: Incarnation,
    /// The number of its last frame.
    last: Sequence,
    /// It had proved itself.
    proven: bool,
    /// It had, and then another life of the node did: it comes back only if it is of the present,
    /// and the other one has gone. (One that had not may be the later one, on a way that works in
    /// one direction only.)
    over: bool,
    ended: Time,
}

/// Everyone who is heard.
#[derive(Debug, Clone, Hash)]
pub(super) struct Peers {
    me: NodeId,
    map: BTreeMap<NodeId, Peer>,
    retired: VecDeque<Past>,
}

impl Peers {
    /// Nobody is heard by `me`.
    pub(super) const fn new(me: NodeId) -> Self {
        Self { me, map: BTreeMap::new(), retired: VecDeque::new() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.map.iter().map(|(node, peer)| (*node, peer))
    }

    pub(super) fn get(&self, node: NodeId) -> Option<&Peer> {
        self.map.get(&node)
    }

    pub(super) fn get_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.map.get_mut(&node)
    }

    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.map.contains_key(&node)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Whether a frame with this header may be used (SPEC 5.3). `proof`: what shows that it is no
    /// recording.
    pub(super) fn check(&self, header: &Header, proof: Proof) -> Result<(), Refusal> {
        if let Some(peer) = self.map.get(&header.node)
            && peer.incarnation == header.incarnation
        {
            return if header.sequence > peer.sequence { Ok(()) } else { Err(Refusal::Replayed) };
        }
        let past = self
            .retired
            .iter()
            .find(|past| past.node == header.node && past.incarnation == header.incarnation);
        match past {
            // Two machines of one id: the other one has gone, this one is still there.
            Some(past) if past.over && (proof != Proof::Present || self.contains(header.node)) => {
                return Err(Refusal::OldIncarnation);
            }
            Some(past) if header.sequence <= past.last => return Err(Refusal::Replayed),
            _ => {}
        }
        match self.map.get(&header.node) {
            // Another life of a node that is heard: believed when it proves itself.
            Some(_) if proof == Proof::None => Err(Refusal::Unknown),
            Some(_) => Ok(()),
            None if self.map.len() >= MAX_PEERS => Err(Refusal::TooMany),
            None => Ok(()),
        }
    }

    /// What a heartbeat says of the peers that its sender hears is a sign of their life too.
    pub(super) fn witness(&mut self, acks: &[PeerAck], arrival: Time) {
        for ack in acks {
            if let Some(peer) = self.map.get_mut(&ack.node)
                && incarnation_low(peer.incarnation) == ack.incarnation_low
                && later16(ack.sequence_low, peer.latest)
            {
                peer.latest = ack.sequence_low;
                peer.lively = arrival.max(peer.lively);
            }
        }
    }

    /// Takes up a node that was not heard, in its first heartbeat.
    pub(super) fn insert(&mut self, node: NodeId, peer: Peer) {
        let says = peer.says.clone();
        self.map.insert(node, peer);
        self.hear(node, says);
        self.sort_out_strangers();
    }

    /// A peer's latest heartbeat.
    pub(super) fn hear(&mut self, node: NodeId, says: Heartbeat) {
        let strangers = self.strangers(&says);
        if let Some(peer) = self.map.get_mut(&node) {
            peer.shows = says.accepts.len();
            peer.strangers = strangers;
            peer.says = says;
        }
    }

    /// Whom a heartbeat names and this node does not hear. Both rise by id, so one walk tells.
    fn strangers(&self, says: &Heartbeat) -> Vec<PeerAck> {
        let mut heard = self.map.keys().peekable();
        let mut is_heard = |node: NodeId| {
            while heard.next_if(|known| **known < node).is_some() {}
            heard.peek() == Some(&&node)
        };
        let unheard = |ack: &&PeerAck| !is_heard(ack.node) && ack.node != self.me;
        says.peers.iter().filter(unheard).copied().collect()
    }

    /// Who is heard has changed.
    fn sort_out_strangers(&mut self) {
        let found = self.map.values().map(|peer| self.strangers(&peer.says)).collect::<Vec<_>>();
        for (peer, strangers) in self.map.values_mut().zip(found) {
            peer.strangers = strangers;
        }
    }

    /// Takes a peer out and remembers its life.
    pub(super) fn retire(&mut self, node: NodeId, now: Time) -> Option<Peer> {
        let peer = self.map.remove(&node)?;
        self.sort_out_strangers();
        self.retired.retain(|past| past.node != node || past.incarnation != peer.incarnation);
        let mut of_it = self.retired.iter().enumerate().filter(|(_, past)| past.node == node);
        let oldest = of_it.next().map(|(index, _)| index);
        if of_it.count() + 1 >= RETIRED_OF_ONE {
            oldest.map(|index| self.retired.remove(index));
        } else if self.retired.len() >= RETIRED {
            self.retired.pop_front();
        }
        self.retired.push_back(Past {
            node,
            incarnation: peer.incarnation,
            last: peer.sequence,
            proven: peer.proven,
            over: false,
            ended: now,
        });
        Some(peer)
    }

    /// Whether `node` was heard until less than `within` ago.
    pub(super) fn ended_lately(&self, node: NodeId, within: Duration, now: Time) -> bool {
        self.retired.iter().any(|past| past.node == node && now.since(past.ended) < within)
    }

    /// Whether a life ended here before.
    pub(super) fn was_dead(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.retired.iter().any(|past| past.node == node && past.incarnation == incarnation)
    }

    /// The life of a node that is heard proves itself: others that did before are over for good.
    pub(super) fn prove(&mut self, node: NodeId) {
        let Some(peer) = self.map.get_mut(&node).filter(|peer| !peer.proven) else { return };
        peer.proven = true;
        let older = self.retired.iter_mut().filter(|past| past.node == node);
        older.for_each(|past| past.over = past.proven && past.incarnation != peer.incarnation);
    }
}

image! {
    Peer {
        incarnation, sequence, heartbeat_sequence, heard, seen, lively, latest, appeared, back, says,
        shows, strangers, acked, proven, overlap, name, software, load, pins, holds,
    }
}
image! { Past { node, incarnation, last, proven, over, ended } }
image! { Peers { me, map, retired } }

#[cfg(test)]
mod tests;
