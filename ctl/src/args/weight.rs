//! Weights, as `nlbctl` is told them.

use clap::ValueEnum;

/// Where a weight comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // `WeightMode` in the verb explains them
pub enum WeightMode {
    Manual,
    Loadavg,
    Loadavg5,
    Loadavg15,
    Cpu,
    Memory,
    Connections,
    Command,
}

impl WeightMode {
    /// As the daemon calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Loadavg => "loadavg",
            Self::Loadavg5 => "loadavg5",
            Self::Loadavg15 => "loadavg15",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Connections => "connections",
            Self::Command => "command",
        }
    }
}

/// A weight, or where to read weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightArgument {
    /// This one.
    Weight(u16),
    /// One a line from standard input.
    Stdin,
}

/// What a weight can be.
pub const WEIGHTS: &str = "1 to 65535";

/// A weight as somebody wrote it.
///
/// # Errors
/// What was found and what is allowed.
pub fn weight(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(weight @ 1..) => Ok(weight),
        _ => Err(format!("weight: found {text}; allowed: {WEIGHTS}")),
    }
}

impl core::str::FromStr for WeightArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "stdin" => Ok(Self::Stdin),
            text => weight(text)
                .map(Self::Weight)
                .map_err(|_| format!("found {text}; allowed: {WEIGHTS}, or the word stdin")),
        }
    }
}
