//! The sockets of a cluster on all its interfaces: heartbeats out and in, ARP and ND answers.
//!
//! An interface that is down, gone or not yet there has no sockets; it gets them when the link
//! monitor reports it and the gate stands before it. One without carrier keeps them, and no
//! heartbeat is given to it: it would open the gate and never leave (SPEC 7.1). Owned by the
//! cluster's task.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::{FutureExt as _, select_all};
use nlb_engine::{Engine, Time};
use nlb_protocol::{ClusterMac, MacAddr};

use super::clock::now;
use super::drops::Drops;
use super::opener::{Done, Opener, Order, Sockets};
use crate::host::ProbeTargets;
use crate::link::{
    HeartbeatSocket, Interface, InterfaceIndex, Memberships, NeighbourEvent, NeighbourSocket,
    Unanswered,
};

/// Questions answered before the wire has its turn again. Askers repeat themselves.
const QUESTIONS_A_TURN: usize = 32;

/// Until an interface is tried again that could not be used.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Until one is opened that was made anew: what the host needs is put on it first, which takes the
/// supervisor some 50 ms.
const RETURN_AFTER: Duration = Duration::from_millis(100);

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
    /// Waits for what the loop must not wait for.
    opener: Opener,
    /// What it is to close.
    closing: Vec<Box<dyn Send>>,
    /// What it has just done.
    done: Option<Done>,
    /// Something changed while it was busy.
    changed: bool,
    /// The gate stands before every interface that is wanted.
    gated: bool,
    /// When it is tried again to open what could not be opened.
    retry_at: Option<Time>,
    /// It was complained about that already.
    said: bool,
}

struct Link {
    interface: Interface,
    heartbeats: HeartbeatSocket,
    neighbours: NeighbourSocket,
    /// `None`: with the opener.
    memberships: Option<Memberships>,
    /// Filters and memberships are not those of the present addresses yet.
    behind: bool,
    /// Everything is to be joined anew.
    anew: bool,
    too_long: TooLong,
}

/// The length of a frame that an interface would not take, until one as long has left.
#[derive(Debug, Default, PartialEq, Eq)]
struct TooLong(Option<usize>);

impl TooLong {
    /// The interface did not take it. Whether that is new.
    fn refused(&mut self, length: usize) -> bool {
        self.0.replace(self.0.map_or(length, |before| before.min(length))).is_none()
    }

    fn left(&mut self, length: usize) {
        self.0 = self.0.filter(|refused| length < *refused);
    }
}

impl Links {
    /// No interface yet: see [`Self::set_interfaces`].
    #[must_use]
    pub(super) fn new(settings: LinkSettings, addresses: Vec<IpAddr>, opener: Opener) -> Self {
        Self {
            settings,
            addresses,
            several: false,
            wanted: Vec::new(),
            open: Vec::new(),
            opener,
            closing: Vec::new(),
            done: None,
            changed: false,
            gated: false,
            retry_at: None,
            said: false,
        }
    }

    /// Until a frame or a question has come, or [`Self::take_in`] has something to do. Never,
    /// without an interface. Cancel-safe.
    pub(super) async fn readable(&mut self) {
        let Self { open, opener, done, .. } = self;
        let frames = async {
            if open.is_empty() {
                return std::future::pending().await;
            }
            let all = open.iter().flat_map(|link| {
                [link.heartbeats.readable().boxed_local(), link.neighbours.readable().boxed_local()]
            });
            // An error here is the runtime's end; the loop sees that by itself.
            let _ = select_all(all).await;
        };
        tokio::select! {
            () = frames => {}
            what = opener.done() => *done = Some(what),
        }
    }

    /// The sockets that heartbeats arrive through.
    pub(super) fn heartbeats(&self) -> impl Iterator<Item = &HeartbeatSocket> {
        self.open.iter().map(|link| &link.heartbeats)
    }

    /// Sends a frame on every interface. `true`: it has left on one at least.
    pub(super) fn send(&mut self, payload: &[u8], drops: &mut Drops) -> bool {
        self.let_go();
        let mut sent = false;
        for link in &mut self.open {
            if !link.interface.carrier {
                drops.count("no_carrier");
                continue;
            }
            match link.heartbeats.send(payload) {
                Ok(()) => {
                    sent = true;
                    link.too_long.left(payload.len());
                }
                Err(error) => {
                    drops.count("send_failed");
                    let too_long = error.raw_os_error() == Some(libc::EMSGSIZE);
                    if too_long && link.too_long.refused(payload.len()) {
                        let (interface, bytes) = (&link.interface.name, payload.len());
                        tracing::warn!(interface, bytes, "frames are too long for an interface");
                    }
                }
            }
        }
        sent
    }

    /// Lets go of sockets whose interface was removed. One that came back at once, under the same
    /// name and number, may never have been missed by anybody else: it is opened anew.
    fn let_go(&mut self) {
        let gone = self.open.extract_if(.., |link| !link.heartbeats.is_attached());
        let before = self.closing.len();
        self.closing.extend(gone.map(|link| Box::new(link) as Box<dyn Send>));
        if self.closing.len() > before && self.gated {
            self.retry_at = Some(now() + RETURN_AFTER);
        }
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
        let wanted = |link: &Link| interfaces.iter().find(|now| now.is_same(&link.interface));
        let gone = self.open.extract_if(.., |link| wanted(link).is_none());
        self.closing.extend(gone.map(|link| Box::new(link) as Box<dyn Send>));
        for link in &mut self.open {
            let carrier = wanted(link).is_some_and(|now| now.carrier);
            if carrier && !link.interface.carrier {
                // What the switch knew of its port is forgotten: everything is said again.
                (link.behind, link.anew) = (true, true);
            }
            link.interface.carrier = carrier;
        }
        self.wanted = interfaces;
        self.gated = false;
        (self.retry_at, self.said) = (None, false);
    }

    /// Has opened what is not open, closed what is not used any more, and brought up to date what
    /// is behind. It is done later: [`Self::readable`] says when.
    pub(super) fn open(&mut self, drops: &mut Drops) {
        self.gated = true;
        self.order(drops);
    }

    /// Whether sockets are being opened.
    pub(super) fn is_opening(&self) -> bool {
        self.opener.is_busy()
    }

    fn order(&mut self, drops: &mut Drops) {
        self.retry_at = None;
        self.changed = self.opener.is_busy();
        if self.changed {
            return;
        }
        let (mut open, mut join) = (Vec::new(), Vec::new());
        for interface in &self.wanted {
            let link = self.open.iter_mut().find(|link| link.interface.is_same(interface));
            match link {
                None => open.push(interface.clone()),
                Some(link) if link.behind => {
                    if link.neighbours.set_addresses(&self.addresses).is_err() {
                        drops.count("open_failed");
                        self.retry_at = Some(now() + RETRY_AFTER);
                        continue;
                    }
                    let mut memberships = link.memberships.take();
                    if link.anew {
                        let old = memberships.take().map(|old| Box::new(old) as Box<dyn Send>);
                        self.closing.extend(old);
                    }
                    (link.behind, link.anew) = (false, false);
                    join.push((interface.clone(), memberships));
                }
                Some(_) => {}
            }
        }
        let close = std::mem::take(&mut self.closing);
        if open.is_empty() && join.is_empty() && close.is_empty() {
            return;
        }
        let (settings, addresses) = (self.settings.clone(), self.addresses.clone());
        self.opener.give(Order { settings, addresses, open, join, close });
    }

    /// Takes in what was opened and joined. What could not be done is due again later; the
    /// complaint is given once.
    pub(super) fn take_in(&mut self, drops: &mut Drops) -> Option<String> {
        let Done { opened, joined } = self.done.take()?;
        let mut failed = Vec::new();
        for (interface, memberships, done) in joined {
            let link = self.open.iter_mut().find(|link| link.interface.is_same(&interface));
            match link {
                Some(link) => {
                    link.memberships = memberships;
                    if let Err(error) = done {
                        link.behind = true;
                        failed.push((interface, error));
                    }
                }
                None => self.closing.extend(memberships.map(|it| Box::new(it) as Box<dyn Send>)),
            }
        }
        for (interface, sockets) in opened {
            let wanted = self.wanted.iter().find(|wanted| wanted.is_same(&interface));
            match (sockets, wanted) {
                (Ok(Sockets { heartbeats, neighbours, memberships }), Some(wanted)) => {
                    let (interface, memberships) = (wanted.clone(), Some(memberships));
                    // The addresses may have changed meanwhile.
                    let (behind, anew) = (self.changed, false);
                    let link = Link {
                        interface,
                        heartbeats,
                        neighbours,
                        memberships,
                        behind,
                        anew,
                        too_long: TooLong::default(),
                    };
                    self.open.push(link);
                }
                (Ok(sockets), None) => self.closing.push(Box::new(sockets)),
                (Err(error), Some(_)) => failed.push((interface, error)),
                (Err(_), None) => {}
            }
        }
        if self.gated && (self.changed || !self.closing.is_empty()) {
            self.order(drops);
        }
        for _ in &failed {
            drops.count("open_failed");
            self.retry_at = self.gated.then(|| now() + RETRY_AFTER);
        }
        let (interface, error) = failed.pop()?;
        let said = std::mem::replace(&mut self.said, true);
        (!said).then(|| format!("{} cannot be used: {error}", interface.name))
    }

    /// Whether it is time to try again what could not be opened.
    pub(super) fn is_due(&self) -> bool {
        self.retry_at.is_some_and(|at| now() >= at)
    }

    /// Goes over to other service addresses, later as with [`Self::open`].
    pub(super) fn set_addresses(&mut self, addresses: Vec<IpAddr>, drops: &mut Drops) {
        self.addresses = addresses;
        self.changed |= self.opener.is_busy();
        for link in &mut self.open {
            link.behind = true;
        }
        if self.gated {
            self.order(drops);
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

#[cfg(test)]
mod tests;
