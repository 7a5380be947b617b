//! The daemon's management seam: what front ends may ask, what they get, who may ask it.
//!
//! Front ends (varlink and D-Bus) hold a [`Handle`]; the task that owns the clusters holds
//! the [`Inbox`] and answers. Requests are complete and typed before they get here, and everything
//! about permission is decided here, so that a front end has nothing to decide.
//!
//! May use: `config`, `weight`, the engine's management types. Used by: `cluster`, `main`.

mod dbus;
mod event;
mod handle;
mod history;
mod lost;
mod observed;
mod permit;
mod record;
mod request;
mod signals;
mod surroundings;
mod varlink;
mod view;
mod words;

pub use dbus::DbusBackend;
pub(crate) use event::state_name;
pub use event::{Event, EventSink, Known, Noticed, describe};
pub use handle::{Call, Caller, Handle, Inbox, MAX_REQUESTS, channel};
pub use history::{MAX_EVENTS, MAX_HISTORY};
pub use lost::{LOST_FOR, Lost, LostNodes};
pub use observed::{CONVERGENCE_BOUNDS_MS, Convergence, Observed};
pub use permit::Denied;
pub use request::{
    Checked, Done, InterfaceChange, ManageError, Reply, Request, TapeEnd, known, resolve,
};
pub use surroundings::{Stranger, StrangerKind, Trouble, Unused};
pub use varlink::VarlinkBackend;
pub use view::{ClusterFacts, DaemonView, KernelPath, StatusView};
pub(crate) use words::health_name;

#[cfg(test)]
pub(crate) use tests::sample;

#[cfg(test)]
mod tests;
