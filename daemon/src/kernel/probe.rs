//! What this kernel and its tools can do, found by trying it, so that an administrator reads
//! what is missing instead of watching rules fail.
//!
//! Tries go through `nft --check`: the kernel judges the whole batch and then abandons it, so
//! nothing has to be taken away again, not even after a crash in the middle.

use std::path::PathBuf;

use super::fallback;
use super::tool::{self, ToolError};

/// How packets get to user space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueuePath {
    /// By nft's own `queue`.
    Nft,
    /// By iptables' NFQUEUE target in the raw table, on kernels without the former.
    Iptables,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The nft that is used.
    pub nft: PathBuf,
    /// Its version, as it says it.
    pub nft_version: String,
    /// How packets get to user space.
    pub queue: QueuePath,
    /// Whether nftables has tables for ARP. Without, the kernel may answer for a service address
    /// on an interface that has just appeared, until its settings are made.
    pub arp: bool,
}

/// Why nlbd cannot run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// No nft.
    #[error("nft was not found: install the package nftables")]
    NoNft,
    /// It could not even be asked.
    #[error("nft does not work here: {0}")]
    Nft(#[from] ToolError),
    /// The kernel lacks something that nothing can stand in for.
    #[error("this kernel cannot {what} ({option}): {reason}")]
    Missing {
        /// What it cannot do.
        what: &'static str,
        /// Which build options or kernel version give it.
        option: &'static str,
        /// What nft said.
        reason: String,
    },
    /// Neither way to user space.
    #[error(
        "this kernel has no nft queue (CONFIG_NFT_QUEUE: {nft}) and iptables' NFQUEUE target does \
         not stand in for it: {iptables}"
    )]
    NoQueue {
        /// What nft said.
        nft: String,
        /// What iptables said.
        iptables: String,
    },
}

/// One thing to try: what it is for, what gives it, and the statements that need it.
struct Trial {
    what: &'static str,
    option: &'static str,
    /// Behind the table and its chain; `T` stands for the table's name.
    statements: &'static str,
}

const QUEUE: &str = "add table inet T
add chain inet T c { type filter hook prerouting priority -450; policy accept; }
add rule inet T c meta mark 1 meta mark set 2 queue num 1
";

const ARP: &str = "add table arp T
add set arp T s { type ipv4_addr; }
add chain arp T c { type filter hook output priority 0; policy accept; }
add rule arp T c arp saddr ip @s drop
";

const TRIALS: [Trial; 5] = [
    Trial {
        what: "run nftables rules",
        option: "CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET and CAP_NET_ADMIN",
        statements: "add table inet T
add chain inet T c { type filter hook prerouting priority -450; policy accept; }
",
    },
    Trial {
        what: "look at incoming frames in nftables",
        option: "CONFIG_NF_TABLES_NETDEV, CONFIG_NETFILTER_INGRESS, Linux 5.10",
        statements: "add table netdev T
add chain netdev T c { type filter hook ingress device \"lo\" priority -500; policy accept; }
add rule netdev T c ether daddr 02:00:00:00:00:01 meta mark set 0 meta pkttype set host accept
add table inet T
add chain inet T c { type filter hook ingress device \"lo\" priority -510; policy accept; }
",
    },
    Trial {
        what: "look at outgoing frames in nftables",
        option: "CONFIG_NETFILTER_EGRESS, Linux 5.16",
        statements: "add table netdev T
add chain netdev T c { type filter hook egress device \"lo\" priority 510; policy accept; }
add rule netdev T c @ll,96,64 0x88b54e4c01010001 accept
",
    },
    Trial {
        what: "keep leases and clients in nftables sets",
        option: "dynamic sets with timeouts and sets of iface_index",
        statements: "add table netdev T
add set netdev T lease { type iface_index; size 64; flags dynamic,timeout; }
add chain netdev T c
add rule netdev T c iif @lease accept
add rule netdev T c update @lease { oif timeout 400ms } accept
",
    },
    Trial {
        what: "hash clients in nftables",
        option: "CONFIG_NFT_HASH",
        statements: "add table inet T
add chain inet T c
add rule inet T c meta mark set jhash ip saddr mod 4096 seed 0x1
add rule inet T c meta mark set jhash ip6 saddr mod 4096 seed 0x1
",
    },
];

/// Finds out what can be done in the network namespace of this process.
///
/// # Errors
/// The first thing that is missing, in words for whoever installs it.
pub async fn probe() -> Result<Capabilities, ProbeError> {
    let nft = tool::find("nft").ok_or(ProbeError::NoNft)?;
    // All at once: a process that begins again after a crash has little time until its node's
    // rights are lost.
    let everything = TRIALS.map(|trial| trial.statements);
    let (version, all, queue, arp) = tokio::join!(
        tool::run(&nft, &["--version"], String::new()),
        attempt(&nft, &everything),
        attempt(&nft, &[QUEUE]),
        attempt(&nft, &[ARP])
    );
    let nft_version = version?.trim().to_owned();
    if all.is_err() {
        for Trial { what, option, statements } in TRIALS {
            let tried = attempt(&nft, &[statements]).await;
            tried.map_err(|reason| ProbeError::Missing { what, option, reason })?;
        }
    }
    let queue = match queue {
        Ok(()) => QueuePath::Nft,
        Err(reason) => {
            let iptables = fallback::check().await;
            iptables.map_err(|iptables| ProbeError::NoQueue { nft: reason, iptables })?;
            QueuePath::Iptables
        }
    };
    Ok(Capabilities { nft, nft_version, queue, arp: arp.is_ok() })
}

/// Lets the kernel judge statements, each group in tables that nobody has. `Err`: what it said.
async fn attempt(nft: &std::path::Path, groups: &[&str]) -> Result<(), String> {
    let mut text = String::new();
    for (number, statements) in groups.iter().enumerate() {
        let table = format!("nlb_probe_{}_{number}", std::process::id());
        // The letter stands for nothing else in the statements.
        text += &statements.replace(" T", &format!(" {table}"));
    }
    match tool::run(nft, &["--check", "--file", "-"], text).await {
        Ok(_) => Ok(()),
        Err(ToolError::Refused { complaint, .. }) => {
            Err(complaint.lines().next().unwrap_or("no reason given").to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
