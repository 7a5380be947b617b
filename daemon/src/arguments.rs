//! What `nlbd` can be told on its command line.

use std::path::PathBuf;

use clap::Parser;

use crate::check::runner::RUN_COMMANDS;
use crate::priority::giver::GIVE_PRIORITY;

/// Several servers answer for one address, with no load balancer: the daemon.
#[derive(Debug, Parser)]
#[command(name = "nlbd", version, about)]
pub struct Arguments {
    /// The configuration; without it /etc/nlbd/nlbd.ron, which may be missing. Drop-ins are read
    /// from the directory of the same name that ends in `.d`.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the socket for nlbctl and the record of what was changed on the host are kept. Every
    /// instance needs its own.
    #[arg(long, value_name = "DIR", default_value = "/run/nlbd")]
    pub run_dir: PathBuf,
    /// The bus for D-Bus and polkit: system, session, an address, or none. A bus that is not there
    /// is looked for.
    #[arg(long, value_name = "BUS", default_value = "system")]
    pub bus: String,
    /// How much to log: error, warn, info, debug, trace, or directives like info,nlbd=debug; without
    /// it what NLBD_LOG says, or info.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Read and check the configuration, say what is wrong with it, and end.
    #[arg(long)]
    pub check: bool,
    /// The user that looks at services for health checks, and that commands of the configuration run
    /// as.
    #[arg(long, value_name = "USER", default_value = "nobody")]
    pub check_user: String,
    /// A socket behind which systemd runs health checks (nlbd-checks.socket); without it the daemon
    /// starts what runs them itself, which takes CAP_SETUID and CAP_SETGID.
    #[arg(long, value_name = "SOCKET", conflicts_with = "check_user")]
    pub check_socket: Option<PathBuf>,
    /// A socket behind which systemd gives the threads of heartbeats their priority
    /// (nlbd-priority.socket); without it the daemon takes it itself, if it may.
    #[arg(long, value_name = "SOCKET")]
    pub priority_socket: Option<PathBuf>,
    /// For the daemon itself: give priority to the thread that standard input names.
    #[arg(long = GIVE_PRIORITY, hide = true)]
    pub give_priority: bool,
    /// For the daemon itself: run checks as this user, as standard input says.
    #[arg(long = RUN_COMMANDS, value_name = "USER", hide = true)]
    pub run_commands: Option<String>,
}
