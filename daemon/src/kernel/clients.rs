//! Reads which clients the kernel keeps in a sticky set.
//!
//! Listing through nft would start a process that prints every client as text; here a client
//! costs about a hundred bytes and its idle time comes in milliseconds.

use core::net::IpAddr;
use core::time::Duration;
use std::io;

use super::netlink::{
    DUMP, INET, NESTED, Query, SET, TABLE, attributes, find, is_there, message, put, zero_ended,
};
use super::ruleset::STAGE;

/// Attributes of a set's elements, `NFTA_*`.
pub(super) const ELEMENTS: u16 = 3;
const ELEMENT: u16 = 1;
const KEY: u16 = 1;
const VALUE: u16 = 1;
const EXPIRATION: u16 = 5;

/// How often a set is listed at most. Two are enough as a rule, and three where the first was
/// disturbed; more, while clients are added.
const MAX_LISTINGS: usize = 8;

impl Query {
    /// The clients in one of our sticky sets, in order. A set that is not there keeps nobody.
    ///
    /// One listing may leave clients out. The kernel walks the set from its beginning for each
    /// 32 KB that it hands out, past as many elements as it has handed out; where it takes expired
    /// ones away meanwhile, or makes its table smaller, clients move up into the part that is
    /// passed over, and nothing in the listing tells. So the set is listed until a listing has
    /// nobody whom those before it had not.
    pub(super) async fn sticky(&mut self, set: &str) -> io::Result<Vec<(IpAddr, Duration)>> {
        let mut clients = Vec::new();
        for _ in 0..MAX_LISTINGS {
            let before = clients.len();
            clients.extend(self.listing(set).await?);
            clients.sort_unstable();
            clients.dedup_by_key(|(client, _)| *client);
            if clients.len() == before {
                break;
            }
        }
        Ok(clients)
    }

    /// What the kernel says when it is asked once for the clients in a set.
    async fn listing(&mut self, set: &str) -> io::Result<Vec<(IpAddr, Duration)>> {
        let mut filter = Vec::new();
        put(&mut filter, TABLE, &zero_ended(STAGE));
        put(&mut filter, SET, &zero_ended(set));
        let mut clients = Vec::new();
        let result = self
            .ask(message::GETSETELEM, DUMP, INET, &filter, |message| match message {
                Some(message) => {
                    let elements = message.attribute(ELEMENTS).unwrap_or(&[]);
                    clients.extend(attributes(elements).filter_map(|(_, e)| client(e)));
                }
                None => clients.clear(),
            })
            .await;
        is_there(result)?;
        Ok(clients)
    }

    /// Whether a set keeps a client.
    pub(super) async fn keeps(&mut self, set: &str, client: IpAddr) -> io::Result<bool> {
        self.left(set, client).await.map(|left| left.is_some())
    }

    /// How long a set keeps a client yet, if it does.
    pub(super) async fn left(&mut self, set: &str, client: IpAddr) -> io::Result<Option<Duration>> {
        let (mut value, mut key, mut element, mut elements) = (vec![], vec![], vec![], vec![]);
        match client {
            IpAddr::V4(client) => put(&mut value, VALUE, &client.octets()),
            IpAddr::V6(client) => put(&mut value, VALUE, &client.octets()),
        }
        put(&mut key, KEY | NESTED, &value);
        put(&mut element, ELEMENT | NESTED, &key);
        put(&mut elements, TABLE, &zero_ended(STAGE));
        put(&mut elements, SET, &zero_ended(set));
        put(&mut elements, ELEMENTS | NESTED, &element);
        let mut left = None;
        let asked = self
            .ask(message::GETSETELEM, 0, INET, &elements, |message| {
                let found = message.and_then(|message| message.attribute(ELEMENTS));
                left = found.and_then(|found| find(found, ELEMENT)).and_then(self::client);
            })
            .await;
        Ok(is_there(asked)?.then_some(left.map_or(Duration::ZERO, |(_, left)| left)))
    }
}

/// A client and how long the kernel keeps it yet, from one element of a sticky set.
pub(super) fn client(element: &[u8]) -> Option<(IpAddr, Duration)> {
    let key = find(find(element, KEY)?, VALUE)?;
    let address = if let Some(bytes) = key.first_chunk::<16>() {
        IpAddr::from(*bytes)
    } else {
        IpAddr::from(*key.first_chunk::<4>()?)
    };
    let left = find(element, EXPIRATION)?.first_chunk().map(|b| u64::from_be_bytes(*b))?;
    Some((address, Duration::from_millis(left)))
}

#[cfg(test)]
mod tests;
