//! The lines of a recording: `[time in nanoseconds, what]`, one JSON text each.

use core::net::IpAddr;
use core::time::Duration;

use nlb_engine::manage::Command;
use nlb_engine::{Time, Withdraw};
use nlb_protocol::Weight;
use serde::{Deserialize, Serialize};

use crate::config::Start;

/// Which lines there are and what they mean. Raised when that changes.
pub const FORMAT: u32 = 4;

/// A line and its time.
pub type Timed = (Time, Line);

/// What stands in a line. The calls are those of [`crate::What`]; what the engine said is there in
/// words with a checksum, so that another engine can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)] // as in the engine
pub enum Line {
    /// The first line.
    Recording {
        format: u32,
        software: String,
        cluster: String,
        time_ms: u64,
    },
    /// The engine was made now.
    New(Box<Start>),
    /// A part of the image of an engine that ran, in hexadecimal digits; the last one or not.
    Image {
        part: String,
        last: bool,
    },
    /// So many lines are missing.
    Lost(u64),
    /// The last line: why there are no more.
    End(String),
    Frame {
        arrival: u64,
        bytes: String,
    },
    Sent(u64),
    /// Up to when everything was read.
    Timeout(u64),
    Packet {
        id: u32,
        client: IpAddr,
        opens: bool,
        print: u64,
        arrival: u64,
        gave: String,
    },
    Applied(u64),
    KernelFailed,
    /// Address, nanoseconds left, connected.
    Findings {
        asked: u64,
        found: Vec<(IpAddr, Option<u64>, bool)>,
    },
    StickyLost,
    RulesRepaired,
    Witness,
    Load {
        measure: u8,
        permille: u16,
    },
    Settings {
        heartbeat_ms: u32,
        dead_after_ms: u32,
        mode: u8,
        mac: [u8; 6],
        addresses: u32,
        ports: u32,
        keys: u32,
    },
    Health {
        health: u8,
        withdraw: Leaving,
    },
    Command {
        order: Order,
        gave: String,
    },
    Plan(String),
    Question(Option<String>),
    Verdict(Option<(u32, String)>),
    Transmit(Option<String>),
    Notice(String),
}

/// [`Withdraw`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // as in the engine
pub enum Leaving {
    Never,
    WhileOthersAreWell,
    Always,
}

impl From<Withdraw> for Leaving {
    fn from(withdraw: Withdraw) -> Self {
        match withdraw {
            Withdraw::Never => Self::Never,
            Withdraw::WhileOthersAreWell => Self::WhileOthersAreWell,
            Withdraw::Always => Self::Always,
        }
    }
}

impl From<Leaving> for Withdraw {
    fn from(leaving: Leaving) -> Self {
        match leaving {
            Leaving::Never => Self::Never,
            Leaving::WhileOthersAreWell => Self::WhileOthersAreWell,
            Leaving::Always => Self::Always,
        }
    }
}

/// [`Command`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // as in the engine
pub enum Order {
    SetWeight(u16),
    Leave,
    LeaveNow,
    Restart { hold_ns: u64 },
    Drain { timeout_ns: Option<u64>, force: bool },
    Undrain,
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl From<&Command> for Order {
    fn from(command: &Command) -> Self {
        match command {
            Command::SetWeight(weight) => Self::SetWeight(weight.get()),
            Command::Leave => Self::Leave,
            Command::LeaveNow => Self::LeaveNow,
            Command::Restart { hold } => Self::Restart { hold_ns: nanos(*hold) },
            Command::Drain { timeout, force } => {
                Self::Drain { timeout_ns: timeout.map(nanos), force: *force }
            }
            Command::Undrain => Self::Undrain,
        }
    }
}

impl Order {
    pub(crate) fn command(&self) -> Option<Command> {
        Some(match self {
            Self::SetWeight(weight) => Command::SetWeight(Weight::new(*weight)?),
            Self::Leave => Command::Leave,
            Self::LeaveNow => Command::LeaveNow,
            Self::Restart { hold_ns } => Command::Restart { hold: Duration::from_nanos(*hold_ns) },
            Self::Drain { timeout_ns, force } => {
                Command::Drain { timeout: timeout_ns.map(Duration::from_nanos), force: *force }
            }
            Self::Undrain => Command::Undrain,
        })
    }
}

/// A line that is none.
#[derive(Debug, thiserror::Error)]
#[error("this is no line of a recording: {0}")]
pub struct LineError(#[from] serde_json::Error);

/// The text of a line, without its end.
#[must_use]
pub fn write_line(at: Time, line: &Line) -> String {
    // Nothing in it can fail: no maps, no numbers that JSON does not know.
    serde_json::to_string(&(at.as_nanos(), line)).unwrap_or_default()
}

/// Reads a line.
///
/// # Errors
/// When it is none.
pub fn read_line(text: &str) -> Result<Timed, LineError> {
    let (at, line) = serde_json::from_str(text)?;
    Ok((Time::from_nanos(at), line))
}

/// Bytes as hexadecimal digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// And back.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|v| u8::try_from(v).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}
