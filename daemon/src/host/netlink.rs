//! The few rtnetlink requests that the daemon makes, over the crate `rtnetlink`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::TryStreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::address::{AddressHeaderFlags, CacheInfo};
use netlink_packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourState};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Error, Handle, LinkDummy, LinkUnspec, RouteMessageBuilder};

use super::{HostError, LinkState};
use crate::link::InterfaceIndex;

/// The most hosts that are asked for a sign of life at once.
const PROBE_TARGETS: usize = 8;

/// Whom to ask for a sign that the receiver of an interface works, and on whose behalf.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProbeTargets {
    /// The interface's own addresses.
    pub own: Vec<IpAddr>,
    /// Gateways, then neighbours that the kernel has talked to.
    pub targets: Vec<IpAddr>,
}

/// How long the kernel may take to answer. It makes everybody wait who asks while somebody else
/// changes interfaces: a driver that resets its card does so for seconds.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// A connection to rtnetlink, of the network namespace that it was opened in. It ends when it is
/// dropped.
///
/// The kernel carries a request out while it is sent, and makes the sender wait: so that is done
/// in a thread of its own, and nobody waits longer than [`ANSWER_TIME`].
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    /// There is none yet; what was asked may still be done.
    Late,
    /// The kernel says no, or the connection is broken.
    Kernel(Error),
}

/// Waits for an answer, and no longer than it may take.
async fn in_time<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER_TIME, answer).await {
        Ok(answer) => answer.map_err(Failure::Kernel),
        Err(_) => Err(Failure::Late),
    }
}

impl Netlink {
    /// Connects, and starts the thread.
    ///
    /// # Errors
    /// When there is no netlink socket or no thread to be had.
    pub fn connect() -> Result<Self, HostError> {
        let (made, making) = std::sync::mpsc::sync_channel(1);
        let serve = move || {
            let connect = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let entered = runtime.enter();
                // No multicast group: the stream of unasked messages stays empty.
                let (connection, handle, _) = rtnetlink::new_connection()?;
                drop(entered);
                Ok((runtime, connection, handle))
            };
            match connect() {
                Ok((runtime, connection, handle)) => {
                    let _ = made.send(Ok(handle));
                    runtime.block_on(connection);
                }
                Err(error) => drop(made.send(Err(error))),
            }
        };
        let thread = std::thread::Builder::new().name("nlb-host".to_owned()).spawn(serve);
        let made = thread.and_then(|_| making.recv().map_err(io::Error::other)?);
        Ok(Self { handle: made.map_err(HostError::Netlink)? })
    }

    /// The link of this name, if there is one.
    ///
    /// # Errors
    /// When the kernel refuses or the connection is broken.
    pub async fn link(&self, name: &str) -> Result<Option<LinkState>, HostError> {
        let request = self.handle.link().get().match_name(name);
        self.one_link(request.execute(), name).await.map(|link| link.map(|(state, _)| state))
    }

    /// The link of this number, if there is one.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub async fn link_by_index(
        &self,
        index: InterfaceIndex,
    ) -> Result<Option<LinkState>, HostError> {
        let request = self.handle.link().get().match_index(index.0);
        let link = self.one_link(request.execute(), index.0).await?;
        Ok(link.map(|(state, _)| state))
    }

    /// The names of all links.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub async fn link_names(&self) -> Result<Vec<String>, HostError> {
        let dump = self.handle.link().get().execute();
        let all: Result<Vec<LinkMessage>, Failure> = in_time(dump.try_collect()).await;
        let all = all.map_err(|error| refused("reading links".into(), &error))?;
        Ok(all.iter().map(|message| LinkState::of(message).name).collect())
    }

    /// How many frames the interface has received since it exists: a rising figure is a sign that
    /// its receiver works (R7). `None` if it is gone.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub async fn rx_packets(&self, index: InterfaceIndex) -> Result<Option<u64>, HostError> {
        let request = self.handle.link().get().match_index(index.0);
        let link = self.one_link(request.execute(), index.0).await?;
        Ok(link.and_then(|(_, message)| {
            message.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::Stats64(stats) => Some(stats.rx_packets),
                _ => None,
            })
        }))
    }

    async fn one_link(
        &self,
        mut answers: impl futures_util::Stream<Item = Result<LinkMessage, Error>> + Unpin,
        what: impl std::fmt::Display,
    ) -> Result<Option<(LinkState, LinkMessage)>, HostError> {
        match in_time(answers.try_next()).await {
            Ok(message) => Ok(message.map(|message| (LinkState::of(&message), message))),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(refused(format!("reading link {what}"), &error)),
        }
    }

    /// Makes a link of kind dummy, not yet up.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the kernel has no such kind, `EEXIST` where the name is taken.
    pub(super) async fn add_dummy(&self, name: &str) -> Result<(), HostError> {
        let message = LinkDummy::new(name).build();
        let added = in_time(self.handle.link().add(message).execute()).await;
        added.map_err(|error| refused(format!("adding link {name}"), &error))
    }

    /// Keeps the kernel from giving a link that is down an IPv6 address of its own. Daemons that
    /// look for interfaces would serve on it, and nobody can reach it. A kernel without IPv6 gives
    /// none anyway, so that a refusal is none.
    pub(super) async fn no_own_address(&self, link: &LinkState) {
        let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let mut message = LinkUnspec::new_with_index(link.index.0).build();
        message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])]));
        if let Err(error) = in_time(self.handle.link().set(message).execute()).await {
            tracing::debug!(link = link.name, ?error, "the link has an IPv6 address of its own");
        }
    }

    /// Sets a link up.
    pub(super) async fn set_up(&self, link: &LinkState) -> Result<(), HostError> {
        let message = LinkUnspec::new_with_index(link.index.0).up().build();
        let set = in_time(self.handle.link().set(message).execute()).await;
        set.map_err(|error| refused(format!("setting link {} up", link.name), &error))
    }

    /// Deletes a link; one that is gone is no error.
    pub(super) async fn delete_link(&self, link: &LinkState) -> Result<(), HostError> {
        let deleted = in_time(self.handle.link().del(link.index.0).execute()).await;
        gone_is_fine(deleted, || format!("deleting link {}", link.name))
    }

    /// Every address of the host.
    pub(super) async fn addresses(&self) -> Result<Vec<(InterfaceIndex, IpAddr)>, HostError> {
        let dump = self.handle.address().get().execute();
        let all: Result<Vec<AddressMessage>, Failure> = in_time(dump.try_collect()).await;
        let all = all.map_err(|error| refused("reading addresses".into(), &error))?;
        Ok(all
            .iter()
            .filter_map(|message| Some((InterfaceIndex(message.header.index), local(message)?)))
            .collect())
    }

    /// Adds a service address so that nothing uses it unasked: an IPv4 address of host scope, an
    /// IPv6 address that is deprecated. The kernel answers to both, but chooses neither as the
    /// source of a connection or of an ARP request or solicitation of its own.
    pub(super) async fn add_address(
        &self,
        link: &LinkState,
        address: IpAddr,
    ) -> Result<(), HostError> {
        let length = if address.is_ipv4() { 32 } else { 128 };
        let mut request = self.handle.address().add(link.index.0, address, length);
        let message = request.message_mut();
        if address.is_ipv4() {
            message.header.scope = AddressScope::Host;
        } else {
            message.header.flags |= AddressHeaderFlags::Nodad;
            let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
            message.attributes.push(AddressAttribute::Flags(flags));
            let mut lifetime = CacheInfo::default();
            lifetime.ifa_valid = u32::MAX;
            lifetime.ifa_preferred = 0;
            message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        }
        let added = in_time(request.execute()).await;
        added.map_err(|error| refused(format!("adding {address} to {}", link.name), &error))
    }

    /// Deletes a service address; one that is gone is no error.
    pub(super) async fn delete_address(
        &self,
        link: &LinkState,
        address: IpAddr,
    ) -> Result<(), HostError> {
        let length = if address.is_ipv4() { 32 } else { 128 };
        let message =
            self.handle.address().add(link.index.0, address, length).message_mut().clone();
        let deleted = in_time(self.handle.address().del(message).execute()).await;
        gone_is_fine(deleted, || format!("deleting {address} from {}", link.name))
    }

    /// Whom to ask for a sign of life on an interface.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub async fn probe_targets(&self, index: InterfaceIndex) -> Result<ProbeTargets, HostError> {
        let own = self.addresses().await?;
        let own = own.into_iter().filter(|(on, _)| *on == index).map(|(_, address)| address);
        let mut targets = Vec::new();
        for filter in [
            RouteMessageBuilder::<Ipv4Addr>::new().build(),
            RouteMessageBuilder::<Ipv6Addr>::new().build(),
        ] {
            let mut routes = self.handle.route().get(filter).execute();
            // A family that the kernel does not know has no routes.
            while let Ok(Some(route)) = in_time(routes.try_next()).await {
                targets.extend(gateway(&route, index));
            }
        }
        let mut neighbours = self.handle.neighbours().get().execute();
        while let Ok(Some(message)) = in_time(neighbours.try_next()).await {
            let known = matches!(
                message.header.state,
                NeighbourState::Reachable
                    | NeighbourState::Stale
                    | NeighbourState::Delay
                    | NeighbourState::Probe
            );
            if known && message.header.ifindex == index.0 {
                targets.extend(message.attributes.iter().find_map(neighbour));
            }
        }
        let mut probe = ProbeTargets { own: own.collect(), targets: Vec::new() };
        for target in targets {
            if !probe.targets.contains(&target) && probe.targets.len() < PROBE_TARGETS {
                probe.targets.push(target);
            }
        }
        Ok(probe)
    }
}

fn local(message: &AddressMessage) -> Option<IpAddr> {
    let mut found = None;
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link the other attribute is the peer's address.
            AddressAttribute::Local(address) => return Some(*address),
            AddressAttribute::Address(address) => found = Some(*address),
            _ => {}
        }
    }
    found
}

/// The gateway of a default route through the interface.
fn gateway(route: &RouteMessage, index: InterfaceIndex) -> Option<IpAddr> {
    let through = |attribute: &RouteAttribute| *attribute == RouteAttribute::Oif(index.0);
    if route.header.destination_prefix_length != 0 || !route.attributes.iter().any(through) {
        return None;
    }
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })
}

fn neighbour(attribute: &NeighbourAttribute) -> Option<IpAddr> {
    match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
            Some(IpAddr::V4(*address))
        }
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
            Some(IpAddr::V6(*address))
        }
        _ => None,
    }
}

fn gone_is_fine(result: Result<(), Failure>, action: impl Fn() -> String) -> Result<(), HostError> {
    match result {
        Err(error) => match errno(&error) {
            Some(libc::ENODEV | libc::EADDRNOTAVAIL | libc::ENXIO) => Ok(()),
            _ => Err(refused(action(), &error)),
        },
        Ok(()) => Ok(()),
    }
}

fn errno(failure: &Failure) -> Option<i32> {
    match failure {
        Failure::Kernel(Error::NetlinkError(message)) => Some(-message.raw_code()),
        Failure::Kernel(_) | Failure::Late => None,
    }
}

fn refused(action: String, failure: &Failure) -> HostError {
    match failure {
        Failure::Late => HostError::NoAnswer { action, limit: ANSWER_TIME },
        Failure::Kernel(error) => {
            let source = errno(failure)
                .map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error);
            HostError::Refused { action, source }
        }
    }
}
