//! What a cache counts. One loop owns it, so these are plain numbers.

/// Counters of one cache since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CacheStats {
    /// Look-ups that were answered from the cache.
    pub hits: u64,
    /// Look-ups that found nothing.
    pub misses: u64,
    /// Look-ups that found an entry too old to trust, which was then checked.
    pub expired: u64,
    /// Entries put in.
    pub insertions: u64,
    /// Entries pushed out for want of room.
    pub evictions: u64,
    /// Entries dropped because the file had changed.
    pub changed: u64,
}
