//! Answers to ARP requests and neighbour solicitations for the service addresses (SPEC 2.4).
//!
//! The kernel is kept silent about the service addresses (they sit on another link than the one
//! that is asked), so that these answers are the only ones, and they bind the service address to
//! the cluster MAC and to nothing else. Questions sent to the cluster MAC itself (a cache that
//! checks its entry) are heard once the gate has let them in (SPEC 7): these sockets come behind
//! it, and behind the ingress part of the stage. WHO of the nodes answers is the caller's decision; what
//! is answered is this:
//!
//! | question | answer |
//! |---|---|
//! | ARP request, broadcast or unicast (a cache that checks its entry) | reply to the sender hardware address (RFC 826) |
//! | ARP probe, sender 0.0.0.0 | the same: the address is in use (RFC 5227 section 2.1.1) |
//! | ARP request in which a service address asks for itself | another host claims the address: one announcement to everybody, at most every ten seconds (RFC 5227 section 2.4 (c)) |
//! | neighbour solicitation | solicited advertisement with override flag to the asker (RFC 4861 section 7.2.4) |
//! | duplicate address detection, source `::` | unsolicited advertisement with override flag to all nodes (RFC 4862 section 5.4.3, RFC 4861 section 7.2.4) |

mod arp;
mod nd;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nlb_engine::Time;
use nlb_protocol::MacAddr;

use super::filter::Program;
use super::socket::{LinkEvent, PacketSocket};
use super::sys::PacketStats;
use super::{Interface, InterfaceIndex};

/// Ethertypes of RFC 826 and RFC 2464.
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// The longest question that is read. A solicitation with every option in use has under 200
/// bytes; a longer one fails its checksum here.
const LONGEST_QUESTION: usize = 512;

/// Bytes of questions that may wait: some hundred. Askers ask again.
const RECEIVE_QUEUE: usize = 256 << 10;

/// The shortest time between two defences of the service addresses (RFC 5227 section 1.1).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// What kind of question it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NeighbourKind {
    /// An ARP request by a host that wants to talk.
    ArpRequest,
    /// An ARP request from 0.0.0.0 by a host that wants to use the address itself.
    ArpProbe,
    /// An ARP announcement by a host that says it has the address.
    ArpClaim,
    /// A neighbour solicitation by a host that wants to talk, or that checks its cache.
    Solicitation,
    /// Duplicate address detection by a host that wants to use the address itself.
    SolicitationProbe,
}

/// A question for a service address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub kind: NeighbourKind,
    /// Who asks; unspecified for the two probes. The owner of this address's bucket answers.
    pub asker: IpAddr,
    /// Where the answer goes.
    pub asker_mac: MacAddr,
    /// The service address that is asked for.
    pub target: IpAddr,
}

/// Why a question gets no answer. One counter each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unanswered {
    /// It breaks the rules of its protocol.
    Malformed,
    /// It asks for an address that is not a service address.
    NotOurs,
    /// Its sender says that its own address is a group, everybody, or the cluster MAC.
    BadSender,
}

/// What comes from a neighbour socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighbourEvent {
    /// A question that is to be decided.
    Request(Request),
    /// A frame that is none.
    Unanswered(Unanswered),
    /// The interface went down; see [`LinkEvent::Down`].
    Down,
}

/// What a cluster answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answers {
    mac: MacAddr,
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
}

impl Answers {
    fn new(mac: MacAddr, addresses: &[IpAddr]) -> Self {
        let mut answers = Self { mac, v4: Vec::new(), v6: Vec::new() };
        for address in addresses {
            match address {
                IpAddr::V4(address) => answers.v4.push(*address),
                IpAddr::V6(address) => answers.v6.push(*address),
            }
        }
        answers
    }

    /// One of the addresses.
    fn any(&self) -> Option<IpAddr> {
        let v4 = self.v4.first().copied().map(IpAddr::V4);
        v4.or_else(|| self.v6.first().copied().map(IpAddr::V6))
    }

    /// Whether an answer to `mac` reaches one host that is not the cluster itself.
    fn can_answer(&self, mac: MacAddr) -> bool {
        mac.0[0] & 1 == 0 && mac != MacAddr::default() && mac != self.mac
    }
}

/// Hears the questions for one cluster's addresses on one interface, and answers them.
#[derive(Debug)]
pub struct NeighbourSocket {
    arp: PacketSocket,
    nd: PacketSocket,
    index: InterfaceIndex,
    own_mac: MacAddr,
    answers: Answers,
    /// When the addresses were last defended, in nanoseconds; zero: never.
    defended: AtomicU64,
}

impl NeighbourSocket {
    /// Opens for questions about `addresses`, which are to be answered with `cluster`. Must be
    /// called within a tokio runtime with I/O. The memberships that make solicitations arrive
    /// are [`Memberships`](super::Memberships)'s part.
    ///
    /// # Errors
    /// As [`HeartbeatSocket::open`](super::HeartbeatSocket::open).
    pub fn open(interface: &Interface, cluster: MacAddr, addresses: &[IpAddr]) -> io::Result<Self> {
        let answers = Answers::new(cluster, addresses);
        let open = |ethertype, filter: Vec<_>| {
            PacketSocket::open(interface.index, ethertype, RECEIVE_QUEUE, &filter, &[])
        };
        Ok(Self {
            arp: open(ARP, Program::arp(&answers.v4))?,
            nd: open(IPV6, Program::solicitation(&answers.v6))?,
            index: interface.index,
            own_mac: interface.mac,
            answers,
            defended: AtomicU64::new(0),
        })
    }

    /// Which interface this is.
    #[must_use]
    pub fn index(&self) -> InterfaceIndex {
        self.index
    }

    /// Goes over to other addresses.
    ///
    /// # Errors
    /// Those of the system calls; the addresses are then the old ones or both.
    pub fn set_addresses(&mut self, addresses: &[IpAddr]) -> io::Result<()> {
        let answers = Answers::new(self.answers.mac, addresses);
        self.arp.set_filter(&Program::arp(&answers.v4))?;
        self.nd.set_filter(&Program::solicitation(&answers.v6))?;
        self.answers = answers;
        Ok(())
    }

    /// Waits until [`Self::try_recv`] has something to read; cancel-safe.
    ///
    /// # Errors
    /// When the runtime ends.
    pub async fn readable(&self) -> io::Result<()> {
        tokio::select! {
            ready = self.arp.readable() => ready,
            ready = self.nd.readable() => ready,
        }
    }

    /// Waits for the next event; cancel-safe.
    ///
    /// # Errors
    /// Whatever the kernel says beside "down"; the socket is then of no more use.
    pub async fn recv(&self) -> io::Result<NeighbourEvent> {
        let mut arp = [0; LONGEST_QUESTION];
        let mut nd = [0; LONGEST_QUESTION];
        tokio::select! {
            event = self.arp.recv(&mut arp) => Ok(self.judge(event?, &arp, arp::parse)),
            event = self.nd.recv(&mut nd) => Ok(self.judge(event?, &nd, nd::parse)),
        }
    }

    /// The next event, if the runtime has seen one since [`Self::readable`] was awaited first.
    ///
    /// # Errors
    /// As [`Self::recv`].
    pub fn try_recv(&self) -> io::Result<Option<NeighbourEvent>> {
        let mut buffer = [0; LONGEST_QUESTION];
        if let Some(event) = self.arp.recv_seen(&mut buffer)? {
            return Ok(Some(self.judge(event, &buffer, arp::parse)));
        }
        let event = self.nd.recv_seen(&mut buffer)?;
        Ok(event.map(|event| self.judge(event, &buffer, nd::parse)))
    }

    fn judge(&self, event: LinkEvent, buffer: &[u8], parse: Parser) -> NeighbourEvent {
        let LinkEvent::Frame(frame) = event else { return NeighbourEvent::Down };
        let payload = buffer.get(..frame.len).unwrap_or(buffer);
        match parse(payload, frame.source, &self.answers) {
            Ok(request) => NeighbourEvent::Request(request),
            Err(reason) => NeighbourEvent::Unanswered(reason),
        }
    }

    /// Answers, from the interface's own address. `false`: nothing was sent, because the
    /// addresses were defended within the last ten seconds.
    ///
    /// # Errors
    /// As [`HeartbeatSocket::send`](super::HeartbeatSocket::send): the asker will ask again.
    pub fn answer(&self, request: &Request, now: Time) -> io::Result<bool> {
        let mac = self.answers.mac;
        match (request.target, request.asker) {
            (IpAddr::V4(target), _) if request.kind == NeighbourKind::ArpClaim => {
                let last = self.defended.load(Ordering::Relaxed);
                if last != 0 && now.since(Time::from_nanos(last)) < DEFEND_INTERVAL {
                    return Ok(false);
                }
                self.defended.store(now.as_nanos(), Ordering::Relaxed);
                self.arp.send(arp::EVERYBODY, &arp::announcement(mac, target))?;
            }
            (IpAddr::V4(target), IpAddr::V4(asker)) => {
                let reply = arp::reply(mac, target, request.asker_mac, asker);
                self.arp.send(request.asker_mac, &reply)?;
            }
            (IpAddr::V6(target), IpAddr::V6(asker)) => {
                let (to, advertisement) = nd::advertisement(mac, target, request.asker_mac, asker);
                self.nd.send(to, &advertisement)?;
            }
            // No parser makes these.
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Ok(false),
        }
        Ok(true)
    }

    /// Asks `targets` for their addresses, so that frames come back if the receiver works at all
    /// (R7). `own` are the interface's own addresses; where none fits, the question is a probe
    /// from 0.0.0.0, which changes no cache. Without targets it is asked whether a service address
    /// is in use: others who start hear that, and their questions are heard here. Returns how many
    /// questions left.
    pub fn probe(&self, own: &[IpAddr], targets: &[IpAddr]) -> usize {
        let nobody = targets.is_empty();
        let service = self.answers.any();
        let targets = if nobody { service.as_slice() } else { targets };
        let sent = |target: &&IpAddr| match target {
            IpAddr::V4(target) => {
                // Whether a service address is in use is asked in nobody's name.
                let own: &[IpAddr] = if nobody { &[] } else { own };
                let from = own.iter().find_map(|own| match own {
                    IpAddr::V4(own) => Some(*own),
                    IpAddr::V6(_) => None,
                });
                let from = from.unwrap_or(Ipv4Addr::UNSPECIFIED);
                let question = arp::request(self.own_mac, from, *target);
                self.arp.send(arp::EVERYBODY, &question).is_ok()
            }
            IpAddr::V6(target) => {
                let from = own.iter().find_map(|own| match own {
                    IpAddr::V6(own) => Some(*own),
                    IpAddr::V4(_) => None,
                });
                from.is_some_and(|from| {
                    let (to, question) = nd::solicitation(self.own_mac, from, *target);
                    self.nd.send(to, &question).is_ok()
                })
            }
        };
        targets.iter().filter(sent).count()
    }

    /// Questions received and dropped for want of room since the last call: ARP, then ND.
    ///
    /// # Errors
    /// Those of `getsockopt`.
    pub fn stats(&self) -> io::Result<(PacketStats, PacketStats)> {
        Ok((self.arp.stats()?, self.nd.stats()?))
    }
}

type Parser = fn(&[u8], MacAddr, &Answers) -> Result<Request, Unanswered>;

#[cfg(test)]
mod tests;
