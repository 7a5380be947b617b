//! Questions that clients asked of the service, and who answered them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use nlb_protocol::MacAddr;

use super::frame::{Frame, Payload, Segment};
use super::rules::Subject;
use super::segments::{ACK, RST, SYN, Segments};
use crate::stamp::Stamp;

/// How many violations are kept in words.
const KEPT: usize = 20;

/// A silence of a node that is noted: a little less than the lease at default timing, after which
/// the node's kernel takes no client's packet.
pub const LAPSE: Duration = Duration::from_millis(380);

/// A question, by what makes it and its answer recognisable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// A TCP SYN: client, its port, service address, its port, sequence number.
    Syn(IpAddr, u16, IpAddr, u16, u32),
    /// An echo request: client, service address, identifier, sequence number.
    Ping(IpAddr, IpAddr, u16, u16),
    /// A UDP datagram: client, its port, service address, its port, first two bytes.
    Udp(IpAddr, u16, IpAddr, u16, u16),
}

impl Question {
    /// Who asked.
    #[must_use]
    pub const fn client(&self) -> IpAddr {
        match self {
            Self::Syn(client, ..) | Self::Ping(client, ..) | Self::Udp(client, ..) => *client,
        }
    }
}

/// A question and its answers, as they passed the ports of the clients.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    /// When the question was seen, each time.
    pub asked: Vec<Stamp>,
    /// Who answered, and when.
    pub answers: Vec<(MacAddr, Stamp)>,
}

impl Exchange {
    /// How many nodes answered.
    #[must_use]
    pub fn responders(&self) -> usize {
        self.answers.iter().map(|(node, _)| node).collect::<BTreeSet<_>>().len()
    }

    /// How long the client waited for the first answer.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        Some(self.answers.first()?.1.since(*self.asked.first()?))
    }
}

/// Everything that was seen.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Questions and answers.
    pub exchanges: HashMap<Question, Exchange>,
    /// Violations in words, the first few.
    pub violations: Vec<String>,
    /// How many violations.
    pub violated: u64,
    /// How many frames came from hosts.
    pub frames: u64,
    /// TCP resets that reached clients.
    pub resets: u64,
    /// Path-MTU errors seen, by destination.
    pub too_big: BTreeMap<IpAddr, u64>,
    /// How many later fragments came from clients.
    pub fragments: u64,
    /// IGMP messages by the port they came from.
    pub igmp: BTreeMap<String, u64>,
    /// Who says to be a multicast router: the last word of each port, IPv4 and IPv6 (`true`).
    pub multicast_routers: BTreeMap<(String, bool), bool>,
    /// Frames to the cluster MAC by the port they left through.
    pub to_cluster: BTreeMap<String, u64>,
    /// ARP and ND answers for a service address by the MAC they came from.
    pub neighbour_answers: BTreeMap<MacAddr, u64>,
    /// The last heartbeat of each node.
    pub heartbeats: HashMap<MacAddr, Stamp>,
    /// Times without a heartbeat of a node, longer than [`LAPSE`].
    pub lapses: Vec<(MacAddr, Stamp, Stamp)>,
    /// The segments of TCP connections, one by one.
    pub segments: Segments,
    /// While these lasted, nodes that could not hear each other served the same clients.
    pub partitions: Vec<(Stamp, Stamp)>,
}

impl Ledger {
    /// A frame that came from the host behind `port`.
    pub fn handle_received(&mut self, port: &str, frame: &Frame, at: Stamp, subject: &Subject) {
        self.frames += 1;
        if let Some(violation) = subject.violation(frame) {
            self.violated += 1;
            if self.violations.len() < KEPT {
                self.violations.push(format!("{violation} ({port}): {frame:?}"));
            }
        }
        match frame.payload {
            Payload::Cluster(1) => {
                if let Some(last) = self.heartbeats.insert(frame.source, at)
                    && at.since(last) > LAPSE
                {
                    self.lapses.push((frame.source, last, at));
                }
            }
            Payload::Arp { operation: 2, sender, .. } if subject.serves(sender.1.into()) => {
                *self.neighbour_answers.entry(frame.source).or_default() += 1;
            }
            Payload::Ip { source, destination, segment } => match segment {
                Segment::Igmp(_) => *self.igmp.entry(port.to_owned()).or_default() += 1,
                Segment::MulticastRouter { advertisement } => {
                    let by = (port.to_owned(), source.is_ipv6());
                    self.multicast_routers.insert(by, advertisement);
                }
                Segment::TooBig => *self.too_big.entry(destination).or_default() += 1,
                Segment::Neighbour { advertisement: true, target, .. }
                    if subject.serves(target.into()) =>
                {
                    *self.neighbour_answers.entry(frame.source).or_default() += 1;
                }
                Segment::LaterFragment if subject.serves(destination) => self.fragments += 1,
                _ if subject.serves(destination) => {
                    self.segments.handle_asked((source, destination), segment, at);
                    if let Some(question) = asked(source, destination, segment) {
                        self.exchanges.entry(question).or_default().asked.push(at);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// A frame that left the bridge through `port`; `client` when a client is behind it.
    pub fn handle_sent(
        &mut self,
        port: &str,
        client: bool,
        frame: &Frame,
        at: Stamp,
        subject: &Subject,
    ) {
        if frame.destination == subject.mac {
            *self.to_cluster.entry(port.to_owned()).or_default() += 1;
        }
        if let Payload::Ip { source, destination, segment } = frame.payload
            && client
            && subject.serves(source)
        {
            if let Segment::Tcp { flags, .. } = segment
                && flags & RST != 0
            {
                self.resets += 1;
            }
            self.segments.handle_answer((destination, source), frame.source, segment, at);
            if let Some(question) = answered(source, destination, segment) {
                self.exchanges.entry(question).or_default().answers.push((frame.source, at));
            }
        }
    }

    /// Exchanges that `keep` selects, with the questions.
    pub fn select(
        &self,
        mut keep: impl FnMut(&Question, &Exchange) -> bool,
    ) -> Vec<(&Question, &Exchange)> {
        self.exchanges.iter().filter(|(question, exchange)| keep(question, exchange)).collect()
    }

    /// Questions that more than one node answered.
    #[must_use]
    pub fn doubled(&self) -> Vec<(&Question, &Exchange)> {
        self.select(|_, exchange| exchange.responders() > 1)
    }

    /// Those of them that were not asked during a partition.
    #[must_use]
    pub fn unexcused(&self) -> Vec<(&Question, &Exchange)> {
        let excused = |at: &Stamp| self.partitions.iter().any(|(from, to)| from <= at && at <= to);
        self.select(|_, exchange| exchange.responders() > 1 && !exchange.asked.iter().any(excused))
    }

    /// The nodes that answered each client's questions asked from `since` on.
    #[must_use]
    pub fn nodes_of_clients(&self, since: Stamp) -> HashMap<IpAddr, BTreeSet<MacAddr>> {
        let mut nodes: HashMap<IpAddr, BTreeSet<MacAddr>> = HashMap::new();
        for (question, exchange) in &self.exchanges {
            if exchange.asked.first().is_some_and(|first| *first >= since) {
                let answers = exchange.answers.iter().map(|(node, _)| *node);
                nodes.entry(question.client()).or_default().extend(answers);
            }
        }
        nodes
    }
}

fn asked(client: IpAddr, service: IpAddr, segment: Segment) -> Option<Question> {
    match segment {
        Segment::Tcp { source, destination, sequence, flags, .. } if flags & (SYN | ACK) == SYN => {
            Some(Question::Syn(client, source, service, destination, sequence))
        }
        Segment::Echo { reply: false, id, sequence } => {
            Some(Question::Ping(client, service, id, sequence))
        }
        Segment::Udp { source, destination, id } => {
            Some(Question::Udp(client, source, service, destination, id))
        }
        _ => None,
    }
}

fn answered(service: IpAddr, client: IpAddr, segment: Segment) -> Option<Question> {
    match segment {
        Segment::Tcp { source, destination, acknowledged, flags, .. }
            if flags & (SYN | ACK) == SYN | ACK =>
        {
            let sequence = acknowledged.wrapping_sub(1);
            Some(Question::Syn(client, destination, service, source, sequence))
        }
        Segment::Echo { reply: true, id, sequence } => {
            Some(Question::Ping(client, service, id, sequence))
        }
        Segment::Udp { source, destination, id } => {
            Some(Question::Udp(client, destination, service, source, id))
        }
        _ => None,
    }
}
