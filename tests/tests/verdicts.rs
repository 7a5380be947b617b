//! The kernel and this project's own functions must agree, on every address and every packet.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nlb_protocol::hash;
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::report;
use nlb_tests::inject::{Arrivals, Injector, ethernet, ip, udp};
use nlb_tests::lab::{Lab, LabOptions, SERVICE4, SERVICE6, server_mac};
use nlb_tests::netns::Namespace;
use nlb_tests::random::Random;
use nlb_tests::spec::ClusterSpec;
use nlb_tests::traffic::{Packet, SENDER, Traffic};
use nlb_tests::wait::wait_for;
use serde_json::Value;

const WEIGHTS: [u16; 3] = [100, 100, 200];
const MEMBERS: [(usize, u16); 3] = [(1, 100), (2, 100), (3, 200)];
/// Random packets that both paths judge.
const PACKETS: usize = 100_000;
/// Addresses of each family whose hash is compared.
const ADDRESSES: usize = 10_000;
/// What a node takes of ICMP errors.
const ERRORS_A_SECOND: u32 = 1000;
/// Packets on their way at a time: far below what the queue to user space holds, and what a
/// processor takes in for a bridge and three servers.
const BURST: usize = 100;

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn the_kernel_hashes_as_we_do() -> Result<()> {
    let lab = Lab::new(&LabOptions { servers: 1, ..LabOptions::default() })?;
    let mut random = Random::new(11);
    for seed in [0, 1, 0xffff_ffff, random.next32()] {
        for four in [true, false] {
            compare(&lab, seed, four, &mut random)?;
        }
    }
    Ok(())
}

/// Lets the kernel hash the source of 10,000 packets, and compares hash and bucket.
fn compare(lab: &Lab, seed: u32, four: bool, random: &mut Random) -> Result<()> {
    let (family, kind) = if four { ("ip", "ipv4_addr") } else { ("ip6", "ipv6_addr") };
    // Scaled to 2^32 - 1, a hash comes out as itself less one (zero stays).
    lab.servers[0].feed(
        &["nft", "-f", "-"],
        &format!(
            "table {family} hashes {{
                set whole {{ type {kind} . mark; flags dynamic; size 65536; }}
                set bucket {{ type {kind} . mark; flags dynamic; size 65536; }}
                chain prerouting {{
                    type filter hook prerouting priority -300;
                    iifname eth0 udp dport 9 meta mark set jhash {family} saddr \
                        mod 4294967295 seed {seed:#x} update @whole {{ {family} saddr . meta mark }}
                    iifname eth0 udp dport 9 meta mark set jhash {family} saddr \
                        mod 4096 seed {seed:#x} update @bucket {{ {family} saddr . meta mark }} drop
                }}
            }}"
        ),
    )?;
    let injector = Injector::new(&lab.outsider, "eth0")?;
    let service: IpAddr = if four { SERVICE4.into() } else { SERVICE6.into() };
    let mut sources = HashSet::new();
    while sources.len() < ADDRESSES {
        let source: IpAddr = if four {
            std::net::Ipv4Addr::from(random.next32() % 0xdf00_0000 + 0x0100_0000).into()
        } else {
            let low = u128::from(random.next()) << 64 | u128::from(random.next());
            std::net::Ipv6Addr::from(0x24 << 120 | low >> 6).into()
        };
        if !source.is_loopback() && sources.insert(source) {
            let (ethertype, packet) = ip(source, service, 17, &udp(9, 9, b""));
            injector.send(&ethernet(server_mac(1), server_mac(9), ethertype, &packet))?;
        }
    }
    for (set, whole) in [("whole", true), ("bucket", false)] {
        let seen = wait_for(&format!("{ADDRESSES} hashes"), Duration::from_secs(10), || {
            let seen = elements(&lab.servers[0], &format!("{family} hashes {set}"));
            let seen = seen.map_err(|error| format!("{error:#}"))?;
            if seen.len() == ADDRESSES { Ok(seen) } else { Err(format!("{}", seen.len())) }
        })?;
        for element in seen {
            let pair = element["concat"].as_array().context("concat")?;
            let source: IpAddr = pair[0].as_str().context("address")?.parse()?;
            let mark = pair[1].as_u64().context("mark")?;
            let ours = if whole {
                let bytes = match source {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                };
                u64::from(hash::jhash(&bytes, seed).saturating_sub(1))
            } else {
                hash::bucket(source, seed).index() as u64
            };
            ensure!(ours == mark, "{source}, seed {seed:#x}: {set} {mark} in the kernel, {ours}");
        }
    }
    lab.servers[0].sh(&format!("nft delete table {family} hashes")).map(drop)
}

/// The elements of a set, as nft's JSON has them.
fn elements(server: &Namespace, set: &str) -> Result<Vec<Value>> {
    let text = server.sh(&format!("nft -j list set {set}"))?;
    let list: Value = serde_json::from_str(&text)?;
    let list = list["nftables"].as_array().context("nftables")?;
    let elements = list.iter().find_map(|entry| entry["set"]["elem"].as_array());
    Ok(elements.cloned().unwrap_or_default())
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn both_paths_give_the_same_verdicts() {
    let mut seen = Vec::new();
    for offload in [true, false] {
        let spec = ClusterSpec::default().offload(offload);
        Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
            seen.push(judge(cluster)?);
            Ok(())
        });
    }
    for source in seen[0].keys().chain(seen[1].keys()) {
        let (kernel, user) = (seen[0].get(source), seen[1].get(source));
        assert_eq!(kernel, user, "{source}: taken in the kernel, in user space");
    }
}

/// How many packets of each source each node took.
type Taken = BTreeMap<IpAddr, BTreeMap<usize, u64>>;

/// Sends the random packets and records who took which.
fn judge(cluster: &mut Cluster) -> Result<Taken> {
    // Behind the stage, packets are counted by source and end there: nobody answers.
    for server in &cluster.lab.servers {
        server.feed(
            &["nft", "-f", "-"],
            "table inet verdicts {
                set four { type ipv4_addr; flags dynamic; size 262144; counter; }
                set six { type ipv6_addr; flags dynamic; size 262144; counter; }
                chain prerouting {
                    type filter hook prerouting priority 300;
                    iifname != eth0 accept
                    ip saddr 192.0.2.0/24 accept
                    ip6 saddr { 2001:db8::/64, fe80::/10, :: } accept
                    update @four { ip saddr } drop
                    update @six { ip6 saddr } drop
                }
            }",
        )?;
    }
    let injector = Injector::new(&cluster.lab.outsider, "eth0")?;
    let servers = cluster.lab.servers.iter();
    let arrivals = servers.map(|server| Arrivals::of(server, "eth0", SENDER));
    let mut arrivals = arrivals.collect::<Result<Vec<_>>>()?;
    let traffic = Traffic::new(cluster.spec.mac(), 23);
    let mut expected: Taken = BTreeMap::new();
    let mut kinds: HashMap<&str, usize> = HashMap::new();
    // The kernel lets through so many ICMP errors a second and no more (SPEC 7.2): a little less.
    let (begun, mut errors) = (Instant::now(), 0);
    for (number, packet) in traffic.take(PACKETS).enumerate() {
        let Packet { frame, source, client, kind } = packet;
        injector.send(&frame)?;
        *kinds.entry(kind).or_default() += 1;
        errors += u32::from(kind.ends_with("ICMP error"));
        let due = begun + Duration::from_secs(10) * errors / (9 * ERRORS_A_SECOND);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if let Some(client) = client {
            let owner = cluster.owner(client, &MEMBERS).context("owner")?;
            *expected.entry(source).or_default().entry(owner).or_default() += 1;
        }
        if number % BURST == BURST - 1 {
            wait_judged(cluster, &mut arrivals, number + 1)?;
        }
    }
    wait_judged(cluster, &mut arrivals, PACKETS)?;
    let mut taken: Taken = BTreeMap::new();
    for (index, server) in cluster.lab.servers.iter().enumerate() {
        for set in ["inet verdicts four", "inet verdicts six"] {
            for element in elements(server, set)? {
                let source: IpAddr = element["elem"]["val"].as_str().context("address")?.parse()?;
                let count = element["elem"]["counter"]["packets"].as_u64().context("counter")?;
                *taken.entry(source).or_default().entry(index + 1).or_default() += count;
            }
        }
        server.sh("nft delete table inet verdicts")?;
    }
    report(&format!("offload {}: judged {kinds:?}", cluster.spec.offload));
    let wrong: Vec<_> = expected
        .keys()
        .chain(taken.keys())
        .filter(|source| expected.get(*source) != taken.get(*source))
        .take(5)
        .map(|source| (source, expected.get(source), taken.get(source)))
        .collect();
    let drops = cluster.nodes.iter().map(|node| Ok(node.status()?.drops));
    let drops = drops.collect::<Result<Vec<_>>>()?;
    ensure!(wrong.is_empty(), "source, owner by table, taken by: {wrong:?}; dropped: {drops:?}");
    Ok(taken)
}

/// Waits until every server has got all that was `sent`, and no packet is on its way to user space
/// on any; none may have been lost there.
fn wait_judged(cluster: &Cluster, arrivals: &mut [Arrivals], sent: usize) -> Result<()> {
    for (server, arrivals) in cluster.lab.servers.iter().zip(arrivals) {
        wait_for("the frames on the wire", Duration::from_secs(10), || match arrivals.seen() {
            seen if seen == sent => Ok(()),
            seen => Err(format!("{seen} of {sent}")),
        })?;
        wait_for("the queue to be empty", Duration::from_secs(10), || {
            let path = "/proc/thread-self/net/netfilter/nfnetlink_queue";
            let text = server.run(|| std::fs::read_to_string(path));
            let text = text.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
            for line in text.lines() {
                let fields: Vec<&str> = line.split_whitespace().collect();
                // Queue, owner, waiting, mode, range, dropped by the kernel, dropped on the way.
                if fields.get(2) != Some(&"0") || fields.get(5..7) != Some(&["0", "0"]) {
                    return Err(line.to_owned());
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}
