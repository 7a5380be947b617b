//! The kernel's half of the balancer: which frames it accepts, which clients it decides for by
//! itself and which it asks about (SPEC 7).
//!
//! - `spec`: what the driver says about a cluster. `probe`: what this kernel can do.
//! - `ruleset`: pure functions from that and the engine's latest plan to text for `nft -f -`.
//! - `applier`: the one task that runs nft. The latest plan wins, every batch is atomic, rules
//!   that somebody else flushed come back.
//! - `hold`: what a restart asks of the kernel.
//! - `watch`, `netlink`: an nfnetlink socket that hears every change of the rules and reads them
//!   back for comparison. `clients` lists those that the kernel keeps, `lookup` asks about one,
//!   `counters` reads what it counted, `inventory` names what is there.
//!
//! The tables `netdev nlb_gate`, `inet nlb` and `arp nlb` are ours, and without nft's `queue` one chain
//! in iptables' raw table; nothing else is ever touched. Everything of a cluster carries its name.
//!
//! May use: `config` (ports, bounds), `cluster::clock`, `link::sys`. Used by: `cluster`.

mod applier;
mod clients;
mod counters;
mod fallback;
mod hold;
mod inventory;
mod lookup;
mod netlink;
mod probe;
mod ruleset;
mod spec;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tool;
mod watch;

pub use applier::{Kernel, KernelError, KernelEvent, KernelHandle, Leftovers};
pub use counters::{Counted, Counters, Fates};
pub use hold::{end_lease, extend_lease, kept_clients};
pub use lookup::Lookup;
pub use probe::{Capabilities, ProbeError, QueuePath, probe};
pub use ruleset::{Decision, Fate, Mark, Ruleset};
pub use spec::{ClusterRules, Interface, SpecError};
pub use tool::ToolError;
