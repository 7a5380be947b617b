//! A packet socket for one ethertype on one interface.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nlb_engine::Time;
use nlb_protocol::MacAddr;
use socket2::{Domain, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::clock::Clocks;
use super::sys::{self, Membership, PacketStats};
use super::{InterfaceIndex, filter::Program};

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// How many bytes of its payload were put into the buffer.
    pub len: usize,
    /// The Ethernet source.
    pub source: MacAddr,
    /// When the kernel took it from the wire.
    pub arrival: Time,
}

/// What a link socket reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkEvent {
    /// A frame came.
    Frame(Received),
    /// The interface went down. The socket stays good: frames come again when it is up again.
    /// Where the interface was removed instead, a new socket is needed when it is back.
    Down,
}

/// A packet socket of type `SOCK_DGRAM`: the kernel writes the Ethernet header of what is sent,
/// with the interface's own address as it is at that moment, and strips that of what is received.
#[derive(Debug)]
pub(super) struct PacketSocket {
    fd: AsyncFd<Socket>,
    index: InterfaceIndex,
    ethertype: u16,
}

impl PacketSocket {
    /// Opens without a race: the socket has no protocol, so it receives nothing, until filter and
    /// memberships are in place and it is bound.
    pub(super) fn open(
        index: InterfaceIndex,
        ethertype: u16,
        receive_buffer: usize,
        filter: &[SockFilter],
        members: &[Membership],
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking().cloexec(), None)?;
        socket.attach_filter(filter)?;
        // The kernel doubles the figure for its own overhead, and cuts it at `rmem_max` unless
        // forced, which needs the right over the initial namespace: less is not an error.
        if setsockopt(&socket, sockopt::RcvBufForce, &receive_buffer).is_err() {
            socket.set_recv_buffer_size(receive_buffer)?;
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        for member in members {
            sys::join(socket.as_fd(), index, *member)?;
        }
        socket.bind(&sys::link_address(ethertype, index, MacAddr::default())?)?;
        Ok(Self { fd: sys::register(socket)?, index, ethertype })
    }

    /// Puts another filter in the place of the present one, in one step.
    pub(super) fn set_filter(&self, filter: &[SockFilter]) -> io::Result<()> {
        self.fd.get_ref().attach_filter(filter)
    }

    /// The filter that lets nothing pass.
    pub(super) fn nothing() -> Vec<SockFilter> {
        Program::nothing()
    }

    /// Waits until there is something to read; cancel-safe. The readiness is kept: `try_recv`
    /// takes it back when the socket is empty.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.fd.ready(sys::READABLE).await?.retain_ready();
        Ok(())
    }

    /// Waits for the next frame. Safe to drop between two frames.
    pub(super) async fn recv(&self, buffer: &mut [u8]) -> io::Result<LinkEvent> {
        self.fd.async_io(sys::READABLE, |socket| receive(socket, buffer)).await
    }

    /// The next frame, if the reactor has seen that one waits: no system call else.
    pub(super) fn recv_seen(&self, buffer: &mut [u8]) -> io::Result<Option<LinkEvent>> {
        let read = sys::try_read(&self.fd, |socket| receive(socket, buffer));
        none_if_blocked(read)
    }

    /// The next frame, if one waits, whether or not the reactor has seen it.
    pub(super) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<Option<LinkEvent>> {
        let mut asked = false;
        let read = sys::try_read(&self.fd, |socket| {
            asked = true;
            receive(socket, buffer)
        });
        let read = match read {
            // The reactor has not yet looked.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !asked => {
                receive(self.fd.get_ref(), buffer)
            }
            read => read,
        };
        none_if_blocked(read)
    }

    /// Sends one frame, at once or not at all. It passes the egress hook and the queueing
    /// discipline like every other (no `PACKET_QDISC_BYPASS`: SPEC 7).
    pub(super) fn send(&self, to: MacAddr, payload: &[u8]) -> io::Result<()> {
        self.send_as(self.ethertype, to, payload)
    }

    /// The same with another ethertype than the one received.
    pub(super) fn send_as(&self, ethertype: u16, to: MacAddr, payload: &[u8]) -> io::Result<()> {
        let to = sys::link_address(ethertype, self.index, to)?;
        self.fd.get_ref().send_to(payload, &to).map(|_| ())
    }

    /// Whether the interface that it was opened on is still there. One that is made anew under the
    /// same number is another: it takes frames from this socket, and gives it none.
    pub(super) fn is_attached(&self) -> bool {
        sys::bound_to(self.fd.get_ref()).is_ok_and(|bound| bound == Some(self.index))
    }

    pub(super) fn stats(&self) -> io::Result<PacketStats> {
        sys::statistics(self.fd.get_ref().as_fd())
    }
}

fn none_if_blocked(read: io::Result<LinkEvent>) -> io::Result<Option<LinkEvent>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        read => read.map(Some),
    }
}

fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<LinkEvent> {
    let room = buffer.len();
    let mut control = cmsg_space!(TimeSpec);
    let mut slices = [IoSliceMut::new(buffer)];
    let fd = socket.as_raw_fd();
    let message =
        match recvmsg::<LinkAddr>(fd, &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT) {
            Ok(message) => message,
            Err(nix::Error::ENETDOWN) => return Ok(LinkEvent::Down),
            Err(error) => return Err(error.into()),
        };
    let clocks = Clocks::sample();
    let stamp = message.cmsgs().ok().and_then(|mut all| {
        all.find_map(|one| match one {
            ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
            _ => None,
        })
    });
    let source = message.address.and_then(|address| address.addr()).unwrap_or_default();
    Ok(LinkEvent::Frame(Received {
        len: message.bytes.min(room),
        source: MacAddr(source),
        arrival: stamp.map_or(clocks.now(), |stamp| clocks.arrival(stamp)),
    }))
}
