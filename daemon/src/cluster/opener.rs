//! Opens, joins and closes the sockets of a cluster's interfaces beside its loop.
//!
//! Joining a group, and closing a socket that did, waits in the kernel for whoever changes
//! interfaces at the time (RTNL): a driver that resets one card keeps the whole host waiting, for
//! seconds, and heartbeats on the others must go on. So a thread of its own for each cluster does
//! it, at ordinary priority. The sockets that it opens are the loop's: their reactor is told.

use std::io;
use std::net::IpAddr;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::links::LinkSettings;
use crate::link::{HeartbeatSocket, Interface, Memberships, NeighbourSocket};

/// Orders that may wait: the loop gives the next one when it has heard of the last.
const ORDERS: usize = 1;

/// What the thread is to do.
pub(super) struct Order {
    pub(super) settings: LinkSettings,
    /// The service addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// To be opened.
    pub(super) open: Vec<Interface>,
    /// To be brought to the addresses, or to be joined anew.
    pub(super) join: Vec<(Interface, Option<Memberships>)>,
    /// To be closed, whatever it is.
    pub(super) close: Vec<Box<dyn Send>>,
}

/// The sockets of one interface.
pub(super) struct Sockets {
    pub(super) heartbeats: HeartbeatSocket,
    pub(super) neighbours: NeighbourSocket,
    pub(super) memberships: Memberships,
}

/// What became of an order.
pub(super) struct Done {
    pub(super) opened: Vec<(Interface, io::Result<Sockets>)>,
    pub(super) joined: Vec<(Interface, Option<Memberships>, io::Result<()>)>,
}

/// The loop's side: one order at a time.
pub(super) struct Opener {
    orders: mpsc::Sender<Order>,
    done: mpsc::Receiver<Done>,
    busy: bool,
}

/// The thread's side.
pub(super) struct Bench {
    orders: mpsc::Receiver<Order>,
    done: mpsc::Sender<Done>,
}

impl Opener {
    /// Starts the thread; it ends with the opener. Called by the loop, whose reactor the sockets
    /// are registered with.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(cluster: &str) -> io::Result<Self> {
        let (opener, bench) = Self::new();
        let reactor = Handle::current();
        let name = format!("{cluster}-links");
        std::thread::Builder::new().name(name).spawn(move || bench.run(&reactor))?;
        Ok(opener)
    }

    /// Both sides.
    pub(super) fn new() -> (Self, Bench) {
        let (orders, ordered) = mpsc::channel(ORDERS);
        let (done, is_done) = mpsc::channel(ORDERS);
        (Self { orders, done: is_done, busy: false }, Bench { orders: ordered, done })
    }

    /// Whether an order is being carried out.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Gives an order, when it is not busy.
    pub(super) fn give(&mut self, order: Order) {
        self.busy = self.orders.try_send(order).is_ok();
    }

    /// What became of the order; never, without one. Cancel-safe.
    pub(super) async fn done(&mut self) -> Done {
        if self.busy
            && let Some(done) = self.done.recv().await
        {
            self.busy = false;
            return done;
        }
        std::future::pending().await
    }
}

impl Bench {
    fn run(mut self, reactor: &Handle) {
        while let Some(order) = self.orders.blocking_recv() {
            let done = {
                let _entered = reactor.enter();
                order.carry_out()
            };
            if self.done.blocking_send(done).is_err() {
                return;
            }
        }
    }

    /// The next order, for whoever carries it out elsewhere.
    #[cfg(test)]
    pub(super) async fn next(&mut self) -> Order {
        self.orders.recv().await.unwrap()
    }

    /// Tells what became of it.
    #[cfg(test)]
    pub(super) async fn tell(&self, done: Done) {
        assert!(self.done.send(done).await.is_ok());
    }
}

impl Order {
    /// Does it all. May wait.
    pub(super) fn carry_out(self) -> Done {
        let Self { settings, addresses, open, join, close } = self;
        drop(close);
        let joined = join.into_iter().map(|(interface, mut memberships)| {
            let done = match &mut memberships {
                Some(joined) => joined.set_addresses(&addresses),
                None => Memberships::join(&interface, settings.mac, &addresses)
                    .map(|joined| memberships = Some(joined)),
            };
            (interface, memberships, done)
        });
        let joined = joined.collect();
        let opened = open.into_iter().map(|interface| {
            let sockets = Sockets::open(&interface, &settings, &addresses);
            (interface, sockets)
        });
        Done { opened: opened.collect(), joined }
    }
}

impl Sockets {
    fn open(
        interface: &Interface,
        settings: &LinkSettings,
        addresses: &[IpAddr],
    ) -> io::Result<Self> {
        let LinkSettings { ethertype, group, mac } = *settings;
        Ok(Self {
            heartbeats: HeartbeatSocket::open(interface, ethertype, group)?,
            neighbours: NeighbourSocket::open(interface, mac.mac, addresses)?,
            memberships: Memberships::join(interface, mac, addresses)?,
        })
    }
}
