//! The clusters of this host: one loop each, and the supervisor that starts and ends them.
//!
//! - `runtime` is the loop: wait, feed, flush; `taped` is the engine in it, and what records it;
//!   `links` and `stage` are its sockets and its queue, `ordered` what it has the kernel do,
//!   `opener` opens and closes the sockets and `witness` looks for signs of life beside it, `alarm`
//!   wakes it, `pace` looks for what holds it up, `standing` for whether it comes before other
//!   work, `strangers` keeps who sends what cannot be taken. It runs in a thread of its
//!   own for each cluster.
//! - `applier` is the thread that the rules are applied in; `idle` is one for each cluster that
//!   looks for clients that are not in use any more.
//! - `state` is what one process leaves to the next, `restart` the end of the daemon.
//! - `service` and `asking` are how the service does: load, weight, health. In the main thread.
//! - `supervisor`, `leave`, `reload`, `host`, `troubles` and `answer` run in the main thread:
//!   configuration, addresses, management.

mod alarm;
mod answer;
mod applier;
mod asking;
pub mod clock;
mod drops;
mod host;
mod idle;
mod leave;
mod links;
mod opener;
mod ordered;
mod pace;
mod reading;
mod reload;
mod request;
mod restart;
mod running;
mod runtime;
mod service;
mod settings;
mod stage;
mod standing;
mod state;
mod strangers;
mod supervisor;
mod taped;
mod troubles;
mod witness;

pub use request::ClusterEvent;
pub use restart::Hurry;
pub use running::StartError;
pub use supervisor::{Happened, SuperviseError, Supervisor};
