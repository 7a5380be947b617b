//! Between the kernel's queue and the engine: packets in, verdicts out.
//!
//! The engine decides; what cannot be understood is dropped and counted by reason.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use nlb_engine::{ClientPacket, PacketId, Time, Verdict};
use nlb_protocol::{ClusterId, Fingerprinter};

use super::clock::now;
use super::drops::Drops;
use super::taped::Taped;
use crate::kernel::Mark;
use crate::queue::classify::{Unclassified, classify};
use crate::queue::{Batch, COPY_RANGE, Queue, QueueError};

/// Packets that may wait for a verdict: those that are held (`Limits::held`, 4096 by default) and
/// as many again that were not looked at yet.
pub(super) const QUEUE_LENGTH: u32 = 8192;

/// Packets judged before the wire has its turn again: some 200 µs of work, a tenth of the
/// shortest frame delay that the fast profile allows for.
const PACKETS_A_TURN: usize = 128;

/// The stage of one cluster.
pub(super) struct Stage {
    queue: Queue,
    batch: Batch,
    /// The mark of a packet that its own source sent, and that the kernel may keep.
    asked: u32,
    addresses: Vec<IpAddr>,
    cluster: ClusterId,
    seed: u32,
    fingerprinter: Fingerprinter,
    /// How long a verdict holds.
    fresh: Duration,
}

impl Stage {
    /// Becomes the listener of the queue with this number. A verdict is decided while the node
    /// has its lease, and its peers allow for one frame delay on top: `fresh` is that (SPEC 6.9).
    ///
    /// # Errors
    /// When the kernel does not give it.
    pub(super) fn open(
        number: u16,
        addresses: Vec<IpAddr>,
        cluster: ClusterId,
        seed: u32,
        fresh: Duration,
    ) -> Result<Self, QueueError> {
        let queue = Queue::open(number, QUEUE_LENGTH, COPY_RANGE)?;
        let fingerprinter = Fingerprinter::new(cluster, seed);
        let (batch, asked) = (Batch::default(), Mark::Client.asked(number));
        Ok(Self { queue, batch, asked, addresses, cluster, seed, fingerprinter, fresh })
    }

    /// The cluster runs under this hash seed (a running cluster's own wins over the proposal).
    pub(super) fn set_seed(&mut self, seed: u32) {
        if seed != self.seed {
            self.seed = seed;
            self.fingerprinter = Fingerprinter::new(self.cluster, seed);
        }
    }

    /// Goes over to other service addresses.
    pub(super) fn set_addresses(&mut self, addresses: &[IpAddr]) {
        addresses.clone_into(&mut self.addresses);
    }

    /// Until packets wait.
    pub(super) async fn readable(&self) {
        // An error here is the runtime's end; the loop sees that by itself.
        let _ = self.queue.readable().await;
    }

    /// Lets the engine judge what waits. Each verdict is sent before the next packet is looked at:
    /// whenever the process is stopped, at most one is on its way.
    pub(super) fn feed(&mut self, engine: &mut Taped, drops: &mut Drops) {
        if self.queue.try_recv(&mut self.batch, PACKETS_A_TURN).is_err() {
            drops.count("queue_failed");
        }
        let batch = std::mem::take(&mut self.batch);
        for (packet, bytes) in batch.iter() {
            let ours = |address| self.addresses.contains(&address);
            let (verdict, decided) = match classify(bytes, ours, &self.fingerprinter) {
                Ok(classified) => {
                    self.judge(engine, classified.packet(packet.id), packet.arrival, drops)
                }
                Err(reason) => {
                    drops.count(match reason {
                        Unclassified::Truncated => "packet_truncated",
                        Unclassified::Malformed => "packet_malformed",
                        Unclassified::NotService => "packet_not_service",
                        Unclassified::NoHost => "packet_no_host",
                        Unclassified::ForeignError => "packet_foreign_error",
                    });
                    (Verdict::Drop, now())
                }
            };
            // The mark says whether the packet's source is the client that was judged.
            if verdict == Verdict::Refuse && packet.mark == self.asked && self.is_fresh(decided) {
                self.refuse(packet.id, drops);
            } else {
                self.give(packet.id, verdict, decided, drops);
            }
        }
        self.batch = batch;
    }

    /// The engine's verdict on a packet, and when it was decided. One that is not fresh any more
    /// is asked for anew: the engine knows whether the node may still answer.
    fn judge(
        &self,
        engine: &mut Taped,
        packet: ClientPacket,
        arrival: Time,
        drops: &mut Drops,
    ) -> (Verdict, Time) {
        loop {
            let decided = now();
            let verdict = engine.handle_packet(packet, arrival, decided);
            if verdict != Verdict::Accept || self.is_fresh(decided) {
                return (verdict, decided);
            }
            drops.count("verdict_stale");
        }
    }

    /// Gives the verdicts on packets that were held.
    pub(super) fn flush(&mut self, engine: &mut Taped, drops: &mut Drops) {
        loop {
            let decided = now();
            let Some((id, verdict)) = engine.poll_verdict(decided) else { break };
            self.give(id, verdict, decided, drops);
        }
        // What the kernel did not take at first.
        if self.queue.flush().is_err() {
            drops.count("verdict_failed");
        }
    }

    fn give(&mut self, id: PacketId, verdict: Verdict, decided: Time, drops: &mut Drops) {
        let mut accept = match verdict {
            Verdict::Accept => true,
            Verdict::Drop | Verdict::Refuse => false,
            Verdict::Hold => return,
        };
        if accept && !self.is_fresh(decided) {
            accept = false;
            drops.count("verdict_refused");
        }
        self.send(drops, |queue| queue.verdict(id, accept));
    }

    /// The kernel drops the packet, and its client's from now on.
    fn refuse(&mut self, id: PacketId, drops: &mut Drops) {
        let mark = Mark::refused(self.queue.number());
        self.send(drops, |queue| queue.mark(id, mark));
    }

    fn send(&mut self, drops: &mut Drops, give: impl FnOnce(&mut Queue) -> io::Result<()>) {
        if give(&mut self.queue).and_then(|()| self.queue.flush()).is_err() {
            // It goes later, when it may be true no more.
            self.queue.refuse_unsent();
            drops.count("verdict_failed");
        }
    }

    /// The process may have been stopped since the decision, and others may have taken over.
    fn is_fresh(&self, decided: Time) -> bool {
        now().since(decided) < self.fresh
    }

    /// Messages of the queue that could not be understood.
    #[must_use]
    pub(super) fn malformed(&self) -> u64 {
        self.queue.malformed()
    }
}
