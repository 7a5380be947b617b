//! Links that come, go and change, and a word when addresses do.
//!
//! The kernel's notifications are only taken as "look again": what counts is what the links are
//! when they are looked at. So a lost notification (`ENOBUFS`) costs nothing, and a burst of them
//! is one look.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, NetlinkAddr, bind, recv};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::{HostError, LinkState, Netlink};
use crate::link::sys;

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// What happened to a link that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkChange {
    /// It is there. Also said of each that is there at the beginning.
    Appeared(LinkState),
    /// It is gone: removed, moved away, or renamed. Its last state.
    Vanished(LinkState),
    /// It went up or down, has another address, or became a port of something.
    Changed {
        /// As it was.
        from: LinkState,
        /// As it is.
        to: LinkState,
    },
    /// Something else: an address, or a link that is not watched.
    Elsewhere,
}

/// Watches links by name.
#[derive(Debug)]
pub struct LinkWatch {
    fd: AsyncFd<Socket>,
    names: BTreeSet<String>,
    known: BTreeMap<String, LinkState>,
    changes: VecDeque<LinkChange>,
    /// Whether the links must be looked at; stays set when a look is cancelled half-way.
    stale: bool,
}

impl LinkWatch {
    /// Begins to watch the links of these names, whether they exist or not.
    ///
    /// # Errors
    /// When there is no netlink socket to be had.
    pub fn open(names: impl IntoIterator<Item = String>) -> Result<Self, HostError> {
        let socket = open_socket().and_then(sys::register).map_err(HostError::Netlink)?;
        Ok(Self {
            fd: socket,
            names: names.into_iter().collect(),
            known: BTreeMap::new(),
            changes: VecDeque::new(),
            stale: true,
        })
    }

    /// Watches these names from now on. Links of other names are forgotten without a word.
    pub fn set_names(&mut self, names: impl IntoIterator<Item = String>) {
        self.names = names.into_iter().collect();
        self.known.retain(|name, _| self.names.contains(name));
        self.stale = true;
    }

    /// The watched links that were there at the last look.
    pub fn known(&self) -> impl Iterator<Item = &LinkState> {
        self.known.values()
    }

    /// Waits for the next change; cancel-safe.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn next(&mut self, netlink: &Netlink) -> Result<LinkChange, HostError> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return Ok(change);
            }
            if !self.stale {
                self.fd.async_io(sys::READABLE, drain).await.map_err(HostError::Netlink)?;
                self.stale = true;
            }
            self.look(netlink).await?;
            if self.changes.is_empty() {
                return Ok(LinkChange::Elsewhere);
            }
        }
    }

    /// The changes since the last look, without waiting for any.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn changes(&mut self, netlink: &Netlink) -> Result<Vec<LinkChange>, HostError> {
        self.look(netlink).await?;
        Ok(self.changes.drain(..).collect())
    }

    async fn look(&mut self, netlink: &Netlink) -> Result<(), HostError> {
        let mut now = BTreeMap::new();
        for name in &self.names {
            if let Some(link) = netlink.link(name).await? {
                now.insert(name.clone(), link);
            }
        }
        self.changes.extend(compare(&self.known, &now));
        self.known = now;
        self.stale = false;
        Ok(())
    }
}

/// Reads whatever is there away; `WouldBlock` only if there was nothing at all.
fn drain(socket: &Socket) -> io::Result<()> {
    let mut any = false;
    let mut buffer = [0; 4096];
    loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(_) | Err(nix::Error::ENOBUFS) => any = true,
            Err(nix::Error::EAGAIN) if any => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn open_socket() -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW.nonblocking().cloexec(),
        Some(Protocol::from(libc::NETLINK_ROUTE)),
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
    Ok(socket)
}

/// What must be said to get from `before` to `after`, those that went first.
pub(super) fn compare(
    before: &BTreeMap<String, LinkState>,
    after: &BTreeMap<String, LinkState>,
) -> Vec<LinkChange> {
    let same = |a: &LinkState, b: &LinkState| a.index == b.index;
    let mut changes = Vec::new();
    for (name, old) in before {
        if !after.get(name).is_some_and(|new| same(old, new)) {
            changes.push(LinkChange::Vanished(old.clone()));
        }
    }
    for (name, new) in after {
        match before.get(name).filter(|old| same(old, new)) {
            None => changes.push(LinkChange::Appeared(new.clone())),
            Some(old) if old != new => {
                changes.push(LinkChange::Changed { from: old.clone(), to: new.clone() });
            }
            Some(_) => {}
        }
    }
    changes
}
