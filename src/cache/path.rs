//! The pathname cache: from the site and the raw path of a request to what is known of it.
//!
//! Keyed by the bytes as they were sent, so that a hit decodes and normalises nothing. Two
//! spellings of one path are two places in the table that lead to one entry, where it is a file.
//!
//! Paths that lead to a file stand apart from those that lead to none (404, 403, 301): anybody can
//! make up a million of the latter. They have an eighth of the room at most, in order of use.

use std::hash::BuildHasher;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Instant;

use foldhash::fast::SeedableRandomState;

use super::TableBytes;
use super::curve::{Curve, CurvePart, Holding, Key, Sampler, Space, TakenIn, Unit};
use super::entry::{Entry, Resolution, Validity};
use super::key::{self, PathKey, PathKeyBuf};
use super::meter::Meter;
use super::ranked::Ranked;
use super::recency::Recency;
use super::stats::{CacheStats, MinuteStats, MissReason};
use super::weight::CountedKey;
use crate::clock::Now;
use crate::site::sites::SiteId;

mod insertion;
mod negative;
mod spellings;

use insertion::{negative_count_max, room};
use negative::{Negative, table_hash};
use spellings::Spellings;

/// Longest raw path that is remembered, in bytes. Peers choose paths: without a bound a table of
/// 65,536 entries could be made to hold half a gigabyte of them.
pub(crate) const PATH_LENGTH_MAX: usize = 1_024;

/// What a look-up gives.
#[derive(Clone, Debug)]
pub enum Known {
    /// An entry that may be answered from.
    Fresh(Rc<Entry>),
    /// The same, which is to be checked in the background so that the next ones find it fresh.
    Due(Rc<Entry>),
    /// An entry that must be checked first.
    Expired(Rc<Entry>),
    /// Nothing.
    Unknown,
}

/// How an entry left the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathRemoval {
    /// It was evicted; it may still be valid.
    Forgotten,
    /// Its path leads elsewhere.
    Replaced,
}

/// Raw paths and what they lead to.
#[derive(Debug)]
pub struct PathCache {
    files: Ranked<CountedKey, Rc<Entry>>,
    negatives: Recency<CountedKey, Negative>,
    resting: negative::Common,
    spellings: Spellings,
    entry_count_max: usize,
    /// How many may be there now: fewer while memory is short.
    count_max_now: usize,
    hasher: SeedableRandomState,
    /// Entries of an earlier generation have expired.
    generation: u32,
    meter: Meter,
}

impl PathCache {
    /// A cache of at most `entry_count_max` paths.
    pub fn new(entry_count_max: NonZeroUsize) -> PathCache {
        let entry_count_max = entry_count_max.get();
        let space = Space {
            room: room(entry_count_max),
            apart_count_max: negative_count_max(entry_count_max),
        };
        let mut meter = Meter::default();
        meter.set_sampler(Sampler::new(Unit::Entries, space, TakenIn::First));
        PathCache {
            files: Ranked::new(space.room, entry_count_max.saturating_mul(2)),
            negatives: Recency::default(),
            resting: negative::Common::default(),
            spellings: Spellings::default(),
            entry_count_max,
            count_max_now: entry_count_max,
            hasher: super::key_hasher(),
            generation: 0,
            meter,
        }
    }

    /// The same without a curve.
    #[must_use]
    pub(crate) fn without_curve(mut self) -> PathCache {
        self.meter.set_sampler(None);
        self
    }

    /// Looks a raw path up and marks it as used.
    pub fn look_up(&mut self, key: PathKey<'_>, now: &Now) -> Known {
        let holding = self.holding();
        let hash = self.hash(key);
        if let Some(slot) = self.files.look_up(&key, hash) {
            let bytes = content_length(&slot.value);
            let sampled = || curve_key(slot.hash, CurvePart::Main, bytes);
            self.meter
                .sample_hit(bytes, &mut slot.due, holding, sampled);
            let validity = slot.value.validity(now, self.generation);
            return known(&mut self.meter, &slot.value, bytes, validity);
        }
        if let Some(negative) = self.negatives.look_up(&key, table_hash(hash)) {
            if let Some(sampler) = self.meter.sampler_at_hit(0) {
                negative.show(hash, sampler, holding);
            }
            let (entry, validity) = negative.entry(&mut self.resting, now, self.generation);
            return known(&mut self.meter, &entry, 0, validity);
        }
        let reason = self.files.note_miss(hash);
        self.meter.note_miss(reason);
        Known::Unknown
    }

    /// The same for a request that was counted before: marks and counts nothing.
    pub(crate) fn look_up_again(&mut self, key: PathKey<'_>, now: &Now) -> Known {
        let hash = self.hash(key);
        if let Some(entry) = self.files.get(&key, hash) {
            return Known::of(entry, entry.validity(now, self.generation));
        }
        match self.negatives.peek_mut(&key, table_hash(hash)) {
            None => Known::Unknown,
            Some(negative) => {
                let (entry, validity) = negative.entry(&mut self.resting, now, self.generation);
                Known::of(&entry, validity)
            }
        }
    }

    /// By which a key is found. The number of the site is mixed in afterwards: hashed with the path it would cost
    /// a hit 50 instructions more.
    fn hash(&self, key: PathKey<'_>) -> u64 {
        let site = u64::from(key.site.number()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.hasher.hash_one(key.path) ^ site
    }

    /// Each entry counts for one.
    fn holding(&self) -> Holding {
        let count = self.entry_count();
        Holding {
            count,
            weight: count as u64,
        }
    }

    /// Counts what look-ups that found nothing were about, which is known now: so many bytes each.
    pub(crate) fn note_missed_bytes(&mut self, entry: &Entry, requests: u64) {
        let bytes = content_length(entry).saturating_mul(requests);
        self.meter.note_missed_bytes(bytes);
    }

    /// Whether a path is remembered; marks and counts nothing.
    pub(crate) fn holds(&self, key: PathKey<'_>) -> bool {
        let hash = self.hash(key);
        self.files.get(&key, hash).is_some()
            || self.negatives.peek(&key, table_hash(hash)).is_some()
    }

    /// The paths that lead to files, the one asked for most first.
    pub(crate) fn hottest(&self) -> Vec<PathKey<'_>> {
        let keys = self.files.hottest().into_iter();
        keys.map(|key| key.as_key()).collect()
    }

    /// The paths that lead to files, and where they lead; those used last come first.
    pub(crate) fn files(&self) -> impl Iterator<Item = (PathKey<'_>, &Rc<Entry>)> {
        self.files.iter().map(|(key, entry)| (key.as_key(), entry))
    }

    /// The paths of some sites. O(all paths).
    pub(crate) fn keys_of(&self, is_meant: &dyn Fn(SiteId) -> bool) -> Vec<PathKeyBuf> {
        let files = self.files.iter().map(|(key, _)| key.as_key());
        let negatives = self.negatives.newest_first(0);
        let all = files.chain(negatives.map(|(key, _)| key.as_key()));
        key::of_sites(all, is_meant)
    }

    /// Removes a path. Returns its entry if no other spelling of the path is cached.
    pub(crate) fn remove(&mut self, key: PathKey<'_>) -> Option<Rc<Entry>> {
        let hash = self.hash(key);
        let file = self.files.remove(&key, hash, MissReason::Changed);
        let entry = match file {
            Some(slot) => slot.value,
            None => {
                let (_, negative) = self.negatives.remove(&key, table_hash(hash))?;
                self.files.note_departure(hash, MissReason::Changed);
                negative.into_entry(&self.resting)
            }
        };
        self.meter.note_dropped(1);
        entry.drop_spelling().then_some(entry)
    }

    /// Forgets everything: another site is served.
    pub(crate) fn clear(&mut self) {
        self.meter.note_dropped(self.entry_count());
        self.spellings.clear();
        self.files.clear(MissReason::Changed);
        while let Some((path, negative)) = self.negatives.remove_oldest(0) {
            self.leave(path.as_key(), negative, MissReason::Changed);
        }
    }

    /// Has every entry checked before it is used again. O(1).
    pub(crate) fn distrust_all(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// The generation whose entries are trusted.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Notes that time has passed; once an iteration of the loop is enough.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.meter.tick(now);
    }

    /// Entries now.
    pub(crate) fn entry_count(&self) -> usize {
        self.files.len() + self.negatives.len()
    }

    /// Those of them that lead to no file.
    pub(crate) fn negative_count(&self) -> usize {
        self.negatives.len()
    }

    /// Entries at most.
    pub(crate) fn entry_count_max(&self) -> usize {
        self.entry_count_max
    }

    /// Bytes that are allocated for the cache itself.
    pub(crate) fn table_bytes(&self) -> TableBytes {
        let files = TableBytes::of(&self.files, &self.meter);
        TableBytes {
            table: files.table + self.negatives.bytes() as u64 + self.spellings.bytes(),
            ..files
        }
    }

    /// The counters.
    pub(crate) fn stats(&self) -> CacheStats {
        self.meter.stats()
    }

    /// The last minute.
    pub(crate) fn minute(&self) -> MinuteStats {
        self.meter.minute()
    }

    /// What another size would give; `None` where the cache is very small or
    /// not enough was seen.
    pub(crate) fn curve(&self) -> Option<Curve> {
        self.meter.curve()
    }
}

impl Known {
    fn of(entry: &Rc<Entry>, validity: Validity) -> Known {
        let entry = Rc::clone(entry);
        match validity {
            Validity::Fresh => Known::Fresh(entry),
            Validity::Due => Known::Due(entry),
            Validity::Expired => Known::Expired(entry),
        }
    }
}

/// Counts a look-up that found an entry.
fn known(meter: &mut Meter, entry: &Rc<Entry>, bytes: u64, validity: Validity) -> Known {
    match validity {
        Validity::Expired => meter.note_expired(bytes),
        Validity::Fresh | Validity::Due => meter.note_hit(bytes),
    }
    Known::of(entry, validity)
}

/// Bytes of the file that an entry leads to; its precompressed variants are shorter by a little.
fn content_length(entry: &Entry) -> u64 {
    match &entry.resolution {
        Resolution::File { variants, .. } => variants.identity.version.length,
        Resolution::Moved(_)
        | Resolution::Refused(_)
        | Resolution::Fallback
        | Resolution::Listed => 0,
    }
}

/// What a path is to the curve.
fn curve_key(hash: u64, place: CurvePart, bytes: u64) -> Key {
    Key {
        hash,
        place,
        weight: 1,
        bytes,
    }
}

#[cfg(test)]
mod tests;
