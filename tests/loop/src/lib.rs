//! The closed loop: share drives load, load drives weight, weight drives share.
//!
//! Servers of different strength, each a processor-sharing queue; clients that come as sessions
//! and stay with their server; the protocol's own table and hash; the daemon's own weighing
//! ([`nlbd::weight`]) on what a kernel would measure of such a server. Everything from one seed.

pub mod law;
pub mod measure;
pub mod plot;
pub mod rng;
pub mod server;
pub mod stats;
pub mod world;

pub use law::Law;
pub use world::{Arrivals, Run, Setting, run};
