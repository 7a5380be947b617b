//! The methods of the interface: names and parameters, checked one by one so that an error names
//! the parameter that is wrong.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The name of the interface.
pub const INTERFACE: &str = "org.nlbd.Cluster";

/// A call whose parameters have the right types. Whether the values are possible is for the
/// daemon to say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the interface definition documents methods and parameters
pub enum Method {
    Status,
    Buckets {
        cluster: Option<String>,
    },
    Clients {
        cluster: Option<String>,
        limit: Option<i64>,
    },
    Explain {
        cluster: Option<String>,
        address: String,
    },
    SetWeight {
        cluster: Option<String>,
        weight: i64,
    },
    SetWeightMode {
        cluster: Option<String>,
        mode: String,
    },
    AddInterface {
        interface: String,
        cluster: Option<String>,
        addresses: Vec<String>,
        mode: Option<String>,
        id: Option<i64>,
    },
    RemoveInterface {
        interface: String,
        cluster: Option<String>,
    },
    Leave {
        cluster: Option<String>,
    },
    Drain {
        cluster: Option<String>,
        timeout_s: Option<i64>,
        force: Option<bool>,
    },
    RestartHold {
        hold_s: i64,
    },
    Undrain {
        cluster: Option<String>,
    },
    Reload,
    CheckConfig {
        file: Option<String>,
    },
    Events {
        after: Option<i64>,
    },
    /// Answered with a stream; see [`crate::Backend::monitor`].
    Monitor {
        after: Option<i64>,
    },
    /// Answered with a stream; see [`crate::Backend::record`].
    Record(Record),
}

/// A recording that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)] // as [`Method`]
pub struct Record {
    pub cluster: Option<String>,
    pub seconds: Option<i64>,
    pub from_start: Option<bool>,
}

/// Why a call is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadCall {
    /// The interface has no such method.
    Unknown,
    /// This parameter is missing, unknown or of the wrong type.
    Parameter(String),
}

impl Method {
    /// The call that a method name (without the interface) and parameters make.
    pub(crate) fn decode(name: &str, parameters: Map<String, Value>) -> Result<Self, BadCall> {
        let mut p = Parameters(parameters);
        let method = match name {
            "Status" => Self::Status,
            "Buckets" => Self::Buckets { cluster: p.optional("cluster")? },
            "Clients" => {
                Self::Clients { cluster: p.optional("cluster")?, limit: p.optional("limit")? }
            }
            "Explain" => {
                Self::Explain { cluster: p.optional("cluster")?, address: p.required("address")? }
            }
            "SetWeight" => {
                Self::SetWeight { cluster: p.optional("cluster")?, weight: p.required("weight")? }
            }
            "SetWeightMode" => {
                Self::SetWeightMode { cluster: p.optional("cluster")?, mode: p.required("mode")? }
            }
            "AddInterface" => Self::AddInterface {
                interface: p.required("interface")?,
                cluster: p.optional("cluster")?,
                addresses: p.optional("addresses")?.unwrap_or_default(),
                mode: p.optional("mode")?,
                id: p.optional("id")?,
            },
            "RemoveInterface" => Self::RemoveInterface {
                interface: p.required("interface")?,
                cluster: p.optional("cluster")?,
            },
            "Leave" => Self::Leave { cluster: p.optional("cluster")? },
            "Drain" => Self::Drain {
                cluster: p.optional("cluster")?,
                timeout_s: p.optional("timeout_s")?,
                force: p.optional("force")?,
            },
            "RestartHold" => Self::RestartHold { hold_s: p.required("hold_s")? },
            "Undrain" => Self::Undrain { cluster: p.optional("cluster")? },
            "Reload" => Self::Reload,
            "CheckConfig" => Self::CheckConfig { file: p.optional("file")? },
            "Events" => Self::Events { after: p.optional("after")? },
            "Monitor" => Self::Monitor { after: p.optional("after")? },
            "Record" => Self::Record(Record {
                cluster: p.optional("cluster")?,
                seconds: p.optional("seconds")?,
                from_start: p.optional("from_start")?,
            }),
            _ => return Err(BadCall::Unknown),
        };
        p.finish()?;
        Ok(method)
    }
}

/// Parameters that were not asked for yet.
pub(crate) struct Parameters(pub(crate) Map<String, Value>);

impl Parameters {
    /// `null` and absent are the same to varlink.
    pub(crate) fn optional<T: DeserializeOwned>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, BadCall> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|_| BadCall::Parameter(name.to_owned())),
        }
    }

    pub(crate) fn required<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, BadCall> {
        self.optional(name)?.ok_or_else(|| BadCall::Parameter(name.to_owned()))
    }

    /// No parameter may be left: one that nobody asked for is a mistake of the caller.
    pub(crate) fn finish(self) -> Result<(), BadCall> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(BadCall::Parameter(name)),
        }
    }
}
