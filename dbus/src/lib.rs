//! The D-Bus interfaces `org.nlbd1.*`: objects, properties, signals, and questions to polkit.
//!
//! The server translates between a bus and a [`Backend`]; it decides nothing. What clients read
//! comes from the latest [`State`], or from a new one where that is older than a second; what changes
//! something is the backend's, which is told who calls.
//!
//! `zbus` brings the connection, the wire format and the proxies. Its object server is not used:
//! it answers `Properties.Set` under a lock on all objects, so that one caller who is being asked
//! for a password would hold up everybody; it spawns a task for every message, without a bound;
//! and it sends a signal for every property instead of one for every object.
//!
//! May use: nothing of ours. Runs in the daemon's main thread.

mod bus;
mod call;
mod error;
mod introspect;
mod outbox;
mod path;
mod polkit;
mod reply;
mod serve;
mod tree;
mod types;
mod units;

pub use bus::{Address, BadAddress, Bus};
pub use call::Call;
pub use error::Error;
pub use path::{cluster_path, node_path};
pub use polkit::{Check, Polkit, Subject};
pub use types::*;
pub use units::{UnitError, Units};

/// The name on the bus.
pub const NAME: &str = "org.nlbd1";

/// The interfaces, as they are introspected: name and XML.
pub const INTERFACES: [(&str, &str); 3] = [
    (MANAGER, include_str!("../org.nlbd1.Manager.xml")),
    (CLUSTER, include_str!("../org.nlbd1.Cluster.xml")),
    (NODE, include_str!("../org.nlbd1.Node.xml")),
];

pub(crate) const MANAGER: &str = "org.nlbd1.Manager";
pub(crate) const CLUSTER: &str = "org.nlbd1.Cluster";
pub(crate) const NODE: &str = "org.nlbd1.Node";

/// What the bus is served from.
pub trait Backend: Send + Sync + 'static {
    /// The daemon and its clusters now; `None` when the daemon does not answer.
    fn state(&self) -> impl Future<Output = Option<State>> + Send;

    /// Answers a call.
    fn call(
        &self,
        caller: Caller,
        call: Call,
    ) -> impl Future<Output = Result<Answer, Error>> + Send;

    /// What happens from now on, each time with its signals, if it has any: the state may be
    /// another. The stream must not hold anybody up when it is not read.
    fn events(&self) -> futures_util::stream::BoxStream<'static, Vec<Signal>>;
}
