//! The socket that heartbeats leave and arrive through (SPEC 2.1, 2.3).

use std::io;

use nlb_protocol::MacAddr;
use nlb_protocol::frame::MAX_FRAME;

use super::filter::Program;
use super::socket::{LinkEvent, PacketSocket};
use super::sys::{Membership, PacketStats};
use super::{Interface, InterfaceIndex};

/// The buffer to hand to `recv`: longer than any frame of ours, so that an oversized frame is
/// seen to be one.
pub const RECEIVE_BUFFER: usize = 2048;
const _: () = assert!(RECEIVE_BUFFER > MAX_FRAME);

/// Bytes that may wait to be read. 63 peers with the fastest timing (5 ms) send 12,600 frames a
/// second; at some 4 KB of kernel memory each this is a fifth of a second of them all.
const RECEIVE_QUEUE: usize = 8 << 20;

/// The shortest payload of an Ethernet frame: 60 bytes less the header. Drivers pad, but not all
/// pad with zeros.
const SHORTEST_PAYLOAD: usize = 46;

/// Sends and receives the frames of one cluster on one interface.
#[derive(Debug)]
pub struct HeartbeatSocket {
    socket: PacketSocket,
    index: InterfaceIndex,
    group: MacAddr,
}

impl HeartbeatSocket {
    /// Opens the socket and joins the group. Only frames to `group` with this ethertype are
    /// received. Must be called within a tokio runtime with I/O.
    ///
    /// # Errors
    /// `NetworkDown` where the interface is down or gone (`ENODEV`: no such interface),
    /// `PermissionDenied` without `CAP_NET_RAW`.
    pub fn open(interface: &Interface, ethertype: u16, group: MacAddr) -> io::Result<Self> {
        let socket = PacketSocket::open(
            interface.index,
            ethertype,
            RECEIVE_QUEUE,
            &Program::heartbeat(group),
            &[Membership::Multicast(group)],
        )?;
        Ok(Self { socket, index: interface.index, group })
    }

    /// Which interface this is.
    #[must_use]
    pub fn index(&self) -> InterfaceIndex {
        self.index
    }

    /// Waits until [`Self::try_recv`] has something to read; cancel-safe.
    ///
    /// # Errors
    /// When the runtime ends.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Waits for the next frame; cancel-safe. The payload in `buffer` may carry padding behind
    /// the frame; hand in [`RECEIVE_BUFFER`] bytes.
    ///
    /// # Errors
    /// Whatever the kernel says beside [`LinkEvent::Down`]; the socket is then of no more use.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<LinkEvent> {
        self.socket.recv(buffer).await
    }

    /// The next frame, if one waits.
    ///
    /// # Errors
    /// As [`Self::recv`].
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<Option<LinkEvent>> {
        self.socket.try_recv(buffer)
    }

    /// Sends one frame to the group, with the interface's own address as source. On success the
    /// frame has passed the egress hook, which renews the lease of this interface (SPEC 7).
    ///
    /// # Errors
    /// `NetworkDown` while the interface is down, `ENXIO` when it is gone, `WouldBlock` or
    /// `ENOBUFS` when the device's queue is full or a rule dropped the frame. None of them is a
    /// reason to end: the frame was not sent, the next one may be.
    pub fn send(&self, payload: &[u8]) -> io::Result<()> {
        if payload.len() >= SHORTEST_PAYLOAD {
            return self.socket.send(self.group, payload);
        }
        let mut padded = [0; SHORTEST_PAYLOAD];
        padded[..payload.len()].copy_from_slice(payload);
        self.socket.send(self.group, &padded)
    }

    /// Whether the interface that it was opened on is still there; if not, no frame will ever come,
    /// although those that are sent may leave.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.socket.is_attached()
    }

    /// Frames received and dropped for want of room since the last call.
    ///
    /// # Errors
    /// Those of `getsockopt`.
    pub fn stats(&self) -> io::Result<PacketStats> {
        self.socket.stats()
    }
}
