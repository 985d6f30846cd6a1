//! Caches of what holds the bytes of a file: mappings and descriptors.
//!
//! Bounded in bytes and in count; `ranked.rs` says who stays.

use std::hash::BuildHasher;
use std::time::Instant;

use foldhash::fast::SeedableRandomState;

use super::TableBytes;
use super::curve::{Curve, CurvePart, Holding, Key, Sampler, Space, TakenIn, Unit};
use super::ranked::{EvictionOutcome, Ranked, Room};
use super::stats::{CacheStats, EvictionCause, Minute, MinuteStats, MissReason};
use crate::sys::file::FileVersion;

/// How much may be held.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes of file content. For descriptors nothing is counted in bytes: `u64::MAX`.
    pub bytes_max: u64,
    /// Things: mappings (`vm.max_map_count` bounds them too) or descriptors.
    pub count_max: usize,
}

/// What a cache that has given way may take more, whenever it may grow again: an eighth, and this.
const GROWN_BYTES_MIN: u64 = 256 << 10;
const GROWN_COUNT_MIN: usize = 64;

/// Holders of file content by version.
///
/// `H` is a counted reference: what is pushed out lives on with those who are sending it.
#[derive(Debug)]
pub struct ContentCache<H> {
    entries: Ranked<FileVersion, H>,
    budget: Budget,
    /// How much may be held now: less while memory is short.
    now: Budget,
    hasher: SeedableRandomState,
    sampler: Option<Box<Sampler>>,
    stats: CacheStats,
    minute: Minute,
}

impl<H> ContentCache<H> {
    /// An empty cache.
    pub fn new(budget: Budget) -> ContentCache<H> {
        ContentCache {
            entries: Ranked::new(room(budget), budget.count_max.saturating_mul(2)),
            budget,
            now: budget,
            hasher: super::key_hasher(),
            sampler: None,
            stats: CacheStats::default(),
            minute: Minute::default(),
        }
    }

    /// The same with a [curve](ContentCache::curve). The caller takes files in as `taken_in` says.
    #[must_use]
    pub fn with_curve(mut self, taken_in: TakenIn) -> ContentCache<H> {
        let space = Space {
            room: room(self.budget),
            apart_count_max: 0,
        };
        let sampler = Sampler::new(Unit::Bytes, space, taken_in);
        self.sampler = sampler.map(Box::new);
        self
    }

    /// Notes that time has passed; once a turn of the loop is enough.
    pub fn tick(&mut self, now: Instant) {
        self.minute.tick(&self.stats, now);
    }

    /// The holder of a version, marked as used. Counts a hit or a miss.
    pub fn look_up(&mut self, version: &FileVersion) -> Option<&H> {
        let length = version.length;
        let holding = Holding {
            count: self.entries.len(),
            weight: self.entries.weight(),
        };
        let hash = file_hash(&self.hasher, version);
        match self.entries.look_up_or_note(version, hash) {
            Ok(slot) => {
                self.stats.hits += 1;
                self.stats.hit_bytes = self.stats.hit_bytes.saturating_add(length);
                if let Some(sampler) = &mut self.sampler {
                    sampler.count_hit(length);
                    if sampler.look_ups() >= slot.due {
                        slot.due = sampler.show(key(&self.hasher, version), holding);
                    }
                }
                Some(&slot.value)
            }
            Err(fate) => {
                self.stats.note_miss(fate);
                self.stats.note_missed_bytes(length);
                if let Some(sampler) = &mut self.sampler {
                    sampler.count_miss();
                    sampler.show_missed(key(&self.hasher, version), holding);
                }
                None
            }
        }
    }

    /// Counts a look-up that was not made: the file had to be opened to learn of this version.
    pub fn note_opened(&mut self, version: &FileVersion) {
        self.stats.misses += 1;
        self.stats.misses_by.path += 1;
        self.stats.note_missed_bytes(version.length);
    }

    /// The holder that [`look_up`](ContentCache::look_up) gave turned out to be of no use: the look-up was a
    /// miss after all.
    pub fn take_back_hit(&mut self, version: &FileVersion, fate: MissReason) {
        let length = version.length;
        self.stats.hits = self.stats.hits.saturating_sub(1);
        self.stats.hit_bytes = self.stats.hit_bytes.saturating_sub(length);
        self.stats.note_miss(fate);
        self.stats.note_missed_bytes(length);
    }

    /// The holder of a version; marks and counts nothing. For a request that was counted before.
    pub fn get(&self, version: &FileVersion) -> Option<&H> {
        self.entries.get(version, file_hash(&self.hasher, version))
    }

    /// Those that were not looked up since it was called so many times, this one not counted. O(entries).
    pub fn idle_for(&mut self, times: u8) -> Vec<FileVersion> {
        self.entries.advance_mark();
        self.entries.idle_for(times).copied().collect()
    }

    /// Whether a version is held; marks and counts nothing.
    pub fn holds(&self, version: &FileVersion) -> bool {
        self.get(version).is_some()
    }

    /// Whether something of `length` bytes can be held at all.
    pub fn has_room_for(&self, length: u64) -> bool {
        length <= self.now.bytes_max && self.now.count_max > 0
    }

    /// Whether there is room for all, so that what was put in last is not what goes next. The last tenth of
    /// the room is where newcomers have to prove themselves.
    pub fn has_room_for_all(&self) -> bool {
        let Budget {
            bytes_max,
            count_max,
        } = self.now;
        self.bytes() <= bytes_max - bytes_max / 10
            && self.entry_count() <= count_max - count_max / 10
    }

    /// Takes a holder in and pushes out what no longer fits, which may be this one. Gives what was
    /// pushed out, so that the caller can undo what it keeps beside it.
    pub fn insert(&mut self, version: FileVersion, holder: H) -> Vec<(FileVersion, H)> {
        let mut out = Vec::new();
        if !self.has_room_for(version.length) {
            return out;
        }
        self.release(&version);
        self.stats.insertions += 1;
        let (stats, now_s) = (&mut self.stats, self.minute.age_s());
        let hash = file_hash(&self.hasher, &version);
        let weight = weight(self.budget, version.length);
        let mut gone = |version, slot: super::ranked::Slot<H>, departure| {
            match departure {
                EvictionOutcome::Evicted(cause) => stats.note_eviction(cause, now_s - slot.since_s),
                EvictionOutcome::Rejected => stats.rejected += 1,
            }
            out.push((version, slot.value));
        };
        self.entries
            .insert(version, hash, weight, holder, now_s, &mut gone);
        out
    }

    /// Takes a holder in that nobody has asked for, where it takes no room from others.
    ///
    /// # Errors
    /// Gives it back where there is none.
    pub fn fill(&mut self, version: FileVersion, holder: H) -> Result<(), H> {
        self.release(&version);
        let hash = file_hash(&self.hasher, &version);
        let weight = weight(self.budget, version.length);
        let now_s = self.minute.age_s();
        self.entries.fill(version, hash, weight, holder, now_s)?;
        self.stats.insertions += 1;
        Ok(())
    }

    /// Gives up the holder that is worth least, if there is one, for the sake of connections.
    pub fn shed(&mut self) -> Option<(FileVersion, H)> {
        let (version, slot) = self.entries.evict()?;
        let age_s = self.minute.age_s() - slot.since_s;
        self.stats.note_eviction(EvictionCause::Shed, age_s);
        Some((version, slot.value))
    }

    /// Gives up the holder that is worth least, if there is one, because memory is short, and holds no more
    /// than is left until [`grow`](ContentCache::grow) allows it.
    pub fn give_way(&mut self) -> Option<(FileVersion, H)> {
        let (version, slot) = self.entries.evict()?;
        let age_s = self.minute.age_s() - slot.since_s;
        self.stats.note_eviction(EvictionCause::Budget, age_s);
        self.hold(Budget {
            bytes_max: match self.budget.bytes_max {
                u64::MAX => u64::MAX,
                bytes_max => self.entries.weight().min(bytes_max),
            },
            count_max: self.entries.len(),
        });
        Some((version, slot.value))
    }

    /// Takes a little more again, up to the bounds.
    pub fn grow(&mut self) {
        let Budget {
            bytes_max,
            count_max,
        } = self.now;
        let bytes_more = bytes_max / 8 + GROWN_BYTES_MIN;
        self.hold(Budget {
            bytes_max: bytes_max
                .saturating_add(bytes_more)
                .min(self.budget.bytes_max),
            count_max: (count_max + count_max / 8 + GROWN_COUNT_MIN).min(self.budget.count_max),
        });
    }

    fn hold(&mut self, now: Budget) {
        self.now = now;
        self.entries.set_room(room(now));
    }

    /// Drops a version because the file has changed.
    pub fn remove(&mut self, version: &FileVersion) -> Option<H> {
        let slot = self.entries.remove(
            version,
            file_hash(&self.hasher, version),
            MissReason::Changed,
        )?;
        self.stats.changed += 1;
        Some(slot.value)
    }

    /// Drops a version that has given way to another, which is as popular, and counts as changed where it is
    /// not held yet.
    pub fn succeed(&mut self, version: &FileVersion, by: &FileVersion) {
        self.remove(version);
        let (from, to) = (
            file_hash(&self.hasher, version),
            file_hash(&self.hasher, by),
        );
        if from != to && !self.holds(by) {
            self.entries.bequeath(from, to);
        }
    }

    /// Drops a version for want of `cause`.
    pub fn push_out(&mut self, version: &FileVersion, cause: EvictionCause) {
        if let Some(slot) = self.entries.remove(
            version,
            file_hash(&self.hasher, version),
            MissReason::Evicted,
        ) {
            let age_s = self.minute.age_s() - slot.since_s;
            self.stats.note_eviction(cause, age_s);
        }
    }

    /// Lets go of a version that nobody will ask for here: a descriptor once its file is mapped, or its path
    /// forgotten.
    pub fn release(&mut self, version: &FileVersion) {
        let is_held = self
            .entries
            .remove(
                version,
                file_hash(&self.hasher, version),
                MissReason::Unknown,
            )
            .is_some();
        self.stats.released += u64::from(is_held);
    }

    /// Drops everything: any file may have changed.
    pub fn clear(&mut self) {
        self.stats.changed += self.entries.len() as u64;
        self.entries.clear(MissReason::Changed);
    }

    /// Entries now.
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// Bytes now.
    pub fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    /// The bounds.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// Bytes that are allocated for the cache itself.
    pub fn table_bytes(&self) -> TableBytes {
        TableBytes::of(&self.entries, self.sampler.as_deref())
    }

    /// The counters.
    pub fn stats(&self) -> CacheStats {
        self.stats
    }

    /// The last minute.
    pub fn minute(&self) -> MinuteStats {
        self.minute.stats(&self.stats)
    }

    /// What another size would give; `None` where nobody asked for it, the cache is very small, or
    /// not enough was seen.
    pub fn curve(&self) -> Option<Curve> {
        self.sampler.as_ref()?.curve()
    }
}

fn room(budget: Budget) -> Room {
    Room {
        weight_max: budget.bytes_max,
        count_max: budget.count_max,
    }
}

/// Bytes that an entry counts for; nothing where bytes are not bounded.
fn weight(budget: Budget, length: u64) -> u64 {
    if budget.bytes_max == u64::MAX {
        0
    } else {
        length
    }
}

/// The hash that a file is found by, and remembered by when it is not held: the next version of it, written to
/// the same inode, is as popular. One that took its name is told of by [`ContentCache::succeed`].
fn file_hash(hasher: &SeedableRandomState, version: &FileVersion) -> u64 {
    hasher.hash_one((version.device, version.inode))
}

/// What a version is to the curve.
fn key(hasher: &SeedableRandomState, version: &FileVersion) -> Key {
    Key {
        hash: version_hash(hasher, version),
        place: CurvePart::Main,
        weight: version.length,
        bytes: version.length,
    }
}

/// The hash that a version is sampled by.
fn version_hash(hasher: &SeedableRandomState, version: &FileVersion) -> u64 {
    let FileVersion {
        device,
        inode,
        length,
        modified,
        ..
    } = *version;
    hasher.hash_one((
        device,
        inode,
        length,
        modified.seconds,
        modified.nanoseconds,
    ))
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

    /// Whatever is done to it, by what it says has gone.
    #[test]
    fn bytes_and_count_stay_within_the_budget() {
        let budget = Budget {
            bytes_max: 100,
            count_max: 6,
        };
        let mut cache = ContentCache::new(budget);
        let mut held = std::collections::HashMap::new();
        let mut random = crate::cache::workload::Random(7);
        for _ in 0..20_000 {
            let drawn = random.next();
            let inode = drawn % 12;
            let asked = version(
                inode,
                if drawn.is_multiple_of(50) {
                    drawn >> 32 & 63
                } else {
                    inode * 5
                },
            );
            let key = (inode, asked.length);
            match (drawn >> 40) % 20 {
                0 => assert_eq!(cache.remove(&asked).is_some(), held.remove(&key).is_some()),
                1 => {
                    if let Some((gone, ())) = cache.shed() {
                        held.remove(&(gone.inode, gone.length));
                    }
                }
                2 => {
                    cache.release(&asked);
                    held.remove(&key);
                }
                3 => {
                    cache.push_out(&asked, EvictionCause::Memory);
                    held.remove(&key);
                }
                _ => {
                    assert_eq!(cache.look_up(&asked).is_some(), held.contains_key(&key));
                    if held.insert(key, ()).is_none() {
                        for (gone, ()) in cache.insert(asked, ()) {
                            assert!(held.remove(&(gone.inode, gone.length)).is_some());
                        }
                    }
                }
            }
            let bytes: u64 = held.keys().map(|key| key.1).sum();
            assert_eq!((cache.bytes(), cache.entry_count()), (bytes, held.len()));
            assert!(bytes <= budget.bytes_max && held.len() <= budget.count_max);
        }
        let stats = cache.stats();
        let by = stats.evictions_by;
        assert!(by.bytes > 100 && by.count > 0 && by.shed > 100, "{stats:?}");
        assert!(by.memory > 100 && stats.released > 100, "{stats:?}");
        assert!(stats.rejected > 100 && stats.hits > 100, "{stats:?}");
        assert_eq!(
            by.bytes + by.count + by.shed + by.memory + by.budget,
            stats.evictions
        );
        let missed = stats.misses_by;
        assert_eq!(missed.cold + missed.changed + missed.evicted, stats.misses);
        let gone = stats.evictions + stats.rejected + stats.changed + stats.released;
        assert_eq!(stats.insertions, gone + held.len() as u64);
    }

    #[test]
    fn what_was_not_looked_up_for_so_many_times_is_idle() {
        let mut cache = ContentCache::new(Budget {
            bytes_max: 100,
            count_max: 10,
        });
        cache.insert(version(1, 1), ());
        cache.insert(version(2, 1), ());
        for times in 1..=6 {
            let idle = cache.idle_for(4);
            let expected = if times > 4 {
                vec![version(2, 1)]
            } else {
                vec![]
            };
            assert_eq!(idle, expected, "after {times} times");
            assert!(cache.look_up(&version(1, 1)).is_some());
        }
    }

    #[test]
    fn a_miss_says_why() {
        let mut cache = ContentCache::new(Budget {
            bytes_max: 10,
            count_max: 1,
        });
        let by = |cache: &mut ContentCache<()>, inode, length| {
            let before = cache.stats().misses_by;
            assert!(cache.look_up(&version(inode, length)).is_none());
            let now = cache.stats().misses_by;
            let kinds = [
                (now.cold - before.cold, "cold"),
                (now.changed - before.changed, "changed"),
                (now.evicted - before.evicted, "evicted"),
            ];
            kinds
                .into_iter()
                .find(|kind| kind.0 == 1)
                .map(|kind| kind.1)
        };
        assert_eq!(by(&mut cache, 1, 10), Some("cold"));
        assert_eq!(by(&mut cache, 1, 10), Some("cold"), "asked for, never held");
        cache.insert(version(1, 10), ());
        cache.remove(&version(1, 10));
        assert_eq!(by(&mut cache, 1, 9), Some("changed"), "written to in place");
        cache.insert(version(1, 9), ());
        for _ in 0..3 {
            assert!(cache.look_up(&version(2, 9)).is_none());
        }
        cache.insert(version(2, 9), ());
        assert_eq!(cache.entry_count(), 1);
        let gone = if cache.holds(&version(1, 9)) { 2 } else { 1 };
        assert_eq!(
            by(&mut cache, gone, 9),
            Some("evicted"),
            "there was no room for both"
        );
    }

    #[test]
    fn what_takes_the_place_of_a_file_is_as_popular() {
        let mut cache = ContentCache::new(Budget {
            bytes_max: 100,
            count_max: 2,
        });
        let (old, new) = (version(1, 10), version(2, 10));
        cache.insert(old, ());
        for _ in 0..20 {
            assert!(cache.look_up(&old).is_some());
        }
        cache.succeed(&old, &new);
        assert!(!cache.holds(&old));
        assert!(cache.look_up(&new).is_none());
        let stats = cache.stats();
        assert_eq!((stats.changed, stats.misses_by.changed), (1, 1));
        cache.insert(new, ());
        for inode in 4..30 {
            assert!(cache.look_up(&version(inode, 10)).is_none());
            cache.insert(version(inode, 10), ());
        }
        assert!(cache.holds(&new), "it was asked for more often than those");
    }

    #[test]
    fn what_is_larger_than_the_budget_is_not_taken_in() {
        let mut cache = ContentCache::new(Budget {
            bytes_max: 10,
            count_max: 4,
        });
        cache.insert(version(1, 10), ());
        assert!(cache.insert(version(2, 11), ()).is_empty());
        assert!(cache.holds(&version(1, 10)) && !cache.holds(&version(2, 11)));
    }
}
