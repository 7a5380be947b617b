//! The nlbd daemon: everything around the engine that touches the system.

pub mod arguments;
pub mod caps;
pub mod check;
pub mod cluster;
pub mod config;
pub mod host;
pub mod inet;
pub mod kernel;
pub mod link;
pub mod log;
pub mod manage;
pub mod memory;
pub mod metrics;
pub mod priority;
pub mod pulse;
pub mod queue;
pub mod ticks;
mod timer;
pub mod weight;

#[cfg(test)]
mod testing;
