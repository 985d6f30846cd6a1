//! Caches of what holds the bytes of a file: mappings and descriptors.
//!
//! The `lru` crate bounds a table in entries; here the bound is in bytes as well, kept beside it.

use foldhash::fast::RandomState;
use lru::LruCache;

use super::stats::CacheStats;
use crate::sys::file::FileVersion;

/// How much may be held.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes of file content. For descriptors nothing is counted in bytes: `u64::MAX`.
    pub bytes_max: u64,
    /// Things: mappings (`vm.max_map_count` bounds them too) or descriptors.
    pub count_max: usize,
}

/// Holders of file content by version, the least recently used pushed out first.
///
/// `H` is a counted reference: what is pushed out lives on with those who are sending it.
#[derive(Debug)]
pub struct HeldCache<H> {
    entries: LruCache<FileVersion, H, RandomState>,
    budget: Budget,
    bytes: u64,
    stats: CacheStats,
}

impl<H> HeldCache<H> {
    /// An empty cache.
    pub fn new(budget: Budget) -> HeldCache<H> {
        let entries = LruCache::unbounded_with_hasher(RandomState::default());
        HeldCache {
            entries,
            budget,
            bytes: 0,
            stats: CacheStats::default(),
        }
    }

    /// The holder of a version, marked as used. Counts a hit or a miss.
    pub fn look_up(&mut self, version: &FileVersion) -> Option<&H> {
        let holder = self.entries.get(version);
        match holder {
            Some(_) => self.stats.hits += 1,
            None => self.stats.misses += 1,
        }
        holder
    }

    /// Whether a version is held; marks and counts nothing.
    pub fn holds(&self, version: &FileVersion) -> bool {
        self.entries.contains(version)
    }

    /// Whether something of `length` bytes can be held at all.
    pub fn has_room_for(&self, length: u64) -> bool {
        length <= self.budget.bytes_max && self.budget.count_max > 0
    }

    /// Takes a holder in and pushes out what no longer fits. Gives what was pushed out, so that
    /// the caller can undo what it keeps beside it.
    pub fn insert(&mut self, version: FileVersion, holder: H) -> Vec<(FileVersion, H)> {
        let mut out = Vec::new();
        if !self.has_room_for(version.length) {
            return out;
        }
        self.remove_uncounted(&version);
        while self.bytes + self.weight(&version) > self.budget.bytes_max
            || self.entries.len() >= self.budget.count_max
        {
            match self.evict() {
                Some(evicted) => out.push(evicted),
                None => break,
            }
        }
        self.bytes = self.bytes.saturating_add(self.weight(&version));
        self.entries.put(version, holder);
        self.stats.insertions += 1;
        out
    }

    /// Pushes the least recently used holder out, if there is one.
    pub fn evict(&mut self) -> Option<(FileVersion, H)> {
        let (version, holder) = self.entries.pop_lru()?;
        self.bytes -= self.weight(&version);
        self.stats.evictions += 1;
        Some((version, holder))
    }

    /// Drops a version because the file has changed.
    pub fn remove(&mut self, version: &FileVersion) -> Option<H> {
        let holder = self.remove_uncounted(version);
        self.stats.changed += u64::from(holder.is_some());
        holder
    }

    /// Lets go of a version that is held better elsewhere: a descriptor once its file is mapped.
    pub fn release(&mut self, version: &FileVersion) {
        self.remove_uncounted(version);
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.stats.changed += self.entries.len() as u64;
        self.entries.clear();
        self.bytes = 0;
    }

    fn remove_uncounted(&mut self, version: &FileVersion) -> Option<H> {
        let holder = self.entries.pop(version)?;
        self.bytes -= self.weight(version);
        Some(holder)
    }

    /// Bytes that an entry counts for; nothing where bytes are not bounded.
    fn weight(&self, version: &FileVersion) -> u64 {
        if self.budget.bytes_max == u64::MAX {
            0
        } else {
            version.length
        }
    }

    /// Entries now.
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// Bytes now.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bounds.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// The counters.
    pub fn stats(&self) -> CacheStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::file::FileTime;

    fn version(inode: u64, length: u64) -> FileVersion {
        let time = FileTime {
            seconds: 1,
            nanoseconds: 2,
        };
        FileVersion {
            device: 1,
            inode,
            length,
            modified: time,
            changed: time,
        }
    }

    /// Against a plain list, whatever is done to it.
    #[test]
    fn bytes_and_count_stay_within_the_budget() {
        let budget = Budget {
            bytes_max: 100,
            count_max: 4,
        };
        let mut cache = HeldCache::new(budget);
        let mut model: Vec<(u64, u64)> = Vec::new();
        let mut random = 12_345_u64;
        for _ in 0..5_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let inode = (random >> 33) % 8;
            // Now and then the file has changed.
            let length = if (random >> 50).is_multiple_of(8) {
                (random >> 40) % 60
            } else {
                inode * 7
            };
            model.retain(|(other, old)| *other != inode || *old == length);
            let known = model.iter().position(|entry| *entry == (inode, length));
            assert_eq!(
                cache.look_up(&version(inode, length)).is_some(),
                known.is_some()
            );
            match known {
                Some(at) => {
                    let entry = model.remove(at);
                    model.push(entry);
                }
                None => {
                    for old in 0..60 {
                        if old != length {
                            cache.remove(&version(inode, old));
                        }
                    }
                    while model.len() >= 4
                        || model.iter().map(|entry| entry.1).sum::<u64>() + length > 100
                    {
                        model.remove(0);
                    }
                    model.push((inode, length));
                    cache.insert(version(inode, length), ());
                }
            }
            assert_eq!(
                cache.bytes(),
                model.iter().map(|entry| entry.1).sum::<u64>()
            );
            assert_eq!(cache.entry_count(), model.len());
        }
        assert!(cache.stats().evictions > 100 && cache.stats().hits > 100);
    }

    #[test]
    fn what_is_larger_than_the_budget_is_not_taken_in() {
        let mut cache = HeldCache::new(Budget {
            bytes_max: 10,
            count_max: 4,
        });
        cache.insert(version(1, 10), ());
        assert!(cache.insert(version(2, 11), ()).is_empty());
        assert!(cache.holds(&version(1, 10)) && !cache.holds(&version(2, 11)));
    }
}
