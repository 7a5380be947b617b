//! Health checks of the service on this node: what is looked at, when, and what that means.
//!
//! [`Checks`] holds those of one cluster. Each has a task of its own in the main thread's runtime,
//! never in a cluster's thread, that has the [`runner`], a process without privileges, look, and
//! reports; the supervisor takes the reports in. What
//! follows from a service that is ill is the engine's business (SPEC 6.8.6). May use `nlb-dbus`
//! for the units of systemd. Used by `config` (the model), `cluster`, `manage`.

mod command;
mod descriptors;
mod dns;
mod http;
mod model;
mod net;
mod order;
mod probe;
mod process;
pub mod runner;
mod set;
mod tls;
mod verdict;

pub use command::{Commands, Runner};
pub use dns::is_name;
pub use model::{
    Check, CheckMode, CheckRules, Dns, Http, Kind, MAX_CHECKS, OnFailure, Pace, Pattern, Record,
    Tls, Udp, WhenAllFail,
};
pub use order::Wanted;
pub use probe::Tools;
pub use set::{CheckReport, CheckView, Checks, REPORTS, Turn};
pub use verdict::{Gauge, health};
