//! The ARP settings of an interface, through `/proc/sys` of the calling thread's network
//! namespace.
//!
//! Both are looked up by the kernel as the greater of the interface's value and that of `all`,
//! so a value of the interface is enough to keep it silent (Documentation/networking/ip-sysctl).

use std::io;
use std::path::{Path, PathBuf};

use super::HostError;

/// A setting that keeps the kernel from speaking for the service addresses.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub(super) enum Setting {
    /// Whom the kernel answers ARP requests for. 1: only for addresses of the interface that was
    /// asked, and the service addresses are on another.
    ArpIgnore,
    /// In whose name the kernel asks. 2: of an address of the interface that it asks through.
    ArpAnnounce,
}

impl Setting {
    pub(super) const ALL: [Self; 2] = [Self::ArpIgnore, Self::ArpAnnounce];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ArpIgnore => "arp_ignore",
            Self::ArpAnnounce => "arp_announce",
        }
    }

    fn path(self, interface: &str) -> PathBuf {
        Path::new("/proc/sys/net/ipv4/conf").join(interface).join(self.name())
    }

    /// Whether a value does what the service needs. For `arp_ignore` also 2 and 3 (stricter) and
    /// 8 (answers nobody) do; 4 to 7 mean nothing and work like 0.
    pub(super) fn suffices(self, value: u32) -> bool {
        match self {
            Self::ArpIgnore => matches!(value, 1 | 2 | 3 | 8),
            Self::ArpAnnounce => value == 2,
        }
    }

    /// What an interface gets that has `before`: the same if that suffices.
    pub(super) fn wanted(self, before: u32) -> u32 {
        match self {
            _ if self.suffices(before) => before,
            Self::ArpIgnore => 1,
            Self::ArpAnnounce => 2,
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
        read(self.path(interface))
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
