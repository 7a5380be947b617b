//! Messages of nfnetlink's nf_tables subsystem: the attributes of a message, and a socket that
//! asks the kernel for what it has.

use core::hash::Hasher;
use std::hash::DefaultHasher;
use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};
use socket2::Socket;
use tokio::io::unix::AsyncFd;

use super::ruleset::{ARP, GATE, STAGE};
use crate::link::sys;

/// The number of the nf_tables subsystem.
const SUBSYSTEM: u16 = 10;
/// Address families as netfilter counts them.
pub(super) const INET: u8 = 1;
pub(super) const NETDEV: u8 = 5;
pub(super) const ARP_FAMILY: u8 = 3;

/// The kinds of messages, `NFT_MSG_*`.
pub(super) mod message {
    pub(in super::super) const DELTABLE: u16 = 2;
    pub(in super::super) const GETCHAIN: u16 = 4;
    pub(in super::super) const GETRULE: u16 = 7;
    pub(in super::super) const GETSET: u16 = 10;
    pub(in super::super) const DELSET: u16 = 11;
    pub(in super::super) const NEWSETELEM: u16 = 12;
    pub(in super::super) const GETSETELEM: u16 = 13;
    pub(in super::super) const DELSETELEM: u16 = 14;
    pub(in super::super) const NEWGEN: u16 = 15;
    pub(in super::super) const GETOBJ: u16 = 19;
}

/// Attributes, `NFTA_*`. The name of the table is the first of every kind of message.
pub(super) const TABLE: u16 = 1;
/// The name of a set, in messages on sets and on elements.
pub(super) const SET: u16 = 2;
const SET_HANDLE: u16 = 16;

const HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST: u16 = 1;
pub(super) const DUMP: u16 = 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;
/// What netlink hands out at once at most.
pub(super) const DATAGRAM: usize = 1 << 16;
/// How often a listing is begun again because the rules changed meanwhile.
const MAX_ATTEMPTS: usize = 5;

/// One netlink message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    /// Who asked for the change: the process id of nft, as a rule.
    pub(super) port: u32,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The `NFT_MSG_*` number, if the message is of nf_tables.
    pub(super) const fn nft(&self) -> Option<u16> {
        if self.kind >> 8 == SUBSYSTEM { Some(self.kind & 0xff) } else { None }
    }

    /// Its bytes on the wire, without padding.
    pub(super) const fn length(&self) -> usize {
        HEADER + self.payload.len()
    }

    /// The netfilter family.
    pub(super) fn family(&self) -> u8 {
        self.payload.first().copied().unwrap_or(0)
    }

    /// The attribute of this number.
    pub(super) fn attribute(&self, number: u16) -> Option<&'a [u8]> {
        find(self.payload.get(FAMILY_HEADER..)?, number)
    }

    /// The attribute of this number as text.
    pub(super) fn text(&self, number: u16) -> Option<&'a str> {
        let bytes = self.attribute(number)?;
        core::str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)).ok()
    }

    /// Whether it is about one of our tables.
    pub(super) fn is_ours(&self) -> bool {
        matches!(
            (self.family(), self.text(TABLE)),
            (INET, Some(STAGE)) | (NETDEV, Some(GATE)) | (ARP_FAMILY, Some(ARP))
        )
    }

    /// The error number of an error message, zero for an acknowledgement.
    fn errno(&self) -> Option<i32> {
        let number = self.payload.first_chunk::<4>()?;
        (self.kind == NLMSG_ERROR).then(|| i32::from_ne_bytes(*number).wrapping_neg())
    }
}

/// The messages of a datagram; a broken one ends it.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    core::iter::from_fn(move || {
        let (header, _) = bytes.split_at_checked(HEADER)?;
        let length = usize::try_from(u32_at(header, 0)?).ok()?;
        let payload = bytes.get(HEADER..length)?;
        let message = Message {
            kind: u16_at(header, 4)?,
            flags: u16_at(header, 6)?,
            sequence: u32_at(header, 8)?,
            port: u32_at(header, 12)?,
            payload,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    })
}

/// The attributes of a message or of a nest; a broken one ends it.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    core::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let number = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((number, value))
    })
}

pub(super) fn find(bytes: &[u8], number: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == number).map(|(_, value)| value)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// An nfnetlink socket that is told of the groups given (a bit mask) and never blocks.
pub(super) fn open(groups: u32) -> io::Result<AsyncFd<Socket>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkNetFilter)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    sys::register(Socket::from(fd))
}

/// Waits for a datagram.
pub(super) async fn receive(fd: &AsyncFd<Socket>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut ready = fd.readable().await?;
        let read = |fd: &AsyncFd<Socket>| Ok(recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?);
        match ready.try_io(read) {
            Ok(result) => return result,
            Err(_would_block) => {}
        }
    }
}

/// Asks the kernel for what it has.
#[derive(Debug)]
pub(super) struct Query {
    fd: AsyncFd<Socket>,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Query {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { fd: open(0)?, buffer: vec![0; DATAGRAM], sequence: 0 })
    }

    /// A number that stands for our tables as they are: chains, rules and which sets there are,
    /// without the elements. It changes with whatever anybody changes there.
    pub(super) async fn fingerprint(&mut self) -> io::Result<u64> {
        let mut hasher = DefaultHasher::new();
        for (family, table) in [(NETDEV, GATE), (INET, STAGE), (ARP_FAMILY, ARP)] {
            let mut filter = Vec::new();
            put(&mut filter, TABLE, &zero_ended(table));
            for kind in [message::GETCHAIN, message::GETRULE, message::GETSET] {
                let mut seen = DefaultHasher::new();
                let asked = self
                    .ask(kind, DUMP, family, &filter, |message| match message {
                        None => seen = DefaultHasher::new(),
                        Some(message) if !message.is_ours() => {}
                        // A set says how many elements it has; its name and handle are enough.
                        Some(message) if kind == message::GETSET => {
                            for number in [SET, SET_HANDLE] {
                                seen.write(message.attribute(number).unwrap_or(&[]));
                            }
                        }
                        // The family's header counts the generations of all rules of the host.
                        Some(message) => {
                            seen.write(message.payload.get(FAMILY_HEADER..).unwrap_or(&[]));
                        }
                    })
                    .await;
                // Without a table there is nothing in it.
                is_there(asked)?;
                hasher.write_u64(seen.finish());
            }
        }
        Ok(hasher.finish())
    }

    /// Sends a request and hands every answer to `each`; `None` means: from the beginning again.
    pub(super) async fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        attributes: &[u8],
        mut each: impl FnMut(Option<Message<'_>>),
    ) -> io::Result<()> {
        for _ in 0..MAX_ATTEMPTS {
            self.sequence = self.sequence.wrapping_add(1);
            let request = request(kind, flags, self.sequence, family, attributes);
            send(self.fd.as_raw_fd(), &request, MsgFlags::empty())?;
            match self.answers(flags & DUMP != 0, &mut each).await {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => each(None),
                result => return result,
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    async fn answers(
        &mut self,
        many: bool,
        each: &mut impl FnMut(Option<Message<'_>>),
    ) -> io::Result<()> {
        let mut interrupted = false;
        loop {
            let length = receive(&self.fd, &mut self.buffer).await?;
            let datagram = self.buffer.get(..length).unwrap_or(&[]);
            for message in messages(datagram) {
                if message.sequence != self.sequence {
                    continue;
                }
                interrupted |= message.flags & DUMP_INTERRUPTED != 0;
                match message.errno() {
                    Some(0) => return Ok(()),
                    Some(libc::EINTR) => interrupted = true,
                    Some(errno) => return Err(io::Error::from_raw_os_error(errno)),
                    None => {}
                }
                match message.kind {
                    NLMSG_DONE if interrupted => return Err(io::ErrorKind::Interrupted.into()),
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {}
                    _ => each(Some(message)),
                }
                if !many {
                    return Ok(());
                }
            }
        }
    }
}

/// Whether there was what was asked for.
pub(super) fn is_there(asked: io::Result<()>) -> io::Result<bool> {
    match asked {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Marks an attribute that holds attributes.
pub(super) const NESTED: u16 = 0x8000;

fn request(kind: u16, flags: u16, sequence: u32, family: u8, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + FAMILY_HEADER + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend((SUBSYSTEM << 8 | kind).to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([family, 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}

/// Appends an attribute. Nothing that is asked for here comes near the bound of its length.
pub(super) fn put(bytes: &mut Vec<u8>, number: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

pub(super) fn zero_ended(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests;
