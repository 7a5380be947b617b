//! Reads what the kernel has counted: some hundred bytes for each cluster, in one listing for each
//! table, when somebody asks.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::netlink::{DUMP, INET, Message, NETDEV, Query, TABLE, message};
use super::netlink::{find, is_there, put, zero_ended};
use super::ruleset::{Fate, GATE, STAGE};

/// Of a stateful object: its name, its type, what it holds; the type of a counter, what that holds.
const OBJECT_NAME: u16 = 2;
const OBJECT_TYPE: u16 = 3;
const OBJECT_DATA: u16 = 4;
const COUNTER: u32 = 1;
const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;

/// Longer than the kernel ever takes: it answers from memory.
const PATIENCE: Duration = Duration::from_secs(1);

/// Packets of one fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// How many.
    pub packets: u64,
    /// How many bytes they had, from the network header on.
    pub bytes: u64,
}

/// What a cluster's packets came to.
pub type Fates = BTreeMap<Fate, Counted>;

/// Reads counters.
#[derive(Debug)]
pub struct Counters(Query);

impl Counters {
    /// Must be called within a tokio runtime with I/O.
    ///
    /// # Errors
    /// When there is no netlink socket to be had.
    pub fn open() -> io::Result<Self> {
        Query::open().map(Self)
    }

    /// What was counted of each cluster that has rules.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn read(&mut self) -> io::Result<BTreeMap<String, Fates>> {
        let mut all: BTreeMap<String, Fates> = BTreeMap::new();
        let read = self.0.counters(|name, packets, bytes| {
            if let Some((fate, cluster)) = Fate::of_counter(name) {
                let counted = Counted { packets, bytes };
                all.entry(cluster.to_owned()).or_default().insert(fate, counted);
            }
        });
        tokio::time::timeout(PATIENCE, read).await??;
        Ok(all)
    }
}

impl Query {
    /// Name, packets and bytes of every counter in our tables. One may be told twice, with newer
    /// numbers.
    async fn counters(&mut self, mut each: impl FnMut(&str, u64, u64)) -> io::Result<()> {
        for (family, table) in [(NETDEV, GATE), (INET, STAGE)] {
            let mut filter = Vec::new();
            put(&mut filter, TABLE, &zero_ended(table));
            put(&mut filter, OBJECT_TYPE, &COUNTER.to_be_bytes());
            let asked = self
                .ask(message::GETOBJ, DUMP, family, &filter, |message| {
                    let Some(message) = message.filter(Message::is_ours) else { return };
                    let number = |number| {
                        let data = message.attribute(OBJECT_DATA)?;
                        find(data, number)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
                    };
                    let counted = (number(COUNTER_PACKETS), number(COUNTER_BYTES));
                    if let (Some(name), (Some(packets), Some(bytes))) =
                        (message.text(OBJECT_NAME), counted)
                    {
                        each(name, packets, bytes);
                    }
                })
                .await;
            is_there(asked)?;
        }
        Ok(())
    }
}
