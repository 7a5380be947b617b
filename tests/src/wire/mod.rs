//! Everything on the segment, seen from the bridge.
//!
//! [`frame`] reads a frame, [`rules`] says what no frame may ever do, [`ledger`] counts questions
//! and answers, [`segments`] does so for every segment of a TCP connection, [`watcher`] feeds them from a socket in the bridge's namespace.

pub mod frame;
pub mod ledger;
pub mod rules;
pub mod segments;
pub mod watcher;

pub use ledger::{Exchange, Ledger, Question};
pub use watcher::Watcher;
