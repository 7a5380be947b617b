//! Asks the kernel about single clients of a sticky set.
//!
//! Listing a set is not the way: nf_tables walks it from its beginning for each 32 KB that it hands
//! out, so that the time grows with the square of its size. Looking one up takes some microseconds
//! whatever the size, and only clients that were quiet for long are looked up at all.

use core::net::IpAddr;
use core::time::Duration;
use std::io;

use super::netlink::Query;
use super::ruleset::sticky_set;

/// Looks clients up.
#[derive(Debug)]
pub struct Lookup(Query);

impl Lookup {
    /// Must be called within a tokio runtime with I/O.
    ///
    /// # Errors
    /// When there is no netlink socket to be had.
    pub fn open() -> io::Result<Self> {
        Query::open().map(Self)
    }

    /// How long the kernel keeps a client yet if it sends nothing; `None` if it does not keep it.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn left(&mut self, cluster: &str, client: IpAddr) -> io::Result<Option<Duration>> {
        self.0.left(&sticky_set(cluster, client), client).await
    }
}
