//! Under construction.
pub mod clock;
