//! Metrics in the OpenMetrics text format, for Prometheus and whatever reads the same.
//!
//! - `table`: every metric with its type, labels and meaning, and where its value comes from;
//!   `docs/metrics.md` is made of it.
//! - `page`: the text. `http`: one request, one answer, everything bounded. `serve`: the socket
//!   in the run directory and the TCP address of the configuration. `process`: memory and time.
//!
//! Everything is read when somebody asks, in the main thread: a cluster's thread knows nothing of
//! it. May use: `manage` (the status), `queue` (the kernel's table). Used by: `main`.

mod http;
mod page;
mod process;
mod serve;
mod table;

pub use page::page;
pub use serve::{SOCKET, serve};
pub use table::documentation;

#[cfg(test)]
mod tests;
