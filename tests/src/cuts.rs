//! Broken links between servers: what the switch drops on its way from one to another.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::Result;

use crate::lab::{Lab, server_mac};

/// What the switch drops at present. Numbers are those of servers, from 1.
#[derive(Debug, Clone, Default)]
pub struct Cuts {
    /// From the first to the second server nothing comes.
    pub links: BTreeSet<(usize, usize)>,
    /// Nothing at all comes to these, clients' packets included.
    pub deaf: BTreeSet<usize>,
    /// No heartbeat of these comes to anybody.
    pub mute: BTreeSet<usize>,
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
        let mut text = String::from("table netdev cuts\ndelete table netdev cuts\n");
        text.push_str("table netdev cuts {\n");
        for server in 1..=lab.servers.len() {
            let from = self.links.iter().filter(|(_, to)| *to == server);
            let mut rules: String = from.fold(String::new(), |mut rules, (from, _)| {
                let _ = writeln!(rules, "ether saddr {} drop", server_mac(*from));
                rules
            });
            if self.deaf.contains(&server) {
                rules.push_str("drop\n");
            }
            chain(&mut text, "egress", server, &rules);
            let mute = self.mute.contains(&server);
            chain(&mut text, "ingress", server, if mute { "ether type 0x88b5 drop\n" } else { "" });
        }
        text.push_str("}\n");
        lab.switch.feed(&["nft", "-f", "-"], &text).map(drop)
    }
}

fn chain(text: &mut String, hook: &str, server: usize, rules: &str) {
    if !rules.is_empty() {
        let _ = write!(
            text,
            "chain {hook}{server} {{\ntype filter hook {hook} device p-n{server} priority 0;\n\
             {rules}}}\n"
        );
    }
}

fn between(group: &[usize], servers: usize) -> Vec<(usize, usize)> {
    let others: Vec<usize> = (1..=servers).filter(|server| !group.contains(server)).collect();
    let pairs = group.iter().flat_map(|one| others.iter().map(|other| (*one, *other)));
    pairs.flat_map(|(one, other)| [(one, other), (other, one)]).collect()
}
