//! Clients that send nothing any more (SPEC 6.7.6), and what the kernel says of them.
//!
//! The kernel's own entries expire by themselves, at one instant as packets see it. Only when the
//! kernel says that an entry is gone does the client leave the engine and the log: nobody else may
//! take it while this kernel still would.
//!
//! The engine asks about those alone that it has not heard of for most of the idle time, a few at a
//! time: the cost does not depend on how many clients there are but on how many fall silent.

use core::net::IpAddr;
use core::time::Duration;

use nlb_protocol::Bucket;
use nlb_protocol::ids::BUCKETS;

use super::Engine;
use super::image::image;
use crate::packet::Finding;
use crate::time::Time;

/// The table is looked through so many times per idle time: four times between the moment in
/// which a client is asked about and its end, so that no open connection is missed.
const SWEEPS: u32 = 16;
/// Clients of one question: some 10 ms of the kernel's time.
const QUESTION: usize = 1024;
/// Clients that one plan puts back into a kernel that lost them, before the rest of a bucket: what
/// the applier does in one batch.
const RESTORE: usize = 1024;

/// How far the table has been looked through.
#[derive(Debug, Clone, Hash)]
pub(super) struct Sweep {
    next: usize,
    /// Up to when that is as it shall be.
    at: Time,
    question: Vec<IpAddr>,
    /// The question that was not answered yet.
    asked: Option<Time>,
    /// The kernel lost its clients: from this bucket on it was not told them again.
    restoring: Option<usize>,
}

impl Sweep {
    pub(super) fn new(now: Time) -> Self {
        Self { next: 0, at: now, question: Vec::new(), asked: None, restoring: None }
    }
}

impl Engine {
    fn sweep_step(&self) -> Duration {
        let buckets = u32::try_from(BUCKETS).unwrap_or(u32::MAX);
        (self.config.sticky_idle / SWEEPS / buckets).max(Duration::from_nanos(1))
    }

    /// A client unheard of for so long is asked about.
    fn doubtful_after(&self) -> Duration {
        self.config.sticky_idle * 3 / 4
    }

    /// Goes on in the table, as far as it is time for.
    pub(super) fn sweep_clients(&mut self) {
        self.restore_some();
        if self.clients.is_empty() || self.swept.restoring.is_some() {
            self.swept.at = self.now;
            return;
        }
        let step = self.sweep_step();
        let due = self.now.since(self.swept.at).as_nanos() / step.as_nanos();
        let due = usize::try_from(due).unwrap_or(BUCKETS).min(BUCKETS);
        if due == 0 {
            return;
        }
        // The rest of a slice is for what is moved.
        let most = self.slice() / 4;
        let mut looked = 0;
        let mut behind = None;
        for bucket in 0..due {
            if self.swept.question.len() >= QUESTION {
                break;
            }
            if looked > most {
                behind = u32::try_from(due - bucket).ok();
                break;
            }
            looked += self.sweep_bucket();
        }
        self.moving.spend(looked);
        // But for that, what could not be done in time is not made up for.
        self.swept.at = self.now.before(step * behind.unwrap_or(0));
    }

    /// Looks through the next bucket; how many clients are in it.
    fn sweep_bucket(&mut self) -> usize {
        let bucket = Bucket::all().nth(self.swept.next);
        self.swept.next = (self.swept.next + 1) % BUCKETS;
        let Some(bucket) = bucket else { return 0 };
        let (now, after) = (self.now, self.doubtful_after());
        let doubtful = |client: &IpAddr| {
            self.clients.get(bucket, *client).is_some_and(|c| now.since(c.seen) >= after)
        };
        let room = QUESTION.saturating_sub(self.swept.question.len());
        let found: Vec<IpAddr> = self.clients.of(bucket).filter(doubtful).take(room).collect();
        self.swept.question.extend(found);
        self.clients.len_of(bucket)
    }

    /// The clients that the engine wants to know something of, unless it waits for an answer.
    pub(super) fn next_question(&mut self) -> Option<Vec<IpAddr>> {
        let lost = self.config.sticky_idle / SWEEPS;
        let waits = self.swept.asked.is_some_and(|asked| self.now.since(asked) < lost);
        if waits || self.swept.question.is_empty() {
            return None;
        }
        self.swept.asked = Some(self.now);
        Some(core::mem::take(&mut self.swept.question))
    }

    /// What was found of clients that were asked about, as of `asked` or later.
    pub(super) fn answered_question(&mut self, findings: &[Finding], asked: Time) {
        self.swept.asked = None;
        if self.swept.restoring.is_some() {
            return;
        }
        let full = self.config.kernel_idle();
        // What was admitted just before the kernel was asked may not have been in it.
        let settled = self.config.timing.dead_after;
        let (now, after) = (self.now, self.doubtful_after());
        // Nothing changes any more in the log of one that is about to end.
        let stays = !self.leave.diverts() && !self.restart.is_going();
        let offload = self.config.offload;
        for finding in findings {
            let bucket = self.bucket(finding.client);
            let Some(client) = self.clients.get_mut(bucket, finding.client) else { continue };
            if offload && let Some(left) = finding.left {
                client.seen = client.seen.max(asked.before(full.saturating_sub(left)));
            }
            let unused = now.since(client.seen);
            let over = if offload {
                finding.left.is_none() && asked.since(client.seen) > settled
            } else {
                unused >= full
            };
            if finding.connected && (over || unused >= after) {
                client.seen = now;
                if offload {
                    self.kernel.renew(finding.client);
                }
            } else if over && stays {
                self.clients.remove(bucket, finding.client);
                self.log.unpin(finding.client);
            }
        }
    }

    /// The kernel no longer knows these clients.
    pub(super) fn forgotten(&mut self, clients: &[IpAddr]) {
        for address in clients {
            // It may have been taken again meanwhile.
            if self.clients.get(self.bucket(*address), *address).is_some() {
                self.kernel.remember(*address);
            } else {
                self.log.unpin(*address);
            }
        }
    }

    /// The kernel lost everything: it is told the clients that this node keeps.
    pub(super) fn remember_all(&mut self) {
        self.swept.restoring = Some(0);
    }

    /// Tells the kernel some of the clients that it lost, when it has those told before.
    fn restore_some(&mut self) {
        let Some(mut next) = self.swept.restoring else { return };
        if !super::machine::serves(self.state) || self.leave.is_over() {
            self.swept.restoring = None;
            return;
        }
        if self.kernel.is_remembering() {
            return;
        }
        let now = self.now;
        let mut told = 0;
        for bucket in Bucket::all().skip(next) {
            if told >= RESTORE {
                break;
            }
            next += 1;
            let clients: Vec<IpAddr> = self.clients.of(bucket).collect();
            told += clients.len();
            for address in clients {
                // Whether it is idle is not known any more: it gets its whole time again.
                if let Some(client) = self.clients.get_mut(bucket, address) {
                    client.seen = now;
                }
                self.kernel.remember(address);
            }
        }
        self.swept.restoring = (next < BUCKETS).then_some(next);
    }
}

image! { Sweep { next, at, question, asked, restoring } }

#[cfg(test)]
mod tests;
