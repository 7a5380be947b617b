//! Who has a TCP connection to one of our addresses: the kernel's socket diagnostics
//! (`linux/inet_diag.h`, sock_diag(7)), of the network namespace of this process.
//!
//! Own netlink code of one request and one answer; the crates for it bring their own types for
//! every attribute that nobody asks for here.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_DUMP: u16 = 0x301;
/// `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// Where `struct inet_diag_msg` has the addresses: behind family, state, timer, retransmissions
/// and the two ports.
const LOCAL: usize = 8;
const REMOTE: usize = 24;
const MESSAGE: usize = 40;
/// What netlink hands out at once at most.
const DATAGRAM: usize = 1 << 16;
/// How long the kernel may take for the next part of its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The states in which data may still come or go: established (1), and closed in one direction:
/// `FIN_WAIT1` (4), `FIN_WAIT2` (5), `CLOSE_WAIT` (8). In all others packets are under way, or the
/// connection is over, or has not begun.
const STATES: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8;

/// The remote ends of connections to `local` addresses. An IPv4 client of an IPv6 socket counts
/// as what it is on the wire.
///
/// # Errors
/// When the kernel has no socket diagnostics (`CONFIG_INET_DIAG`), or does not answer.
pub fn connected(local: &BTreeSet<IpAddr>) -> io::Result<BTreeSet<IpAddr>> {
    let mut remote = BTreeSet::new();
    each_connection(local, |theirs| {
        remote.insert(theirs);
    })?;
    Ok(remote)
}

/// How many connections to `local` addresses there are.
///
/// # Errors
/// As [`connected`].
pub fn connections(local: &BTreeSet<IpAddr>) -> io::Result<u32> {
    let mut count = 0_u32;
    each_connection(local, |_| count = count.saturating_add(1))?;
    Ok(count)
}

fn each_connection(local: &BTreeSet<IpAddr>, mut each: impl FnMut(IpAddr)) -> io::Result<()> {
    for family in [libc::AF_INET, libc::AF_INET6] {
        dump(u8::try_from(family).unwrap_or(0), |ends| {
            if let Some((ours, theirs)) = ends
                && local.contains(&ours)
            {
                each(theirs);
            }
        })?;
    }
    Ok(())
}

fn request(family: u8) -> Vec<u8> {
    let length = u32::try_from(HEADER + REQUEST).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST_DUMP.to_ne_bytes());
    bytes.extend([1_u32.to_ne_bytes(), 0_u32.to_ne_bytes()].concat());
    let tcp = u8::try_from(libc::IPPROTO_TCP).unwrap_or(0);
    bytes.extend([family, tcp, 0, 0]);
    bytes.extend(STATES.to_ne_bytes());
    // No port, address, interface or cookie asked for.
    bytes.resize(HEADER + REQUEST, 0);
    bytes
}

fn dump(family: u8, mut each: impl FnMut(Option<(IpAddr, IpAddr)>)) -> io::Result<()> {
    let socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW.cloexec(),
        Some(Protocol::from(libc::NETLINK_SOCK_DIAG)),
    )?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&request(family))?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((kind, body, next)) = split(rest) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let errno = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                    return Err(io::Error::from_raw_os_error(errno.saturating_neg()));
                }
                SOCK_DIAG_BY_FAMILY => each(ends(body)),
                _ => {}
            }
            rest = next;
        }
    }
}

/// The first message of a datagram: its kind, its body, and what follows it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..6)?.first_chunk()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Both ends of a connection, ours first.
fn ends(message: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let message = message.get(..MESSAGE)?;
    let end = |at: usize| -> Option<IpAddr> {
        let bytes = message.get(at..at + 16)?;
        if i32::from(message[0]) == libc::AF_INET {
            return Some(IpAddr::from(*bytes.first_chunk::<4>()?));
        }
        Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).to_canonical())
    };
    Some((end(LOCAL)?, end(REMOTE)?))
}

#[cfg(test)]
mod tests;
