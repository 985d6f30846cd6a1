//! Caches of what holds the bytes of a file: mappings and descriptors.
//!
//! Bounded in bytes and in count; `ranked.rs` says who stays.

use std::hash::BuildHasher;
use std::time::Instant;

use foldhash::fast::SeedableRandomState;

use super::TableBytes;
use super::curve::{Curve, CurvePart, Holding, Key, Sampler, Space, TakenIn, Unit};
use super::meter::Meter;
use super::ranked::{Ranked, Room, Slot};
use super::stats::{CacheStats, EvictionCause, MinuteStats, MissReason};
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

/// Holders looked at where descriptors are short: a fraction of a millisecond.
const SHED_LOOK_COUNT_MAX: usize = 4_096;

/// Holders of file content by version.
///
/// `H` is a counted reference: an evicted holder lives until the last response that sends from it is done.
#[derive(Debug)]
pub struct ContentCache<H> {
    entries: Ranked<FileVersion, H>,
    budget: Budget,
    /// How much may be held now: less while memory is short.
    now: Budget,
    hasher: SeedableRandomState,
    meter: Meter,
}

impl<H> ContentCache<H> {
    /// An empty cache.
    pub fn new(budget: Budget) -> ContentCache<H> {
        ContentCache {
            entries: Ranked::new(room(budget), budget.count_max.saturating_mul(2)),
            budget,
            now: budget,
            hasher: super::key_hasher(),
            meter: Meter::default(),
        }
    }

    /// The same with a curve. The caller takes files in as `taken_in` says.
    #[must_use]
    pub fn with_curve(mut self, taken_in: TakenIn) -> ContentCache<H> {
        let space = Space {
            room: room(self.budget),
            apart_count_max: 0,
        };
        let sampler = Sampler::new(Unit::Bytes, space, taken_in);
        self.meter.set_sampler(sampler);
        self
    }

    /// Notes that time has passed; once an iteration of the loop is enough.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.meter.tick(now);
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
                self.meter.note_hit(length);
                let sampled = || key(&self.hasher, version);
                self.meter
                    .sample_hit(length, &mut slot.due, holding, sampled);
                Some(&slot.value)
            }
            Err(reason) => {
                self.meter.note_miss(reason);
                self.meter.note_missed_bytes(length);
                self.meter
                    .sample_missed(key(&self.hasher, version), holding);
                None
            }
        }
    }

    /// Counts a look-up that was not made: the file had to be opened to learn of this version.
    pub(crate) fn note_opened(&mut self, version: &FileVersion) {
        self.meter.note_opened(version.length);
    }

    /// The holder that [`look_up`](ContentCache::look_up) gave turned out to be of no use: the look-up was a
    /// miss after all.
    pub(crate) fn take_back_hit(&mut self, version: &FileVersion, reason: MissReason) {
        self.meter.take_back_hit(version.length, reason);
    }

    /// The holder of a version; marks and counts nothing. For a request that was counted before.
    pub(crate) fn get(&self, version: &FileVersion) -> Option<&H> {
        self.entries.get(version, file_hash(&self.hasher, version))
    }

    /// Those that were not looked up since it was called so many times, this one not counted. O(entries).
    pub(crate) fn idle_for(&mut self, times: u8) -> Vec<FileVersion> {
        self.entries.advance_mark();
        self.entries.idle_for(times).copied().collect()
    }

    /// Whether a version is held; marks and counts nothing.
    pub(crate) fn holds(&self, version: &FileVersion) -> bool {
        self.get(version).is_some()
    }

    /// Whether something of `length` bytes can be held at all.
    pub(crate) fn has_room_for(&self, length: u64) -> bool {
        length <= self.now.bytes_max && self.now.count_max > 0
    }

    /// Whether nothing has to be evicted soon, so that a new entry stays. The last tenth of
    /// the room is where newcomers have to prove themselves.
    pub(crate) fn has_room_for_all(&self) -> bool {
        let Budget {
            bytes_max,
            count_max,
        } = self.now;
        self.bytes() <= bytes_max - bytes_max / 10
            && self.entry_count() <= count_max - count_max / 10
    }

    /// Inserts a holder and evicts until all fits; the new one may be evicted too. Returns the evicted
    /// holders, so that the caller can end the watches of their files.
    pub fn insert(&mut self, version: FileVersion, holder: H) -> Vec<(FileVersion, H)> {
        let mut out = Vec::new();
        if !self.has_room_for(version.length) {
            return out;
        }
        self.release(&version);
        self.meter.note_insertion();
        let meter = &mut self.meter;
        let now_s = meter.now_s();
        let hash = file_hash(&self.hasher, &version);
        let weight = weight(self.budget, version.length);
        let mut gone = |version, slot: Slot<H>, outcome| {
            meter.note_outcome(outcome, slot.since_s);
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
    pub(crate) fn fill(&mut self, version: FileVersion, holder: H) -> Result<(), H> {
        self.release(&version);
        let hash = file_hash(&self.hasher, &version);
        let weight = weight(self.budget, version.length);
        let now_s = self.meter.now_s();
        self.entries.fill(version, hash, weight, holder, now_s)?;
        self.meter.note_insertion();
        Ok(())
    }

    /// Gives up to `count` holders up because descriptors are short: those that are worth least first, as
    /// far as it has a look at them. Gives how many.
    pub(crate) fn shed(&mut self, count: usize, is_unused: impl Fn(&H) -> bool) -> usize {
        let oldest = self.entries.oldest_first().take(SHED_LOOK_COUNT_MAX);
        let unused = oldest.filter(|(_, holder)| is_unused(holder));
        let unused: Vec<FileVersion> = unused.take(count).map(|(version, _)| *version).collect();
        for version in &unused {
            self.push_out(version, EvictionCause::Shed);
        }
        unused.len()
    }

    /// Gives up the holder that is worth least, if there is one, because memory is short, and holds no more
    /// than is left until [`grow`](ContentCache::grow) allows it.
    pub(crate) fn give_way(&mut self) -> Option<(FileVersion, H)> {
        let (version, slot) = self.entries.evict()?;
        self.meter
            .note_eviction(EvictionCause::Budget, slot.since_s);
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
    pub(crate) fn grow(&mut self) {
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
    pub(crate) fn remove(&mut self, version: &FileVersion) -> Option<H> {
        let slot = self.entries.remove(
            version,
            file_hash(&self.hasher, version),
            MissReason::Changed,
        )?;
        self.meter.note_dropped(1);
        Some(slot.value)
    }

    /// Drops a version that has given way to another, which is as popular, and counts as changed where it is
    /// not held yet.
    pub(crate) fn succeed(&mut self, version: &FileVersion, by: &FileVersion) {
        self.remove(version);
        let (from, to) = (
            file_hash(&self.hasher, version),
            file_hash(&self.hasher, by),
        );
        if from != to && !self.holds(by) {
            self.entries.bequeath(from, to);
        }
    }

    /// Evicts a version because of `cause`.
    pub(crate) fn push_out(&mut self, version: &FileVersion, cause: EvictionCause) {
        if let Some(slot) = self.entries.remove(
            version,
            file_hash(&self.hasher, version),
            MissReason::Evicted,
        ) {
            self.meter.note_eviction(cause, slot.since_s);
        }
    }

    /// Lets go of a version that nobody will ask for here: a descriptor once its file is mapped, or its path
    /// forgotten.
    pub(crate) fn release(&mut self, version: &FileVersion) {
        let hash = file_hash(&self.hasher, version);
        let held = self.entries.remove(version, hash, MissReason::Unknown);
        if held.is_some() {
            self.meter.note_release();
        }
    }

    /// Drops everything: any file may have changed.
    pub(crate) fn clear(&mut self) {
        self.meter.note_dropped(self.entries.len());
        self.entries.clear(MissReason::Changed);
    }

    /// Entries now.
    pub(crate) fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// Bytes now.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    /// The bounds.
    pub(crate) fn budget(&self) -> Budget {
        self.budget
    }

    /// Bytes that are allocated for the cache itself.
    pub(crate) fn table_bytes(&self) -> TableBytes {
        TableBytes::of(&self.entries, &self.meter)
    }

    /// The counters.
    pub(crate) fn stats(&self) -> CacheStats {
        self.meter.stats()
    }

    /// The last minute.
    pub(crate) fn minute(&self) -> MinuteStats {
        self.meter.minute()
    }

    /// What another size would give; `None` where nobody asked for it, the cache is very small, or
    /// not enough was seen.
    pub(crate) fn curve(&self) -> Option<Curve> {
        self.meter.curve()
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
mod tests;
