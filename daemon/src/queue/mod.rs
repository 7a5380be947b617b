//! The stage's queue: packets that wait in the kernel for a verdict of user space (SPEC 7).
//!
//! Own netlink code on the reactor instead of a crate: the task that owns the engine waits for
//! packets beside its other events, holds many packets at the price of an id each, and sees every
//! overflow. The queue fails closed: no listener, no room or no verdict means that the packet is
//! dropped.

pub mod classify;
mod netlink;
mod stats;

pub use stats::{QueueStats, dropped, is_held, waiting};

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    MsgFlags, MultiHeaders, NetlinkAddr, bind, recvmmsg, sendto, setsockopt, sockopt,
};
use nlb_engine::{PacketId, Time};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::link::{Clocks, sys};
use netlink::{MARKED_LENGTH, Message, Setting, VERDICT_LENGTH};

/// Bytes of each packet that are copied: enough for the longest IPv4 header, ICMP, the longest
/// quoted header and its ports, or for several IPv6 extension headers. SPEC 6.9 hashes nothing
/// behind it.
pub const COPY_RANGE: u32 = 256;

/// What a message holds beside the copied bytes: headers and attributes, some 120 bytes.
const OVERHEAD: usize = 512;

/// Messages that one system call takes.
const MESSAGES: usize = 32;

/// Verdicts that one system call gives. All of a send are worked off by the kernel before the
/// call returns, so this also bounds how long it takes.
const VERDICTS: usize = 256;

/// Bytes of messages that may wait: a message takes about 1 KB of kernel memory.
const RECEIVE_QUEUE: usize = 8 << 20;

/// Why a queue could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// No socket: no right, or a kernel without netfilter netlink.
    #[error("netfilter netlink socket: {0}")]
    Socket(#[source] io::Error),
    /// Somebody else listens.
    #[error("netfilter queue {number} is in use by another program")]
    InUse {
        /// The queue.
        number: u16,
    },
    /// The kernel refused a setting: no `CAP_NET_ADMIN`, or no `nfnetlink_queue`.
    #[error("netfilter queue {number}: the kernel refused {setting}: {source}")]
    Refused {
        /// The queue.
        number: u16,
        /// Which setting.
        setting: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// One packet that waits for its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedPacket {
    /// Names it until then. The kernel counts up from 1 for each queue and wraps around.
    pub id: PacketId,
    /// Its packet mark.
    pub mark: u32,
    /// When it was taken from the wire; when it was read, if the kernel did not stamp it.
    pub arrival: Time,
    /// Whether the kernel stamped it.
    pub stamped: bool,
    /// Where in the batch its bytes are.
    bytes: Range<usize>,
}

/// Packets that were read together.
#[derive(Debug, Default)]
pub struct Batch {
    packets: VecDeque<QueuedPacket>,
    bytes: Vec<u8>,
}

impl Batch {
    /// How many packets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The packets in the order of their arrival in the queue, each with its bytes from the IP
    /// header on.
    pub fn iter(&self) -> impl Iterator<Item = (&QueuedPacket, &[u8])> {
        self.packets
            .iter()
            .map(|packet| (packet, self.bytes.get(packet.bytes.clone()).unwrap_or_default()))
    }

    fn clear(&mut self) {
        self.packets.clear();
        self.bytes.clear();
    }

    fn push(&mut self, packet: &netlink::Packet<'_>, clocks: &Clocks) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(packet.payload);
        self.packets.push_back(QueuedPacket {
            id: packet.id,
            mark: packet.mark,
            arrival: packet.stamp.map_or(clocks.now(), |stamp| clocks.arrival(stamp)),
            stamped: packet.stamp.is_some(),
            bytes: start..self.bytes.len(),
        });
    }
}

/// The listener of one queue.
#[derive(Debug)]
pub struct Queue {
    fd: AsyncFd<Socket>,
    number: u16,
    slot: usize,
    slots: Vec<u8>,
    verdicts: Vec<u8>,
    /// Verdicts that come with a mark.
    marked: Vec<u8>,
    /// Packets that came while the queue was being set up.
    early: Batch,
    counters: QueueStats,
}

impl Queue {
    /// Becomes the listener of queue `number`, of which at most `max_len` packets wait for a
    /// verdict (held ones included) and `copy_range` bytes of each are copied. Must be called
    /// within a tokio runtime with I/O. Once there is a listener, rules may send packets.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub fn open(number: u16, max_len: u32, copy_range: u32) -> Result<Self, QueueError> {
        let socket = open_socket().map_err(QueueError::Socket)?;
        let slot = usize::try_from(copy_range).unwrap_or(usize::MAX).saturating_add(OVERHEAD);
        let mut queue = Self {
            fd: sys::register(socket).map_err(QueueError::Socket)?,
            number,
            slot,
            slots: vec![0; slot.saturating_mul(MESSAGES)],
            verdicts: Vec::with_capacity(VERDICTS * VERDICT_LENGTH),
            marked: Vec::new(),
            early: Batch::default(),
            counters: QueueStats::default(),
        };
        let settings = [
            (Setting::Bind, "to bind it"),
            (Setting::Flags, "its flags"),
            (Setting::MaxLength(max_len), "its length"),
            (Setting::CopyRange(copy_range), "its copy range"),
        ];
        for (sequence, (setting, name)) in (1..).zip(settings) {
            queue.set(setting, sequence).map_err(|source| match source.raw_os_error() {
                Some(libc::EBUSY | libc::EPERM) if is_held(number) => QueueError::InUse { number },
                _ => QueueError::Refused { number, setting: name, source },
            })?;
        }
        Ok(queue)
    }

    /// Which queue.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The kernel works a request off before the send returns: its answer is there at once.
    fn set(&mut self, setting: Setting, wanted: u32) -> io::Result<()> {
        send(self.fd.get_ref(), &setting.request(self.number, wanted))?;
        let mut early = std::mem::take(&mut self.early);
        let mut answer = None;
        while answer.is_none() {
            let received = self.receive_now(|message, clocks| match message {
                Message::Packet(packet) => early.push(&packet, clocks),
                Message::Answer { sequence, errno } if sequence == wanted => answer = Some(errno),
                Message::Answer { .. } | Message::Other | Message::Malformed => {}
            });
            if let Err(error) = received {
                self.early = early;
                return Err(error);
            }
        }
        self.early = early;
        match answer {
            Some(0) | None => Ok(()),
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Waits until [`Self::try_recv`] has something to read; cancel-safe.
    ///
    /// # Errors
    /// When the runtime ends.
    pub async fn readable(&self) -> io::Result<()> {
        if self.early.is_empty() {
            // The readiness is kept: `try_recv` takes it back when the socket is empty.
            self.fd.ready(sys::READABLE).await?.retain_ready();
        }
        Ok(())
    }

    /// Reads packets that wait into `batch`, which is emptied first: at most `budget`. Zero: none
    /// waits, or [`Self::readable`] was not awaited since. An overflow is counted and no error.
    ///
    /// # Errors
    /// Those of the socket; the queue is then of no more use.
    pub fn try_recv(&mut self, batch: &mut Batch, budget: usize) -> io::Result<usize> {
        batch.clear();
        std::mem::swap(batch, &mut self.early);
        let mut counters = self.counters;
        while batch.len() < budget {
            let wanted = (budget - batch.len()).min(MESSAGES);
            let received = self.receive(wanted, |message, clocks| match message {
                Message::Packet(packet) => batch.push(&packet, clocks),
                Message::Answer { errno: 0, .. } | Message::Other => {}
                Message::Answer { .. } => counters.late_verdicts += 1,
                Message::Malformed => counters.malformed += 1,
            });
            match received {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    counters.overflows += 1;
                }
                Err(error) => return Err(error),
            }
        }
        self.counters = counters;
        Ok(batch.len())
    }

    /// Adds a verdict to those that wait to be sent; a full load of them is sent at once.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub fn verdict(&mut self, id: PacketId, accept: bool) -> io::Result<()> {
        netlink::verdict(&mut self.verdicts, self.number, id, accept);
        if self.verdicts.len() >= VERDICTS * VERDICT_LENGTH { self.flush() } else { Ok(()) }
    }

    /// Adds the verdict that a packet goes on with this mark instead of its own.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub fn mark(&mut self, id: PacketId, mark: u32) -> io::Result<()> {
        netlink::verdict_with_mark(&mut self.marked, self.number, id, mark);
        if self.marked.len() >= VERDICTS * MARKED_LENGTH { self.flush() } else { Ok(()) }
    }

    /// Sends the verdicts that wait. When it returns, the kernel has carried them out.
    ///
    /// # Errors
    /// Those of the socket. The verdicts stay and go with the next call.
    pub fn flush(&mut self) -> io::Result<()> {
        let Self { fd, verdicts, marked, .. } = self;
        for (waiting, one) in [(verdicts, VERDICT_LENGTH), (marked, MARKED_LENGTH)] {
            while !waiting.is_empty() {
                // After failures there may be more than one message takes.
                let length = waiting.len().min(VERDICTS * one);
                send(fd.get_ref(), &waiting[..length])?;
                waiting.drain(..length);
            }
        }
        Ok(())
    }

    /// Verdicts that wait to be sent.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.verdicts.len() / VERDICT_LENGTH + self.marked.len() / MARKED_LENGTH
    }

    /// Turns all verdicts that wait to be sent into refusals.
    pub fn refuse_unsent(&mut self) {
        netlink::refuse::<VERDICT_LENGTH>(&mut self.verdicts);
        netlink::refuse::<MARKED_LENGTH>(&mut self.marked);
    }

    /// Messages that could not be understood.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.counters.malformed
    }

    /// What happened so far.
    ///
    /// # Errors
    /// When the kernel's table cannot be read.
    pub fn stats(&self) -> io::Result<QueueStats> {
        self.counters.with_kernel(self.number)
    }

    fn receive(
        &mut self,
        count: usize,
        mut each: impl FnMut(Message<'_>, &Clocks),
    ) -> io::Result<()> {
        let Self { fd, slots, slot, .. } = self;
        sys::try_read(fd, |socket| {
            receive_many(socket, slots.chunks_exact_mut(*slot).take(count), &mut each)
        })
    }

    fn receive_now(&mut self, each: impl FnMut(Message<'_>, &Clocks)) -> io::Result<()> {
        receive_many(self.fd.get_ref(), self.slots.chunks_exact_mut(self.slot), each)
    }
}

/// One system call's worth of messages.
fn receive_many<'a>(
    socket: &Socket,
    slots: impl Iterator<Item = &'a mut [u8]>,
    mut each: impl FnMut(Message<'_>, &Clocks),
) -> io::Result<()> {
    let mut slices: Vec<_> = slots.map(|slot| [IoSliceMut::new(slot)]).collect();
    let mut headers = MultiHeaders::<NetlinkAddr>::preallocate(slices.len(), None);
    let flags = MsgFlags::MSG_DONTWAIT;
    let received = recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None)?;
    let clocks = Clocks::sample();
    // Whoever is not the kernel has no say here.
    for datagram in received.filter(|one| one.address.is_some_and(|from| from.pid() == 0)) {
        if datagram.flags.contains(MsgFlags::MSG_TRUNC) {
            each(Message::Malformed, &clocks);
            continue;
        }
        for part in datagram.iovs() {
            netlink::messages(part).for_each(|message| each(message, &clocks));
        }
    }
    Ok(())
}

fn open_socket() -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW.nonblocking().cloexec(),
        Some(Protocol::from(libc::NETLINK_NETFILTER)),
    )?;
    // As for packet sockets: forced where that is allowed.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_QUEUE).is_err() {
        socket.set_recv_buffer_size(RECEIVE_QUEUE)?;
    }
    // Not for this socket's own sake: it makes the kernel stamp every packet that arrives, and
    // the stamp is what the queue hands on (SPEC 6).
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    Ok(socket)
}

fn send(socket: &Socket, message: &[u8]) -> io::Result<()> {
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), message, &kernel, MsgFlags::MSG_DONTWAIT)?;
    Ok(())
}

#[cfg(test)]
mod tests;
