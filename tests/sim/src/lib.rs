//! Whole clusters in virtual time.
//!
//! Real engines, and around each a model of what the daemon and the kernel do with its words: the
//! gate that closes by itself, the sticky sets that answer even when nobody is at home, the filter
//! and the queue, the slow applier. A seed gives a [`Schedule`], a schedule gives a run; the same
//! schedule gives the same run. Checkers look at every packet and every change (design invariants
//! I1 to I7).

pub mod check;
pub mod clients;
pub mod cuts;
mod draw;
pub mod kernel;
pub mod mutate;
pub mod node;
pub mod recording;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod shrink;
mod tables;
pub mod world;

pub use mutate::Mutation;
pub use recording::Recording;
pub use run::{Outcome, run};
pub use scenario::Scenario;
pub use schedule::Schedule;
pub use world::{Options, World};
