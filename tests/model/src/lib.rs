//! Every way that a small cluster can go, up to a depth.
//!
//! The nodes are real engines, each with the simulator's model of a kernel. Time goes in steps.
//! Within a step a node does what it does in every order; which frames reach it, which are late,
//! lost or doubled, who crashes or stops, when clients send and administrators speak: all of it is
//! tried, within a [`Budget`]. What has been met before is not followed again. Checked in every
//! state: no bucket is accepted by two nodes and no packet answered twice (I1), no client taken
//! from a node that keeps it (I2).
//!
//! Sound shortcuts: a frame is under way for at least one step, so nodes do not see what others do
//! in the same step and one order of the nodes stands for all; and what one node does with the
//! same input in the same state is computed once.

pub mod fingerprint;
pub mod mutate;
pub mod node;
mod product;
pub mod scenario;
pub mod search;
pub mod step;
pub mod trace;
pub mod world;

pub use mutate::Mutation;
pub use scenario::Scenario;
pub use search::{Report, Search};
pub use world::Budget;
