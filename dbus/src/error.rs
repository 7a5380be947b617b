//! The errors of the interfaces, and their names on the bus.

/// Why a call did not succeed. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such cluster, or several and none was named.
    #[error("{0}")]
    UnknownCluster(String),
    /// The caller may not do this.
    #[error("{0}")]
    NotPermitted(String),
    /// The caller may do this once a person has given a password, and did not say that it waits
    /// for that.
    #[error("{0}")]
    AskInteractively(String),
    /// An argument has the right type and no possible value.
    #[error("{field}: found {found}; allowed: {allowed}")]
    InvalidValue {
        /// Which argument or property.
        field: String,
        /// Its value.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// The configuration is wrong; nothing was applied.
    #[error("the configuration is wrong, nothing was changed: {0}")]
    InvalidConfig(String),
    /// The daemon will not do it, or could not.
    #[error("{0}")]
    Refused(String),
    /// The daemon does not answer: it ends, or it is overloaded.
    #[error("the daemon did not answer in time; what was asked may still be done")]
    NoAnswer,
    /// More calls wait than the daemon keeps.
    #[error("too many calls wait for an answer already: {0}")]
    Busy(&'static str),
    /// There is no such object.
    #[error("there is no object {0}")]
    UnknownObject(String),
    /// The object has no such interface.
    #[error("the object has no interface {0}")]
    UnknownInterface(String),
    /// The interface has no such method.
    #[error("there is no method {0}")]
    UnknownMethod(String),
    /// The interface has no such property.
    #[error("there is no property {0}")]
    UnknownProperty(String),
    /// The property cannot be set.
    #[error("property {0} cannot be set")]
    ReadOnly(String),
    /// The arguments are of other types.
    #[error("{method} takes ({expected}), found ({found})")]
    InvalidArguments {
        /// The method or property.
        method: String,
        /// The signature that it takes.
        expected: &'static str,
        /// What was found.
        found: String,
    },
}

impl Error {
    /// The error's name on the bus: the D-Bus specification's own where it has one.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::UnknownCluster(_) => "org.nlbd1.Error.UnknownCluster",
            Self::NotPermitted(_) => "org.nlbd1.Error.NotPermitted",
            Self::AskInteractively(_) => {
                "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
            }
            Self::InvalidValue { .. } => "org.nlbd1.Error.InvalidValue",
            Self::InvalidConfig(_) => "org.nlbd1.Error.InvalidConfig",
            Self::Refused(_) => "org.nlbd1.Error.Refused",
            Self::NoAnswer => "org.nlbd1.Error.NoAnswer",
            Self::Busy(_) => "org.freedesktop.DBus.Error.LimitsExceeded",
            Self::UnknownObject(_) => "org.freedesktop.DBus.Error.UnknownObject",
            Self::UnknownInterface(_) => "org.freedesktop.DBus.Error.UnknownInterface",
            Self::UnknownMethod(_) => "org.freedesktop.DBus.Error.UnknownMethod",
            Self::UnknownProperty(_) => "org.freedesktop.DBus.Error.UnknownProperty",
            Self::ReadOnly(_) => "org.freedesktop.DBus.Error.PropertyReadOnly",
            Self::InvalidArguments { .. } => "org.freedesktop.DBus.Error.InvalidArgs",
        }
    }

    pub(crate) fn invalid(field: &str, found: impl ToString, allowed: impl ToString) -> Self {
        let (found, allowed) = (found.to_string(), allowed.to_string());
        Self::InvalidValue { field: field.to_owned(), found, allowed }
    }
}
