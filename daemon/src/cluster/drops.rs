//! One counter for each reason to drop something, by name.

use std::collections::BTreeMap;

use nlb_protocol::frame::DecodeError;

/// What the driver dropped. The names are those of the codec's reasons and of this crate's own
/// code, so their number is bounded.
#[derive(Debug)]
pub(super) struct Drops(BTreeMap<&'static str, u64>);

impl Default for Drops {
    /// Every reason of the codec at zero, so that a reader sees which there are.
    fn default() -> Self {
        Self(DecodeError::ALL.iter().map(|reason| (reason.counter_name(), 0)).collect())
    }
}

impl Drops {
    /// One more.
    pub(super) fn count(&mut self, reason: &'static str) {
        *self.0.entry(reason).or_default() += 1;
    }

    /// All counters by name.
    #[must_use]
    pub(super) fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.clone()
    }
}
