//! How often something took how long, by powers of two.

use std::time::Duration;

/// Durations are counted by the power of two of their microseconds: below 1, 2, 4 … 2^20, and longer.
pub(crate) const BUCKET_COUNT: usize = 22;

/// Counts of durations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    buckets: [u64; BUCKET_COUNT],
    total: Duration,
}

impl Histogram {
    /// Counts a duration.
    pub(crate) fn note(&mut self, lasted: Duration) {
        let micros = u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.buckets[bucket.min(BUCKET_COUNT - 1)] += 1;
        self.total = self.total.saturating_add(lasted);
    }

    /// The count at `n` is of those below 2^n µs and of no smaller bound, the last of all longer ones.
    pub(crate) fn buckets(&self) -> &[u64; BUCKET_COUNT] {
        &self.buckets
    }

    /// All of them together.
    pub(crate) fn total(&self) -> Duration {
        self.total
    }
}
