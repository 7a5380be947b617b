//! Frames that get lost inside the switch, as rules on the way out of its ports.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::Result;
use nlb_protocol::MacAddr;

use crate::lab::{Lab, server_mac};
use crate::netns::Namespace;

/// Which frames are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Every frame.
    All,
    /// Frames of the protocol.
    Heartbeats,
    /// Of these so many in a hundred, at random.
    SomeHeartbeats(u8),
}

/// What does not reach the host behind a port.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The host's port, without `p-`.
    pub port: String,
    /// Whose frames; `None`: everybody's.
    pub from: Option<MacAddr>,
    /// Which of them.
    pub lost: Lost,
}

impl Cut {
    /// The host behind `port` gets no frame at all.
    #[must_use]
    pub fn deaf(port: &str) -> Self {
        Self { port: port.to_owned(), from: None, lost: Lost::All }
    }

    /// It hears no peer.
    #[must_use]
    pub fn heartbeats_to(port: &str) -> Self {
        Self { port: port.to_owned(), from: None, lost: Lost::Heartbeats }
    }

    /// It does not hear this peer.
    #[must_use]
    pub fn heartbeats(from: MacAddr, port: &str) -> Self {
        Self { port: port.to_owned(), from: Some(from), lost: Lost::Heartbeats }
    }

    /// Of what its peers send it misses so many frames in a hundred.
    #[must_use]
    pub fn noise(port: &str, percent: u8) -> Self {
        Self { port: port.to_owned(), from: None, lost: Lost::SomeHeartbeats(percent) }
    }

    /// It gets no frame of this host.
    #[must_use]
    pub fn all(from: MacAddr, port: &str) -> Self {
        Self { port: port.to_owned(), from: Some(from), lost: Lost::All }
    }

    /// The servers in `group` and those outside of it, of so many, do not hear each other. Clients
    /// reach both.
    #[must_use]
    pub fn halves(group: &[usize], servers: usize) -> Vec<Self> {
        let cut = |(from, to)| Self::heartbeats(server_mac(from), &port(to));
        between(group, servers).into_iter().map(cut).collect()
    }
}

/// Broken links between servers, one added to the other. Numbers are those of servers, from 1.
#[derive(Debug, Clone, Default)]
pub struct Cuts {
    /// From the first to the second server nothing comes.
    pub links: BTreeSet<(usize, usize)>,
    /// Nothing at all comes to these, clients' packets included.
    pub deaf: BTreeSet<usize>,
    /// No heartbeat of these comes to anybody.
    pub mute: BTreeSet<usize>,
    /// So many in a hundred heartbeats do not come, to whomever.
    pub noise: u8,
}

impl Cuts {
    /// Cuts every link between the servers in `group` and all others of `servers`, both ways.
    pub fn divide(&mut self, group: &[usize], servers: usize) {
        self.links.extend(between(group, servers));
    }

    /// Heals what [`Self::divide`] cut.
    pub fn unite(&mut self, group: &[usize], servers: usize) {
        for link in between(group, servers) {
            self.links.remove(&link);
        }
    }

    /// Has the switch drop exactly this.
    ///
    /// # Errors
    /// When nft refuses.
    pub fn apply(&self, lab: &Lab) -> Result<()> {
        let deaf = self.deaf.iter().map(|server| Cut::deaf(&port(*server)));
        let links = self.links.iter().map(|(from, to)| Cut::all(server_mac(*from), &port(*to)));
        let mut cuts: Vec<Cut> = deaf.chain(links).collect();
        for mute in &self.mute {
            let others = (1..=lab.servers.len()).filter(|server| server != mute);
            cuts.extend(others.map(|other| Cut::heartbeats(server_mac(*mute), &port(other))));
        }
        if self.noise > 0 {
            cuts.extend((1..=lab.servers.len()).map(|to| Cut::noise(&port(to), self.noise)));
        }
        set(&lab.switch, &cuts)
    }
}

fn port(server: usize) -> String {
    format!("n{server}")
}

fn between(group: &[usize], servers: usize) -> Vec<(usize, usize)> {
    let others: Vec<usize> = (1..=servers).filter(|server| !group.contains(server)).collect();
    let pairs = group.iter().flat_map(|one| others.iter().map(|other| (*one, *other)));
    pairs.flat_map(|(one, other)| [(one, other), (other, one)]).collect()
}

/// From now on exactly these frames are lost, whatever was lost before.
///
/// # Errors
/// When the rules cannot be set.
pub fn set(switch: &Namespace, cuts: &[Cut]) -> Result<()> {
    let mut text = "table netdev cut\ndelete table netdev cut\n".to_owned();
    if !cuts.is_empty() {
        text += "table netdev cut {\n";
        let ports: BTreeSet<&str> = cuts.iter().map(|cut| cut.port.as_str()).collect();
        for port in ports {
            let hook = format!("type filter hook egress device \"p-{port}\" priority 0;");
            let _ = writeln!(text, "chain {port} {{ {hook}");
            for cut in cuts.iter().filter(|cut| cut.port == port) {
                // Raw offsets, as in nlbd's own rules on the way out.
                if let Some(MacAddr(mac)) = cut.from {
                    let mac =
                        mac.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
                    let _ = write!(text, "@ll,48,48 0x{mac} ");
                }
                if cut.lost != Lost::All {
                    text += "@ll,96,16 0x88b5 ";
                }
                if let Lost::SomeHeartbeats(percent) = cut.lost {
                    let _ = write!(text, "numgen random mod 100 < {percent} ");
                }
                text += "drop\n";
            }
            text += "}\n";
        }
        text += "}\n";
    }
    switch.feed(&["nft", "-f", "-"], &text).map(drop)
}
