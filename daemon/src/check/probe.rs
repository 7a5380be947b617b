//! One run of a check: whichever kind, within its time.

use core::time::Duration;
use std::io;

use nlb_dbus::Units;

use super::command::Commands;
use super::model::{Check, Kind};
use super::order::Ran;
use super::process::Processes;
use super::{dns, http, net};

/// What checks use of the daemon.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Looks at services, and runs commands, without privileges.
    pub commands: Commands,
    /// Knows the units of systemd; `None`: the daemon was told to use no bus.
    pub units: Option<Units>,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("timed out")]
    Timeout,
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("the connection broke: {0}")]
    Talk(#[source] io::Error),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("the answer is no HTTP")]
    NotHttp,
    #[error("the answer is too long")]
    TooLong,
    #[error("status {0}")]
    Status(u16),
    #[error("header {0} is missing")]
    NoHeader(String),
    #[error("header {0} does not match")]
    Header(String),
    #[error("the body does not match")]
    Body,
    #[error("the answer does not match")]
    Answer,
    #[error("the answer is no DNS")]
    NotDns,
    #[error("DNS error {0}")]
    DnsCode(u8),
    #[error("no such record")]
    NoRecord,
    #[error("no bus: nlbd was started with --bus none")]
    NoBus,
    #[error(transparent)]
    Unit(#[from] nlb_dbus::UnitError),
    #[error("no process \"{0}\"")]
    NoProcess(String),
    #[error("not for the runner to look at")]
    NotHere,
    #[error("cannot look: {0}")]
    Look(#[source] io::Error),
}

/// Runs a check once: the runner does, but for units of systemd, which the daemon asks the bus for.
/// A run that takes too long has failed, whatever it waits for.
pub(super) async fn run(check: &Check, tools: &Tools) -> Ran {
    let limit = check.pace.timeout;
    let Kind::Unit(unit) = &check.kind else {
        // The runner keeps the time: it also ends commands.
        return tools.commands.check(&check.kind, limit).await;
    };
    let Some(units) = &tools.units else { return Err(Failure::NoBus.to_string()) };
    let asked = tokio::time::timeout(limit, units.active(unit)).await;
    let asked = asked.map_err(|_| Failure::Timeout).and_then(|found| Ok(found?));
    asked.map_err(|failure| failure.to_string())
}

/// Looks once, in the runner. Units and commands are others' affairs.
pub(super) async fn look(
    kind: &Kind,
    limit: Duration,
    processes: &Processes,
) -> Result<String, Failure> {
    let look = async {
        match kind {
            Kind::Tcp(server) => net::tcp(*server).await,
            Kind::Http(http) => http::get(http).await,
            Kind::Dns(dns) => dns::ask(dns).await,
            Kind::Udp(udp) => net::udp(udp).await,
            Kind::Process(name) => processes.find(name).await,
            Kind::Unit(_) | Kind::Command(_) => Err(Failure::NotHere),
        }
    };
    tokio::time::timeout(limit, look).await.unwrap_or(Err(Failure::Timeout))
}
