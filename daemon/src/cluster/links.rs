//! The sockets of a cluster on all its interfaces: heartbeats out and in, ARP and ND answers.
//!
//! An interface that is down, gone or not yet there has no sockets; it gets them when the link
//! monitor reports it and the gate stands before it. One without carrier keeps them, and no
//! heartbeat is given to it: it would open the gate and never leave (SPEC 7.1). Owned by the
//! cluster's task.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::{FutureExt as _, select_all};
use nlb_engine::{Engine, Time};
use nlb_protocol::{ClusterMac, MacAddr};

use super::clock::now;
use super::drops::Drops;
use crate::host::ProbeTargets;
use crate::link::{
    HeartbeatSocket, Interface, InterfaceIndex, Memberships, NeighbourEvent, NeighbourSocket,
    Unanswered,
};

/// Questions answered before the wire has its turn again. Askers repeat themselves.
const QUESTIONS_A_TURN: usize = 32;

/// Until an interface is tried again that could not be used.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What all interfaces of a cluster have in common.
#[derive(Debug, Clone)]
pub(super) struct LinkSettings {
    /// The ethertype of the protocol.
    pub(super) ethertype: u16,
    /// Where heartbeats go.
    pub(super) group: MacAddr,
    /// What the service addresses are answered with.
    pub(super) mac: ClusterMac,
}

/// All interfaces of a cluster.
pub(super) struct Links {
    settings: LinkSettings,
    addresses: Vec<IpAddr>,
    /// The cluster has more than one interface, up or not.
    several: bool,
    wanted: Vec<Interface>,
    open: Vec<Link>,
    /// When it is tried again to open what could not be opened.
    retry_at: Option<Time>,
}

struct Link {
    interface: Interface,
    heartbeats: HeartbeatSocket,
    neighbours: NeighbourSocket,
    /// `None`: to be joined anew.
    memberships: Option<Memberships>,
    /// Filters and memberships are not those of the present addresses yet.
    behind: bool,
}

impl Links {
    /// No interface yet: see [`Self::set_interfaces`].
    #[must_use]
    pub(super) fn new(settings: LinkSettings, addresses: Vec<IpAddr>) -> Self {
        let (wanted, open) = (Vec::new(), Vec::new());
        Self { settings, addresses, several: false, wanted, open, retry_at: None }
    }

    /// Until a frame or a question has come. Never, without an interface.
    pub(super) async fn readable(&self) {
        if self.open.is_empty() {
            return std::future::pending().await;
        }
        let all = self.open.iter().flat_map(|link| {
            [link.heartbeats.readable().boxed_local(), link.neighbours.readable().boxed_local()]
        });
        // An error here is the runtime's end; the loop sees that by itself.
        let _ = select_all(all).await;
    }

    /// The sockets that heartbeats arrive through.
    pub(super) fn heartbeats(&self) -> impl Iterator<Item = &HeartbeatSocket> {
        self.open.iter().map(|link| &link.heartbeats)
    }

    /// Sends a frame on every interface. `true`: it has left on one at least.
    pub(super) fn send(&self, payload: &[u8], drops: &mut Drops) -> bool {
        let mut sent = false;
        for link in &self.open {
            if !link.interface.carrier {
                drops.count("no_carrier");
                continue;
            }
            match link.heartbeats.send(payload) {
                Ok(()) => sent = true,
                Err(_) => drops.count("send_failed"),
            }
        }
        sent
    }

    /// Answers the questions that wait, if it is this node's turn.
    pub(super) fn answer_neighbours(&self, engine: &Engine, drops: &mut Drops) {
        for link in &self.open {
            for _ in 0..QUESTIONS_A_TURN {
                match link.neighbours.try_recv() {
                    Ok(Some(NeighbourEvent::Request(request))) => {
                        if engine.answers_neighbour(request.asker, self.several)
                            && link.neighbours.answer(&request, now()).is_err()
                        {
                            drops.count("answer_failed");
                        }
                    }
                    Ok(Some(NeighbourEvent::Unanswered(reason))) => drops.count(match reason {
                        Unanswered::Malformed => "neighbour_malformed",
                        Unanswered::NotOurs => "neighbour_not_ours",
                        Unanswered::BadSender => "neighbour_bad_sender",
                    }),
                    Ok(Some(NeighbourEvent::Down)) => {}
                    Ok(None) => break,
                    Err(_) => {
                        drops.count("receive_failed");
                        break;
                    }
                }
            }
        }
    }

    /// These are the interfaces that are up now. What is gone or has changed is closed; what is
    /// new is opened by [`Self::open`].
    pub(super) fn set_interfaces(&mut self, interfaces: Vec<Interface>, several: bool) {
        self.several = several;
        self.open.retain_mut(|link| {
            let Some(now) = interfaces.iter().find(|now| now.is_same(&link.interface)) else {
                return false;
            };
            if now.carrier && !link.interface.carrier {
                // What the switch knew of its port is forgotten: everything is said again.
                link.behind = true;
                link.memberships = None;
            }
            link.interface.carrier = now.carrier;
            true
        });
        self.wanted = interfaces;
        self.retry_at = None;
    }

    /// Opens what is not open, and brings what is behind up to date. What cannot be done is due
    /// again later; the complaint is given once.
    pub(super) fn open(&mut self, drops: &mut Drops) -> Option<String> {
        let again = self.retry_at.take().is_some();
        let mut complaint = None;
        for interface in self.wanted.clone() {
            let open = self.open.iter_mut().find(|link| link.interface.is_same(&interface));
            let done = match open {
                Some(link) => link.catch_up(&self.settings, &self.addresses),
                None => self.open_link(&interface).map(|link| self.open.push(link)),
            };
            if let Err(error) = done {
                drops.count("open_failed");
                self.retry_at = Some(now() + RETRY_AFTER);
                complaint = Some(format!("{} cannot be used: {error}", interface.name));
            }
        }
        complaint.filter(|_| !again)
    }

    /// Whether it is time to try again what could not be opened.
    pub(super) fn is_due(&self) -> bool {
        self.retry_at.is_some_and(|at| now() >= at)
    }

    fn open_link(&self, interface: &Interface) -> io::Result<Link> {
        let LinkSettings { ethertype, group, mac } = self.settings;
        Ok(Link {
            heartbeats: HeartbeatSocket::open(interface, ethertype, group)?,
            neighbours: NeighbourSocket::open(interface, mac.mac, &self.addresses)?,
            memberships: Some(Memberships::join(interface, mac, &self.addresses)?),
            behind: false,
            interface: interface.clone(),
        })
    }

    /// Goes over to other service addresses. What does not follow at once does when [`Self::open`]
    /// is due.
    pub(super) fn set_addresses(&mut self, addresses: Vec<IpAddr>, drops: &mut Drops) {
        self.addresses = addresses;
        for link in &mut self.open {
            link.behind = true;
            if link.catch_up(&self.settings, &self.addresses).is_err() {
                drops.count("open_failed");
                self.retry_at = Some(now() + RETRY_AFTER);
            }
        }
    }

    /// Announces the node to switches that snoop, where and when that is due (SPEC 2.5).
    pub(super) fn announce(&mut self, now: Time, drops: &mut Drops) {
        for link in &mut self.open {
            let announced = link.memberships.as_mut().map(|joined| joined.announce(now));
            if announced.is_some_and(|announced| announced.is_err()) {
                drops.count("send_failed");
            }
        }
    }

    /// The interfaces in use.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = InterfaceIndex> {
        self.open.iter().map(|link| link.interface.index)
    }

    /// Asks neighbours something, so that frames come back if the receiver works (R7).
    pub(super) fn provoke(&self, whom: &[(InterfaceIndex, ProbeTargets)]) {
        for (index, probe) in whom {
            for link in self.open.iter().filter(|link| link.interface.index == *index) {
                link.neighbours.probe(&probe.own, &probe.targets);
            }
        }
    }
}

impl Link {
    /// Brings filters and memberships to these addresses, if they are not there.
    fn catch_up(&mut self, settings: &LinkSettings, addresses: &[IpAddr]) -> io::Result<()> {
        if self.behind {
            let neighbours = self.neighbours.set_addresses(addresses);
            let joined = match &mut self.memberships {
                Some(joined) => joined.set_addresses(addresses),
                None => Memberships::join(&self.interface, settings.mac, addresses)
                    .map(|joined| self.memberships = Some(joined)),
            };
            neighbours.and(joined)?;
            self.behind = false;
        }
        Ok(())
    }
}
