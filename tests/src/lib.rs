//! The laboratory that the tests on the real kernel and the demo stand on.
//!
//! A [`lab::Lab`] is a segment: a bridge, servers, clients, optionally a router with a narrow
//! link behind it, each in a network namespace of its own. A [`cluster::Cluster`] runs the daemon
//! on every server, with real services beside it. A [`wire::Watcher`] inspects every frame on
//! every port of the bridge.
//!
//! Namespaces have no names and no files: each lives as long as a descriptor of this process
//! does, and every process started here dies with the thread that started it. Whatever happens to
//! a test (a panic, Ctrl-C, SIGKILL), nothing stays behind. It works as root and as an ordinary
//! user inside a user namespace.

pub mod binaries;
mod bpf;
pub mod bus;
pub mod cluster;
pub mod cut;
pub mod figures;
pub mod inject;
pub mod lab;
pub mod load;
pub mod netns;
pub mod node;
pub mod probe;
pub mod quiet;
pub mod random;
pub mod repeats;
pub mod service;
pub mod session;
pub mod spec;
pub mod stamp;
pub mod status;
pub mod traffic;
pub mod wait;
pub mod wire;
