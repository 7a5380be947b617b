//! Questions to systemd about its units, over the connection that the bus is served on.

use tokio::sync::watch;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

const SYSTEMD: &str = "org.freedesktop.systemd1";

/// Why a unit is not known to be active.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// There is no bus now.
    #[error("there is no bus to ask systemd on")]
    NoBus,
    /// systemd has no such unit loaded.
    #[error("systemd runs no unit {0}")]
    Unknown(String),
    /// It is in another state.
    #[error("the unit is {0}")]
    State(String),
    /// The bus or systemd did not answer as they should.
    #[error("systemd does not answer: {0}")]
    Bus(String),
}

impl From<zbus::Error> for UnitError {
    fn from(error: zbus::Error) -> Self {
        Self::Bus(error.to_string())
    }
}

/// Asks systemd.
#[derive(Debug, Clone)]
pub struct Units(watch::Receiver<Option<Connection>>);

impl Units {
    pub(crate) fn new(connection: watch::Receiver<Option<Connection>>) -> Self {
        Self(connection)
    }

    /// Whether a unit is active; gives its state. The caller limits the time.
    ///
    /// # Errors
    /// When it is not, or that cannot be known.
    pub async fn active(&self, unit: &str) -> Result<String, UnitError> {
        // Cloned at once: the lock of the channel must not be held while systemd thinks.
        let connection = self.0.borrow().clone();
        let Some(connection) = connection else { return Err(UnitError::NoBus) };
        let manager = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
        let found = connection
            .call_method(Some(SYSTEMD), manager.0, Some(manager.1), "GetUnit", &unit)
            .await;
        let path: OwnedObjectPath = match found {
            Ok(reply) => reply.body().deserialize()?,
            Err(zbus::Error::MethodError(name, ..)) if name.ends_with(".NoSuchUnit") => {
                return Err(UnitError::Unknown(unit.to_owned()));
            }
            Err(error) => return Err(error.into()),
        };
        let properties = Some("org.freedesktop.DBus.Properties");
        let question = ("org.freedesktop.systemd1.Unit", "ActiveState");
        let reply =
            connection.call_method(Some(SYSTEMD), path, properties, "Get", &question).await?;
        let value: OwnedVariant = reply.body().deserialize()?;
        let state = String::try_from(value).map_err(|error| UnitError::Bus(error.to_string()))?;
        // `reloading` serves on with what it had.
        if matches!(state.as_str(), "active" | "reloading") {
            Ok(state)
        } else {
            Err(UnitError::State(state))
        }
    }
}
