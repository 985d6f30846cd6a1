//! What the entries of the path cache and the paths themselves take, counted as long as they are there.

use std::borrow::Borrow;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::allocator::block_length;

/// Bytes of all entries and of all paths that lead to them, wherever they are.
static BYTES: AtomicU64 = AtomicU64::new(0);

/// Bytes of all entries and of all paths that lead to them that are held now.
pub fn entry_and_path_bytes() -> u64 {
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

/// A raw path that something is remembered for.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PathKey(Box<[u8]>);

impl From<&[u8]> for PathKey {
    fn from(path: &[u8]) -> PathKey {
        BYTES.fetch_add(block_length(path.len()), Ordering::Relaxed);
        PathKey(path.into())
    }
}

impl Drop for PathKey {
    fn drop(&mut self) {
        BYTES.fetch_sub(block_length(self.0.len()), Ordering::Relaxed);
    }
}

impl Deref for PathKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for PathKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}
