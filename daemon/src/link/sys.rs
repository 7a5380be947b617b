//! The system calls of packet sockets that no safe wrapper offers, and the registration of
//! sockets with the reactor. The only unsafe code of the links and the queue.
#![allow(unsafe_code)]

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd};

use nlb_protocol::MacAddr;
use socket2::{SockAddr, Socket};
use tokio::io::{Interest, unix::AsyncFd};

use super::InterfaceIndex;

/// What a packet socket lets pass the filter of the network card for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Membership {
    /// A multicast address.
    Multicast(MacAddr),
    /// A unicast address that is not the interface's own.
    Unicast(MacAddr),
}

/// Counters of a packet socket since they were last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PacketStats {
    /// Frames that passed the filter, the dropped ones included.
    pub received: u32,
    /// Frames that found no room in the receive buffer.
    pub dropped: u32,
}

/// What sockets here are waited for: they are written to without waiting, and an interface that
/// goes down, or an overflow, is an error condition without anything to read.
pub(crate) const READABLE: Interest = Interest::READABLE.add(Interest::ERROR);

/// Registers a socket with the reactor of the current tokio runtime, for [`READABLE`].
pub(crate) fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a `Socket` owns its descriptor, which stays open and the same until the `Socket` is
    // dropped; nothing here takes it out or replaces it.
    let registered = unsafe { AsyncFd::register_with_interest(socket, READABLE) };
    Ok(registered?)
}

/// Tries to read from a socket that the reactor said is [`READABLE`], and takes that back when
/// there was nothing. `WouldBlock` also while the reactor has not yet looked.
pub(crate) fn try_read<R>(
    fd: &AsyncFd<Socket>,
    mut read: impl FnMut(&Socket) -> io::Result<R>,
) -> io::Result<R> {
    // One interest at a time: tokio's `try_io` knows no two at once.
    match fd.try_io(Interest::READABLE, &mut read) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            fd.try_io(Interest::ERROR, &mut read)
        }
        other => other,
    }
}

/// The address of a packet socket: `ethertype` on `index`, and for sending the destination.
pub(super) fn link_address(
    ethertype: u16,
    index: InterfaceIndex,
    mac: MacAddr,
) -> io::Result<SockAddr> {
    let mut sll_addr = [0; 8];
    sll_addr[..6].copy_from_slice(&mac.0);
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or_default(),
        sll_protocol: ethertype.to_be(),
        sll_ifindex: kernel_index(index)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr,
    };
    // SAFETY: `storage` is zeroed, aligned for every address family and larger than
    // `sockaddr_ll`; the length is set to exactly what was written.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<libc::sockaddr_ll>().write(address);
            *length = size_of_socklen::<libc::sockaddr_ll>();
            Ok(())
        })
    }?;
    Ok(address)
}

/// Joins; the membership ends with the socket.
pub(super) fn join(
    fd: BorrowedFd<'_>,
    index: InterfaceIndex,
    member: Membership,
) -> io::Result<()> {
    let (kind, mac) = match member {
        Membership::Multicast(mac) => (libc::PACKET_MR_MULTICAST, mac),
        Membership::Unicast(mac) => (libc::PACKET_MR_UNICAST, mac),
    };
    let mut mr_address = [0; 8];
    mr_address[..6].copy_from_slice(&mac.0);
    let request = libc::packet_mreq {
        mr_ifindex: kernel_index(index)?,
        mr_type: u16::try_from(kind).unwrap_or_default(),
        mr_alen: 6,
        mr_address,
    };
    // SAFETY: the pointer and the length describe `request`, which outlives the call; the kernel
    // only reads it.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            size_of_socklen::<libc::packet_mreq>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The interface that a packet socket is bound to now; `None`: it was removed.
pub(super) fn bound_to(socket: &Socket) -> io::Result<Option<InterfaceIndex>> {
    let address = socket.local_addr()?;
    // SAFETY: a `SockAddr` is a whole `sockaddr_storage`, larger than `sockaddr_ll`, aligned for
    // it, and zero where the kernel wrote nothing.
    let address = unsafe { address.as_ptr().cast::<libc::sockaddr_ll>().read() };
    Ok(u32::try_from(address.sll_ifindex).ok().map(InterfaceIndex))
}

/// Reads the counters, which the kernel then sets back to zero.
pub(super) fn statistics(fd: BorrowedFd<'_>) -> io::Result<PacketStats> {
    let mut stats = MaybeUninit::<libc::tpacket_stats>::zeroed();
    let mut length = size_of_socklen::<libc::tpacket_stats>();
    // SAFETY: the pointer and the length describe `stats`; the kernel writes at most that much.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            stats.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: two integers, zeroed before the call: every value is valid.
    let stats = unsafe { stats.assume_init() };
    Ok(PacketStats { received: stats.tp_packets, dropped: stats.tp_drops })
}

fn kernel_index(index: InterfaceIndex) -> io::Result<libc::c_int> {
    libc::c_int::try_from(index.0).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

fn size_of_socklen<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(mem::size_of::<T>()).unwrap_or(libc::socklen_t::MAX)
}
