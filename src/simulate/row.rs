//! The result of a replay for one size of a cache.

use crate::cache::stats::CacheStats;

/// The result for one size of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its size: bytes of the file cache, or paths.
    pub size: u64,
    /// Entries at the end of the log.
    pub entry_count: u64,
    /// Bytes of cached files at the end; 0 for paths.
    pub bytes_used: u64,
    /// Requests that the cache applies to.
    pub requests: u64,
    /// Hits.
    pub hits: u64,
    /// Hits that were revalidated.
    pub checks: u64,
    /// Content bytes of those requests.
    pub bytes: u64,
    /// Content bytes of those hits.
    pub hit_bytes: u64,
    /// The counters that a server would show for this cache.
    pub stats: CacheStats,
}

impl Row {
    /// Hits in requests, 0 to 1.
    pub fn hit_ratio(&self) -> f64 {
        ratio(self.hits, self.requests)
    }

    /// Hits in bytes of content, 0 to 1.
    pub fn byte_hit_ratio(&self) -> f64 {
        ratio(self.hit_bytes, self.bytes)
    }
}

/// A part of a whole, 0 to 1; 0 of nothing.
// Counts stay far below 2^52, where f64 is exact.
#[allow(clippy::cast_precision_loss)]
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64,
    }
}
