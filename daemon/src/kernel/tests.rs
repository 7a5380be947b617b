//! The rules on the real kernel: frames go in at one end of a veth pair, and what comes through
//! is seen where the host's own rules would see it.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;

use nlb_engine::KernelPlan;
use nlb_protocol::{MacAddr, hash};

use super::testing::*;
use super::*;
use crate::config::Port;
use crate::queue::{Batch, Queue};

mod bridged;
mod errors;
mod foreign;
mod partial;

const MODULE: &str = "kernel::tests";
const CLUSTER: MacAddr = MacAddr([0x02, 0x4e, 0x4c, 0x42, 0x00, 0x01]);
const ROUTER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0xaa]);
const OWN: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0xbb]);
const UDP: u8 = 17;
const TCP: u8 = 6;

/// Time for frames that were sent to be where they go. Only "does not arrive" waits so long.
const SETTLE: Duration = Duration::from_millis(40);

/// Both ends of the wire, and a set of the sources whose packets came through with no mark left.
struct World {
    applier: Applier,
    outside: Wire,
    inside: Wire,
    rules: ClusterRules,
    generation: u64,
}

impl World {
    async fn with(rules: ClusterRules, plan: KernelPlan) -> Self {
        let applier = Applier::start().await;
        nft(
            &["-f", "-"],
            "add table inet seen
             add set inet seen v4 { type ipv4_addr; flags dynamic; size 65535; }
             add set inet seen v6 { type ipv6_addr; flags dynamic; size 65535; }
             add chain inet seen c { type filter hook prerouting priority 0; policy accept; }
             add rule inet seen c iifname lan0 ip daddr 192.0.2.0/24 meta mark 0 update @v4 { ip saddr }
             add rule inet seen c iifname lan0 ip6 daddr 2001:db8::/64 meta mark 0 update @v6 { ip6 saddr }\n",
        )
        .unwrap();
        Self::over(applier, rules, plan).await
    }

    async fn over(mut applier: Applier, rules: ClusterRules, plan: KernelPlan) -> Self {
        let generation = plan.generation.0;
        applier.set(rules.clone(), plan);
        applier.applied(generation).await;
        let (outside, inside) = (Wire::open("peer0"), Wire::open("lan0"));
        Self { applier, outside, inside, rules, generation }
    }

    async fn new(filter: impl IntoIterator<Item = u16>) -> Self {
        Self::with(rules("nlb0", 5), plan(1, filter)).await
    }

    async fn apply(&mut self, change: impl FnOnce(&mut KernelPlan), filter: &[u16]) {
        self.generation += 1;
        let mut plan = plan(self.generation, filter.iter().copied());
        change(&mut plan);
        self.applier.apply(plan).await;
    }

    fn heartbeat(&self) {
        let payload = heartbeat(self.rules.id);
        let group = MacAddr([3, 0x4e, 0x4c, 0x48, 0, 5]);
        assert!(self.inside.send(&frame(group, OWN, self.rules.ethertype, &payload)));
    }

    /// A UDP packet of a client for the service.
    fn udp(&self, client: &str, port: u16) {
        self.client_sends(
            client,
            UDP,
            &[[0x30, 0x39], port.to_be_bytes(), [0, 8], [0, 0]].concat(),
        );
    }

    fn client_sends(&self, client: &str, protocol: u8, payload: &[u8]) {
        self.fragment(client, protocol, 0, payload);
    }

    fn fragment(&self, client: &str, protocol: u8, fragment: u16, payload: &[u8]) {
        let client: IpAddr = client.parse().unwrap();
        self.to(CLUSTER, packet(client, service(client), protocol, fragment, payload));
    }

    fn to(&self, mac: MacAddr, packet: Vec<u8>) {
        let ethertype = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
        assert!(self.outside.send(&frame(mac, ROUTER, ethertype, &packet)));
    }

    /// The sources seen since this was last asked, once those wanted are there or time is over.
    async fn seen(&self, wanted: &[&str]) -> BTreeSet<String> {
        let read = || -> BTreeSet<String> {
            let listing = nft(&["list", "table", "inet", "seen"], "").unwrap();
            let elements = listing.split("elements = {").skip(1);
            let words = elements.flat_map(|rest| rest.split('}').next().unwrap().split(','));
            words.map(|word| word.trim().to_owned()).collect()
        };
        let wanted: BTreeSet<String> = wanted.iter().map(|&s| s.to_owned()).collect();
        if !wanted.is_empty() {
            until(&format!("{wanted:?} to come through"), || read().is_superset(&wanted)).await;
        }
        tokio::time::sleep(SETTLE).await;
        let seen = read();
        nft(&["-f", "-"], "flush set inet seen v4\nflush set inet seen v6\n").unwrap();
        seen
    }

    async fn expect(&self, wanted: &[&str]) {
        let seen = self.seen(wanted).await;
        assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
    }
}

fn service(client: IpAddr) -> IpAddr {
    if client.is_ipv4() { "192.0.2.50".parse().unwrap() } else { "2001:db8::50".parse().unwrap() }
}

/// Gives every packet that waits, and `wanted` of them at least, this verdict. Their marks.
async fn answer(queue: &mut Queue, wanted: usize, accept: bool) -> Vec<u32> {
    let mut marks = Vec::new();
    while marks.len() < wanted {
        let ready = tokio::time::timeout(Duration::from_secs(10), queue.readable());
        ready.await.expect("a packet in the queue").unwrap();
        marks.extend(drain(queue, accept));
    }
    marks
}

fn drain(queue: &mut Queue, accept: bool) -> Vec<u32> {
    let mut batch = Batch::default();
    queue.try_recv(&mut batch, 1000).unwrap();
    let packets: Vec<_> = batch.iter().map(|(packet, _)| (packet.id, packet.mark)).collect();
    for (id, _) in &packets {
        queue.verdict(*id, accept).unwrap();
    }
    queue.flush().unwrap();
    packets.into_iter().map(|(_, mark)| mark).collect()
}

#[test]
fn the_gate_is_open_while_heartbeats_leave() {
    in_namespace(&format!("{MODULE}::the_gate_is_open_while_heartbeats_leave"), async || {
        let mut plan = plan(1, []);
        plan.remember = vec!["198.51.100.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        let world = World::with(rules("nlb0", 5), plan).await;
        let try_it = || {
            world.udp("198.51.100.7", 53);
            world.udp("2001:db8::7", 53);
        };
        try_it();
        world.expect(&[]).await;
        // Other frames of ours, and heartbeats of others, open nothing.
        for (at, other) in [(2, 2), (3, 2), (5, 6), (8, 9), (15, 9)] {
            let mut payload = heartbeat(world.rules.id);
            payload[at] = other;
            assert!(world.inside.send(&frame(CLUSTER, OWN, 0x88b5, &payload)));
        }
        try_it();
        world.expect(&[]).await;
        world.heartbeat();
        try_it();
        world.expect(&["198.51.100.7", "2001:db8::7"]).await;
        tokio::time::sleep(world.rules.lease).await;
        try_it();
        world.expect(&[]).await;
        // A packet for the service in a frame to somebody else than the cluster passes no stage.
        world.heartbeat();
        let own =
            packet("198.51.100.7".parse().unwrap(), service(IpAddr::from([0; 4])), UDP, 0, &[0; 8]);
        world.to(MacAddr([0xff; 6]), own);
        world.expect(&[]).await;
    });
}

#[test]
fn nothing_leaves_that_binds_a_service_address_to_a_real_mac() {
    let name = "nothing_leaves_that_binds_a_service_address_to_a_real_mac";
    in_namespace(&format!("{MODULE}::{name}"), async || {
        let world = World::new([]).await;
        let everybody = MacAddr([0xff; 6]);
        let arp = |sender_mac: MacAddr, sender: [u8; 4], target: [u8; 4]| {
            let head = [0, 1, 8, 0, 6, 4, 0, 1];
            let body = [&head[..], &sender_mac.0, &sender, &[0; 6], &target].concat();
            world.inside.send(&frame(everybody, OWN, 0x0806, &body))
        };
        let (service4, other4) = ([192, 0, 2, 50], [192, 0, 2, 1]);
        assert!(!world.inside.send(&frame(everybody, CLUSTER, 0x88b6, &[0; 46])));
        assert!(!world.inside.send(&frame(everybody, CLUSTER, 0x88b5, b"NL\x01\x01\x00\x05")));
        assert!(!arp(OWN, service4, other4), "a request from a service address");
        assert!(!arp(OWN, service4, service4), "gratuitous ARP");
        assert!(arp(CLUSTER, service4, other4), "the daemon's answer");
        assert!(arp(OWN, other4, service4), "a request for a service address");
        assert!(arp(OWN, [0; 4], [192, 0, 2, 254]), "a probe");

        let nd = |from: &str, kind: u8, target: &str, option: &[u8]| {
            let target: core::net::Ipv6Addr = target.parse().unwrap();
            let body = [&[kind, 0, 0, 0, 0, 0, 0, 0], &target.octets()[..], option].concat();
            let to = "ff02::1".parse().unwrap();
            let packet = packet(from.parse().unwrap(), to, 58, 0, &body);
            world.inside.send(&frame(everybody, OWN, 0x86dd, &packet))
        };
        let (service6, other6, link) = ("2001:db8::50", "2001:db8::1", "fe80::1");
        let (with_cluster, with_own) =
            ([&[2, 1][..], &CLUSTER.0].concat(), [&[2, 1][..], &OWN.0].concat());
        let from_own = [&[1, 1][..], &OWN.0].concat();
        assert!(nd(link, 136, service6, &with_cluster), "the daemon's answer");
        assert!(!nd(link, 136, service6, &with_own), "the kernel's answer");
        assert!(!nd(link, 136, service6, &[]), "an answer with no address at all");
        assert!(nd(link, 136, other6, &with_own), "the kernel's answer for another address");
        assert!(!nd(service6, 135, other6, &from_own), "a request from a service address");
        assert!(nd(link, 135, other6, &from_own), "a request from another address");
        assert!(nd(link, 135, service6, &from_own), "a request for a service address");
        assert!(!nd("::", 135, service6, &[]), "duplicate address detection");
        assert!(nd("::", 135, other6, &[]), "duplicate address detection of another address");
        assert!(!nd(service6, 133, other6, &from_own), "a router solicitation");
    });
}

#[test]
fn new_clients_go_to_the_queue_and_known_ones_past_it() {
    in_namespace(
        &format!("{MODULE}::new_clients_go_to_the_queue_and_known_ones_past_it"),
        async || {
            let mut world = World::new(0..4096).await;
            let client: u32 = Mark::Client.asked(5);
            let error = Mark::Error.asked(5);
            // Nobody listens: dropped.
            world.heartbeat();
            world.udp("198.51.100.1", 53);
            world.expect(&[]).await;

            let mut queue = Queue::open(5, 1000, 100).unwrap();
            world.heartbeat();
            world.udp("198.51.100.1", 53);
            world.udp("2001:db8::1", 53);
            assert_eq!(answer(&mut queue, 2, true).await, [client, client]);
            world.expect(&["198.51.100.1", "2001:db8::1"]).await;
            let kept: Vec<IpAddr> =
                vec!["198.51.100.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
            assert_eq!(world.applier.clients().await, kept);
            // Known now: no packet in the queue.
            world.heartbeat();
            world.udp("198.51.100.1", 53);
            world.udp("2001:db8::1", 53);
            world.expect(&["198.51.100.1", "2001:db8::1"]).await;
            assert_eq!(drain(&mut queue, true), [0_u32; 0]);

            // Refused: nothing comes through, nobody is kept.
            world.heartbeat();
            world.udp("198.51.100.2", 53);
            answer(&mut queue, 1, false).await;
            world.expect(&[]).await;
            assert_eq!(world.applier.clients().await, kept);

            // Errors are asked about whoever reports them, also by a router that is a client itself,
            // and the router is not kept.
            world.heartbeat();
            for (router, kind, protocol) in [
                ("198.51.100.254", 3, 1),
                ("198.51.100.1", 11, 1),
                ("2001:db8::fe", 2, 58),
                ("2001:db8::fe", 1, 58),
            ] {
                world.client_sends(router, protocol, &[kind, 4, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0]);
            }
            assert_eq!(answer(&mut queue, 4, true).await, [error; 4]);
            world.expect(&["198.51.100.1", "198.51.100.254", "2001:db8::fe"]).await;
            assert_eq!(world.applier.clients().await, kept);

            // Neighbour discovery that asks the cluster MAC is for the daemon's socket.
            world.heartbeat();
            for (kind, comes) in [(135, &["2001:db8::9"][..]), (136, &[]), (133, &[])] {
                world.client_sends("2001:db8::9", 58, &[kind, 0, 0, 0, 0, 0, 0, 0]);
                world.expect(comes).await;
            }
            assert_eq!(drain(&mut queue, true), [0_u32; 0]);

            // Other addresses behind the cluster MAC are not served.
            let stray = packet(kept[0], "192.0.2.51".parse().unwrap(), UDP, 0, &[0; 8]);
            world.to(CLUSTER, stray);
            world.expect(&[]).await;

            // Everything to the queue: no client is known, none is learned.
            world.apply(|plan| plan.divert = true, &[]).await;
            world.heartbeat();
            world.udp("198.51.100.1", 53);
            world.udp("198.51.100.3", 53);
            world.client_sends("198.51.100.254", 1, &[3, 4, 0, 0, 0, 0, 5, 0]);
            assert_eq!(answer(&mut queue, 3, true).await, [Mark::Divert.asked(5); 3]);
            world.expect(&["198.51.100.1", "198.51.100.254", "198.51.100.3"]).await;
            assert_eq!(world.applier.clients().await, kept, "kept, but asked about");
            world
                .apply(
                    |plan| {
                        plan.divert = true;
                        plan.flush = true
                    },
                    &[],
                )
                .await;
            assert_eq!(world.applier.clients().await, Vec::<IpAddr>::new());
        },
    );
}

#[test]
fn ports_that_are_not_served_and_fragments() {
    in_namespace(&format!("{MODULE}::ports_that_are_not_served_and_fragments"), async || {
        let mut plan = plan(1, []);
        let clients = [
            "198.51.100.1",
            "198.51.100.2",
            "198.51.100.3",
            "2001:db8::1",
            "2001:db8::2",
            "2001:db8::3",
        ];
        plan.remember = clients.map(|client| client.parse().unwrap()).to_vec();
        let ports = vec![Port::Tcp(80), Port::Udp(53)];
        let world = World::with(ClusterRules { ports, ..rules("nlb0", 5) }, plan).await;
        world.heartbeat();
        for [one, two, three] in [[0, 1, 2], [3, 4, 5]].map(|of| of.map(|i: usize| clients[i])) {
            world.udp(one, 53);
            world.udp(two, 54);
            let tcp =
                |port: u8| [0x30, 0x39, 0, port, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0];
            world.client_sends(two, TCP, &tcp(53));
            world.client_sends(three, TCP, &tcp(80));
        }
        world.expect(&["198.51.100.1", "198.51.100.3", "2001:db8::1", "2001:db8::3"]).await;
        world.heartbeat();
        // Pings are answered whatever the ports; later fragments have none.
        world.client_sends("198.51.100.1", 1, &[8, 0, 0, 0, 0, 1, 0, 1]);
        world.client_sends("2001:db8::1", 58, &[128, 0, 0, 0, 0, 1, 0, 1]);
        world.fragment("198.51.100.2", UDP, 0x00b9, &[0; 16]);
        world.fragment("2001:db8::2", UDP, 0x05c8, &[0; 16]);
        // A first fragment has ports, and these are not served.
        world.fragment("198.51.100.3", UDP, 0x2000, &[0, 1, 0, 54, 0, 99, 0, 0]);
        world.fragment("2001:db8::3", UDP, 0x0001, &[0, 1, 0, 54, 0, 99, 0, 0]);
        // Other protocols are not served when ports are named.
        world.client_sends("198.51.100.3", 47, &[0; 16]);
        world.expect(&["198.51.100.1", "198.51.100.2", "2001:db8::1", "2001:db8::2"]).await;
    });
}

/// The kernel's filter says one bit about a bucket; twelve filters say the bucket.
#[test]
fn the_kernel_hashes_every_address_into_the_bucket_that_we_do() {
    let name = "the_kernel_hashes_every_address_into_the_bucket_that_we_do";
    in_namespace(&format!("{MODULE}::{name}"), async || {
        const EACH: usize = 10_000;
        const SEED: u32 = 0x9e37_79b9;
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let mut clients = BTreeSet::new();
        while clients.len() < EACH {
            let [a, b, c, d, ..] = next().to_be_bytes();
            clients.insert(IpAddr::from([a, b, c, d]));
        }
        while clients.len() < 2 * EACH {
            let bytes = u128::from(next()) << 64 | u128::from(next());
            clients.insert(IpAddr::from(bytes.to_be_bytes()));
        }
        let mut world = World::new([]).await;
        // Behind the stage, before the packet goes anywhere else.
        let mark = Mark::Client.waiting(5);
        nft(
            &["-f", "-"],
            &format!(
                "add chain inet seen i {{ type filter hook ingress device lan0 priority -400; }}
                 add rule inet seen i meta mark {mark} update @v4 {{ ip saddr }}
                 add rule inet seen i meta mark {mark} update @v6 {{ ip6 saddr }}\n"
            ),
        )
        .unwrap();
        let mut kernel = std::collections::BTreeMap::<IpAddr, usize>::new();
        for bit in 0..12 {
            let filter: Vec<u16> = (0..4096).filter(|bucket| bucket >> bit & 1 == 1).collect();
            world.apply(|plan| plan.seed = SEED, &filter).await;
            for (number, client) in clients.iter().enumerate() {
                if number % 500 == 0 {
                    world.heartbeat();
                }
                let packet = packet(*client, service(*client), UDP, 0, &[0, 1, 0, 1, 0, 8, 0, 0]);
                world.to(CLUSTER, packet);
            }
            for client in world.seen(&[]).await {
                *kernel.entry(client.parse().unwrap()).or_default() |= 1 << bit;
            }
        }
        for client in clients {
            let ours = hash::bucket(client, SEED).index();
            assert_eq!(kernel.remove(&client).unwrap_or(0), ours, "{client}");
        }
        assert!(kernel.is_empty());
    });
}
