//! Frames made by hand and put on the wire as they are.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use nix::sys::socket::{LinkAddr, MsgFlags, SockaddrLike, bind, sendto};
use nlb_protocol::MacAddr;
use socket2::{Domain, Socket, Type};

use crate::bpf::{LOAD_HALF, LOAD_WORD, RETURN, jump, statement};
use crate::netns::Namespace;

/// Sends frames through one interface, whatever they hold.
#[derive(Debug)]
pub struct Injector {
    socket: Socket,
    interface: LinkAddr,
}

impl Injector {
    /// Opens the interface of a namespace for sending. Nothing is received.
    ///
    /// # Errors
    /// When there is no such interface, or packet sockets are not allowed here.
    pub fn new(namespace: &Namespace, interface: &str) -> Result<Self> {
        let index = index(namespace, interface)?;
        // Protocol 0: the socket gets no copy of anything.
        let socket = namespace.run(|| Socket::new(Domain::PACKET, Type::RAW, None))??;
        socket.set_send_buffer_size(4 << 20)?;
        Ok(Self { socket, interface: link_address(index, 0)? })
    }

    /// Sends one frame, Ethernet header included.
    ///
    /// # Errors
    /// When the interface is down or the frame too long for it.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let fd = self.socket.as_raw_fd();
        sendto(fd, frame, &self.interface, MsgFlags::empty())
            .with_context(|| format!("a frame of {} bytes", frame.len()))?;
        Ok(())
    }
}

/// Counts the frames of one sender that arrive at an interface: behind the queue of the processor
/// that took them in, which loses what is too much for it and tells nobody.
#[derive(Debug)]
pub struct Arrivals {
    socket: Socket,
    seen: usize,
}

impl Arrivals {
    /// Counts from now on.
    ///
    /// # Errors
    /// When there is no such interface, or packet sockets are not allowed here.
    pub fn of(namespace: &Namespace, interface: &str, sender: MacAddr) -> Result<Self> {
        let index = index(namespace, interface)?;
        let socket = namespace.run(|| Socket::new(Domain::PACKET, Type::RAW, None))??;
        let [a, b, c, d, e, f] = sender.0;
        let (high, low) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([0, 0, e, f]));
        // The source address lies behind the destination.
        socket.attach_filter(&[
            statement(LOAD_WORD, 6)?,
            jump(high, 0, 3)?,
            statement(LOAD_HALF, 10)?,
            jump(low, 0, 1)?,
            statement(RETURN, u32::MAX)?,
            statement(RETURN, 0)?,
        ])?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(4 << 20)?;
        bind(socket.as_raw_fd(), &link_address(index, u16::try_from(libc::ETH_P_ALL)?)?)?;
        Ok(Self { socket, seen: 0 })
    }

    /// How many have arrived.
    pub fn seen(&mut self) -> usize {
        let mut frame = [0; 64];
        while (&self.socket).read(&mut frame).is_ok() {
            self.seen += 1;
        }
        self.seen
    }
}

fn index(namespace: &Namespace, interface: &str) -> Result<u32> {
    namespace
        .run(|| nix::net::if_::if_nametoindex(interface))?
        .with_context(|| format!("{} {interface}", namespace.name()))
}

#[allow(unsafe_code)]
fn link_address(index: u32, protocol: u16) -> Result<LinkAddr> {
    let length = u32::try_from(size_of::<libc::sockaddr_ll>())?;
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET)?,
        sll_protocol: protocol.to_be(),
        sll_ifindex: i32::try_from(index)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the pointer is to a whole, initialised sockaddr_ll whose family says that it is
    // one, and `length` is its size.
    unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) }.context("address")
}

/// An Ethernet frame.
#[must_use]
pub fn ethernet(to: MacAddr, from: MacAddr, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0, &kind.to_be_bytes(), payload].concat()
}

/// An IPv4 or IPv6 packet, with the ethertype that goes with it. Both addresses are of one
/// family.
#[must_use]
pub fn ip(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> (u16, Vec<u8>) {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (0x0800, ipv4(from, to, protocol, 0x4000, payload)),
        (IpAddr::V6(from), IpAddr::V6(to)) => (0x86dd, ipv6(from, to, protocol, payload)),
        _ => (0, Vec::new()),
    }
}

/// An IPv4 packet. `fragment` is the field of flags and fragment offset.
#[must_use]
pub fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let [high, low] = fragment.to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, 1, high, low, 64, protocol, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = checksum(&packet).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    packet.extend(payload);
    packet
}

/// An IPv6 packet.
#[must_use]
pub fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// A TCP segment without data; the checksum is left out.
#[must_use]
pub fn tcp(from: u16, to: u16, sequence: u32, flags: u8) -> Vec<u8> {
    let mut segment = [from.to_be_bytes(), to.to_be_bytes()].concat();
    segment.extend(sequence.to_be_bytes());
    segment.extend([0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment
}

/// A UDP datagram; the checksum is left out.
#[must_use]
pub fn udp(from: u16, to: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + data.len()).unwrap_or(u16::MAX);
    let mut datagram = [from.to_be_bytes(), to.to_be_bytes(), length.to_be_bytes()].concat();
    datagram.extend([0, 0]);
    datagram.extend(data);
    datagram
}

/// An ICMP message of either family: type, code, four bytes, and what follows. The checksum of an
/// ICMPv6 message is left out.
#[must_use]
pub fn icmp(kind: u8, code: u8, rest: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    message.extend(data);
    let sum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

/// The Internet checksum (RFC 1071).
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}
