//! What is in our tables, by name. The name says whose it is, so that rules which an earlier life
//! left for a cluster or an interface that is no more can be taken away.

use std::collections::BTreeSet;
use std::io;

use super::netlink::{
    ARP_FAMILY, DUMP, INET, Message, NETDEV, Query, TABLE, is_there, message, put, zero_ended,
};
use super::ruleset::{ARP, GATE, STAGE};

/// The attributes that hold the name of a chain, a set and a stateful object.
const CHAIN_NAME: u16 = 3;
const SET_NAME: u16 = 2;
const OBJECT_NAME: u16 = 2;

/// The names in one table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Names {
    /// Of its chains.
    pub(crate) chains: BTreeSet<String>,
    /// Of its sets, those without a name of their own left out.
    pub(crate) sets: BTreeSet<String>,
    /// Of its counters.
    pub(crate) counters: BTreeSet<String>,
}

/// The names in our tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Inventory {
    /// In that of the gate.
    pub(crate) gate: Names,
    /// In that of the stage.
    pub(crate) stage: Names,
    /// In that for ARP.
    pub(crate) arp: Names,
}

impl Query {
    /// What is in our tables. A table that is not there has nothing in it.
    pub(super) async fn inventory(&mut self) -> io::Result<Inventory> {
        Ok(Inventory {
            gate: self.table(NETDEV, GATE).await?,
            stage: self.table(INET, STAGE).await?,
            arp: self.table(ARP_FAMILY, ARP).await?,
        })
    }

    async fn table(&mut self, family: u8, table: &str) -> io::Result<Names> {
        let mut names = Names::default();
        for (kind, number, into) in [
            (message::GETCHAIN, CHAIN_NAME, &mut names.chains),
            (message::GETSET, SET_NAME, &mut names.sets),
            (message::GETOBJ, OBJECT_NAME, &mut names.counters),
        ] {
            let mut filter = Vec::new();
            put(&mut filter, TABLE, &zero_ended(table));
            let asked = self
                .ask(kind, DUMP, family, &filter, |message| match message {
                    None => into.clear(),
                    Some(message) => {
                        // The kernel looks at the table for some kinds only.
                        let ours = Some(message).filter(Message::is_ours);
                        into.extend(ours.and_then(|ours| ours.text(number)).map(str::to_owned));
                    }
                })
                .await;
            is_there(asked)?;
        }
        // A set that stands in a rule is called `__set0`; it goes with its rule.
        names.sets.retain(|name| !name.starts_with("__"));
        Ok(names)
    }
}
