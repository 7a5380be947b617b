//! Recordings: everything that an engine was told, and what it said, from one moment on.
//!
//! The daemon makes [`Step`]s of the calls that it makes anyway; [`Writer`] turns them into lines
//! of JSON, and [`Replay`] feeds those lines to an engine and says where it speaks otherwise than
//! the recorded one did.
//!
//! What is in a recording: the cluster's frames as they were understood, the addresses of clients,
//! fingerprints of packets, names and ids of nodes, times of `CLOCK_BOOTTIME`, the hash seed, and
//! the engine's state at the beginning. What is not: keys, payloads of packets, anything of the
//! configuration that the engine is not told. Frames are signed anew with the well-known key of
//! clusters that have none.
//!
//! May use: the engine, the protocol. No I/O beyond the text, no clock.

mod config;
mod line;
mod replay;
mod step;
mod words;
mod writer;

pub use config::Start;
pub use line::{FORMAT, Line, LineError, Timed, read_line, write_line};
pub use replay::{Replay, ReplayError};
pub use step::{Begin, Step, What};
pub use writer::Writer;
