//! Whether other servers speak under another ethertype than this one: then neither hears the other,
//! and nothing else would say so.
//!
//! The frames are known by the group that they go to and their first bytes (SPEC 2.3, 4.2).
//! Listening changes nothing on the host: the network card lets all frames through only as long as
//! the socket lives.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::IntoRawFd as _;
use std::time::{Duration, Instant};

use nlb_varlink::Cluster;
use pnet_datalink::{Channel, Config, NetworkInterface};
use socket2::{Domain, SockFilter, Socket, Type};

use super::Finding;

/// The ethertype unless configured otherwise (SPEC 2.1).
const DEFAULT: u16 = 0x88b5;
/// What the group of the heartbeats begins with; the cluster id follows (SPEC 2.3).
const GROUP: [u8; 4] = [0x03, 0x4e, 0x4c, 0x48];
/// What a frame begins with (SPEC 4.2).
const MAGIC: [u8; 2] = *b"NL";
/// Where the payload begins, behind two addresses and the ethertype.
const HEADER: usize = 14;
/// What is read of a frame: enough to know it.
const ROOM: u32 = 64;
/// The longest time to listen: thirty heartbeats, unless somebody made them slower.
const LONGEST: Duration = Duration::from_secs(3);
/// How often it is looked whether the time is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// So many senders are kept: anybody can write frames.
const MAX_HEARD: usize = 256;

/// Opcodes of the kernel's packet filter (linux/filter.h): load a word or half a word at a place,
/// jump if it is equal, return.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Who sends what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Heard {
    id: u16,
    ethertype: u16,
    source: [u8; 6],
}

/// Listens on an interface, and judges by the clusters that the daemon serves there.
pub(super) async fn findings(
    interface: &str,
    listen: Duration,
    clusters: &[Cluster],
    id: Option<u16>,
) -> Vec<Finding> {
    // That there is no such interface is said elsewhere.
    let link = pnet_datalink::interfaces().into_iter().find(|link| link.name == interface);
    let Some(link) = link else { return Vec::new() };
    let own = link.mac.map(|mac| mac.octets());
    let listen = listen.min(LONGEST);
    let seconds = listen.as_secs();
    if super::is_watched() {
        eprintln!("Listening on {interface} for servers, {seconds} s …");
    }
    // Reading blocks, at most as long as it is to listen.
    let heard = tokio::task::spawn_blocking(move || listen_on(&link, listen)).await;
    let clusters = clusters.iter().filter(|c| c.interfaces.iter().any(|name| name == interface));
    match heard.map_err(io::Error::other).flatten() {
        Ok(heard) => judge(interface, own, &heard, &clusters.collect::<Vec<_>>(), id, seconds),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => vec![Finding::warn(
            interface,
            "not listened for servers with another ethertype: only root may",
            "run it as root: sudo nlbctl preflight",
        )],
        Err(error) => vec![Finding::warn(
            interface,
            format!("cannot listen for servers with another ethertype: {error}"),
            "compare on all servers: grep -r ethertype /etc/nlbd",
        )],
    }
}

fn listen_on(link: &NetworkInterface, listen: Duration) -> io::Result<BTreeSet<Heard>> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    // A socket without a protocol receives nothing; the filter is there before it gets one.
    socket.attach_filter(&filter())?;
    let config = Config {
        read_timeout: Some(LOOK_EVERY),
        socket_fd: Some(socket.into_raw_fd()),
        ..Config::default()
    };
    // The channel closes the socket, also when it cannot be made.
    let Channel::Ethernet(_sender, mut frames) = pnet_datalink::channel(link, config)? else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    #[allow(clippy::disallowed_methods)] // this is a person's clock, not the protocol's
    let now = Instant::now;
    let end = now() + listen;
    let mut all = BTreeSet::new();
    while now() < end && all.len() < MAX_HEARD {
        match frames.next() {
            Ok(frame) => all.extend(heard(frame)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Lets through what begins as a frame of the protocol does, whatever its ethertype.
fn filter() -> [SockFilter; 6] {
    let magic = u32::from(u16::from_be_bytes(MAGIC));
    [
        SockFilter::new(LOAD_WORD, 0, 0, 0),
        SockFilter::new(JUMP_EQUAL, 0, 3, u32::from_be_bytes(GROUP)),
        SockFilter::new(LOAD_HALF, 0, 0, 14),
        SockFilter::new(JUMP_EQUAL, 0, 1, magic),
        SockFilter::new(RETURN, 0, 0, ROOM),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// What an Ethernet frame shows, if it is one of the protocol.
fn heard(frame: &[u8]) -> Option<Heard> {
    let two = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    let known = frame.starts_with(&GROUP) && frame.get(HEADER..)?.starts_with(&MAGIC);
    let source = frame.get(6..12)?.try_into().ok()?;
    // The frame's own word: the group is what the network card is told.
    known.then_some(Heard { id: two(HEADER + 4)?, ethertype: two(12)?, source })
}

fn judge(
    interface: &str,
    own: Option<[u8; 6]>,
    heard: &BTreeSet<Heard>,
    clusters: &[&Cluster],
    id: Option<u16>,
    seconds: u64,
) -> Vec<Finding> {
    let mut senders: BTreeMap<(u16, u16), Vec<String>> = BTreeMap::new();
    for Heard { id, ethertype, source } in heard {
        if Some(*source) != own {
            let source = source.map(|byte| format!("{byte:02x}")).join(":");
            senders.entry((*id, *ethertype)).or_default().push(source);
        }
    }
    let mut findings = Vec::new();
    for ((heard, ethertype), sources) in &senders {
        let sources = sources.join(", ");
        match clusters.iter().find(|cluster| cluster.id == *heard) {
            Some(cluster) if cluster.ethertype == *ethertype => {}
            Some(Cluster { name, ethertype: ours, .. }) => findings.push(Finding::fail(
                interface,
                format!(
                    "{sources}: heartbeats of {name} under ethertype 0x{ethertype:04x}; this \
                     server uses 0x{ours:04x}"
                ),
                "give all servers the same ethertype in /etc/nlbd\n\
                 (nothing proves that address: anybody on the segment can write it)",
            )),
            // Others' clusters, unless this server is about to join one.
            None if !clusters.is_empty() || id.is_some_and(|id| id != *heard) => {}
            None if *ethertype == DEFAULT => {}
            None => findings.push(Finding::warn(
                interface,
                format!(
                    "{sources}: heartbeats of cluster {heard} under ethertype 0x{ethertype:04x}"
                ),
                format!(
                    "to join them, say ethertype: 0x{ethertype:04x} for the cluster in /etc/nlbd"
                ),
            )),
        }
    }
    if findings.is_empty() {
        let found = format!("no server with another ethertype was heard in {seconds} s");
        findings.push(Finding::ok(interface, found));
    }
    findings
}

#[cfg(test)]
mod tests;
