//! Network namespaces for tests: each test has one of its own, which ends with its thread.

use core::net::IpAddr;
use core::time::Duration;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nlb_engine::{Generation, KernelPlan};
use nlb_protocol::{Bucket, ClusterId, MacAddr, NodeId};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use super::{ClusterRules, Interface, Kernel, KernelEvent, KernelHandle, Leftovers};

/// Set in a copy of the test binary that already runs in namespaces of its own.
const INSIDE: &str = "NLBD_TEST_IN_NAMESPACE";

/// Runs `test` with a tokio runtime on a thread in a fresh network namespace. An ordinary user
/// runs the test's name in a copy of this binary under a user namespace. Where the kernel allows
/// neither, the test says so and passes.
pub(crate) fn in_namespace<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F + Send) {
    let inside = std::env::var_os(INSIDE).is_some();
    let allowed = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            if !inside && unshare(CloneFlags::CLONE_NEWNET).is_err() {
                return false;
            }
            ip("link set lo up");
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(test());
            true
        });
        run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    if allowed {
        return;
    }
    let probe = Command::new("unshare").args(["-rn", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("{name}: SKIPPED: needs root or user namespaces");
        return;
    }
    let status = Command::new("unshare")
        .arg("-rn")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed in a user namespace");
}

/// Runs `ip` with these arguments.
pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Runs nft on a text, in the namespace of this thread. What it prints.
pub(crate) fn nft(arguments: &[&str], text: &str) -> Result<String, String> {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// A packet socket that sends whole frames on an interface of the namespace of this thread.
pub(crate) struct Wire(Socket);

impl Wire {
    pub(crate) fn open(interface: &str) -> Self {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
        let index = nix::net::if_::if_nametoindex(interface).unwrap();
        let address = libc::sockaddr_ll {
            sll_family: u16::try_from(libc::AF_PACKET).unwrap(),
            sll_protocol: 0,
            sll_ifindex: i32::try_from(index).unwrap(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        // SAFETY: the storage is zeroed, aligned for every address family and larger than
        // `sockaddr_ll`; the length is that of what was written.
        #[allow(unsafe_code)]
        let ((), address) = unsafe {
            SockAddr::try_init(|storage, length| {
                storage.cast::<libc::sockaddr_ll>().write(address);
                *length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap();
                Ok(())
            })
        }
        .unwrap();
        socket.bind(&address).unwrap();
        Self(socket)
    }

    /// Whether the frame passed the egress hook: what is dropped there is reported as ENOBUFS.
    pub(crate) fn send(&self, frame: &[u8]) -> bool {
        match self.0.send(frame) {
            Ok(_) => true,
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A frame: addresses, ethertype, payload.
pub(crate) fn frame(to: MacAddr, from: MacAddr, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0, &ethertype.to_be_bytes(), payload].concat()
}

/// An IP packet with this payload. `fragment` is IPv4's word of flags and offset, or for IPv6
/// that of a fragment header, which is there if it is not zero.
pub(crate) fn packet(
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    fragment: u16,
    payload: &[u8],
) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
            let mut header = vec![0x45, 0, length[0], length[1], 0, 1];
            header.extend(fragment.to_be_bytes());
            header.extend([64, protocol, 0, 0]);
            header.extend(from.octets());
            header.extend(to.octets());
            let words = header.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
            let sum: u32 = words.sum();
            let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            header.extend(payload);
            header
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut body = Vec::new();
            let mut next = protocol;
            if fragment != 0 {
                body.extend([protocol, 0]);
                body.extend(fragment.to_be_bytes());
                body.extend([0, 0, 0, 1]);
                next = 44;
            }
            body.extend(payload);
            let length = u16::try_from(body.len()).unwrap().to_be_bytes();
            let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
            packet.extend(from.octets());
            packet.extend(to.octets());
            packet.extend(body);
            packet
        }
        _ => panic!("{from} and {to} are of two families"),
    }
}

/// The interface of the cluster in tests; its other end is `peer0`.
pub(crate) const LAN: u32 = 7;

/// The node that tests are.
pub(crate) const NODE: NodeId = NodeId(0x0102_0304_0506_0708);

/// What the gate takes for a heartbeat of this node in a cluster: its header, up to the id.
pub(crate) fn heartbeat(cluster: ClusterId) -> Vec<u8> {
    let mut payload = b"NL\x01\x01".to_vec();
    payload.extend(cluster.0.to_be_bytes());
    payload.extend([0, 100]);
    payload.extend(NODE.0.to_be_bytes());
    payload.resize(100, 0);
    payload
}

/// Makes the interface.
pub(crate) fn make_lan() {
    ip("link add lan0 index 7 type veth peer name peer0");
    ip("link set lan0 up");
    ip("link set peer0 up");
}

/// A cluster on it. Its number is id and queue.
pub(crate) fn rules(cluster: &str, number: u16) -> ClusterRules {
    ClusterRules {
        cluster: cluster.to_owned(),
        id: ClusterId(number),
        node: NODE,
        interfaces: vec![Interface::new("lan0", LAN).unwrap()],
        mac: MacAddr([0x02, 0x4e, 0x4c, 0x42, 0x00, 0x01]),
        ethertype: 0x88b5,
        addresses: vec!["192.0.2.50".parse().unwrap(), "2001:db8::50".parse().unwrap()],
        ports: Vec::new(),
        lease: Duration::from_millis(400),
        sticky_timeout: Duration::from_secs(1800),
        sticky_limit: 1 << 20,
        foreign_timeout: Duration::from_secs(30),
        foreign_limit: 1 << 18,
        arp: true,
        queue: number,
    }
}

/// A plan that lets these buckets through.
pub(crate) fn plan(generation: u64, filter: impl IntoIterator<Item = u16>) -> KernelPlan {
    KernelPlan {
        reopen: false,
        generation: Generation(generation),
        filter: filter.into_iter().map(|index| Bucket::new(index).unwrap()).collect(),
        divert: false,
        seed: 0x1234,
        flush: false,
        forget: Vec::new(),
        renew: Vec::new(),
        remember: Vec::new(),
    }
}

/// An applier and its events.
pub(crate) struct Applier {
    pub(crate) handle: KernelHandle,
    pub(crate) events: Receiver<KernelEvent>,
}

impl Applier {
    pub(crate) async fn start() -> Self {
        make_lan();
        Self::with(Leftovers::Replace).await
    }

    /// One that goes on with the rules of these clusters.
    pub(crate) async fn go_on<const N: usize>(clusters: [&str; N]) -> Self {
        Self::with(Leftovers::Keep(clusters.map(str::to_owned).into())).await
    }

    async fn with(leftovers: Leftovers) -> Self {
        let capabilities = crate::kernel::probe().await.unwrap();
        let (handle, events) = Kernel::start(capabilities, leftovers).unwrap();
        Self { handle, events }
    }

    /// Orders rules, by the number of the plan that comes with them.
    pub(crate) fn set(&self, rules: ClusterRules, plan: KernelPlan) {
        self.handle.set_cluster(rules, plan.generation.0, plan);
    }

    pub(crate) async fn next(&mut self) -> KernelEvent {
        let next = tokio::time::timeout(PATIENCE, self.events.recv());
        next.await.expect("an event").expect("an applier")
    }

    /// The events before that of this generation, and how long its batch took.
    pub(crate) async fn applied(&mut self, wanted: u64) -> (Vec<KernelEvent>, Duration) {
        let mut before = Vec::new();
        loop {
            match self.next().await {
                KernelEvent::Applied { generation: Generation(number), took, .. }
                    if number == wanted =>
                {
                    return (before, took);
                }
                event => before.push(event),
            }
        }
    }

    /// Submits a plan and waits until it is in force.
    pub(crate) async fn apply(&mut self, plan: KernelPlan) -> Duration {
        let Generation(wanted) = plan.generation;
        self.handle.submit("nlb0", plan);
        let (before, took) = self.applied(wanted).await;
        assert_eq!(before, []);
        took
    }

    /// The clients that the kernel keeps, in order.
    pub(crate) async fn clients(&self) -> Vec<IpAddr> {
        let kept = super::kept_clients("nlb0").await.unwrap();
        let mut clients: Vec<_> = kept.into_iter().map(|(client, _)| client).collect();
        clients.sort();
        clients
    }
}

/// Longer than anything takes, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
