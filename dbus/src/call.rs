//! Calls: from a message to what is asked, with every argument's type and range checked.

use std::collections::HashMap;

use zbus::message::Header;
use zbus::{Message, OwnedVariant};

use crate::error::Error;
use crate::tree::Object;
use crate::{CLUSTER, MANAGER};

/// Clients that may be listed, those that are skipped included.
const MAX_CLIENTS: u32 = 10_000;
/// The longest drain: a week.
const MAX_DRAIN_S: u32 = 604_800;

/// Something asked of the daemon. An empty cluster means the only one there is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // each is the method of its name, documented in the XML files
pub enum Call {
    Reload,
    AddInterface {
        interface: String,
        cluster: Option<String>,
        addresses: Vec<String>,
        mode: Option<String>,
        id: Option<u16>,
    },
    RemoveInterface {
        interface: String,
        cluster: Option<String>,
    },
    CheckConfig {
        file: Option<String>,
    },
    SetWeight {
        cluster: String,
        weight: u16,
    },
    SetWeightMode {
        cluster: String,
        mode: String,
    },
    /// `None`: without a limit.
    Drain {
        cluster: String,
        timeout_s: Option<u32>,
    },
    Undrain {
        cluster: String,
    },
    Leave {
        cluster: String,
    },
    Explain {
        cluster: String,
        address: String,
    },
    Clients {
        cluster: String,
        offset: u32,
        limit: u32,
    },
    Buckets {
        cluster: String,
    },
}

impl Call {
    /// Whether it may change something, so that what clients read is older than its answer.
    pub(crate) fn changes(&self) -> bool {
        !matches!(
            self,
            Self::CheckConfig { .. }
                | Self::Explain { .. }
                | Self::Clients { .. }
                | Self::Buckets { .. }
        )
    }

    /// The method of an object's own interface that a message calls.
    pub(crate) fn method(object: &Object, message: &Message) -> Result<Self, Error> {
        let header = message.header();
        let member = header.member().map(|member| member.as_str()).unwrap_or_default();
        let arguments = Arguments { message, header: &header, member };
        let cluster = object.cluster.clone();
        Ok(match (object.interface, member) {
            (MANAGER, "Reload") => arguments.none(Self::Reload)?,
            (MANAGER, "AddInterface") => {
                let (interface, options) = arguments.take("sa{sv}")?;
                Self::add_interface(interface, options)?
            }
            (MANAGER, "RemoveInterface") => {
                let (interface, cluster) = arguments.take("ss")?;
                Self::RemoveInterface { interface, cluster: given(cluster) }
            }
            (MANAGER, "CheckConfig") => {
                let (file,) = arguments.take("s")?;
                Self::CheckConfig { file: given(file) }
            }
            (CLUSTER, "SetWeight") => {
                let (weight,) = arguments.take("q")?;
                Self::SetWeight { cluster, weight }
            }
            (CLUSTER, "SetWeightMode") => {
                let (mode,) = arguments.take("s")?;
                Self::SetWeightMode { cluster, mode }
            }
            (CLUSTER, "Drain") => match arguments.take("u")? {
                (0,) => Self::Drain { cluster, timeout_s: None },
                (timeout,) if timeout <= MAX_DRAIN_S => {
                    Self::Drain { cluster, timeout_s: Some(timeout) }
                }
                (timeout,) => {
                    let allowed = format!("1 to {MAX_DRAIN_S}, or 0 for no limit");
                    return Err(Error::invalid("timeout_s", timeout, allowed));
                }
            },
            (CLUSTER, "Undrain") => arguments.none(Self::Undrain { cluster })?,
            (CLUSTER, "Leave") => arguments.none(Self::Leave { cluster })?,
            (CLUSTER, "GetBuckets") => arguments.none(Self::Buckets { cluster })?,
            (CLUSTER, "Explain") => {
                let (address,) = arguments.take("s")?;
                Self::Explain { cluster, address }
            }
            (CLUSTER, "GetClients") => {
                let (offset, limit): (u32, u32) = arguments.take("uu")?;
                let most = MAX_CLIENTS.saturating_sub(offset);
                if most == 0 {
                    let allowed = format!("below {MAX_CLIENTS}");
                    return Err(Error::invalid("offset", offset, allowed));
                }
                if !(1..=most).contains(&limit) {
                    return Err(Error::invalid("limit", limit, format!("1 to {most}")));
                }
                Self::Clients { cluster, offset, limit }
            }
            (_, member) => return Err(Error::UnknownMethod(member.to_owned())),
        })
    }

    /// Writing a property is the method of its meaning.
    pub(crate) fn property(
        object: &Object,
        name: &str,
        value: OwnedVariant,
    ) -> Result<Self, Error> {
        let cluster = object.cluster.clone();
        match (object.interface, name) {
            (CLUSTER, "Weight") => {
                Ok(Self::SetWeight { cluster, weight: convert(name, "q", value)? })
            }
            (CLUSTER, "WeightMode") => {
                Ok(Self::SetWeightMode { cluster, mode: convert(name, "s", value)? })
            }
            _ if object.properties.contains_key(name) => Err(Error::ReadOnly(name.to_owned())),
            _ => Err(Error::UnknownProperty(name.to_owned())),
        }
    }

    fn add_interface(
        interface: String,
        options: HashMap<String, OwnedVariant>,
    ) -> Result<Self, Error> {
        let (mut cluster, mut addresses, mut mode, mut id) = (None, Vec::new(), None, None);
        for (name, value) in options {
            match name.as_str() {
                "cluster" => cluster = Some(convert(&name, "s", value)?),
                "addresses" => addresses = convert(&name, "as", value)?,
                "mode" => mode = Some(convert(&name, "s", value)?),
                "id" => id = Some(convert(&name, "q", value)?),
                _ => {
                    let allowed = "cluster, addresses, mode and id";
                    return Err(Error::invalid("options", name, allowed));
                }
            }
        }
        Ok(Self::AddInterface { interface, cluster, addresses, mode, id })
    }
}

/// Empty text stands for what is not given.
fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn convert<T>(name: &str, expected: &'static str, value: OwnedVariant) -> Result<T, Error>
where
    T: TryFrom<OwnedVariant>,
{
    let found = value.value_signature().to_string();
    let wrong =
        || Error::InvalidArguments { method: name.to_owned(), expected, found: found.clone() };
    if found != expected {
        return Err(wrong());
    }
    T::try_from(value).map_err(|_| wrong())
}

/// The arguments of a message.
pub(crate) struct Arguments<'m> {
    pub(crate) message: &'m Message,
    pub(crate) header: &'m Header<'m>,
    pub(crate) member: &'m str,
}

impl Arguments<'_> {
    /// The arguments, if they are of these types.
    pub(crate) fn take<T>(&self, expected: &'static str) -> Result<T, Error>
    where
        T: for<'d> zbus::export::serde::Deserialize<'d> + zbus::Type,
    {
        let found = self.header.signature().to_string_no_parens();
        let wrong = || {
            let (method, found) = (self.member.to_owned(), found.clone());
            Error::InvalidArguments { method, expected, found }
        };
        if found != expected {
            return Err(wrong());
        }
        self.message.body().deserialize_ignore_signature().map_err(|_| wrong())
    }

    /// No arguments.
    pub(crate) fn none<T>(&self, call: T) -> Result<T, Error> {
        match self.header.signature().to_string_no_parens() {
            found if found.is_empty() => Ok(call),
            found => {
                let method = self.member.to_owned();
                Err(Error::InvalidArguments { method, expected: "", found })
            }
        }
    }
}
