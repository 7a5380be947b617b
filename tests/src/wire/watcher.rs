//! The socket that sees every frame on every port of the bridge.

use std::collections::HashMap;
use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::frame::Frame;
use super::ledger::Ledger;
use super::rules::Subject;
use crate::bpf::{LOAD_WORD, RETURN, jump, statement};
use crate::netns::Namespace;
use crate::stamp::Stamp;

/// Room for bursts, in bytes of the kernel's own accounting: some 50,000 small frames.
const RECEIVE_BUFFER: usize = 64 << 20;
/// As much of a frame as is read: whatever the rules look at lies within it.
const SNAP: usize = 256;

/// Inspects every frame on the segment, in a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    ledger: Arc<Mutex<Ledger>>,
    lost: Arc<Mutex<u32>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Watcher {
    /// Starts to watch the ports `p-*` of `switch`. Behind those that `clients` names are clients.
    ///
    /// # Errors
    /// When packet sockets are not allowed here.
    pub fn start(switch: &Namespace, subject: Subject, clients: &[&str]) -> Result<Self> {
        Self::open(switch, subject, clients, false)
    }

    /// The same, but what the bridge copies to the servers is not looked at, which is most of what
    /// there is: `to_cluster` counts clients' ports only.
    ///
    /// # Errors
    /// When packet sockets are not allowed here.
    pub fn start_lean(switch: &Namespace, subject: Subject, clients: &[&str]) -> Result<Self> {
        Self::open(switch, subject, clients, true)
    }

    fn open(switch: &Namespace, subject: Subject, clients: &[&str], lean: bool) -> Result<Self> {
        let mut ports = HashMap::new();
        for line in switch.sh("ip -o link show")?.lines() {
            let mut fields = line.split([':', '@']);
            let index = fields.next().unwrap_or("").trim().parse::<usize>();
            if let (Ok(index), Some(name)) = (index, fields.next())
                && let Some(host) = name.trim().strip_prefix("p-")
            {
                ports.insert(index, (host.to_owned(), clients.contains(&host)));
            }
        }
        ensure!(!ports.is_empty(), "the switch has no ports");
        let socket = switch.run(open)?.context("packet socket")?;
        if lean {
            let of_clients = ports.iter().filter(|(_, (_, client))| *client);
            leave_out_copies(&socket, of_clients.map(|(index, _)| *index))?;
        }
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let (lost, stop) = (Arc::new(Mutex::new(0)), Arc::new(AtomicBool::new(false)));
        let tap = Tap { socket, ports, subject, ledger: ledger.clone(), lost: lost.clone() };
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("watcher".into())
            .spawn(move || tap.run(&stopped))
            .context("thread")?;
        Ok(Self { ledger, lost, stop, thread: Some(thread) })
    }

    /// How many frames the kernel had no room for: they were not inspected.
    #[must_use]
    pub fn lost(&self) -> u32 {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was seen so far.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if a frame broke a rule, a question was answered twice, or the watcher itself missed
    /// a frame.
    ///
    /// # Errors
    /// With what was seen.
    pub fn check(&self) -> Result<()> {
        let lost = self.lost();
        ensure!(lost == 0, "the watcher missed {lost} frames");
        let ledger = self.ledger();
        ensure!(ledger.violated == 0, "{} bad frames: {:#?}", ledger.violated, ledger.violations);
        let doubled = ledger.unexcused();
        ensure!(doubled.is_empty(), "{} doubled answers: {:?}", doubled.len(), doubled.first());
        let twice = &ledger.segments;
        ensure!(
            twice.doubled_count == 0,
            "{} segments answered twice: {:?}",
            twice.doubled_count,
            twice.doubled.first()
        );
        Ok(())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && let Ok(Err(error)) = thread.join()
        {
            eprintln!("watcher: {error:#}");
        }
    }
}

struct Tap {
    socket: Socket,
    ports: HashMap<usize, (String, bool)>,
    subject: Subject,
    ledger: Arc<Mutex<Ledger>>,
    lost: Arc<Mutex<u32>>,
}

impl Tap {
    fn run(self, stop: &AtomicBool) -> Result<()> {
        let mut bytes = [0; SNAP];
        let mut control = nix::cmsg_space!([libc::timespec; 1], u32);
        while !stop.load(Ordering::Relaxed) {
            let mut slices = [IoSliceMut::new(&mut bytes)];
            let fd = self.socket.as_raw_fd();
            let control = Some(control.as_mut_slice());
            let received = match recvmsg::<LinkAddr>(fd, &mut slices, control, MsgFlags::empty()) {
                Ok(received) => received,
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let mut at = Stamp::now();
            for message in received.cmsgs().into_iter().flatten() {
                match message {
                    ControlMessageOwned::ScmTimestampns(time) => {
                        let time = Duration::from(time);
                        at = Stamp(u64::try_from(time.as_nanos()).unwrap_or(at.0));
                    }
                    ControlMessageOwned::RxqOvfl(lost) => {
                        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = lost;
                    }
                    _ => {}
                }
            }
            let (from, length) = (received.address, received.bytes);
            if let Some(from) = from {
                self.handle(&from, bytes.get(..length).unwrap_or_default(), at);
            }
        }
        Ok(())
    }

    fn handle(&self, from: &LinkAddr, bytes: &[u8], at: Stamp) {
        let (Some((port, client)), Some(frame)) =
            (self.ports.get(&from.ifindex()), Frame::read(bytes))
        else {
            return;
        };
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        if from.pkttype() == libc::PACKET_OUTGOING {
            ledger.handle_sent(port, *client, &frame, at, &self.subject);
        } else {
            ledger.handle_received(port, &frame, at, &self.subject);
        }
    }
}

/// A packet socket for every frame of the namespace it is opened in, sent ones included.
fn open() -> Result<Socket> {
    let every = i32::from(u16::try_from(libc::ETH_P_ALL)?.to_be());
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(every)))?;
    // More than the limit for everybody where this is allowed; else as much as that limit.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    Ok(socket)
}

/// Has the kernel drop what leaves the bridge through other ports than these.
fn leave_out_copies(socket: &Socket, ports: impl Iterator<Item = usize>) -> Result<()> {
    let ancillary = |what: i32| u32::from_ne_bytes((libc::SKF_AD_OFF + what).to_ne_bytes());
    let ports = ports.map(u32::try_from).collect::<Result<Vec<_>, _>>()?;
    let count = u8::try_from(ports.len())?;
    let mut filter = vec![
        statement(LOAD_WORD, ancillary(libc::SKF_AD_PKTTYPE))?,
        // Received: over the other port's tests, and over the drop.
        jump(u32::from(libc::PACKET_OUTGOING), 0, count + 2)?,
        statement(LOAD_WORD, ancillary(libc::SKF_AD_IFINDEX))?,
    ];
    for (left, port) in (1..=count).rev().zip(ports) {
        filter.push(jump(port, left, 0)?);
    }
    filter.push(statement(RETURN, 0)?);
    filter.push(statement(RETURN, u32::MAX)?);
    socket.attach_filter(&filter).context("filter")
}
