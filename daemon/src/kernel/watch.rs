//! Hears every change of the host's nftables rules, and says which of them touched ours.
//!
//! The kernel sends the parts of a transaction and then the number of the new generation, each
//! with the netlink port of whoever asked: the process id of nft, by which our own changes are
//! known. So a commit of ours is also known before nft has ended, which takes it another grace
//! period of the kernel.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt::RcvBufForce};
use socket2::Socket;
use tokio::io::unix::AsyncFd;

use super::netlink::{self, DATAGRAM, INET, Message, SET, TABLE, message};
use super::ruleset::{STAGE, is_lease};

/// The bit of the group that nf_tables reports to, `NFNLGRP_NFTABLES` (7).
pub(super) const GROUP: u32 = 1 << 6;
/// Room for the reports on a filter that is replaced whole: 4096 elements twice.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Datagrams that can wait in it, each with a kibibyte of the kernel's own at least.
const MAX_WAITING: usize = RECEIVE_BUFFER >> 10;

/// What a transaction did to what is ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// Something in our tables changed.
    pub(super) rules: bool,
    /// Something in iptables' raw tables changed.
    pub(super) raw: bool,
    /// The sets that lost elements or are gone.
    pub(super) lost: BTreeSet<String>,
    /// The stage's table is gone, with every set.
    pub(super) stage: bool,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// A transaction is in force.
    Committed {
        /// Whose.
        port: u32,
        /// What it did.
        touched: Touched,
    },
    /// More happened than the socket could hold: anything may have changed up to now. What changes
    /// later is heard again.
    Overrun,
}

/// The socket, and the transaction whose parts come in.
#[derive(Debug)]
pub(super) struct Watch {
    fd: AsyncFd<Socket>,
    buffer: Vec<u8>,
    length: usize,
    next: usize,
    touched: Touched,
}

impl Watch {
    pub(super) fn open() -> io::Result<Self> {
        let fd = netlink::open(GROUP)?;
        // Without it the socket overruns earlier, which costs a check and nothing else.
        let _ = setsockopt(&fd, RcvBufForce, &RECEIVE_BUFFER);
        let buffer = vec![0; DATAGRAM];
        Ok(Self { fd, buffer, length: 0, next: 0, touched: Touched::default() })
    }

    /// The next transaction. May be cancelled between any two: nothing is lost.
    pub(super) async fn next(&mut self) -> io::Result<Heard> {
        loop {
            if let Some(heard) = self.scan() {
                return Ok(heard);
            }
            match netlink::receive(&self.fd, &mut self.buffer).await {
                Ok(length) => (self.length, self.next) = (length, 0),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.forget();
                    return Ok(Heard::Overrun);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Throws away whatever waits. The kernel reports one overrun and leaves out more until all was
    /// read; the parts of transactions that are there would be taken for those of the next one.
    fn forget(&mut self) {
        for _ in 0..MAX_WAITING {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(_) | Err(Errno::ENOBUFS) => {}
                Err(_) => break,
            }
        }
        (self.length, self.next, self.touched) = (0, 0, Touched::default());
    }

    /// Goes on in the datagram at hand up to the end of a transaction.
    fn scan(&mut self) -> Option<Heard> {
        let rest = self.buffer.get(self.next..self.length)?;
        for message in netlink::messages(rest) {
            self.next += message.length().next_multiple_of(4);
            if message.nft() == Some(message::NEWGEN) {
                let touched = core::mem::take(&mut self.touched);
                return Some(Heard::Committed { port: message.port, touched });
            }
            self.touched.note(&message);
        }
        (self.length, self.next) = (0, 0);
        None
    }
}

impl Touched {
    /// Whether the transaction concerns us at all.
    pub(super) const fn anything(&self) -> bool {
        self.rules || self.raw
    }

    fn note(&mut self, message: &Message<'_>) {
        let Some(kind) = message.nft() else { return };
        let table = message.text(TABLE);
        // iptables keeps its raw table under the families AF_INET and AF_INET6.
        self.raw |= table == Some("raw") && matches!(message.family(), 2 | 10);
        if !message.is_ours() {
            return;
        }
        let elements = matches!(kind, message::NEWSETELEM | message::DELSETELEM);
        if elements && message.text(SET).is_some_and(is_lease) {
            return;
        }
        self.rules = true;
        match kind {
            message::DELTABLE => {
                self.stage |= message.family() == INET && table == Some(STAGE);
            }
            message::DELSET | message::DELSETELEM => {
                self.lost.extend(message.text(SET).map(str::to_owned));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
