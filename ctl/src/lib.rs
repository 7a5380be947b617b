//! `nlbctl`: arguments in, varlink calls, words or JSON out.
//!
//! It knows the daemon only through `nlb-varlink`. Everything that is shown is made by pure
//! functions in [`render`], so that tests can hold the output.

pub mod args;
pub mod completions;
pub mod drain;
mod events;
pub mod failure;
pub mod key;
pub mod metrics;
pub mod preflight;
mod record;
pub mod render;
mod restarting;
pub mod run;
pub mod top;
