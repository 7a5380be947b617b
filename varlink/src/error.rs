//! The errors of the interface, as they travel.

use core::fmt;

/// An error reply of `org.nlbd.Cluster`.
// zlink's derive copies foreign attributes into its own types, so `thiserror` cannot stand here.
#[derive(Debug, Clone, PartialEq, Eq, zlink::ReplyError, zlink::introspect::ReplyError)]
#[zlink(interface = "org.nlbd.Cluster")]
pub enum Error {
    /// There is no such cluster.
    UnknownCluster {
        /// The name that was asked for; empty if there was none.
        cluster: String,
        /// Those that exist.
        known: Vec<String>,
    },
    /// The caller may not do this.
    NotPermitted {
        /// What was asked for, in words.
        action: String,
        /// Who may.
        message: String,
    },
    /// A parameter has the right type and no possible value.
    InvalidValue {
        /// Which parameter.
        field: String,
        /// Its value.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// The configuration is wrong; nothing was applied.
    InvalidConfig {
        /// Every error with its place.
        errors: Vec<String>,
    },
    /// The daemon will not do it, or could not.
    Refused {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCluster { known, .. } if known.is_empty() => {
                f.write_str("no cluster runs here")
            }
            Self::UnknownCluster { cluster, known } if cluster.is_empty() => {
                write!(f, "there are several clusters here, name one: {}", known.join(", "))
            }
            Self::UnknownCluster { cluster, known } => {
                write!(f, "there is no cluster \"{cluster}\" here, but {}", known.join(", "))
            }
            Self::NotPermitted { action, message } => {
                write!(f, "no permission to {action}: {message}")
            }
            Self::InvalidValue { field, found, allowed } => {
                write!(f, "{field}: found {found}; allowed: {allowed}")
            }
            Self::InvalidConfig { errors } => {
                f.write_str("the configuration is wrong, nothing was changed")?;
                errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
            Self::Refused { reason } => f.write_str(reason),
        }
    }
}

impl core::error::Error for Error {}
