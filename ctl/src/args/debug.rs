//! The verbs below `debug`.

use std::path::PathBuf;

use clap::Subcommand;

/// For whoever looks for the cause of something odd.
#[derive(Debug, Clone, Subcommand)]
pub enum DebugVerb {
    /// Write down what this node is told and what it decides, for a bug report
    ///
    /// The file has the state of the cluster at the beginning, then every frame, packet head,
    /// command and point in time that the daemon acts on, and what it did: those who develop nlbd
    /// can have the same happen again. There are no keys in it and nothing of what clients send;
    /// but names and ids of nodes, addresses of clients, and the hash seed, with which somebody
    /// could choose the node that takes him. The service goes on meanwhile. Where the disk or this
    /// command is too slow, lines are missing, and the file says so.
    Record {
        /// The cluster
        cluster: Option<String>,
        /// The file; it must not exist yet
        #[arg(short, long, value_name = "FILE", default_value = "nlbd-recording.jsonl")]
        output: PathBuf,
        /// How long, 1 to 600 s; interrupting ends it earlier
        #[arg(short, long, value_name = "SECONDS", default_value_t = 30,
            value_parser = clap::value_parser!(u16).range(1..=600))]
        seconds: u16,
        /// Begin when the cluster starts next: after `nlbctl leave`, with `nlbctl reload`
        #[arg(long)]
        from_start: bool,
    },
}
