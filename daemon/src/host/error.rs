//! Why the host could not be set up.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Why the host could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No netlink socket, or the connection broke.
    #[error("rtnetlink: {0}")]
    Netlink(#[source] io::Error),
    /// The kernel refused a request.
    #[error("{action}: {source}")]
    Refused {
        /// What was asked.
        action: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kernel took too long, because somebody else keeps its interfaces.
    #[error(
        "{action}: the kernel did not answer within {} s; somebody keeps it busy with interfaces",
        limit.as_secs()
    )]
    NoAnswer {
        /// What was asked. It may still be done.
        action: String,
        /// How long was waited.
        limit: Duration,
    },
    /// A link with a cluster's name is there and is not ours.
    #[error("link {name:?} exists already and is not nlbd's: rename the cluster or the link")]
    LinkTaken {
        /// The link.
        name: String,
    },
    /// A service address is on this host already and was not put there by the daemon.
    #[error(
        "service address {address} is already set on {link:?}, not by nlbd: \
         remove it there (ip address delete {address} dev {link}) or from the cluster"
    )]
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// Where it is.
        link: String,
    },
    /// The cluster has an IPv6 address and this link does not speak IPv6.
    #[error(
        "IPv6 is disabled on {link:?} (net.ipv6.conf.{link}.disable_ipv6), \
         and the cluster has the IPv6 address {address}"
    )]
    Ipv6Disabled {
        /// The link.
        link: String,
        /// The address that cannot be served.
        address: IpAddr,
    },
    /// A kernel setting has a value that the service cannot work beside.
    #[error("net.ipv4.conf.all.{name} is {value}, which undoes what the service needs")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: u32,
    },
    /// A kernel setting could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file of the setting.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The record of what was changed could not be kept; nothing was changed that is not in it.
    #[error("record of changes {}: {source}", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The record of what an earlier run changed cannot be understood.
    #[error("record of changes {} is damaged: {what}", path.display())]
    RecordDamaged {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl HostError {
    /// The kernel's error number, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Netlink(source)
            | Self::Refused { source, .. }
            | Self::File { source, .. }
            | Self::Record { source, .. } => source.raw_os_error(),
            Self::NoAnswer { .. }
            | Self::LinkTaken { .. }
            | Self::AddressTaken { .. }
            | Self::Ipv6Disabled { .. }
            | Self::Setting { .. }
            | Self::RecordDamaged { .. } => None,
        }
    }
}
