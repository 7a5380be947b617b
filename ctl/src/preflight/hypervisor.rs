//! Whether this is a virtual machine, and which setting of its hypervisor lets the cluster MAC
//! through: they filter by the address that they gave to the machine.

use std::path::Path;

use super::{Finding, Level, read};
use crate::args::Mode;

/// What the firmware says, and what that means.
const FIRMWARE: [(&str, Kind); 10] = [
    ("vmware", Kind::Vmware),
    ("amazon", Kind::Cloud("AWS")),
    ("google", Kind::Cloud("Google Cloud")),
    ("digitalocean", Kind::Cloud("DigitalOcean")),
    ("openstack", Kind::OpenStack),
    ("microsoft", Kind::HyperV),
    ("xen", Kind::Xen),
    ("innotek", Kind::VirtualBox),
    ("qemu", Kind::Kvm),
    ("kvm", Kind::Kvm),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Vmware,
    Kvm,
    OpenStack,
    HyperV,
    Azure,
    Xen,
    VirtualBox,
    Cloud(&'static str),
    Metal,
}

/// Azure's own mark on a Hyper-V machine.
const AZURE_ASSET: &str = "7783-7084-3265-9085-8269-3286-77";

fn kind(root: &Path) -> Kind {
    let dmi = |name: &str| read(root, format!("sys/class/dmi/id/{name}")).unwrap_or_default();
    let firmware = ["sys_vendor", "product_name", "bios_vendor"].map(dmi).join(" ").to_lowercase();
    if dmi("chassis_asset_tag") == AZURE_ASSET {
        return Kind::Azure;
    }
    if let Some((_, kind)) = FIRMWARE.iter().find(|(word, _)| firmware.contains(word)) {
        // Microsoft makes machines of metal too.
        if *kind != Kind::HyperV || firmware.contains("virtual machine") {
            return *kind;
        }
    }
    match read(root, "sys/hypervisor/type").as_deref() {
        Some("xen") => Kind::Xen,
        _ if is_guest(root) => Kind::Kvm,
        _ => Kind::Metal,
    }
}

/// The processor tells a guest that it is one.
fn is_guest(root: &Path) -> bool {
    let cpu = read(root, "proc/cpuinfo").unwrap_or_default();
    cpu.lines().any(|line| {
        line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "hypervisor")
    })
}

/// What to set.
pub(super) fn finding(root: &Path, mode: Mode) -> Finding {
    let topic = "hypervisor";
    let warn = |found: &str, todo: &str| Finding::warn(topic, found, todo);
    match kind(root) {
        Kind::Metal => Finding::ok(topic, "none: this is a machine of its own"),
        Kind::Vmware => warn(
            "VMware",
            match mode {
                Mode::Unicast => {
                    "on the port group: Promiscuous mode: Accept (or MAC learning with unicast \
                     flooding, vSphere 6.7 and later),\nas it gives a machine only frames for its own \
                     address; the rest may stay Reject: nlbd sends from that alone"
                }
                Mode::Multicast | Mode::Igmp => {
                    "on the switch: Multicast filtering mode: Basic\nForged transmits, MAC address \
                     changes and Promiscuous mode may stay Reject"
                }
            },
        ),
        Kind::Kvm => warn(
            "KVM or QEMU",
            "libvirt: no <filterref> on the interface that judges ARP or IP: clean-traffic, \
             no-arp-spoofing, no-ip-spoofing\n\
             macvtap: trustGuestRxFilters='yes', or a bridge instead\n\
             bridge: flooding on at the guest's port: bridge link set dev vnetN flood on mcast_flood on\n\
             Proxmox: Firewall > Options > IP filter: No; not bridge-disable-mac-learning",
        ),
        Kind::OpenStack => warn(
            "OpenStack",
            "openstack port set --no-security-group --disable-port-security PORT\n\
             the network must flood unknown addresses to the ports of the servers",
        ),
        Kind::HyperV => warn(
            "Hyper-V",
            "in PowerShell on the host: Set-VMNetworkAdapter -VMName NAME -MacAddressSpoofing On\n\
             without it a machine gets no flooded frames; if nothing arrives all the same, take \
             Multicast or Igmp mode",
        ),
        Kind::Xen => warn(
            "Xen",
            "XenServer: xe vif-param-set uuid=VIF locking-mode=unlocked; the bridge must flood:\n\
             xe pif-param-set uuid=PIF other-config:promiscuous=on for the network's interface",
        ),
        Kind::VirtualBox => {
            warn("VirtualBox", "bridged adapter, Advanced > Promiscuous Mode: Allow All")
        }
        Kind::Azure => cloud("Azure"),
        Kind::Cloud(name) => cloud(name),
    }
}

fn cloud(name: &str) -> Finding {
    let found = format!("{name}: its network has no layer 2 that is shared");
    let todo = "frames for an address that the cloud did not give out are dropped, and nothing can \
                be set about it:\ntake the cloud's own load balancer, or machines on a network of \
                your own";
    Finding { level: Level::Fail, ..Finding::warn("hypervisor", found, todo) }
}
