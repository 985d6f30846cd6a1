//! The pathname cache: from the site and the raw path of a request to what is known of it.
//!
//! Keyed by the bytes as they were sent, so that a hit decodes and normalises nothing. Two
//! spellings of one path are two places in the table that lead to one entry, where it is a file.
//!
//! Paths that lead to a file stand apart from those that lead to none (404, 403, 301): anybody can
//! make up a million of the latter. They have an eighth of the room at most, in order of use.

use std::hash::BuildHasher;
use std::num::NonZeroUsize;
use std::rc::{Rc, Weak};
use std::time::Instant;

use foldhash::fast::{RandomState, SeedableRandomState};
use hashbrown::HashMap;

use super::TableBytes;
use super::curve::{Curve, CurvePart, Holding, Key, Sampler, Space, TakenIn, Unit};
use super::entry::{Entry, Resolution, Validity};
use super::key::PathKey;
use super::ranked::{self, Ranked, Room, Slot};
use super::recency::Recency;
use super::stats::{CacheStats, EvictionCause, Minute, MinuteStats, MissReason};
use super::weight::CountedKey;
use crate::clock::Now;
use crate::memory::table_bytes;
use crate::site::resolve;

mod negative;

use negative::{Negative, table_hash};

/// Longest raw path that is remembered, in bytes. Peers choose paths: without a bound a table of
/// 65,536 entries could be made to hold half a gigabyte of them.
pub const PATH_LENGTH_MAX: usize = 1_024;

/// The most that paths that lead to no file may take of the room: one part in so many.
const NEGATIVE_SHARE: usize = 8;

/// Files by other spellings than the usual one, before they are looked through the first time.
const SPELLING_COUNT_MIN: usize = 64;

/// Paths that may be remembered however short memory is, and how many more at least when it is no longer.
const COUNT_MIN: usize = 64;

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
    /// There was no room for it; what it says may still be so.
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
    /// What files lead to that are asked for by other spellings than the usual one, by that one.
    spellings: HashMap<CountedKey, Weak<Entry>, RandomState>,
    /// So many of them are looked through for those that are remembered no more.
    spelling_count_max: usize,
    entry_count_max: usize,
    /// How many may be there now: fewer while memory is short.
    count_max_now: usize,
    hasher: SeedableRandomState,
    sampler: Option<Box<Sampler>>,
    /// Entries of an earlier generation have expired.
    generation: u32,
    stats: CacheStats,
    minute: Minute,
}

impl PathCache {
    /// A cache of at most `entry_count_max` paths.
    pub fn new(entry_count_max: NonZeroUsize) -> PathCache {
        let entry_count_max = entry_count_max.get();
        let space = Space {
            room: room(entry_count_max),
            apart_count_max: negative_count_max(entry_count_max),
        };
        let sampler = Sampler::new(Unit::Entries, space, TakenIn::First);
        PathCache {
            files: Ranked::new(space.room, entry_count_max.saturating_mul(2)),
            negatives: Recency::default(),
            resting: negative::Common::default(),
            spellings: HashMap::default(),
            spelling_count_max: SPELLING_COUNT_MIN,
            entry_count_max,
            count_max_now: entry_count_max,
            hasher: super::key_hasher(),
            sampler: sampler.map(Box::new),
            generation: 0,
            stats: CacheStats::default(),
            minute: Minute::default(),
        }
    }

    /// The same without a [curve](PathCache::curve).
    #[must_use]
    pub fn without_curve(mut self) -> PathCache {
        self.sampler = None;
        self
    }

    /// Looks a raw path up and marks it as used.
    pub fn look_up(&mut self, key: PathKey<'_>, now: &Now) -> Known {
        let holding = self.holding();
        let hash = self.hash(key);
        if let Some(slot) = self.files.look_up(&key, hash) {
            let bytes = content_length(&slot.value);
            if let Some(sampler) = &mut self.sampler {
                sampler.count_hit(bytes);
                if sampler.look_ups() >= slot.due {
                    slot.due = sampler.show(curve_key(slot.hash, CurvePart::Main, bytes), holding);
                }
            }
            let validity = slot.value.validity(now, self.generation);
            return known(&mut self.stats, &slot.value, bytes, validity);
        }
        if let Some(negative) = self.negatives.look_up(&key, table_hash(hash)) {
            if let Some(sampler) = &mut self.sampler {
                sampler.count_hit(0);
                negative.show(hash, sampler, holding);
            }
            let (entry, validity) = negative.entry(&mut self.resting, now, self.generation);
            return known(&mut self.stats, &entry, 0, validity);
        }
        let fate = self.files.note_miss(hash);
        self.stats.note_miss(fate);
        if let Some(sampler) = &mut self.sampler {
            sampler.count_miss();
        }
        Known::Unknown
    }

    /// The same for a request that was counted before: marks and counts nothing.
    pub fn look_up_again(&mut self, key: PathKey<'_>, now: &Now) -> Known {
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

    /// The entry for what was found for a path: one that says the same of the same file by another spelling of
    /// its path, or a new one. So `//a`, `/./a` and `/%61` cost a place in the table each, and no more.
    pub fn share(&mut self, key: PathKey<'_>, found: Resolution) -> Rc<Entry> {
        let usual = match &found {
            Resolution::File { .. } => resolve::usual_spelling(key.path),
            _ => None,
        };
        let Some(usual) = usual else {
            return Rc::new(Entry::new(found));
        };
        let usual = PathKey::new(key.site, &usual);
        let by_usual = self.files.get(&usual, self.hash(usual));
        let other = self.spellings.get(&usual).and_then(Weak::upgrade);
        let known = by_usual.map(Rc::clone).into_iter().chain(other);
        let mut same = known.filter(|entry| entry.is_remembered() && entry.is_same(&found));
        let entry = same.next().unwrap_or_else(|| Rc::new(Entry::new(found)));
        if usual != key {
            self.note_spelling(usual, &entry);
        }
        entry
    }

    fn note_spelling(&mut self, usual: PathKey<'_>, entry: &Rc<Entry>) {
        if self.spellings.len() >= self.spelling_count_max {
            let is_remembered = |entry: Rc<Entry>| entry.is_remembered();
            self.spellings
                .retain(|_, entry| entry.upgrade().is_some_and(is_remembered));
            self.spelling_count_max = SPELLING_COUNT_MIN.max(2 * self.spellings.len());
        }
        self.spellings.insert(usual.into(), Rc::downgrade(entry));
    }

    /// Remembers what a path leads to, in place of what was known. A path longer than
    /// [`PATH_LENGTH_MAX`] is not remembered, nor one that has to make way for those that are asked
    /// for more often. Whatever goes for it is given to `gone`.
    pub fn insert(
        &mut self,
        key: PathKey<'_>,
        entry: Rc<Entry>,
        gone: &mut dyn FnMut(Rc<Entry>, PathRemoval),
    ) {
        if key.path.len() > PATH_LENGTH_MAX {
            return;
        }
        match &entry.resolution {
            Resolution::File { .. } => self.insert_file(key, entry, gone),
            Resolution::Moved(_) | Resolution::Refused(_) | Resolution::Listed => {
                self.insert_negative(key, entry, gone);
            }
        }
    }

    /// Counts what look-ups that found nothing were about, which is known now: so many bytes each.
    pub fn note_missed_bytes(&mut self, entry: &Entry, requests: u64) {
        let bytes = content_length(entry).saturating_mul(requests);
        self.stats.note_missed_bytes(bytes);
    }

    fn insert_file(
        &mut self,
        key: PathKey<'_>,
        entry: Rc<Entry>,
        gone: &mut dyn FnMut(Rc<Entry>, PathRemoval),
    ) {
        let hash = self.hash(key);
        if let Some(previous) = self.files.replace(&key, hash, Rc::clone(&entry)) {
            if leads_elsewhere(&entry, &previous) {
                self.stats.note_change();
            }
            replace(previous, &entry, gone);
            return;
        }
        self.stats.insertions += 1;
        if let Some((_, negative)) = self.negatives.remove(&key, table_hash(hash)) {
            self.stats.changed += 1;
            replace(negative.into_entry(&self.resting), &entry, gone);
        } else {
            entry.add_spelling();
        }
        let (bytes, holding) = (content_length(&entry), self.holding());
        if let Some(sampler) = &mut self.sampler {
            sampler.show_missed(curve_key(hash, CurvePart::Main, bytes), holding);
        }
        let left = self.count_max_now.saturating_sub(self.negatives.len());
        self.files.set_room(room(left));
        let (stats, now_s) = (&mut self.stats, self.minute.age_s());
        let mut pushed_out = |_, slot: Slot<_>, departure| {
            match departure {
                ranked::EvictionOutcome::Evicted(_) => {
                    stats.note_eviction(EvictionCause::Count, now_s - slot.since_s);
                }
                ranked::EvictionOutcome::Rejected => stats.rejected += 1,
            }
            forget(slot.value, gone);
        };
        self.files
            .insert(key.into(), hash, 1, entry, now_s, &mut pushed_out);
    }

    /// Remembers the file that a path leads to, which nobody has asked for, where it takes no room from
    /// others. Gives whether there was room.
    pub fn fill(&mut self, key: PathKey<'_>, entry: Rc<Entry>) -> bool {
        let is_file = matches!(entry.resolution, Resolution::File { .. });
        if !is_file || key.path.len() > PATH_LENGTH_MAX || self.holds(key) {
            return true;
        }
        let left = self.count_max_now - negative_count_max(self.count_max_now);
        self.files.set_room(room(left));
        let hash = self.hash(key);
        let now_s = self.minute.age_s();
        entry.add_spelling();
        let filled = self.files.fill(key.into(), hash, 1, entry, now_s);
        let is_in = filled.is_ok();
        if let Err(entry) = filled {
            entry.drop_spelling();
        }
        self.stats.insertions += u64::from(is_in);
        is_in
    }

    /// Whether a path is remembered; marks and counts nothing.
    pub fn holds(&self, key: PathKey<'_>) -> bool {
        let hash = self.hash(key);
        self.files.get(&key, hash).is_some()
            || self.negatives.peek(&key, table_hash(hash)).is_some()
    }

    /// The paths that lead to files, the one asked for most first.
    pub fn hottest(&self) -> Vec<PathKey<'_>> {
        let keys = self.files.hottest().into_iter();
        keys.map(|key| key.as_key()).collect()
    }

    /// The paths that lead to files, and where they lead; those used last come first.
    pub fn files(&self) -> impl Iterator<Item = (PathKey<'_>, &Rc<Entry>)> {
        self.files.iter().map(|(key, entry)| (key.as_key(), entry))
    }

    fn insert_negative(
        &mut self,
        key: PathKey<'_>,
        entry: Rc<Entry>,
        gone: &mut dyn FnMut(Rc<Entry>, PathRemoval),
    ) {
        let hash = self.hash(key);
        let now_s = self.minute.age_s();
        let holding = self.holding();
        let previous = match self.files.remove(&key, hash, MissReason::Changed) {
            Some(slot) => Some(slot.value),
            None => {
                let negative = self.negatives.remove(&key, table_hash(hash));
                negative.map(|(_, negative)| negative.into_entry(&self.resting))
            }
        };
        let due = match (&mut self.sampler, &previous) {
            (Some(sampler), None) => {
                sampler.show_missed(curve_key(hash, CurvePart::Apart, 0), holding)
            }
            _ => 0,
        };
        let negative = Negative::new(Rc::clone(&entry), hash, due, now_s);
        self.negatives.insert(key.into(), negative);
        match previous {
            None => {
                self.stats.insertions += 1;
                entry.add_spelling();
            }
            Some(previous) => {
                if leads_elsewhere(&entry, &previous) {
                    self.stats.note_change();
                }
                replace(previous, &entry, gone);
            }
        }
        while self.negatives.len() > negative_count_max(self.count_max_now) {
            if let Some((path, negative)) = self.negatives.remove_oldest(0) {
                let age_s = now_s - negative.since_s;
                self.leave(path.as_key(), negative, MissReason::Evicted);
                self.stats.note_eviction(EvictionCause::Share, age_s);
            }
        }
        while self.entry_count() > self.count_max_now {
            match self.files.evict() {
                Some((_, slot)) => {
                    self.stats
                        .note_eviction(EvictionCause::Count, now_s - slot.since_s);
                    forget(slot.value, gone);
                }
                None => break,
            }
        }
    }

    /// Forgets the path that is worth least, if there is one, because memory is short, and remembers no more
    /// than are left until [`grow`](PathCache::grow) allows it. Gives whether there was one; what it has led to
    /// is given to `gone` if no other spelling of it is remembered.
    pub fn give_way(&mut self, gone: &mut dyn FnMut(Rc<Entry>, PathRemoval)) -> bool {
        let has_many = self.negatives.len() > negative_count_max(self.entry_count());
        let file = match has_many {
            true => None,
            false => self.files.evict(),
        };
        let (entry, since_s) = match file {
            Some((_, slot)) => (slot.value, slot.since_s),
            None => {
                let Some((path, negative)) = self.negatives.remove_oldest(0) else {
                    return false;
                };
                let since_s = negative.since_s;
                (
                    self.leave(path.as_key(), negative, MissReason::Evicted),
                    since_s,
                )
            }
        };
        let age_s = self.minute.age_s() - since_s;
        self.stats.note_eviction(EvictionCause::Budget, age_s);
        self.count_max_now = self.entry_count().max(COUNT_MIN).min(self.entry_count_max);
        forget(entry, gone);
        true
    }

    /// Remembers a little more again, up to the bound.
    pub fn grow(&mut self) {
        let count = self.count_max_now;
        self.count_max_now = (count + count / 8 + COUNT_MIN).min(self.entry_count_max);
    }

    /// Forgets a path, and gives what it has led to if no other spelling of it is remembered.
    pub fn remove(&mut self, key: PathKey<'_>) -> Option<Rc<Entry>> {
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
        self.stats.changed += 1;
        entry.drop_spelling().then_some(entry)
    }

    /// Forgets everything: another site is served.
    pub fn clear(&mut self) {
        self.stats.changed += self.entry_count() as u64;
        self.spellings.clear();
        self.files.clear(MissReason::Changed);
        while let Some((path, negative)) = self.negatives.remove_oldest(0) {
            self.leave(path.as_key(), negative, MissReason::Changed);
        }
    }

    /// Has every entry checked before it is used again. O(1).
    pub fn distrust_all(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// The generation whose entries are trusted.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Notes that time has passed; once a turn of the loop is enough.
    pub fn tick(&mut self, now: Instant) {
        self.minute.tick(&self.stats, now);
    }

    /// Entries now.
    pub fn entry_count(&self) -> usize {
        self.files.len() + self.negatives.len()
    }

    /// Those of them that lead to no file.
    pub fn negative_count(&self) -> usize {
        self.negatives.len()
    }

    /// Entries at most.
    pub fn entry_count_max(&self) -> usize {
        self.entry_count_max
    }

    /// Bytes that are allocated for the cache itself.
    pub fn table_bytes(&self) -> TableBytes {
        let files = TableBytes::of(&self.files, self.sampler.as_deref());
        let spelling = size_of::<(CountedKey, Weak<Entry>)>();
        TableBytes {
            table: files.table
                + self.negatives.bytes() as u64
                + table_bytes(self.spellings.capacity(), spelling),
            ..files
        }
    }

    /// The counters.
    pub fn stats(&self) -> CacheStats {
        self.stats
    }

    /// The last minute.
    pub fn minute(&self) -> MinuteStats {
        self.minute.stats(&self.stats)
    }

    /// What another size would give; `None` where the cache is very small or
    /// not enough was seen.
    pub fn curve(&self) -> Option<Curve> {
        self.sampler.as_ref()?.curve()
    }
}

/// Another entry takes the place of one for a path. It goes on counting, unless it counts for others already.
fn replace(previous: Rc<Entry>, entry: &Entry, gone: &mut dyn FnMut(Rc<Entry>, PathRemoval)) {
    if std::ptr::eq(&*previous, entry) {
        return;
    }
    if !entry.is_remembered() {
        entry.inherit_requests(&previous);
    }
    entry.add_spelling();
    previous.drop_spelling();
    gone(previous, PathRemoval::Replaced);
}

/// A path is remembered no more; what it leads to is neither if no other leads there.
fn forget(entry: Rc<Entry>, gone: &mut dyn FnMut(Rc<Entry>, PathRemoval)) {
    if entry.drop_spelling() {
        gone(entry, PathRemoval::Forgotten);
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
fn known(stats: &mut CacheStats, entry: &Rc<Entry>, bytes: u64, validity: Validity) -> Known {
    match validity {
        Validity::Expired => {
            stats.expired += 1;
            stats.misses_by.expired += 1;
            stats.note_missed_bytes(bytes);
        }
        Validity::Fresh | Validity::Due => {
            stats.hits += 1;
            stats.hit_bytes = stats.hit_bytes.saturating_add(bytes);
        }
    }
    Known::of(entry, validity)
}

/// Whether an entry leads to something else than the one that it replaces. If not, the path was looked up
/// because its file had to be opened again, or because it led to nothing and was not watched.
fn leads_elsewhere(entry: &Entry, previous: &Entry) -> bool {
    match (&entry.resolution, &previous.resolution) {
        (
            Resolution::File { variants: one, .. },
            Resolution::File {
                variants: other, ..
            },
        ) => !one.versions().eq(other.versions()),
        (Resolution::Moved(one), Resolution::Moved(other)) => one != other,
        (Resolution::Refused(one), Resolution::Refused(other)) => one != other,
        _ => true,
    }
}

/// Bytes of the file that an entry leads to; its precompressed variants are shorter by a little.
fn content_length(entry: &Entry) -> u64 {
    match &entry.resolution {
        Resolution::File { variants, .. } => variants.identity.version.length,
        Resolution::Moved(_) | Resolution::Refused(_) | Resolution::Listed => 0,
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

fn negative_count_max(entry_count_max: usize) -> usize {
    match entry_count_max {
        0 | 1 => 0,
        2..NEGATIVE_SHARE => 1,
        more => more / NEGATIVE_SHARE,
    }
}

fn room(entry_count_max: usize) -> Room {
    Room {
        weight_max: u64::MAX,
        count_max: entry_count_max,
    }
}

#[cfg(test)]
mod tests;
