//! The settings of an interface, through `/proc/sys` of the calling thread's network namespace.
//!
//! The kernel takes the greater of the interface's value and that of `all` (for IPv6 only the
//! interface's), so a value of the interface is enough (Documentation/networking/ip-sysctl).

use std::io;
use std::path::{Path, PathBuf};

use super::HostError;

/// A setting that keeps the kernel from speaking for the service addresses on its own.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub(super) enum Setting {
    /// Whom the kernel answers ARP requests for. 1: only for addresses of the interface that was
    /// asked, and the service addresses are on another.
    ArpIgnore,
    /// In whose name the kernel asks. 2: of an address of the interface that it asks through.
    ArpAnnounce,
    /// Whether IPv4 packets to one host are refused in multicast frames. With a multicast cluster
    /// MAC every node would answer pings and UDP while somebody has flushed the gate's rules; the
    /// gate makes its frames look like unicast ones.
    DropInMulticast4,
    /// The same for IPv6.
    DropInMulticast6,
}

impl Setting {
    pub(super) const ALL: [Self; 4] =
        [Self::ArpIgnore, Self::ArpAnnounce, Self::DropInMulticast4, Self::DropInMulticast6];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ArpIgnore => "arp_ignore",
            Self::ArpAnnounce => "arp_announce",
            Self::DropInMulticast4 | Self::DropInMulticast6 => "drop_unicast_in_l2_multicast",
        }
    }

    fn path(self, interface: &str) -> PathBuf {
        let family = match self {
            Self::ArpIgnore | Self::ArpAnnounce | Self::DropInMulticast4 => "ipv4",
            Self::DropInMulticast6 => "ipv6",
        };
        Path::new("/proc/sys/net").join(family).join("conf").join(interface).join(self.name())
    }

    /// Whether a value does what the service needs. For `arp_ignore` also 2 and 3 (stricter) and
    /// 8 (answers nobody) do; 4 to 7 mean nothing and work like 0.
    pub(super) fn suffices(self, value: u32) -> bool {
        match self {
            Self::ArpIgnore => matches!(value, 1 | 2 | 3 | 8),
            Self::ArpAnnounce => value == 2,
            Self::DropInMulticast4 | Self::DropInMulticast6 => value != 0,
        }
    }

    /// What an interface gets that has `before`: the same if that suffices.
    pub(super) fn wanted(self, before: u32) -> u32 {
        match self {
            _ if self.suffices(before) => before,
            Self::ArpIgnore => 1,
            Self::ArpAnnounce => 2,
            Self::DropInMulticast4 | Self::DropInMulticast6 => 1,
        }
    }

    /// Whether `value` on an interface is undone by what `all` says.
    pub(super) fn check_all(self, value: u32) -> Result<(), HostError> {
        let all = self.read("all")?;
        if self.suffices(all.max(value)) {
            Ok(())
        } else {
            Err(HostError::Setting { name: self.name(), value: all })
        }
    }

    pub(super) fn read(self, interface: &str) -> Result<u32, HostError> {
        match read(self.path(interface)) {
            // A host without IPv6 takes no IPv6 packet in any frame.
            Err(HostError::File { source, .. })
                if self == Self::DropInMulticast6 && source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(1)
            }
            result => result,
        }
    }

    pub(super) fn write(self, interface: &str, value: u32) -> Result<(), HostError> {
        let path = self.path(interface);
        std::fs::write(&path, value.to_string()).map_err(|source| HostError::File { path, source })
    }
}

/// Whether a link speaks IPv6.
pub(super) fn has_ipv6(link: &str) -> bool {
    let path = Path::new("/proc/sys/net/ipv6/conf").join(link).join("disable_ipv6");
    read(path).is_ok_and(|disabled| disabled == 0)
}

fn read(path: PathBuf) -> Result<u32, HostError> {
    let text = std::fs::read_to_string(&path);
    let number = text.and_then(|text| {
        text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    });
    number.map_err(|source| HostError::File { path, source })
}
