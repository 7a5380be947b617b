//! The engine: one cluster on one node, without I/O.

use core::net::IpAddr;
use core::time::Duration;

use nlb_protocol::frame::Frame;
use nlb_protocol::{Bucket, NodeId, Sequence};

use crate::config::Config;
use crate::manage::{
    BucketView, ClientView, Command, CommandError, Explanation, Outcome, Snapshot,
};
use crate::notice::Notice;
use crate::packet::{ClientPacket, PacketId, Verdict};
use crate::plan::{Generation, KernelPlan};
use crate::time::Time;

/// A frame that shall leave on every interface of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The frame; the driver encodes and signs it.
    pub frame: Frame,
}

/// One cluster on one node.
///
/// # Order of calls
/// After any number of `handle_*` calls: `poll_plan`, then `poll_verdict` until `None`, then
/// `poll_transmit` until `None` (each followed by `handle_sent` once the frame has really left),
/// then `poll_notice` until `None`, then wait until `poll_timeout` at the latest.
#[derive(Debug)]
pub struct Engine(());

impl Engine {
    /// A node that is about to join.
    #[must_use]
    pub fn new(_config: Config, _now: Time) -> Self {
        unimplemented!()
    }

    /// A decoded, authenticated frame of this cluster. `arrival` is when the kernel received it.
    pub fn handle_frame(&mut self, _frame: Frame, _arrival: Time, _now: Time) {
        unimplemented!()
    }

    /// The frame with this number has left on at least one interface.
    pub fn handle_sent(&mut self, _sequence: Sequence, _now: Time) {
        unimplemented!()
    }

    /// The time that `poll_timeout` named has come. Calling it early or often does no harm.
    pub fn handle_timeout(&mut self, _now: Time) {
        unimplemented!()
    }

    /// A packet from the queue. `arrival` is when the kernel received it. A `Hold` is settled
    /// later by `poll_verdict`.
    pub fn handle_packet(&mut self, _packet: ClientPacket, _arrival: Time, _now: Time) -> Verdict {
        unimplemented!()
    }

    /// The kernel is in the state of this plan (or of a later one).
    pub fn handle_applied(&mut self, _generation: Generation, _now: Time) {
        unimplemented!()
    }

    /// The kernel refused a plan: the node withdraws until a plan is applied again.
    pub fn handle_kernel_failed(&mut self, _now: Time) {
        unimplemented!()
    }

    /// What the kernel's sticky sets held, each with the idle time left, as of `listed`.
    pub fn handle_sticky_listed(&mut self, _clients: &[(IpAddr, Duration)], _listed: Time) {
        unimplemented!()
    }

    /// The kernel lost its sticky sets (somebody flushed the rules): the next plan remembers them.
    pub fn handle_sticky_lost(&mut self, _now: Time) {
        unimplemented!()
    }

    /// Some frame arrived from the wire after `wants_witness` said since when it is asked for.
    pub fn handle_witness(&mut self, _now: Time) {
        unimplemented!()
    }

    /// A command.
    ///
    /// # Errors
    /// When the state does not allow it; nothing has changed then.
    pub fn handle_command(
        &mut self,
        _command: Command,
        _now: Time,
    ) -> Result<Outcome, CommandError> {
        unimplemented!()
    }

    /// The kernel state wanted, if it changed since the last call.
    pub fn poll_plan(&mut self) -> Option<KernelPlan> {
        unimplemented!()
    }

    /// The verdict on a packet that was held. `now` is checked against the admission deadline.
    pub fn poll_verdict(&mut self, _now: Time) -> Option<(PacketId, Verdict)> {
        unimplemented!()
    }

    /// The next frame to send, if one is due.
    pub fn poll_transmit(&mut self, _now: Time) -> Option<Transmit> {
        unimplemented!()
    }

    /// The next event.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        unimplemented!()
    }

    /// When `handle_timeout` is to be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Time {
        unimplemented!()
    }

    /// Since when the engine waits for a sign that this node's receiver works, if it does (R7).
    /// The driver provokes frames (ARP and ND probes) and calls `handle_witness`.
    #[must_use]
    pub fn wants_witness(&self) -> Option<Time> {
        unimplemented!()
    }

    /// Whether this node answers ARP and ND requests of `asker` (design: the owner of its bucket,
    /// or anybody while the cluster converges).
    #[must_use]
    pub fn answers_neighbour(&self, _asker: IpAddr) -> bool {
        unimplemented!()
    }

    /// The bucket of a client under the seed in use.
    #[must_use]
    pub fn bucket(&self, _client: IpAddr) -> Bucket {
        unimplemented!()
    }

    /// The cluster as this node sees it.
    #[must_use]
    pub fn snapshot(&self, _now: Time) -> Snapshot {
        unimplemented!()
    }

    /// Every bucket.
    #[must_use]
    pub fn buckets(&self) -> Vec<BucketView> {
        unimplemented!()
    }

    /// At most `limit` of the clients that this node keeps.
    #[must_use]
    pub fn clients(&self, _limit: usize, _now: Time) -> Vec<ClientView> {
        unimplemented!()
    }

    /// Where a client goes, and why.
    #[must_use]
    pub fn explain(&self, _client: IpAddr, _now: Time) -> Explanation {
        unimplemented!()
    }

    /// This node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        unimplemented!()
    }
}
