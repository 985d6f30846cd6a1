//! The pathname cache: from the raw path of a request to what is known of it.
//!
//! Keyed by the bytes as they were sent, so that a hit decodes and normalises nothing. Two
//! spellings of one path are two entries; that costs memory, never correctness.

use std::num::NonZeroUsize;
use std::rc::Rc;

use foldhash::fast::RandomState;
use lru::LruCache;

use super::entry::Entry;
use super::stats::CacheStats;
use crate::clock::Now;

/// Longest raw path that is remembered, in bytes. Peers choose paths: without a bound a table of
/// 65,536 entries could be made to hold half a gigabyte of them.
pub const PATH_LENGTH_MAX: usize = 1_024;

/// What a look-up gives.
#[derive(Clone, Debug)]
pub enum Known {
    /// An entry that may be answered from.
    Fresh(Rc<Entry>),
    /// An entry that must be checked first.
    Expired(Rc<Entry>),
    /// Nothing.
    Unknown,
}

/// Raw paths and what they lead to, the least recently used pushed out first.
#[derive(Debug)]
pub struct PathCache {
    entries: LruCache<Box<[u8]>, Rc<Entry>, RandomState>,
    /// Entries of an earlier generation have expired.
    generation: u32,
    stats: CacheStats,
}

impl PathCache {
    /// A cache of at most `entry_count_max` paths.
    pub fn new(entry_count_max: NonZeroUsize) -> PathCache {
        // Grown as needed: `LruCache::with_hasher` would reserve room for all entries at once.
        let mut entries = LruCache::unbounded_with_hasher(RandomState::default());
        entries.resize(entry_count_max);
        PathCache {
            entries,
            generation: 0,
            stats: CacheStats::default(),
        }
    }

    /// Looks a raw path up and marks it as used.
    pub fn look_up(&mut self, raw_path: &[u8], now: &Now) -> Known {
        match self.entries.get(raw_path) {
            Some(entry) if entry.is_expired(now, self.generation) => {
                self.stats.expired += 1;
                Known::Expired(Rc::clone(entry))
            }
            Some(entry) => {
                self.stats.hits += 1;
                Known::Fresh(Rc::clone(entry))
            }
            None => {
                self.stats.misses += 1;
                Known::Unknown
            }
        }
    }

    /// Remembers what a path leads to, in place of what was known. A path longer than
    /// [`PATH_LENGTH_MAX`] is not remembered.
    pub fn insert(&mut self, raw_path: &[u8], entry: Rc<Entry>) {
        if raw_path.len() > PATH_LENGTH_MAX {
            return;
        }
        self.stats.insertions += 1;
        if let Some((pushed_out, previous)) = self.entries.push(raw_path.into(), Rc::clone(&entry))
        {
            if *pushed_out == *raw_path {
                entry.inherit_requests(&previous);
                self.stats.changed += 1;
            } else {
                self.stats.evictions += 1;
            }
        }
    }

    /// Forgets a path.
    pub fn remove(&mut self, raw_path: &[u8]) {
        if self.entries.pop(raw_path).is_some() {
            self.stats.changed += 1;
        }
    }

    /// Forgets everything: another site is served.
    pub fn clear(&mut self) {
        self.stats.changed += self.entries.len() as u64;
        self.entries.clear();
    }

    /// Has every entry checked before it is used again. O(1).
    pub fn distrust_all(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// The generation whose entries are trusted.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Entries now.
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// Entries at most.
    pub fn entry_count_max(&self) -> usize {
        self.entries.cap().get()
    }

    /// The counters.
    pub fn stats(&self) -> CacheStats {
        self.stats
    }
}
