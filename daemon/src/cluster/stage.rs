//! Between the kernel's queue and the engine: packets in, verdicts out.
//!
//! The engine decides; what cannot be understood is dropped and counted by reason.

use std::io;
use std::net::IpAddr;

use nlb_engine::{Engine, Verdict};
use nlb_protocol::{ClusterId, Fingerprinter};

use super::clock::now;
use super::drops::Drops;
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
    addresses: Vec<IpAddr>,
    cluster: ClusterId,
    seed: u32,
    fingerprinter: Fingerprinter,
}

impl Stage {
    /// Becomes the listener of the queue with this number.
    ///
    /// # Errors
    /// When the kernel does not give it.
    pub(super) fn open(
        number: u16,
        addresses: Vec<IpAddr>,
        cluster: ClusterId,
        seed: u32,
    ) -> Result<Self, QueueError> {
        let queue = Queue::open(number, QUEUE_LENGTH, COPY_RANGE)?;
        let fingerprinter = Fingerprinter::new(cluster, seed);
        Ok(Self { queue, batch: Batch::default(), addresses, cluster, seed, fingerprinter })
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

    /// Lets the engine judge what waits.
    pub(super) fn feed(&mut self, engine: &mut Engine, drops: &mut Drops) {
        if self.queue.try_recv(&mut self.batch, PACKETS_A_TURN).is_err() {
            drops.count("queue_failed");
        }
        let Self { queue, batch, addresses, fingerprinter, .. } = self;
        for (packet, bytes) in batch.iter() {
            let ours = |address| addresses.contains(&address);
            let verdict = match classify(bytes, ours, fingerprinter) {
                Ok(classified) => {
                    engine.handle_packet(classified.packet(packet.id), packet.arrival, now())
                }
                Err(reason) => {
                    drops.count(match reason {
                        Unclassified::Truncated => "packet_truncated",
                        Unclassified::Malformed => "packet_malformed",
                        Unclassified::NotService => "packet_not_service",
                        Unclassified::NoHost => "packet_no_host",
                        Unclassified::ForeignError => "packet_foreign_error",
                    });
                    Verdict::Drop
                }
            };
            let given = match verdict {
                Verdict::Accept => queue.verdict(packet.id, true),
                Verdict::Drop => queue.verdict(packet.id, false),
                Verdict::Hold => Ok(()),
            };
            if given.is_err() {
                drops.count("verdict_failed");
            }
        }
    }

    /// Sends the verdicts, those on held packets included.
    ///
    /// # Errors
    /// When the kernel does not take them; they go with the next flush.
    pub(super) fn flush(&mut self, engine: &mut Engine) -> io::Result<()> {
        while let Some((id, verdict)) = engine.poll_verdict(now()) {
            self.queue.verdict(id, verdict == Verdict::Accept)?;
        }
        self.queue.flush()
    }

    /// What the queue counts.
    #[must_use]
    pub(super) fn stats(&self) -> Option<crate::queue::QueueStats> {
        self.queue.stats().ok()
    }
}
