//! What the entries of the path cache and the paths themselves take, counted as long as they are there.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::Equivalent;

use super::key::{PathKey, PathKeyBuf};
use crate::sys::allocator::block_length;

/// Bytes of all entries and of all paths that lead to them, wherever they are.
static BYTES: AtomicU64 = AtomicU64::new(0);

/// Bytes of all entries and of all paths that lead to them that are held now.
pub(crate) fn entry_and_path_bytes() -> u64 {
    BYTES.load(Ordering::Relaxed)
}

/// Counts so many bytes as long as it is there.
#[derive(Debug)]
pub(super) struct Weight(u32);

impl Weight {
    /// Of blocks of so many bytes in all.
    pub(super) fn of(bytes: u64) -> Weight {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        BYTES.fetch_add(bytes.into(), Ordering::Relaxed);
        Weight(bytes)
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        BYTES.fetch_sub(self.0.into(), Ordering::Relaxed);
    }
}

/// A key of the path cache, counted as long as it is there.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct CountedKey(PathKeyBuf);

impl From<PathKey<'_>> for CountedKey {
    fn from(key: PathKey<'_>) -> CountedKey {
        let key = key.to_buf();
        BYTES.fetch_add(block_length(key.length()), Ordering::Relaxed);
        CountedKey(key)
    }
}

impl Drop for CountedKey {
    fn drop(&mut self) {
        BYTES.fetch_sub(block_length(self.0.length()), Ordering::Relaxed);
    }
}

impl Deref for CountedKey {
    type Target = PathKeyBuf;

    fn deref(&self) -> &PathKeyBuf {
        &self.0
    }
}

impl Equivalent<CountedKey> for PathKey<'_> {
    fn equivalent(&self, key: &CountedKey) -> bool {
        self.equivalent(&key.0)
    }
}
