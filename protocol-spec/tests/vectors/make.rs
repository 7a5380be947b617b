//! Makes the files of vectors. Everything random comes from a fixed stream, so that making them
//! again changes nothing.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nlb_protocol::auth::{KEY_LEN, KeyRing};
use nlb_protocol::frame::{Header, Settings};
use nlb_protocol::hash::{client_hash, jhash, scale};
use nlb_protocol::table::{Table, View};
use nlb_protocol::{
    Bucket, ClusterId, ClusterMac, Fingerprinter, Incarnation, MacMode, NodeId, Sequence, Weight,
    addr,
};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::fields::{hex, long};
use crate::{frames, packets};

/// The keys of the vectors: the bytes 0 to 31, and three more.
pub(crate) const KEYS: [[u8; KEY_LEN]; 4] = {
    let mut keys = [[0xff; KEY_LEN], [0x11; KEY_LEN], [0xa5; KEY_LEN], [0x00; KEY_LEN]];
    let mut i = 0;
    while i < KEY_LEN {
        keys[0][i] = i as u8;
        i += 1;
    }
    keys
};

/// Numbers that look random and are always the same (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Every file of vectors: its name and its text.
pub(crate) fn all() -> Vec<(&'static str, String)> {
    [
        ("frames.json", frames::frames()),
        ("hashes.json", hashes()),
        ("tables.json", tables()),
        ("digests.json", digests()),
        ("keys.json", keys()),
        ("addresses.json", addresses()),
        ("packets.json", packets::packets()),
        ("settings.json", settings()),
    ]
    .map(|(name, value)| (name, render(&value)))
    .to_vec()
}

/// JSON with one item of each list in one line, so that a changed vector is a changed line.
fn render(value: &Value) -> String {
    let lists = value.as_object().unwrap().iter().map(|(name, items)| {
        let lines: Vec<String> =
            items.as_array().unwrap().iter().map(|item| format!("  {item}")).collect();
        format!("\"{name}\": [\n{}\n]", lines.join(",\n"))
    });
    format!("{{\n{}\n}}\n", lists.collect::<Vec<_>>().join(",\n"))
}

fn settings() -> Value {
    let sets: [&[&str]; 5] = [
        &[],
        &["192.0.2.50"],
        &["192.0.2.50", "192.0.2.9", "2001:db8::50", "::"],
        &["2001:db8::50", "::", "192.0.2.50", "192.0.2.9", "::", "192.0.2.9"],
        &["::ffff:192.0.2.50"],
    ];
    let addresses = sets.map(|set| {
        let parsed: Vec<IpAddr> = set.iter().map(|address| address.parse().unwrap()).collect();
        json!({"set": set, "digest": Settings::digest_of_addresses(&parsed)})
    });
    let sets: [&[(u8, u16)]; 5] = [
        &[],
        &[(6, 80)],
        &[(17, 80)],
        &[(6, 443), (6, 80), (17, 53)],
        &[(17, 53), (6, 80), (6, 80)],
    ];
    let ports = sets.map(|set| json!({"set": set, "digest": Settings::digest_of_ports(set)}));
    json!({ "addresses": addresses, "ports": ports })
}

fn hashes() -> Value {
    let mut random = Random(2);
    let seeds = [0, 1, 0xffff_ffff, 0x0bad_cafe];
    let edge = ["0.0.0.0", "0.0.0.1", "127.0.0.1", "192.0.2.50", "255.255.255.255"]
        .into_iter()
        .chain(["::", "::1", "2001:db8::50", "::ffff:192.0.2.50", "ffff::ffff"])
        .map(|address| address.parse::<IpAddr>().unwrap());
    let mut clients: Vec<(IpAddr, u32)> =
        edge.flat_map(|address| seeds.map(|seed| (address, seed))).collect();
    for _ in 0..128 {
        clients.push((Ipv4Addr::from(random.next() as u32).into(), random.next() as u32));
        let address = u128::from(random.next()) << 64 | u128::from(random.next());
        clients.push((Ipv6Addr::from(address).into(), random.next() as u32));
    }
    let clients = clients.into_iter().map(|(client, seed)| {
        let hash = client_hash(client, seed);
        let bucket = scale(hash).index();
        json!({"address": client.to_string(), "seed": seed, "hash": hash, "bucket": bucket})
    });
    let strings = (0..=40).map(|length| {
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        let seed = random.next() as u32;
        json!({"hex": hex(&bytes), "seed": seed, "hash": jhash(&bytes, seed)})
    });
    json!({ "clients": clients.collect::<Vec<_>>(), "strings": strings.collect::<Vec<_>>() })
}

fn view(nodes: usize, random: &mut Random, weight: impl Fn(usize, &mut Random) -> u64) -> View {
    // The same nodes everywhere: a slow implementation computes their costs once.
    let mut ids = Random(6);
    View::new((0..nodes).map(|i| {
        let weight = u16::try_from(weight(i, random)).unwrap();
        (NodeId(ids.next()), Weight::new(weight).unwrap())
    }))
}

fn tables() -> Value {
    let mut random = Random(3);
    let mut all = vec![];
    for nodes in 1..=64 {
        let equal = view(nodes, &mut random, |_, _| 100);
        let unequal = view(nodes, &mut random, |_, random| 20 + random.below(400));
        let extreme = view(nodes, &mut random, |i, _| if i % 3 == 0 { 1 } else { 65_535 });
        all.extend([("equal", equal), ("unequal", unequal), ("extreme", extreme)]);
    }
    for nodes in [2, 16, 64] {
        all.push(("any", view(nodes, &mut random, |_, random| 1 + random.below(65_535))));
    }
    let small = [(1, 100), (2, 100), (3, 200)];
    let small = small.map(|(id, weight)| (NodeId(id), Weight::new(weight).unwrap()));
    all.push(("appendix A", View::new(small)));
    let tables = all.into_iter().map(|(weights, view)| table(weights, &view));
    json!({ "tables": tables.collect::<Vec<_>>() })
}

fn table(weights: &str, view: &View) -> Value {
    let table = Table::build(view);
    let members: Vec<Value> = view
        .members()
        .iter()
        .map(|(id, weight)| json!([long(id.0), weight.get(), table.share(*id)]))
        .collect();
    let mut ids = Sha256::new();
    table.owners().for_each(|(_, owner)| ids.update(owner.0.to_be_bytes()));
    let mut fields = Map::new();
    fields.insert("weights".into(), weights.into());
    fields.insert("members".into(), members.into());
    fields.insert("owners_sha256".into(), hex(&ids.finalize()).into());
    if [2, 3, 5].contains(&view.members().len()) || weights == "any" {
        let position = |bucket| {
            let owner = table.owner(bucket).unwrap();
            view.members().iter().position(|(id, _)| *id == owner).unwrap() as u8
        };
        let positions: Vec<u8> = Bucket::all().map(position).collect();
        fields.insert("owners".into(), hex(&positions).into());
    }
    fields.into()
}

fn digests() -> Value {
    let mut random = Random(4);
    let mut views = vec![View::default()];
    for nodes in [1, 2, 3, 5, 17, 63, 64] {
        views.push(view(nodes, &mut random, |_, _| 100));
        views.push(view(nodes, &mut random, |_, random| 1 + random.below(65_535)));
    }
    let digests = views.iter().flat_map(|view| {
        [0, 0x0bad_cafe, u32::MAX].map(|seed| {
            let members: Vec<Value> =
                view.members().iter().map(|(id, w)| json!([long(id.0), w.get()])).collect();
            json!({"seed": seed, "members": members, "digest": long(view.digest(seed).0)})
        })
    });
    json!({ "digests": digests.collect::<Vec<_>>() })
}

fn keys() -> Value {
    let mut random = Random(5);
    let mut keys: Vec<(String, KeyRing)> =
        KEYS.iter().map(|key| (hex(key), frames::ring(&[*key]))).collect();
    keys.push((hex(b"nlbd insecure: no authentication"), KeyRing::insecure()));
    let (mut seeds, mut seals, mut tags) = (vec![], vec![], vec![]);
    for (key, ring) in &keys {
        for cluster in [0, 1, 0x4e01, 0xffff] {
            let seed = ring.hash_seed(ClusterId(cluster));
            seeds.push(json!({"key": key, "cluster": cluster, "seed": seed}));
        }
        for _ in 0..4 {
            let header = Header {
                cluster: ClusterId(random.next() as u16),
                node: NodeId(random.next()),
                incarnation: Incarnation(random.next()),
                sequence: Sequence(random.next()),
            };
            let seed = random.next() as u32;
            seals.push(json!({
                "key": key,
                "cluster": header.cluster.0,
                "node": long(header.node.0),
                "incarnation": long(header.incarnation.0),
                "sequence": long(header.sequence.0),
                "seed": seed,
                "sealed": ring.seal_seed(KeyRing::SIGNING, &header, seed),
            }));
            let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.next() as u8).collect();
            tags.push(json!({"key": key, "hex": hex(&bytes), "tag": hex(&ring.sign(&bytes))}));
        }
    }
    let fingerprints = (0..8).map(|i| {
        let (cluster, seed) = (ClusterId(random.next() as u16), random.next() as u32);
        let bytes: Vec<u8> = (0..i * 13).map(|_| random.next() as u8).collect();
        let fingerprint = long(Fingerprinter::new(cluster, seed).of(&[&bytes]));
        json!({"cluster": cluster.0, "seed": seed, "hex": hex(&bytes), "fingerprint": fingerprint})
    });
    let fingerprints = fingerprints.collect::<Vec<_>>();
    let orders: [&[usize]; 6] = [&[0], &[1], &[0, 1], &[1, 0], &[0, 1, 2], &[3, 2, 1, 0]];
    let names = orders.map(|order| {
        let keys: Vec<_> = order.iter().map(|key| KEYS[*key]).collect();
        let hexes: Vec<String> = keys.iter().map(|key| hex(key)).collect();
        json!({"keys": hexes, "name": frames::ring(&keys).name()})
    });
    json!({
        "seeds": seeds,
        "seals": seals,
        "tags": tags,
        "fingerprints": fingerprints,
        "names": names,
    })
}

fn addresses() -> Value {
    let addresses = [0, 1, 255, 256, 0x4e01, 0xffff].into_iter().map(|id| {
        let cluster = ClusterId(id);
        let mac = |mode| ClusterMac::derive(mode, cluster);
        let igmp = mac(MacMode::Igmp);
        json!({
            "cluster": id,
            "unicast": mac(MacMode::Unicast).mac.to_string(),
            "multicast": mac(MacMode::Multicast).mac.to_string(),
            "igmp": igmp.mac.to_string(),
            "group": igmp.group.unwrap().to_string(),
            "heartbeats": addr::heartbeat_group(cluster).to_string(),
        })
    });
    json!({ "addresses": addresses.collect::<Vec<_>>() })
}
