//! A bridge as interface, whose ports' packets meet the hooks of IP before they are the bridge's own
//! (`bridge-nf-call-iptables`): prerouting is not called again for them.

use super::*;

const CALL: [&str; 2] = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"];

/// The cluster's interface is a bridge, and the node has the service addresses.
fn make_bridge() {
    ip("link add lan0 index 7 type bridge");
    ip("link add port0 type veth peer name peer0");
    ip("link set port0 master lan0");
    for link in ["lan0", "port0", "peer0"] {
        ip(&format!("link set {link} up"));
    }
    // As the cluster's sockets do: the cluster MAC is none of the bridge's own.
    ip("link set lan0 promisc on");
    ip("address add 192.0.2.50/32 dev lo");
    ip("address add 2001:db8::50/128 dev lo nodad");
    for one in ["all", "lan0"] {
        let file = format!("/proc/sys/net/ipv4/conf/{one}/rp_filter");
        std::fs::write(file, "0").unwrap();
    }
    ip("route add 198.51.100.0/24 dev lan0");
}

impl World {
    /// Counts packets for the service where they are delivered.
    async fn on_bridge(plan: KernelPlan) -> Self {
        make_bridge();
        let applier = Applier::go_on([]).await;
        let seen = "
            add table inet seen
            add set inet seen v4 { type ipv4_addr; flags dynamic; size 65535; }
            add set inet seen v6 { type ipv6_addr; flags dynamic; size 65535; }
            add chain inet seen c { type filter hook input priority 0; policy accept; }
            add rule inet seen c ip daddr 192.0.2.50 update @v4 { ip saddr }
            add rule inet seen c ip6 daddr 2001:db8::50 update @v6 { ip6 saddr }\n";
        nft(&["-f", "-"], seen).unwrap();
        Self::over(applier, rules("nlb0", 5), plan).await
    }
}

#[test]
fn where_prerouting_is_left_out_nobody_is_answered_unasked() {
    let name = "where_prerouting_is_left_out_nobody_is_answered_unasked";
    in_namespace(&format!("{MODULE}::bridged::{name}"), async || {
        let kept = ["198.51.100.7", "2001:db8::7"];
        let remember = kept.map(|client| client.parse().unwrap()).to_vec();
        let world = World::on_bridge(KernelPlan { remember, ..plan(1, 0..4096) }).await;
        let mut queue = Queue::open(5, 1000, 100).unwrap();
        let new = ["198.51.100.1", "2001:db8::1"];
        for calls in ["0", "1"] {
            for name in CALL {
                let file = format!("/proc/sys/net/bridge/{name}");
                if std::fs::write(file, calls).is_err() && calls == "1" {
                    eprintln!("{name}: SKIPPED: this kernel has no br_netfilter");
                    return;
                }
            }
            world.heartbeat();
            new.iter().chain(&kept).for_each(|client| world.udp(client, 53));
            if calls == "0" {
                answer(&mut queue, 2, false).await;
            }
            world.expect(&kept).await;
            assert_eq!(drain(&mut queue, true), [0_u32; 0]);
        }
        let mut counters = Counters::open().unwrap();
        let counted = counters.read().await.unwrap();
        assert_eq!(counted["nlb0"][&Fate::Unasked].packets, 2, "{counted:?}");
    });
}
