//! Single packets from many clients: what came of them is read from the wire.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, SockaddrIn6, sendmsg};
use nlb_protocol::MacAddr;
use socket2::{Domain, Protocol, Socket, Type};

use crate::inject::{Injector, ethernet};
use crate::lab::{CLIENT_MAC, SERVICE4, SERVICE6, source4, source6};
use crate::load::service_of;
use crate::netns::Namespace;
use crate::service::ECHO;

/// Datagrams to the echo port, each from a client that was never seen before: unlike TCP clients
/// they never ask twice, so the wire shows which instants were served.
#[derive(Debug)]
pub struct Prober {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU32>,
    thread: Option<JoinHandle<Result<Result<()>>>>,
}

impl Prober {
    /// Starts to send `rate` probes a second, IPv4 and IPv6 in turn, from source `first` on.
    ///
    /// # Errors
    /// When sockets or the thread cannot be made.
    pub fn start(client: &Namespace, rate: u32, first: u32) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU32::new(0));
        let (until, counter) = (stop.clone(), sent.clone());
        let thread = client.thread("probe", move || probe(rate, first, &until, &counter))?;
        Ok(Self { stop, sent, thread: Some(thread) })
    }

    /// How many were sent so far.
    #[must_use]
    pub fn sent(&self) -> u32 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Sends no more.
    ///
    /// # Errors
    /// When a probe could not be sent.
    pub fn finish(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().context("thread")?.join().ok().context("the prober panicked")??
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn probe(rate: u32, first: u32, stop: &AtomicBool, counter: &AtomicU32) -> Result<()> {
    // Bound to no address: each datagram names its own source. Answers wait in the socket until
    // it is closed.
    let four = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let six = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let (begun, step) = (Instant::now(), Duration::from_secs(1) / rate.max(1));
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = begun + step * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (index, data) = (first + number, number.to_be_bytes());
        let data = [IoSlice::new(&data[2..]), IoSlice::new(b" probe")];
        if index.is_multiple_of(2) {
            send4(&four, source4(index), &data)?;
        } else {
            send6(&six, source6(index), &data)?;
        }
        number += 1;
        counter.store(number, Ordering::Relaxed);
    }
    Ok(())
}

fn send4(socket: &UdpSocket, source: IpAddr, data: &[IoSlice<'_>]) -> Result<()> {
    let IpAddr::V4(source) = source else { return Ok(()) };
    let address = libc::in_addr { s_addr: u32::from(source).to_be() };
    let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: address };
    let control = [ControlMessage::Ipv4PacketInfo(&info)];
    let to = SockaddrIn::from(SocketAddrV4::new(SERVICE4, ECHO));
    sendmsg(socket.as_raw_fd(), data, &control, MsgFlags::empty(), Some(&to))?;
    Ok(())
}

fn send6(socket: &UdpSocket, source: IpAddr, data: &[IoSlice<'_>]) -> Result<()> {
    let IpAddr::V6(source) = source else { return Ok(()) };
    let address = libc::in6_addr { s6_addr: source.octets() };
    let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 };
    let control = [ControlMessage::Ipv6PacketInfo(&info)];
    let to = SockaddrIn6::from(SocketAddrV6::new(SERVICE6, ECHO, 0, 0));
    sendmsg(socket.as_raw_fd(), data, &control, MsgFlags::empty(), Some(&to))?;
    Ok(())
}

/// Sends one echo request from each source to the service address of its family.
///
/// # Errors
/// When raw sockets are not allowed here.
pub fn ping(client: &Namespace, sources: &[IpAddr], id: u16, sequence: u16) -> Result<()> {
    client.run(|| {
        for source in sources {
            let (domain, protocol, kind) = match source {
                IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
                IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
            };
            let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
            socket.bind(&SocketAddr::new(*source, 0).into())?;
            let mut message = vec![kind, 0, 0, 0];
            message.extend(id.to_be_bytes());
            message.extend(sequence.to_be_bytes());
            message.extend(b"ping ping ping ping ");
            // The kernel fills in the checksum of ICMPv6, which covers the addresses.
            let sum = crate::inject::checksum(&message).to_be_bytes();
            message[2..4].copy_from_slice(&sum);
            socket.send_to(&message, &SocketAddr::new(service_of(*source), 0).into())?;
        }
        Ok(())
    })?
}

/// Broadcasts one ARP request for `wanted` as `asker`, through the client's `eth0`. Both are IPv4.
///
/// # Errors
/// When packet sockets are not allowed here.
pub fn who_has(client: &Namespace, asker: IpAddr, wanted: IpAddr) -> Result<()> {
    let (IpAddr::V4(asker), IpAddr::V4(wanted)) = (asker, wanted) else { return Ok(()) };
    // Ethernet and IPv4, operation 1.
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, 1];
    body.extend(CLIENT_MAC.0);
    body.extend(asker.octets());
    body.extend([0; 6]);
    body.extend(wanted.octets());
    let frame = ethernet(MacAddr([0xff; 6]), CLIENT_MAC, 0x0806, &body);
    Injector::new(client, "eth0")?.send(&frame)
}

/// Sends one datagram from `source` to the echo port and waits for the answer.
///
/// # Errors
/// When none comes within two seconds.
pub fn ask(client: &Namespace, source: IpAddr, length: usize) -> Result<String> {
    client.run(|| {
        let socket = UdpSocket::bind((source, 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.send_to(&vec![b'x'; length], (service_of(source), ECHO))?;
        let mut answer = [0; 256];
        let (length, from) = socket.recv_from(&mut answer).context("no answer")?;
        anyhow::ensure!(from.ip() == service_of(source), "answer from {from}");
        Ok(String::from_utf8_lossy(answer.get(2..length).unwrap_or_default()).trim().to_owned())
    })?
}
