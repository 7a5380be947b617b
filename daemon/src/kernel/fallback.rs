//! The way to user space on kernels whose nftables has no `queue`: one chain of ours in the raw
//! table of iptables and ip6tables, with a jump to it in front.
//!
//! The chain marks a packet as asked and hands it to NFQUEUE; the rule behind in `inet nlb` lets
//! only such packets on. So when somebody flushes the raw table, packets are dropped until the
//! chain is back.
//!
//! Nothing else in the raw table is touched. If it was not there before us, it goes with us; a
//! chain `made.*` in our own table remembers that, also for the daemon's next life.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::ruleset::{Mark, STAGE};
use super::tool::{self, ToolError};

/// Our chain in the raw table.
const CHAIN: &str = "NLBD";

/// The address families, each with its own tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    pub(super) const ALL: [Self; 2] = [Self::V4, Self::V6];

    const fn iptables(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }

    const fn restore(self) -> &'static str {
        match self {
            Self::V4 => "iptables-restore",
            Self::V6 => "ip6tables-restore",
        }
    }

    /// What nft calls the raw table.
    const fn table(self) -> [&'static str; 2] {
        match self {
            Self::V4 => ["ip", "raw"],
            Self::V6 => ["ip6", "raw"],
        }
    }
}

fn need(name: &'static str) -> Result<PathBuf, ToolError> {
    tool::find(name).ok_or_else(|| ToolError::Start {
        tool: name.to_owned(),
        reason: "it was not found: install the package iptables".to_owned(),
    })
}

/// The rules of the raw table, as `iptables -S` lists them.
async fn listing(family: Family) -> Result<String, ToolError> {
    tool::run(&need(family.iptables())?, &["-w", "4", "-t", "raw", "-S"], String::new()).await
}

async fn restore(family: Family, text: String) -> Result<(), ToolError> {
    let tool = need(family.restore())?;
    tool::run(&tool, &["-w", "4", "--noflush"], text).await.map(drop)
}

/// The rules of our chain, as `iptables -S` lists them.
fn chain(queues: &[u16]) -> String {
    let mut text = String::new();
    for queue in queues {
        for mark in Mark::ALL {
            let (waiting, asked) = (mark.waiting(*queue), mark.asked(*queue));
            text += &format!(
                "-A {CHAIN} -m mark --mark 0x{waiting:x} -j MARK --set-xmark 0x{asked:x}/0xffffffff\n\
                 -A {CHAIN} -m mark --mark 0x{asked:x} -j NFQUEUE --queue-num {queue}\n"
            );
        }
    }
    text
}

fn jump() -> String {
    format!("-A PREROUTING -j {CHAIN}")
}

/// Whether the raw table holds what it shall: our chain as wanted, and the jump in front.
pub(super) fn is_right(listing: &str, queues: &[u16]) -> bool {
    let own = |line: &&str| line.starts_with(&format!("-A {CHAIN} "));
    let ours: String = listing.lines().filter(own).map(|line| format!("{line}\n")).collect();
    let jumps = listing.lines().filter(|line| *line == jump()).count();
    let first = listing.lines().find(|line| line.starts_with("-A PREROUTING "));
    if queues.is_empty() {
        return jumps == 0 && !has_chain(listing);
    }
    ours == chain(queues) && jumps == 1 && first == Some(jump().as_str())
}

fn has_chain(listing: &str) -> bool {
    listing.lines().any(|line| line == format!("-N {CHAIN}"))
}

/// What brings the raw table from the state listed to the state wanted, in one transaction.
/// Empty if it is there already.
pub(super) fn change(listing: &str, queues: &[u16]) -> String {
    if is_right(listing, queues) {
        return String::new();
    }
    let mut text = String::from("*raw\n");
    if !queues.is_empty() || has_chain(listing) {
        // Makes the chain, or empties the one that is there.
        text += &format!(":{CHAIN} - [0:0]\n");
    }
    for _ in listing.lines().filter(|line| *line == jump()) {
        text += &format!("-D PREROUTING -j {CHAIN}\n");
    }
    if queues.is_empty() {
        if has_chain(listing) {
            text += &format!("-X {CHAIN}\n");
        }
    } else {
        text += &chain(queues);
        text += &format!("-I PREROUTING 1 -j {CHAIN}\n");
    }
    text + "COMMIT\n"
}

/// What the raw tables lack, each family with its transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Lack(Vec<(Family, String)>);

impl Lack {
    /// Whether they lack nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Compares the raw tables with the wanted state. Changes nothing; may be cancelled.
pub(super) async fn look(queues: &[u16]) -> Result<Lack, ToolError> {
    let mut lack = Lack::default();
    for family in Family::ALL {
        let text = change(&listing(family).await?, queues);
        if !text.is_empty() {
            lack.0.push((family, text));
        }
    }
    Ok(lack)
}

/// Gives the raw tables what they lack.
pub(super) async fn set(lack: Lack) -> Result<(), ToolError> {
    for (family, text) in lack.0 {
        restore(family, text).await?;
    }
    Ok(())
}

/// Takes our chain out of the raw tables.
pub(super) async fn remove() -> Result<(), ToolError> {
    set(look(&[]).await?).await
}

/// Whether the tools are there and the kernel takes such rules; leaves none behind.
///
/// # Errors
/// What the tools said.
pub(super) async fn check() -> Result<(), String> {
    let [one, other] = Family::ALL.map(check_family);
    tokio::try_join!(one, other).map(drop)
}

async fn check_family(family: Family) -> Result<(), String> {
    const PROBE: &str = "NLBD-PROBE";
    let made = !exists(family).await;
    let text = format!(
        "*raw\n:{PROBE} - [0:0]\n\
         -A {PROBE} -m mark --mark 0x1 -j MARK --set-mark 0x2\n\
         -A {PROBE} -m mark --mark 0x2 -j NFQUEUE --queue-num 1\n\
         -F {PROBE}\n-X {PROBE}\nCOMMIT\n"
    );
    restore(family, text).await.map_err(|error| error.to_string())?;
    if made {
        remove_if_empty(family).await;
    }
    Ok(())
}

/// The raw tables that are not there without us: those that are missing now, and those that an
/// earlier life noted.
pub(super) async fn made_by_us() -> BTreeSet<Family> {
    let [one, other] = Family::ALL.map(async |family| {
        let note = note(family);
        let noted = ["chain", "inet", STAGE, note.as_str()];
        let (exists, noted) = tokio::join!(exists(family), nft_has(&noted));
        (!exists || noted).then_some(family)
    });
    let (one, other) = tokio::join!(one, other);
    one.into_iter().chain(other).collect()
}

/// Statements that note for the next life which raw tables are ours.
pub(super) fn remember_made(made: &BTreeSet<Family>) -> String {
    made.iter().map(|family| format!("add chain inet {STAGE} {}\n", note(*family))).collect()
}

fn note(family: Family) -> String {
    format!("made.{}", family.iptables())
}

/// Whether nftables has the raw table of a family, which iptables makes when it needs it.
async fn exists(family: Family) -> bool {
    let [ip, raw] = family.table();
    nft_has(&["table", ip, raw]).await
}

async fn nft_has(object: &[&str]) -> bool {
    let Some(nft) = tool::find("nft") else { return false };
    let arguments: Vec<&str> = ["list"].iter().chain(object).copied().collect();
    tool::run(&nft, &arguments, String::new()).await.is_ok()
}

/// Takes away a raw table that was made for us, if nothing is in it now. A failure leaves an
/// empty table, which does nothing.
pub(super) async fn remove_if_empty(family: Family) {
    let (Some(nft), Ok(listing)) = (tool::find("nft"), listing(family).await) else { return };
    let empty = listing.lines().all(|line| line.starts_with("-P ") && line.ends_with(" ACCEPT"));
    if empty && exists(family).await {
        let [ip, raw] = family.table();
        let _ = tool::run(&nft, &["delete", "table", ip, raw], String::new()).await;
    }
}

#[cfg(test)]
mod tests;
