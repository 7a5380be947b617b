//! What the kernel and its tools can do, found by trying: `nft --check` has the kernel judge a
//! batch and abandon it.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::{Finding, read};

/// How long a tool may take.
const TOOL_TIME: Duration = Duration::from_secs(10);

/// Something to try: what for, what gives it, and the statements.
struct Trial {
    what: &'static str,
    option: &'static str,
    statements: &'static str,
}

/// What nlbd cannot do without; `T` is a table that nobody has.
const TRIALS: [Trial; 4] = [
    Trial {
        what: "nftables for incoming frames",
        option: "Linux 5.10, CONFIG_NF_TABLES_NETDEV, CONFIG_NETFILTER_INGRESS",
        statements: "add table netdev T
add chain netdev T c { type filter hook ingress device \"lo\" priority -510; policy accept; }
",
    },
    Trial {
        what: "nftables for outgoing frames",
        option: "Linux 5.16, CONFIG_NETFILTER_EGRESS",
        statements: "add table netdev T
add chain netdev T c { type filter hook egress device \"lo\" priority 510; policy accept; }
",
    },
    Trial {
        what: "dynamic sets with timeouts",
        option: "CONFIG_NF_TABLES with sets",
        statements: "add table netdev T
add set netdev T s { type iface_index; size 64; flags dynamic,timeout; }
add chain netdev T c
add rule netdev T c update @s { oif timeout 400ms } accept
",
    },
    Trial {
        what: "hashing of addresses",
        option: "CONFIG_NFT_HASH",
        statements: "add table inet T
add chain inet T c
add rule inet T c meta mark set jhash ip saddr mod 4096 seed 0x1
",
    },
];

const QUEUE: &str = "add table inet T
add chain inet T c { type filter hook prerouting priority -450; policy accept; }
add rule inet T c queue num 1
";

/// Tries everything.
pub(super) async fn findings(root: &Path) -> Vec<Finding> {
    let release = read(root, "proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned());
    let version = match run("nft", &["--version"], "").await {
        Ok(version) => version,
        Err(Tool::Missing) => {
            let todo = "install the package nftables";
            return vec![Finding::fail("kernel", "there is no nft", todo)];
        }
        Err(Tool::Refused(why)) => {
            let todo = "nlbd sets its rules with nft";
            return vec![Finding::fail("kernel", format!("nft does not work: {why}"), todo)];
        }
    };
    let mut findings = vec![Finding::ok("kernel", format!("Linux {release}, {}", version.trim()))];
    let mut refused = Vec::new();
    for Trial { what, option, statements } in TRIALS {
        match attempt(statements).await {
            Ok(()) => findings.push(Finding::ok("kernel", format!("has {what}"))),
            Err(why) => refused.push((what, option, why)),
        }
    }
    // Without the right nothing is learned of the kernel.
    if refused.len() == TRIALS.len() && refused.iter().all(|(.., why)| why.contains("permitted")) {
        let todo = "run it as root: sudo nlbctl preflight";
        findings.push(Finding::warn("kernel", "not tried: only root may", todo));
        return findings;
    }
    for (what, option, why) in refused {
        let found = format!("lacks {what}: {why}");
        findings.push(Finding::fail("kernel", found, format!("it needs {option}")));
    }
    findings.push(queue().await);
    findings.push(dummy().await);
    findings.extend(priority().await);
    findings
}

/// Whether heartbeats can come before other work: containers often have no right to that.
async fn priority() -> Option<Finding> {
    let topic = "priority";
    match run("chrt", &["--rr", "1", "true"], "").await {
        Ok(_) => Some(Finding::ok(topic, "heartbeats can have priority over other work")),
        Err(Tool::Missing) => None,
        Err(Tool::Refused(why)) => {
            let found = format!("nobody here may give heartbeats priority over other work: {why}");
            let todo = "give the container CAP_SYS_NICE, or keep processors free: docs/tuning.md";
            Some(Finding::warn(topic, found, todo))
        }
    }
}

/// How new clients get to user space.
async fn queue() -> Finding {
    let topic = "kernel";
    let Err(nft) = attempt(QUEUE).await else {
        return Finding::ok(topic, "has nftables' queue for new clients");
    };
    // Parsed and looked up, which loads the target, and not put anywhere.
    let rule = ["-t", "raw", "-C", "PREROUTING", "-j", "NFQUEUE", "--queue-num", "1"];
    match run("iptables-legacy", &rule, "").await {
        Ok(_) => return Finding::ok(topic, "has NFQUEUE by iptables for new clients"),
        Err(Tool::Refused(why)) if why.contains("does a matching rule exist") => {
            return Finding::ok(topic, "has NFQUEUE by iptables for new clients (no queue in nft)");
        }
        Err(_) => {}
    }
    match run("iptables", &rule, "").await {
        Ok(_) => Finding::ok(topic, "has NFQUEUE by iptables for new clients"),
        Err(Tool::Refused(why))
            if why.contains("does a matching rule exist") || why.contains("Bad rule") =>
        {
            Finding::ok(topic, "has NFQUEUE by iptables for new clients (no queue in nft)")
        }
        Err(Tool::Refused(why)) => Finding::fail(
            topic,
            format!("has neither nftables' queue ({nft}) nor iptables' NFQUEUE ({why})"),
            "it needs CONFIG_NFT_QUEUE, or CONFIG_NETFILTER_XT_TARGET_NFQUEUE and iptables",
        ),
        Err(Tool::Missing) => Finding::fail(
            topic,
            format!("has no nftables' queue ({nft}), and there is no iptables to stand in for it"),
            "install the package iptables, or take a kernel with CONFIG_NFT_QUEUE",
        ),
    }
}

/// Where service addresses are put.
async fn dummy() -> Finding {
    match run("modprobe", &["--dry-run", "--quiet", "dummy"], "").await {
        Ok(_) => Finding::ok("kernel", "has dummy links for service addresses"),
        Err(_) => Finding::ok("kernel", "has no dummy links: service addresses go to lo"),
    }
}

/// Lets the kernel judge statements. `Err`: what it said.
async fn attempt(statements: &str) -> Result<(), String> {
    let table = format!(" nlb_preflight_{}", std::process::id());
    let text = statements.replace(" T", &table);
    match run("nft", &["--check", "--file", "-"], &text).await {
        Ok(_) => Ok(()),
        Err(Tool::Refused(why)) => Err(why),
        Err(Tool::Missing) => Err("nft is gone".to_owned()),
    }
}

/// Why a tool did not do it.
pub(super) enum Tool {
    Missing,
    /// The first line that it said.
    Refused(String),
}

/// Runs a tool, and returns what it printed.
pub(super) async fn run(tool: &str, arguments: &[&str], input: &str) -> Result<String, Tool> {
    let mut command = Command::new(tool);
    // An administrator's path may lack what is for root.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin:/usr/bin:/bin")).env("LC_ALL", "C");
    command.args(arguments).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let refused = |error: std::io::Error| Tool::Refused(error.to_string());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Tool::Missing,
        _ => refused(error),
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that does not want it says so by its end.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = match timeout(TOOL_TIME, child.wait_with_output()).await {
        Ok(output) => output.map_err(refused)?,
        Err(_) => return Err(Tool::Refused("it does not end".to_owned())),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Tool::Refused(said.lines().next().unwrap_or("no reason given").to_owned()))
}
