//! One nlbd cluster as a state machine without I/O.
//!
//! Time, random numbers and everything from outside are handed in; what shall happen outside is
//! polled out. The crate depends on `nlb-protocol` only, so sockets, clocks and executors cannot
//! come in.

pub mod config;
pub mod engine;
pub mod manage;
pub mod notice;
pub mod packet;
pub mod plan;
pub mod time;

pub use config::{Config, Limits, Timing, make_table};
pub use engine::{Drain, Engine, Life, Saved, Transmit, Withdraw, frames_bound};
pub use notice::{FenceCause, Notice};
pub use packet::{ClientPacket, DropCause, Finding, PacketId, Verdict};
pub use plan::{Generation, KernelPlan};
pub use time::Time;
