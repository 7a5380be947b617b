//! One run of a check: whichever kind, within its time.

use std::io;

use nlb_dbus::Units;

use super::command::Commands;
use super::model::{Check, Kind};
use super::process::Processes;
use super::{dns, http, net};

/// What checks use of the daemon.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Runs commands without privileges.
    pub commands: Commands,
    /// Knows the units of systemd; `None`: the daemon was told to use no bus.
    pub units: Option<Units>,
    /// Knows which processes run.
    pub processes: Processes,
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
    #[error("{0}")]
    Command(String),
    #[error("cannot look: {0}")]
    Look(#[source] io::Error),
}

/// Runs a check once. A run that takes too long has failed, whatever it waits for.
pub(super) async fn run(check: &Check, tools: &Tools) -> Result<String, Failure> {
    let limit = check.pace.timeout;
    if let Kind::Command(words) = &check.kind {
        // The runner keeps the time: it also ends the command.
        return tools.commands.run(words, limit).await.map_err(Failure::Command);
    }
    let run = async {
        match &check.kind {
            Kind::Tcp(server) => net::tcp(*server).await,
            Kind::Http(http) => http::get(http).await,
            Kind::Dns(dns) => dns::ask(dns).await,
            Kind::Udp(udp) => net::udp(udp).await,
            Kind::Unit(unit) => match &tools.units {
                Some(units) => Ok(units.active(unit).await?),
                None => Err(Failure::NoBus),
            },
            Kind::Process(name) => tools.processes.find(name).await,
            Kind::Command(_) => Err(Failure::Timeout), // run above
        }
    };
    tokio::time::timeout(limit, run).await.unwrap_or(Err(Failure::Timeout))
}
