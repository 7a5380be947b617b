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
