//! The bus: which one, how it is found, lost and found again.

use core::convert::Infallible;
use core::str::FromStr;
use core::time::Duration;
use std::sync::Arc;

use futures_util::Stream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use zbus::Connection;
use zbus::connection::Builder;

use crate::polkit::Polkit;
use crate::serve::Served;
use crate::units::Units;
use crate::{Backend, NAME};

/// The first wait for a bus that is not there, and the longest: a bus that comes back is found
/// within this time, and one that never comes costs a failed connection every five seconds.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long a bus may take to let the daemon in.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Which bus to serve on.
#[derive(Debug, Clone)]
pub enum Address {
    /// The system bus.
    System,
    /// The session bus of the daemon's user.
    Session,
    /// The bus at this address.
    At(String),
}

/// Text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "found {found}; allowed: system, session, none, or an address like unix:path=/run/dbus/system_bus_socket ({reason})"
)]
pub struct BadAddress {
    found: String,
    reason: String,
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        match text {
            "system" => Ok(Self::System),
            "session" => Ok(Self::Session),
            address => match zbus::Address::from_str(address) {
                Ok(_) => Ok(Self::At(address.to_owned())),
                Err(error) => Err(BadAddress { found: text.to_owned(), reason: error.to_string() }),
            },
        }
    }
}

/// A bus that is looked for.
#[derive(Debug)]
pub struct Bus {
    address: Address,
    connection: watch::Sender<Option<Connection>>,
}

impl Bus {
    /// Nothing happens until it is served.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self { address, connection: watch::channel(None).0 }
    }

    /// Asks the polkit of this bus, whenever there is one.
    #[must_use]
    pub fn polkit(&self) -> Polkit {
        Polkit::new(self.connection.subscribe())
    }

    /// Asks the systemd of this bus, whenever there is one.
    #[must_use]
    pub fn units(&self) -> Units {
        Units::new(self.connection.subscribe())
    }

    /// Serves until the future is dropped, with or without a bus. At items of `refresh` it is
    /// looked for changes that no event told of. Each loss and each return is said in the log once.
    pub async fn serve<B: Backend>(
        &self,
        backend: Arc<B>,
        mut refresh: impl Stream<Item = ()> + Unpin,
    ) -> Infallible {
        let mut said = false;
        let mut wait = FIRST_WAIT;
        loop {
            let lost = match self.connect().await {
                Ok(connection) => {
                    let unique = connection.unique_name().map(ToString::to_string);
                    match Served::begin(&connection, backend.clone()).await {
                        Ok((mut served, queued)) => {
                            self.connection.send_replace(Some(connection));
                            tracing::info!(name = NAME, unique, "D-Bus is served");
                            if queued {
                                tracing::warn!(
                                    name = NAME,
                                    "another daemon has the name on this bus; this one is \
                                     reached by its unique name until that one ends"
                                );
                            }
                            said = false;
                            let begun = Instant::now();
                            let lost = served.run(&mut refresh).await;
                            // One that breaks at once, each time, is not tried in haste for ever.
                            if begun.elapsed() > LONGEST_WAIT {
                                wait = FIRST_WAIT;
                            }
                            self.connection.send_replace(None);
                            lost
                        }
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if !said {
                said = true;
                let error = lost.to_string();
                tracing::warn!(error, "D-Bus is not served: no bus; it is looked for");
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn connect(&self) -> zbus::Result<Connection> {
        let builder = match &self.address {
            Address::System => Builder::system(),
            Address::Session => Builder::session(),
            Address::At(address) => Builder::address(address.as_str()),
        };
        match timeout(CONNECT_TIME, builder.build()).await {
            Ok(connected) => connected,
            Err(_) => Err(zbus::Error::Failure("the bus does not answer".to_owned())),
        }
    }
}
