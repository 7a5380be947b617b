//! What is wrong for longer, for whoever asks: interfaces of the clusters that are not in use, since
//! when, and which one may be meant instead; nodes that went without a word. In the main thread.

use std::collections::BTreeMap;

use nlb_engine::{Notice, Time};

use super::clock::now;
use super::supervisor::Supervisor;
use crate::config::{ClusterConfig, Config};
use crate::host::{LinkState, near};
use crate::manage::{Trouble, Unused};

/// What is wrong with each interface, and since when.
#[derive(Debug, Default)]
pub(super) struct Troubles(BTreeMap<String, (Trouble, Time)>);

fn trouble(link: Option<&LinkState>) -> Option<Trouble> {
    let Some(link) = link else { return Some(Trouble::Absent) };
    match link {
        LinkState { mac: None, .. } => Some(Trouble::NotEthernet),
        LinkState { up: false, .. } => Some(Trouble::Down),
        LinkState { running: false, .. } => Some(Trouble::NoCarrier),
        link => link.obstacle().map(|_| Trouble::Unfit),
    }
}

impl Troubles {
    /// Looks at the interfaces as they are known now.
    pub(super) fn look<'a>(
        &mut self,
        configured: impl IntoIterator<Item = &'a String>,
        link: impl Fn(&str) -> Option<&'a LinkState>,
        now: Time,
    ) {
        let before = std::mem::take(&mut self.0);
        for name in configured {
            if let Some(trouble) = trouble(link(name)) {
                let same = before.get(name).filter(|(what, _)| *what == trouble);
                self.0.insert(name.clone(), same.copied().unwrap_or((trouble, now)));
            }
        }
    }

    /// Those of these names that are not in use. `names`: all interfaces of the host.
    pub(super) fn of(&self, interfaces: &[String], names: &[String], now: Time) -> Vec<Unused> {
        let unused = |name: &String| {
            let (trouble, at) = *self.0.get(name)?;
            let meant = (trouble == Trouble::Absent).then(|| meant(name, interfaces, names));
            let since = now.since(at);
            Some(Unused { interface: name.clone(), trouble, since, meant: meant.flatten() })
        };
        interfaces.iter().filter_map(unused).collect()
    }

    fn any_absent(&self) -> bool {
        self.0.values().any(|(trouble, _)| *trouble == Trouble::Absent)
    }
}

/// Who mistypes a name means one that is there, and not one that stands beside it.
fn meant(name: &str, beside: &[String], names: &[String]) -> Option<String> {
    let free = names.iter().filter(|name| !beside.contains(name) && *name != "lo");
    near(name, free.map(String::as_str)).map(str::to_owned)
}

impl Supervisor {
    /// Keeps in mind who went without a word.
    pub(super) fn observe_lost(&mut self, cluster: &str, notice: &Notice) {
        let (Notice::PeerGone { node, .. } | Notice::PeerAppeared { node, .. }) = notice else {
            return;
        };
        let name = self.names.get(node).cloned().unwrap_or_default();
        let patience = self.config.cluster(cluster).map(|config| config.timing.dead_after);
        let lost = self.lost.entry(cluster.to_owned()).or_default();
        lost.observe(notice, &name, patience.unwrap_or_default(), now());
    }

    /// Brings what is known of the interfaces' troubles up to date.
    pub(super) fn look_at_interfaces(&mut self, config: &Config) {
        let configured = config.clusters.iter().flat_map(|one| &one.interfaces);
        let link = |name: &str| self.watch.known().find(|link| link.name == name);
        self.troubles.look(configured, link, now());
    }

    /// The names of the host's interfaces, if one is looked for.
    pub(super) async fn interface_names(&self) -> Vec<String> {
        if !self.troubles.any_absent() {
            return Vec::new();
        }
        // Only a hint depends on it.
        self.netlink.link_names().await.unwrap_or_default()
    }

    /// The interfaces of a cluster that are not in use.
    pub(super) fn unused(&self, cluster: &ClusterConfig, names: &[String]) -> Vec<Unused> {
        self.troubles.of(&cluster.interfaces, names, now())
    }

    /// What is to be said of interfaces of a configuration that are not there, whether it runs or
    /// not.
    pub(super) async fn absent(&self, config: &Config) -> Vec<String> {
        let names = self.netlink.link_names().await.unwrap_or_default();
        let mut notes = Vec::new();
        for cluster in &config.clusters {
            for interface in cluster.interfaces.iter().filter(|name| !names.contains(name)) {
                let meant = meant(interface, &cluster.interfaces, &names);
                let (trouble, since) = (Trouble::Absent, std::time::Duration::ZERO);
                let unused = Unused { interface: interface.clone(), trouble, since, meant };
                notes.push(format!("{}: {unused}", cluster.name));
            }
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn link(name: &str) -> LinkState {
        LinkState::well(name, 7)
    }

    #[test]
    fn what_is_wrong_and_since_when() {
        let all = ["eth0", "eth1", "eth2", "eht3", "tun0"].map(str::to_owned);
        let links = [
            link("eth0"),
            LinkState { up: false, ..link("eth1") },
            LinkState { running: false, ..link("eth2") },
            LinkState { mac: None, ..link("tun0") },
        ];
        let find = |name: &str| links.iter().find(|link| link.name == name);
        let begun = Time::from_nanos(1_000_000_000_000);
        let mut troubles = Troubles::default();
        troubles.look(&all, find, begun);
        let names = ["lo", "eth0", "eth1", "eth3"].map(str::to_owned);
        let second = Duration::from_secs(1);
        let unused = |interface: &str, trouble, meant: Option<&str>, since| {
            let (interface, meant) = (interface.to_owned(), meant.map(str::to_owned));
            Unused { interface, trouble, since, meant }
        };
        let found = troubles.of(&all, &names, begun + second);
        let expected = [
            unused("eth1", Trouble::Down, None, second),
            unused("eth2", Trouble::NoCarrier, None, second),
            unused("eht3", Trouble::Absent, Some("eth3"), second),
            unused("tun0", Trouble::NotEthernet, None, second),
        ];
        assert_eq!(found, expected);
        let words = "eht3: no such interface now; it is waited for. Did you mean eth3?";
        assert_eq!(found[2].to_string(), words);
        // The same trouble is as old as it is, another one new.
        let links = [link("eth0"), LinkState { running: false, ..link("eth1") }];
        let find = |name: &str| links.iter().find(|link| link.name == name);
        troubles.look(&all, find, begun + second * 2);
        let found = troubles.of(&all[..3], &names, begun + second * 2);
        let expected = [
            unused("eth1", Trouble::NoCarrier, None, Duration::ZERO),
            unused("eth2", Trouble::Absent, Some("eth3"), Duration::ZERO),
        ];
        assert_eq!(found, expected);
        assert_eq!(troubles.of(&all[..1], &names, begun), []);
    }
}
