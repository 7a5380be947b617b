//! Frames that get lost inside the switch, as rules on the way out of its ports.

use std::fmt::Write;

use anyhow::Result;
use nlb_protocol::MacAddr;

use crate::netns::Namespace;

/// Which frames are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Every frame.
    All,
    /// Frames of the protocol.
    Heartbeats,
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
}

/// From now on exactly these frames are lost, whatever was lost before.
///
/// # Errors
/// When the rules cannot be set.
pub fn set(switch: &Namespace, cuts: &[Cut]) -> Result<()> {
    let mut text = "table netdev cut\ndelete table netdev cut\n".to_owned();
    if !cuts.is_empty() {
        text += "table netdev cut {\n";
        let ports: std::collections::BTreeSet<&str> =
            cuts.iter().map(|cut| cut.port.as_str()).collect();
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
                if cut.lost == Lost::Heartbeats {
                    text += "@ll,96,16 0x88b5 ";
                }
                text += "drop\n";
            }
            text += "}\n";
        }
        text += "}\n";
    }
    switch.feed(&["nft", "-f", "-"], &text).map(drop)
}
