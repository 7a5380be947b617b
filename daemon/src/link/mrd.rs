//! Multicast Router Discovery (RFC 4286): how a node in `Igmp` mode makes switches that snoop by
//! IP address send it the frames of the cluster (SPEC 2.5).
//!
//! A switch that forwards by the group MAC needs the IGMP report only. The Linux bridge, with
//! snooping and a querier, looks up the IP destination, which is the service's unicast address,
//! finds no group, and sends such a frame to the ports of multicast routers alone. So each node
//! says that it is one. The bridge (`br_ip4_multicast_mrd_rcv`, `br_ip6_multicast_mrd_rcv`) takes
//! an advertisement to the group of all snoopers that is 8 bytes long and has a good checksum, for
//! IPv6 only behind a hop-by-hop header, each family for itself, and believes it for 255 s. Its
//! ports must be left at `multicast_router` 1, as they are by default. It ignores terminations.
//!
//! The price: a port of a router gets all multicast of the segment that its switch would else
//! have kept from it. Solicitations are not heard: whoever missed the advertisements waits for
//! the next one.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroU32;
use std::time::Duration;

use nlb_engine::Time;
use nlb_protocol::MacAddr;
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::util;
use socket2::Domain;

use super::join::ethernet_group;
use super::socket::PacketSocket;
use super::{Interface, InterfaceIndex};
use crate::inet;

/// The time between advertisements that RFC 4286 section 3.1.1 gives for the usual case.
const ADVERTISE_EVERY: Duration = Duration::from_secs(20);
/// How far that time varies up and down, so that nodes started together drift apart: 0.025 of it
/// (section 3.1.2).
const JITTER: Duration = Duration::from_millis(500);
/// The time between the first advertisements, of which the network may lose one, or the switch
/// may not have its querier yet (section 3.1.3).
const ADVERTISE_INITIALLY_EVERY: Duration = Duration::from_secs(2);
/// How many these are (section 3.1.4).
const INITIAL_ADVERTISEMENTS: u32 = 3;
/// How long a Linux bridge takes a port for a router's (`multicast_querier_interval`).
const BRIDGE_BELIEVES: Duration = Duration::from_secs(255);
/// Whoever follows the RFC believes for three intervals (section 3.1.5), the bridge for longer:
/// two lost advertisements in a row change nothing.
const _: () = assert!(3 * ADVERTISE_EVERY.as_secs() < BRIDGE_BELIEVES.as_secs());

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Who hears all this: every switch that snoops.
const ALL_SNOOPERS_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 106);
const ALL_SNOOPERS_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x6a);
/// Where nothing is ever sent to: the kernel wants some port.
const ANY_PORT: u16 = 9;

/// What a node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    /// "A multicast router is here."
    Advertisement,
    /// "No longer."
    Termination,
}

/// Whom it says that in the name of, on one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sources {
    /// Unspecified where there is none, as with IGMP (RFC 3376 section 4.2.13): the service may
    /// have IPv4 addresses although the host has not.
    v4: Ipv4Addr,
    /// The link-local address; without one the interface has no IPv6.
    v6: Option<Ipv6Addr>,
}

impl Sources {
    /// What the kernel would choose now: the interface's own addresses that have passed duplicate
    /// detection; for one without IPv4, the address that it borrows. Never a service address:
    /// those are of host scope, or deprecated. Asked of sockets, not of rtnetlink, which can keep
    /// the loop waiting for whoever changes interfaces.
    fn of(index: InterfaceIndex) -> Self {
        let v4 = source(index, SocketAddrV4::new(ALL_SNOOPERS_V4, ANY_PORT).into());
        let v6 = source(index, SocketAddrV6::new(ALL_SNOOPERS_V6, ANY_PORT, 0, index.0).into());
        Self {
            v4: match v4 {
                Ok(Some(SocketAddr::V4(own))) => *own.ip(),
                _ => Ipv4Addr::UNSPECIFIED,
            },
            v6: match v6 {
                Ok(Some(SocketAddr::V6(own))) => {
                    Some(*own.ip()).filter(Ipv6Addr::is_unicast_link_local)
                }
                _ => None,
            },
        }
    }
}

/// The source of a packet that would go to `to` on this interface. Nothing is sent.
fn source(index: InterfaceIndex, to: SocketAddr) -> io::Result<Option<SocketAddr>> {
    let socket = inet::udp(Domain::for_address(to))?;
    let on = NonZeroU32::new(index.0);
    if to.is_ipv4() {
        socket.bind_device_by_index_v4(on)?;
    } else {
        socket.bind_device_by_index_v6(on)?;
    }
    socket.connect(&to.into())?;
    Ok(socket.local_addr()?.as_socket())
}

/// When to advertise next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Schedule {
    /// In the name of whom the last ones went; `None`: none yet.
    sources: Option<Sources>,
    /// How many went in that name, as far as that matters.
    sent: u32,
    due: Time,
}

impl Schedule {
    /// One goes out now. In another name, such as that of a link-local address that was not there
    /// at first, everything begins anew.
    fn advance(&mut self, sources: Sources, now: Time) {
        if self.sources.replace(sources) != Some(sources) {
            self.sent = 0;
        }
        self.sent = self.sent.saturating_add(1);
        self.due = now
            + if self.sent < INITIAL_ADVERTISEMENTS {
                ADVERTISE_INITIALLY_EVERY
            } else {
                // The nanosecond at which a turn of the loop begins is as good as a random one.
                let range = 2 * JITTER.as_nanos();
                let varied = u128::from(now.as_nanos()) % range;
                ADVERTISE_EVERY - JITTER
                    + Duration::from_nanos(u64::try_from(varied).unwrap_or_default())
            };
    }
}

/// Announces the node on one interface. Dropping it takes the announcement back.
#[derive(Debug)]
pub(super) struct Announcer {
    /// Receives nothing. Whole packets leave through it, as with neighbour discovery: no rule for
    /// the host's own traffic stands in their way.
    socket: PacketSocket,
    index: InterfaceIndex,
    schedule: Schedule,
}

impl Announcer {
    /// Says nothing yet.
    pub(super) fn open(interface: &Interface) -> io::Result<Self> {
        let socket = PacketSocket::open(interface.index, 0, 0, &PacketSocket::nothing(), &[])?;
        Ok(Self { socket, index: interface.index, schedule: Schedule::default() })
    }

    /// Advertises, if that is due.
    pub(super) fn announce(&mut self, now: Time) -> io::Result<()> {
        if now < self.schedule.due {
            return Ok(());
        }
        let sources = Sources::of(self.index);
        self.schedule.advance(sources, now);
        self.send(Message::Advertisement, sources)
    }

    fn send(&self, message: Message, sources: Sources) -> io::Result<()> {
        let to = MacAddr([0x01, 0x00, 0x5e, 0, 0, 0x6a]);
        let v4 = self.socket.send_as(IPV4, to, &ipv4_packet(message, sources.v4));
        let v6 = sources.v6.map_or(Ok(()), |source| {
            let to = ethernet_group(ALL_SNOOPERS_V6);
            self.socket.send_as(IPV6, to, &ipv6_packet(message, source))
        });
        v4.and(v6)
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        if let Some(sources) = self.schedule.sources {
            // It fails where the interface is down or gone; then nothing is to be taken back.
            let _ = self.send(Message::Termination, sources);
        }
    }
}

/// The message from its type on, the checksum (bytes 2 and 3) still zero. Query interval and
/// robustness are zero: no querier speaks here.
fn body(message: Message, advertisement: u8, termination: u8) -> Vec<u8> {
    let seconds = u8::try_from(ADVERTISE_EVERY.as_secs()).unwrap_or(u8::MAX);
    match message {
        Message::Advertisement => vec![advertisement, seconds, 0, 0, 0, 0, 0, 0],
        Message::Termination => vec![termination, 0, 0, 0],
    }
}

/// Over IGMP (RFC 4286 sections 3.2 and 5.1), time to live 1, with Router Alert (RFC 2113).
fn ipv4_packet(message: Message, source: Ipv4Addr) -> Vec<u8> {
    const WORDS: u8 = 6;
    let mut body = body(message, 0x30, 0x32);
    let sum = util::checksum(&body, 1);
    put_u16(&mut body, 2, sum);
    // Internetwork control, not to be fragmented: as the kernel sends IGMP.
    let mut packet = vec![0x40 | WORDS, 0xc0, 0, 0, 0, 0, 0x40, 0, 1, 2, 0, 0];
    packet.extend(source.octets());
    packet.extend(ALL_SNOOPERS_V4.octets());
    packet.extend([0x94, 4, 0, 0]);
    put_u16(&mut packet, 2, length(&body).saturating_add(4 * u16::from(WORDS)));
    let sum = util::checksum(&packet, 5);
    put_u16(&mut packet, 10, sum);
    packet.extend(body);
    packet
}

/// Over ICMPv6, hop limit 1, with Router Alert (RFC 2711), whose value 0 is that of multicast
/// listener discovery.
fn ipv6_packet(message: Message, source: Ipv6Addr) -> Vec<u8> {
    const HOP_BY_HOP: [u8; 8] = [58, 0, 5, 2, 0, 0, 1, 0];
    let mut body = body(message, 151, 153);
    let icmp = IpNextHeaderProtocols::Icmpv6;
    let sum = util::ipv6_checksum(&body, 1, &[], &source, &ALL_SNOOPERS_V6, icmp);
    put_u16(&mut body, 2, sum);
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, 0, 1];
    put_u16(&mut packet, 4, length(&HOP_BY_HOP).saturating_add(length(&body)));
    packet.extend(source.octets());
    packet.extend(ALL_SNOOPERS_V6.octets());
    packet.extend(HOP_BY_HOP);
    packet.extend(body);
    packet
}

fn length(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX)
}

/// Overwrites two bytes that are there.
fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests;
