//! What to paste into switches and routers, by mode and vendor.

use serde::Serialize;

use crate::args::Mode;

/// The configuration of one kind of device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Which kind, and what for.
    pub device: String,
    /// Lines to paste; capitals stand for what only the administrator knows.
    pub lines: String,
}

/// The cluster MAC (SPEC 2.2), with letters where the id is not known.
pub(super) fn mac(mode: Mode, id: Option<u16>) -> String {
    let prefix = match mode {
        Mode::Unicast => "02:4e:4c:42",
        Mode::Multicast => "03:4e:4c:42",
        Mode::Igmp => "01:00:5e:7f",
    };
    format!("{prefix}:{}", id_bytes(id))
}

fn id_bytes(id: Option<u16>) -> String {
    match id.map(u16::to_be_bytes) {
        Some([high, low]) => format!("{high:02x}:{low:02x}"),
        None => "HH:LL".to_owned(),
    }
}

/// `0123.4567.89ab`, as Cisco and Arista write it.
fn dotted(mac: &str) -> String {
    let digits: Vec<char> = mac.chars().filter(|c| *c != ':').collect();
    digits.chunks(4).map(String::from_iter).collect::<Vec<_>>().join(".")
}

/// `0123-4567-89ab`, as Comware writes it.
fn dashed(mac: &str) -> String {
    dotted(mac).replace('.', "-")
}

/// The configuration for every kind of device.
#[must_use]
pub fn advice(mode: Mode, id: Option<u16>, mac: &str, addresses: &[String]) -> Vec<Network> {
    let mut all = vec![explanation(mode, id, mac)];
    match mode {
        Mode::Unicast => all.extend(unicast(mac)),
        Mode::Multicast => all.extend(multicast(mac)),
        Mode::Igmp => all.extend(igmp(mac, id)),
    }
    if mode != Mode::Unicast {
        all.extend(routers(mac, addresses));
    }
    all
}

fn network(device: &str, lines: String) -> Network {
    Network { device: device.to_owned(), lines }
}

fn explanation(mode: Mode, id: Option<u16>, mac: &str) -> Network {
    let unknown = if id.is_none() {
        "HH:LL is the cluster's number in hexadecimal digits: nlbctl status shows the cluster MAC, \
         --id N fills it in.\n"
    } else {
        ""
    };
    let words = match mode {
        Mode::Unicast => {
            "No server ever sends from it, so no switch learns it, and switches flood it: nothing \
             needs to be set.\nOnly where unknown unicast is blocked or limited, or ARP is inspected, \
             paste what is wrong there.\nA switch that is the router too must flood what it routes \
             to this address: see network.md in the documentation.\nA VLAN of its own for the servers and their router \
             keeps the flood from everybody else."
        }
        Mode::Multicast => {
            "Switches flood it as a multicast address. Routers refuse to learn it by ARP (RFC 1812, \
             3.3.2):\nthey need the static entry below."
        }
        Mode::Igmp => {
            "Switches that snoop send it to the servers only, as long as there is a querier. Routers \
             refuse\nto learn it by ARP (RFC 1812, 3.3.2): they need the static entry below."
        }
    };
    let lines = format!("The cluster MAC is {mac}.\n{unknown}{words}");
    network(&format!("Switches and routers, {} mode", mode.name()), lines)
}

fn unicast(mac: &str) -> Vec<Network> {
    let dot = dotted(mac);
    vec![
        network(
            "Cisco IOS, switch (what keeps the frames or the ARP answers away, where it is set)",
            "interface range PORTS-OF-THE-SERVERS\n no switchport block unicast\n no storm-control \
             unicast level\n ip arp inspection trust"
                .to_owned(),
        ),
        network(
            "Cisco NX-OS, switch",
            "interface ethernet PORTS-OF-THE-SERVERS\n  no switchport block unicast\n  no \
             storm-control unicast level\n  ip arp inspection trust"
                .to_owned(),
        ),
        network(
            "Juniper Junos, switch",
            "delete switch-options unknown-unicast-forwarding vlan VLAN\n\
             set forwarding-options storm-control-profiles default all no-unknown-unicast"
                .to_owned(),
        ),
        network(
            "Arista EOS, switch",
            format!(
                "no mac address-table static {dot} vlan VLAN drop\ninterface PORTS-OF-THE-SERVERS\n   \
                 no storm-control unknown-unicast"
            ),
        ),
        network(
            "HPE Comware, switch",
            "interface PORT\n undo unicast-suppression\n arp detection trust".to_owned(),
        ),
        network(
            "MikroTik RouterOS, bridge",
            "/interface bridge port set [find interface=PORT] unknown-unicast-flood=yes".to_owned(),
        ),
        network(
            "Linux bridge, ports of the servers",
            format!(
                "bridge link set dev PORT flood on learning on\n# never on a bridge: bridge fdb add \
                 {mac} dev PORT (it takes the service from all others)"
            ),
        ),
    ]
}

fn multicast(mac: &str) -> Vec<Network> {
    let (dot, dash) = (dotted(mac), dashed(mac));
    vec![
        network(
            "Cisco IOS, switch (to send to the servers only)",
            format!("mac address-table static {dot} vlan VLAN interface PORT1 PORT2 PORT3"),
        ),
        network(
            "Cisco NX-OS, switch (to send to the servers only)",
            format!(
                "vlan configuration VLAN\n  layer-2 multicast lookup mac\nmac address-table multicast \
                 {dot} vlan VLAN interface PORT1 PORT2 PORT3"
            ),
        ),
        network(
            "Juniper Junos, switch (floods it; keep it out of what storm control limits)",
            "set forwarding-options storm-control-profiles default all no-multicast".to_owned(),
        ),
        network(
            "Arista EOS, switch (to send to the servers only)",
            format!("mac address-table static {dot} vlan VLAN interface PORT1 PORT2 PORT3"),
        ),
        network(
            "HPE Comware, switch (to send to the servers only)",
            format!("mac-address multicast {dash} interface PORT1 PORT2 PORT3 vlan VLAN"),
        ),
        network(
            "MikroTik RouterOS, bridge (floods it; where it snoops, what is IP goes to routers' ports)",
            "/interface bridge port set [find interface=PORT] unknown-multicast-flood=yes \
             multicast-router=permanent"
                .to_owned(),
        ),
        network(
            "Linux bridge (floods it; with snooping and a querier, what is IP goes to routers' ports)",
            "bridge link set dev PORT mcast_flood on mcast_router 2".to_owned(),
        ),
    ]
}

fn igmp(mac: &str, id: Option<u16>) -> Vec<Network> {
    let group = match id.map(u16::to_be_bytes) {
        Some([high, low]) => format!("239.255.{high}.{low}"),
        None => "239.255.H.L".to_owned(),
    };
    let dot = dotted(mac);
    vec![
        network(
            "Cisco IOS, switch",
            format!(
                "ip igmp snooping\nip igmp snooping vlan VLAN\nip igmp snooping querier\n! or without \
                 a querier, for good:\nip igmp snooping vlan VLAN static {group} interface PORT1\n\
                 mac address-table static {dot} vlan VLAN interface PORT1 PORT2 PORT3"
            ),
        ),
        network(
            "Cisco NX-OS, switch",
            format!(
                "vlan configuration VLAN\n  ip igmp snooping querier ADDRESS\n  layer-2 multicast \
                 lookup mac\n  ! or without a querier, for good:\n  ip igmp snooping static-group \
                 {group} interface PORT1"
            ),
        ),
        network(
            "Juniper Junos, switch",
            format!(
                "set protocols igmp-snooping vlan VLAN l2-querier source-address ADDRESS\n\
                 set protocols igmp-snooping vlan VLAN interface PORT1 static group {group}"
            ),
        ),
        network(
            "Arista EOS, switch",
            format!(
                "ip igmp snooping\nip igmp snooping querier\nip igmp snooping querier address \
                 ADDRESS\nip igmp snooping vlan VLAN static {group} interface PORT1"
            ),
        ),
        network(
            "HPE Comware, switch",
            format!(
                "igmp-snooping\nvlan VLAN\n igmp-snooping enable\n igmp-snooping querier\ninterface \
                 PORT\n igmp-snooping static-group {group} vlan VLAN"
            ),
        ),
        network(
            "MikroTik RouterOS, bridge",
            "/interface bridge set [find name=BRIDGE] igmp-snooping=yes multicast-querier=yes\n\
             /interface bridge port set [find interface=PORT] multicast-router=permanent"
                .to_owned(),
        ),
        network(
            "Linux bridge",
            "ip link set dev BRIDGE type bridge mcast_snooping 1 mcast_querier 1\n\
             # ports as they are by default, so that the servers' announcements count:\n\
             bridge link set dev PORT mcast_router 1\n\
             # or for good, whatever is announced:\n\
             bridge link set dev PORT mcast_router 2"
                .to_owned(),
        ),
    ]
}

/// Static entries, for routers that take no multicast address from ARP or neighbour discovery.
fn routers(mac: &str, addresses: &[String]) -> Vec<Network> {
    let unknown = ["SERVICE-ADDRESS".to_owned()];
    let addresses = if addresses.is_empty() { &unknown[..] } else { addresses };
    let lines = |line: &dyn Fn(&str, bool) -> String| {
        let lines: Vec<_> =
            addresses.iter().map(|address| line(address, address.contains(':'))).collect();
        lines.join("\n")
    };
    let dot = dotted(mac);
    let cisco = lines(&|address, v6| match v6 {
        true => format!("ipv6 neighbor {address} VLAN-INTERFACE {dot}"),
        false => format!("arp {address} {dot} arpa"),
    });
    let juniper = lines(&|address, v6| match v6 {
        true => format!(
            "set interfaces irb unit VLAN family inet6 address ROUTER/LEN ndp {address} \
             multicast-mac {mac}"
        ),
        false => format!(
            "set interfaces irb unit VLAN family inet address ROUTER/LEN arp {address} \
             multicast-mac {mac}"
        ),
    });
    let arista = lines(&|address, v6| match v6 {
        true => format!("ipv6 neighbor {address} VlanVLAN {dot}"),
        false => format!("arp {address} {dot} arpa"),
    });
    let nexus = lines(&|address, v6| match v6 {
        true => format!("  ipv6 neighbor {address} {dot}"),
        false => format!("  ip arp {address} {dot}"),
    });
    let dash = dashed(mac);
    let comware = lines(&|address, v6| match v6 {
        true => format!("ipv6 neighbor {address} {dash} interface vlan-interface VLAN"),
        false => format!("arp static {address} {dash}"),
    });
    let mikrotik = lines(&|address, v6| match v6 {
        true => format!("/ipv6 neighbor add address={address} mac-address={mac} interface=IF"),
        false => format!("/ip arp add address={address} mac-address={mac} interface=IF"),
    });
    let linux = lines(&|address, _| {
        format!("ip neigh replace {address} lladdr {mac} dev IF nud permanent")
    });
    vec![
        network("Cisco IOS, router", cisco),
        network("Cisco NX-OS, router", format!("interface VlanVLAN\n{nexus}")),
        network("Juniper Junos, router", juniper),
        network("Arista EOS, router", arista),
        network("HPE Comware, router", format!("undo arp check enable\n{comware}")),
        network("MikroTik RouterOS, router", mikrotik),
        network("Linux, router", linux),
    ]
}
