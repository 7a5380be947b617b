//! Whole machines: systemd as process 1, a system bus, polkit, journald, and the package installed
//! as an administrator does it.
//!
//! Each machine is a container of systemd-nspawn that has one server's network namespace of the
//! segment in [`nlb_tests::lab`]; clients and watchers are those of the other tests. What is shown
//! here is that the package works on a stock distribution; what the daemon does is shown there.
//!
//! Where a distribution's own kernel matters, there are emulated machines ([`vm`]).
//!
//! Cases stand in `tests/`, a file for each subject. They run by `cargo xtask test-system`, which
//! builds the packages and the images first.

pub mod image;
pub mod machine;
pub mod machines;
pub mod vm;

pub use machine::Machine;
pub use machines::Machines;
pub use vm::Vm;

/// The memory that the daemon may take, without clients, in KiB.
pub const MEMORY_KB: u64 = 20 << 10;
