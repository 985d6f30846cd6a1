//! Histogram of durations, by powers of two.

use std::time::Duration;

use serde::Serialize;

/// Upper bounds of the buckets, in powers of two of microseconds: 1, 2, 4 … 2^20, and no bound.
const BUCKET_COUNT: usize = 22;

/// Counts of durations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    buckets: [u64; BUCKET_COUNT],
    total: Duration,
}

impl Histogram {
    /// Counts a duration.
    pub(crate) fn note(&mut self, lasted: Duration) {
        let bucket = (u64::BITS - micros(lasted).leading_zeros()) as usize;
        self.buckets[bucket.min(BUCKET_COUNT - 1)] += 1;
        self.total = self.total.saturating_add(lasted);
    }

    /// The counts for /status.
    pub(crate) fn to_vec(&self) -> Vec<Bucket> {
        let bucket = |(index, count): (usize, &u64)| Bucket {
            below_us: (index + 1 < BUCKET_COUNT).then(|| 1 << index),
            count: *count,
        };
        self.buckets.iter().enumerate().map(bucket).collect()
    }

    /// Number of durations counted.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Sum of all durations.
    pub(crate) fn total(&self) -> Duration {
        self.total
    }
}

/// One bucket.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Bucket {
    /// Upper bound in microseconds; `null`: none.
    pub below_us: Option<u64>,
    /// Durations below it that are not below an earlier bound.
    pub count: u64,
}

/// Whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
