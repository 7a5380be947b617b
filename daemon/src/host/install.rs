//! Brings the host to what is wanted, and back.
//!
//! One function does both: what is wanted and not there is made, what was made and is no longer
//! wanted is undone. Wanting nothing undoes everything. It can be called as often as one likes,
//! also after a crash, and never touches what is not in the record.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use super::record::{Changed, Record};
use super::sysctl::{self, Setting};
use super::{HostError, LinkState, Netlink};
use crate::link::InterfaceIndex;

/// Carries the service addresses where the kernel has no dummy links.
const LOOPBACK: &str = "lo";

/// The link that one cluster's addresses are to be on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceLink {
    /// Its name: that of the cluster.
    pub name: String,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

/// What the host is to be like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// One link for each cluster.
    pub links: Vec<ServiceLink>,
    /// The real interfaces that clusters use.
    pub interfaces: BTreeSet<String>,
}

/// What the host is like after it was brought there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Installed {
    /// Where each cluster's addresses are: on the link of its name, or on `lo`.
    pub links: BTreeMap<String, String>,
    /// The interfaces that do not exist now. When one appears, install again.
    pub missing: Vec<String>,
    /// What was put back although somebody had changed it meanwhile: left as it was found.
    pub left_alone: Vec<String>,
    /// What was there already, was lost or changed by somebody, and is there again.
    pub repaired: Vec<String>,
}

/// Installs on the host, and keeps the record of it.
#[derive(Debug)]
pub struct Installer {
    record: Record,
    /// The kernel has no dummy links: it is not asked again, and addresses stay where they are.
    without_dummies: bool,
}

impl Installer {
    /// Takes up the record in the run directory, which must exist and be the daemon's own.
    /// Nothing is changed yet: the first [`Self::install`] takes over or puts back what a crashed
    /// run left.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn open(run_directory: &Path) -> Result<Self, HostError> {
        Ok(Self { record: Record::open(run_directory)?, without_dummies: false })
    }

    /// Whether anything on the host is changed, by this run or by one that crashed.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.record.changes.is_empty()
    }

    /// Brings the host to what is wanted. Everything that can be checked is checked before an
    /// address is added or taken away.
    ///
    /// # Errors
    /// See [`HostError`]. What was done before the error stays, is in the record, and is undone
    /// or completed by the next call.
    pub async fn install(
        &mut self,
        netlink: &Netlink,
        wanted: &Wanted,
    ) -> Result<Installed, HostError> {
        let mut installed = Installed::default();
        self.check(netlink, wanted).await?;
        // The ARP settings first: the kernel must not answer for the addresses for a moment, and
        // on an interface that cannot be used otherwise it must not either.
        self.silence(netlink, wanted, &mut installed).await?;
        check_ipv6(netlink, wanted).await?;
        for service in &wanted.links {
            let link = self.service_link(netlink, &service.name, &mut installed).await?;
            for address in &service.addresses {
                if self.add_address(netlink, &link, *address).await? {
                    installed.repaired.push(format!("{address} on {}", link.name));
                }
            }
            installed.links.insert(service.name.clone(), link.name);
        }
        self.remove_surplus(netlink, wanted, &installed).await?;
        self.restore_settings(netlink, wanted, &mut installed).await?;
        Ok(installed)
    }

    /// Puts everything back: at the end of a run, or for what a crashed run left.
    ///
    /// # Errors
    /// As [`Self::install`].
    pub async fn remove(&mut self, netlink: &Netlink) -> Result<Installed, HostError> {
        self.install(netlink, &Wanted::default()).await
    }

    async fn check(&self, netlink: &Netlink, wanted: &Wanted) -> Result<(), HostError> {
        let ours = &self.record.changes;
        let there = netlink.addresses().await?;
        for service in &wanted.links {
            let link = netlink.link(&service.name).await?;
            if link.is_some() && !ours.links.contains(&service.name) {
                return Err(HostError::LinkTaken { name: service.name.clone() });
            }
            for address in &service.addresses {
                let taken = there.iter().find(|(_, one)| one == address);
                if let Some((index, _)) = taken
                    && !ours.addresses.contains_key(address)
                {
                    let link = netlink.link_by_index(*index).await?;
                    let link = link.map_or_else(|| index.0.to_string(), |link| link.name);
                    return Err(HostError::AddressTaken { address: *address, link });
                }
            }
        }
        for setting in Setting::ALL {
            // Any interface: what `all` must not undo is the least that suffices.
            if !wanted.interfaces.is_empty() {
                setting.check_all(setting.wanted(0))?;
            }
        }
        Ok(())
    }

    /// Sets what the wanted interfaces need.
    async fn silence(
        &mut self,
        netlink: &Netlink,
        wanted: &Wanted,
        installed: &mut Installed,
    ) -> Result<(), HostError> {
        for name in &wanted.interfaces {
            let Some(link) = netlink.link(name).await? else {
                installed.missing.push(name.clone());
                continue;
            };
            for setting in Setting::ALL {
                let now = setting.read(name)?;
                let settings = self.record.changes.settings.get(&link.index.0);
                let known = settings.is_some_and(|all| all.contains_key(&setting));
                let changed = self.record.change(|changes| {
                    let known = changes.settings.get(&link.index.0);
                    let before = known.and_then(|all| all.get(&setting)).map(|one| one.before);
                    let before = before.unwrap_or(now);
                    let ours = setting.wanted(before);
                    // What is as it must be already is nothing to put back.
                    if ours != before {
                        let all = changes.settings.entry(link.index.0).or_default();
                        all.insert(setting, Changed { before, ours });
                    }
                    ours
                })?;
                // Somebody may have made it stricter meanwhile.
                if !setting.suffices(now) {
                    setting.write(name, changed)?;
                    if known {
                        installed.repaired.push(format!("{} of {name}", setting.name()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Finds or makes the link for a cluster's addresses.
    async fn service_link(
        &mut self,
        netlink: &Netlink,
        name: &str,
        installed: &mut Installed,
    ) -> Result<LinkState, HostError> {
        let known = self.record.changes.links.iter().any(|one| one == name);
        if let Some(link) = netlink.link(name).await? {
            if !link.up {
                set_up(netlink, &link).await?;
                installed.repaired.push(format!("link {name}, which was down"));
            }
            return Ok(link);
        }
        if self.without_dummies {
            return loopback(netlink).await;
        }
        self.record.change(|changes| {
            if !changes.links.iter().any(|one| one == name) {
                changes.links.push(name.to_owned());
            }
        })?;
        let added = netlink.add_dummy(name).await;
        if let Err(error) = added {
            self.record.forget(|changes| changes.links.retain(|one| one != name));
            if !matches!(error.errno(), Some(libc::EOPNOTSUPP)) {
                return Err(error);
            }
            self.without_dummies = true;
            return loopback(netlink).await;
        }
        let link = netlink.link(name).await?.ok_or_else(|| vanished(name))?;
        set_up(netlink, &link).await?;
        if known {
            installed.repaired.push(format!("link {name}"));
        }
        Ok(link)
    }

    /// Whether it was there already and had been lost.
    async fn add_address(
        &mut self,
        netlink: &Netlink,
        link: &LinkState,
        address: IpAddr,
    ) -> Result<bool, HostError> {
        if address.is_ipv6() && !sysctl::has_ipv6(&link.name) {
            return Err(HostError::Ipv6Disabled { link: link.name.clone(), address });
        }
        let before = self.record.changes.addresses.get(&address).cloned();
        if let Some(other) = before.as_ref().filter(|other| **other != link.name) {
            // It was on another link of ours: it must not be on two.
            if let Some(other) = netlink.link(other).await? {
                netlink.delete_address(&other, address).await?;
            }
        }
        self.record.change(|changes| changes.addresses.insert(address, link.name.clone()))?;
        match netlink.add_address(link, address).await {
            // Checked before: where it is now, the record says that it is ours.
            Err(error) if error.errno() == Some(libc::EEXIST) && before.is_some() => Ok(false),
            Err(error) => {
                if before.is_none() {
                    self.record.forget(|changes| drop(changes.addresses.remove(&address)));
                }
                Err(error)
            }
            Ok(()) => Ok(before.is_some_and(|before| before == link.name)),
        }
    }

    /// Takes away addresses and links that were made and are not wanted.
    async fn remove_surplus(
        &mut self,
        netlink: &Netlink,
        wanted: &Wanted,
        installed: &Installed,
    ) -> Result<(), HostError> {
        let wanted: BTreeSet<IpAddr> =
            wanted.links.iter().flat_map(|link| link.addresses.iter().copied()).collect();
        for (address, link) in self.record.changes.addresses.clone() {
            if wanted.contains(&address) {
                continue;
            }
            if let Some(link) = netlink.link(&link).await? {
                netlink.delete_address(&link, address).await?;
            }
            self.record.forget(|changes| drop(changes.addresses.remove(&address)));
        }
        for name in self.record.changes.links.clone() {
            if installed.links.contains_key(&name) {
                continue;
            }
            if let Some(link) = netlink.link(&name).await? {
                netlink.delete_link(&link).await?;
            }
            self.record.forget(|changes| changes.links.retain(|one| *one != name));
        }
        Ok(())
    }

    /// Puts the settings of all interfaces back when no service address is left. Not before: one
    /// that was renamed or taken out of a cluster may still hang on the segment of the clients,
    /// and the kernel would speak for the addresses there.
    async fn restore_settings(
        &mut self,
        netlink: &Netlink,
        wanted: &Wanted,
        installed: &mut Installed,
    ) -> Result<(), HostError> {
        for (index, settings) in self.record.changes.settings.clone() {
            // An interface that is gone has taken its settings with it.
            if let Some(link) = netlink.link_by_index(InterfaceIndex(index)).await? {
                if !wanted.links.is_empty() {
                    continue;
                }
                for (setting, changed) in settings {
                    if setting.read(&link.name)? == changed.ours {
                        setting.write(&link.name, changed.before)?;
                    } else {
                        installed.left_alone.push(format!("{} of {}", setting.name(), link.name));
                    }
                }
            }
            self.record.forget(|changes| drop(changes.settings.remove(&index)));
        }
        Ok(())
    }
}

/// Whether the wanted interfaces speak IPv6, if they must.
async fn check_ipv6(netlink: &Netlink, wanted: &Wanted) -> Result<(), HostError> {
    let mut addresses = wanted.links.iter().flat_map(|link| &link.addresses);
    let Some(address) = addresses.find(|one| one.is_ipv6()) else { return Ok(()) };
    for interface in &wanted.interfaces {
        if netlink.link(interface).await?.is_some() && !sysctl::has_ipv6(interface) {
            return Err(HostError::Ipv6Disabled { link: interface.clone(), address: *address });
        }
    }
    Ok(())
}

/// Sets a link of ours up, with the service addresses alone.
async fn set_up(netlink: &Netlink, link: &LinkState) -> Result<(), HostError> {
    netlink.no_own_address(link).await;
    netlink.set_up(link).await
}

/// The loopback link, up: in a fresh namespace it is not, and its addresses do not work.
async fn loopback(netlink: &Netlink) -> Result<LinkState, HostError> {
    let link = netlink.link(LOOPBACK).await?.ok_or_else(|| vanished(LOOPBACK))?;
    if !link.up {
        netlink.set_up(&link).await?;
    }
    Ok(link)
}

fn vanished(name: &str) -> HostError {
    HostError::Refused {
        action: format!("using link {name}"),
        source: std::io::Error::from_raw_os_error(libc::ENODEV),
    }
}
