//! A server: cores that share themselves among the requests in hand.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A number that can be ordered; none here is a NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct At(pub f64);

impl Eq for At {}

impl PartialOrd for At {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for At {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// One server. Times in seconds, work in core-seconds.
#[derive(Debug)]
pub struct Server {
    cores: f64,
    /// How far every request in hand has come; a request is done at its own mark.
    progress: f64,
    now: f64,
    /// The mark and the arrival of each request.
    jobs: BinaryHeap<Reverse<(At, At)>>,
    /// Core-seconds used so far.
    used: f64,
    /// Sessions that are open.
    pub sessions: u32,
}

impl Server {
    /// With so many cores, idle.
    #[must_use]
    pub fn new(cores: f64) -> Self {
        Self { cores, progress: 0.0, now: 0.0, jobs: BinaryHeap::new(), used: 0.0, sessions: 0 }
    }

    /// Requests in hand.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn in_hand(&self) -> f64 {
        self.jobs.len() as f64
    }

    /// How many cores it has.
    #[must_use]
    pub fn cores(&self) -> f64 {
        self.cores
    }

    /// Core-seconds used so far.
    #[must_use]
    pub fn used(&self) -> f64 {
        self.used
    }

    fn rate(&self) -> f64 {
        if self.jobs.is_empty() { 0.0 } else { (self.cores / self.in_hand()).min(1.0) }
    }

    /// Works until `now`.
    pub fn advance(&mut self, now: f64) {
        let passed = now - self.now;
        self.progress += self.rate() * passed;
        self.used += self.in_hand().min(self.cores) * passed;
        self.now = now;
    }

    /// When the next request will be done, if none comes before.
    #[must_use]
    pub fn next_done(&self) -> f64 {
        match self.jobs.peek() {
            Some(Reverse((mark, _))) => self.now + (mark.0 - self.progress).max(0.0) / self.rate(),
            None => f64::INFINITY,
        }
    }

    /// A request comes now.
    pub fn take(&mut self, work: f64) {
        self.jobs.push(Reverse((At(self.progress + work), At(self.now))));
    }

    /// The request that is done now; gives how long it took.
    pub fn finish(&mut self) -> Option<f64> {
        self.jobs.pop().map(|Reverse((_, arrival))| self.now - arrival.0)
    }
}
