//! Under construction.

use nlb_protocol::Weight;

/// Where the weight of this node comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WeightSource {
    /// The load average over one minute, per core.
    #[default]
    LoadAverage,
    /// The load average over five minutes, per core.
    LoadAverage5,
    /// The load average over fifteen minutes, per core.
    LoadAverage15,
    /// This weight, until somebody sets another.
    Manual(Weight),
}

impl WeightSource {
    /// Its name in the status and in `nlbctl weight_mode`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LoadAverage => "loadavg",
            Self::LoadAverage5 => "loadavg5",
            Self::LoadAverage15 => "loadavg15",
            Self::Manual(_) => "manual",
        }
    }
}
