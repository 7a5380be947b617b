//! What `nlbctl` can be told.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::key::KeyVerb;

pub use self::debug::DebugVerb;
pub use self::weight::{WEIGHTS, WeightArgument, WeightMode, weight};

mod debug;
mod weight;

/// Look at and steer a cluster of servers that share one service address.
///
/// nlbctl speaks to the daemon nlbd on this host, which is one node of the cluster: it shows what
/// that node sees, and changes that node. Reading is for everybody; changing is for root and the
/// user that the daemon runs as.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "nlbctl",
    version,
    after_long_help = LONG_HELP,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Arguments {
    /// Print JSON instead of words. Fields are added with time, never renamed
    #[arg(long, global = true)]
    pub json: bool,

    /// The daemon's run directory, where its socket is
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "NLBD_RUN_DIR",
        default_value = nlb_varlink::RUN_DIR
    )]
    pub run_dir: PathBuf,

    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

const LONG_HELP: &str = "\
CLUSTER may be left out wherever there is only one. Verbs with an underscore have a twin with a
hyphen: set_weight is set-weight.

Exit status:
  0  done, or nothing was to be done
  1  the daemon refused, or failed
  2  wrong usage
  3  the daemon cannot be reached, or does not answer
  4  no permission
  5  asked whether all is well (status, preflight), and it is not
  6  drain --wait: the time is over, and clients were left
  7  drain --wait: the node drains no longer

Examples:
  Start a cluster on the first server, then join it on the next one (with the same key):
      nlbctl addif eth0 --address 192.0.2.50
  See whether all is well:
      nlbctl status
  Why does this client go there?
      nlbctl explain 198.51.100.7
  Take half the traffic of the others (the higher the weight, the less traffic):
      nlbctl set_weight nlb0 200
  Watch what happens:
      nlbctl events --follow";

/// The verbs.
#[derive(Debug, Clone, Subcommand)]
pub enum Verb {
    /// Serve a cluster on an interface; the first one starts or joins the cluster
    ///
    /// A cluster that this node does not know yet needs a service address. Where it has no key
    /// yet, one is made (mode 0600), and you are told how to bring it to the other servers. The
    /// change is kept in a drop-in beside the configuration file.
    #[command(visible_alias = "add-interface")]
    Addif {
        /// The network interface to the other servers
        interface: String,
        /// The cluster: the only one there is, or a new one called nlb0
        #[arg(long)]
        cluster: Option<String>,
        /// A service address; may be given several times
        #[arg(long = "address", value_name = "ADDRESS")]
        addresses: Vec<IpAddr>,
        /// How frames for the service address reach every server [default: unicast]
        #[arg(long)]
        mode: Option<Mode>,
        /// The number of a new cluster, 1 to 65535, the same on every server [default: made of
        /// the name]
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        id: Option<u16>,
    },
    /// Serve a cluster no longer on an interface; with the last one the cluster is left
    ///
    /// Only what addif added can be taken away; what an administrator wrote into the
    /// configuration file is to be taken out there.
    #[command(visible_alias = "remove-interface")]
    Delif {
        /// The network interface
        interface: String,
        /// The cluster, if the interface has several
        #[arg(long)]
        cluster: Option<String>,
    },
    /// Say whether all is well, and why not
    ///
    /// The exit status says it too: 0 if all is well, 5 if not.
    Status {
        /// Only this cluster
        cluster: Option<String>,
    },
    /// List the nodes, as this node sees them
    Nodes {
        /// Only this cluster
        cluster: Option<String>,
    },
    /// Show which node has which buckets
    ///
    /// Clients are hashed by their address into 4096 buckets, each of which belongs to one node.
    Buckets {
        /// The cluster
        cluster: Option<String>,
    },
    /// List the clients that this node keeps
    Clients {
        /// The cluster
        cluster: Option<String>,
        /// At most so many, up to 10000
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Say which node takes a client, and why
    Explain {
        /// The client's address
        address: IpAddr,
        /// The cluster
        cluster: Option<String>,
    },
    /// Set this node's weight by hand
    ///
    /// The higher the weight, the less traffic: shares are proportional to 1/weight. The weight
    /// stays until it is set again, weight_mode takes it from elsewhere, or the daemon ends: then
    /// that of the configuration counts. With stdin, weights are read from standard input, one a
    /// line, until it ends: for a script that measures.
    #[command(name = "set_weight", alias = "set-weight")]
    SetWeight {
        /// The cluster
        cluster: String,
        /// 1 to 65535, or the word stdin
        #[arg(value_name = "WEIGHT|stdin", allow_hyphen_values = true)]
        weight: WeightArgument,
    },
    /// Choose where this node's weight comes from
    ///
    /// It stays until it is chosen again, set_weight sets one by hand, or the daemon ends: then the
    /// configuration counts.
    #[command(name = "weight_mode", alias = "weight-mode")]
    WeightMode {
        /// The cluster
        cluster: String,
        /// manual keeps the weight that the node has; the others measure: load over 1, 5 or 15
        /// minutes, processors, memory, connections per core, or what the configured command says
        mode: WeightMode,
    },
    /// Hand every client over and leave the cluster, until reload or the daemon's next start
    ///
    /// New clients are not lost; connections that are open here break: drain first to avoid that.
    Leave {
        /// The cluster
        cluster: Option<String>,
    },
    /// Take no new clients and keep the old ones
    ///
    /// It lasts until undrain, also over a restart of the daemon; with a timeout the node leaves
    /// when the time is over or nobody is left. Where no other node is active it is refused.
    Drain {
        /// The cluster
        cluster: Option<String>,
        /// Leave after so many seconds, even if clients remain; earlier as soon as nobody is left
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u32>,
        /// Look on until no client is left (exit status 0), the time is over (6), or the node
        /// drains no longer (7). Interrupting ends the looking on, and not the drain
        #[arg(long)]
        wait: bool,
        /// Also if no other node is active: nobody takes new clients then
        #[arg(long)]
        force: bool,
    },
    /// Announce that the daemon is about to be restarted, so that no client notices
    ///
    /// When the daemon is told to end within a minute, it hands its buckets over, keeps its
    /// clients in the kernel and ends; the next process goes on with them. Without this, ending
    /// means leaving the cluster. In a unit file: ExecStop=nlbctl restart-hold --if-restarting
    #[command(name = "restart-hold", alias = "restart_hold")]
    RestartHold {
        /// How long the others keep this node, 1 to 65 s; at least twice dead-after
        #[arg(long, value_name = "SECONDS", default_value_t = 30,
            value_parser = clap::value_parser!(u32).range(1..=65))]
        hold: u32,
        /// Only if systemd is restarting the unit nlbd.service
        #[arg(long)]
        if_restarting: bool,
        /// The unit to look at
        #[arg(long, default_value = "nlbd.service", requires = "if_restarting")]
        unit: String,
    },
    /// Take new clients again
    Undrain {
        /// The cluster
        cluster: Option<String>,
    },
    /// Print what happened, and why, in order; with --follow, go on as things happen
    ///
    /// The daemon keeps the last thousand events since it started; older ones are in the log
    /// (journalctl -u nlbd). Events have numbers: where some are missing, that is said. With
    /// --json each line is one object.
    Events {
        /// Only those of this cluster
        cluster: Option<String>,
        /// Begin with the last ten, and go on until interrupted
        #[arg(short, long)]
        follow: bool,
        /// Only the last so many of the past
        #[arg(short = 'n', long, value_name = "COUNT")]
        lines: Option<usize>,
    },
    /// Watch the cluster on the whole screen
    ///
    /// Nodes and their shares, clients, packets, the last events. Keys: q quits, p pauses, the
    /// arrows scroll the events and change the cluster. A daemon that goes away is waited for.
    /// With --json each line is one object.
    Top {
        /// The cluster to begin with
        cluster: Option<String>,
        /// Ask the daemon so often
        #[arg(short, long, value_name = "SECONDS", default_value_t = 1,
            value_parser = clap::value_parser!(u16).range(1..=3600))]
        interval: u16,
    },
    /// Say whether this server and its network are fit for a cluster, and what to do
    ///
    /// Tries the kernel, looks at the network card, the hypervisor, settings and other programs,
    /// listens for servers with another ethertype and (in igmp mode) for an IGMP querier, compares
    /// the nodes' versions and keys, and prints what to paste into switches and routers. Changes
    /// nothing; knows most as root. The daemon need not run. The exit status is 5 if something would
    /// keep the cluster from working.
    Preflight {
        /// The interface to the other servers [default: those of the cluster, or all]
        #[arg(long, value_name = "IF")]
        interface: Option<String>,
        /// A service address; may be given several times
        #[arg(long = "address", value_name = "ADDRESS")]
        addresses: Vec<IpAddr>,
        /// How frames for the service address reach every server [default: the cluster's, or
        /// unicast]
        #[arg(long)]
        mode: Option<Mode>,
        /// The number of the cluster, of which its MAC is made
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        id: Option<u16>,
        /// How long to listen for an IGMP querier; for servers it is 3 at most
        #[arg(long, value_name = "SECONDS", default_value_t = 10,
            value_parser = clap::value_parser!(u16).range(1..=600))]
        listen: u16,
    },
    /// Bring the cluster's key to other servers, or replace it without interruption
    ///
    /// On the first server: nlbctl key export | ssh root@SERVER nlbctl key import
    Key {
        /// What to do with it
        #[command(subcommand)]
        verb: KeyVerb,
    },
    /// Print completions for a shell
    Completions {
        /// Which
        shell: Shell,
    },
    /// Check the configuration, or another file as if it were that, and apply nothing
    ///
    /// The running daemon checks, in its own network namespace. Where none runs:
    /// nlbd --check --config FILE
    #[command(name = "check-config", alias = "check_config")]
    CheckConfig {
        /// The file
        file: Option<PathBuf>,
    },
    /// Print the daemon's metrics in the OpenMetrics text format
    ///
    /// What each means stands in docs/metrics.md. Prometheus reads the same from a TCP address, if
    /// the configuration has `metrics: (listen: "127.0.0.1:9187")`.
    Metrics,
    /// Have the daemon read its configuration again; nothing changes unless all of it is valid
    ///
    /// Only what differs is touched, and every change is named. A cluster leaves and joins anew
    /// only for what its peers rely on: id, mode, mac, ethertype, the timers, sticky_idle_s,
    /// offload, min_members, and the node's own id and name. SIGHUP does the same.
    Reload,
    /// For bug reports
    #[command(subcommand)]
    Debug(DebugVerb),
}

/// How frames for the service address reach every server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// A unicast address that switches never learn and therefore flood
    Unicast,
    /// A multicast address that switches flood
    Multicast,
    /// An IGMP group: a snooping switch sends to members only
    Igmp,
}

impl Mode {
    /// As the daemon calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unicast => "unicast",
            Self::Multicast => "multicast",
            Self::Igmp => "igmp",
        }
    }
}
