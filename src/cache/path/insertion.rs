//! What enters the path cache, and what has to leave it for that, or because memory is short.

use std::rc::Rc;

use super::negative::{Negative, table_hash};
use super::{PATH_LENGTH_MAX, PathCache, PathRemoval, content_length, curve_key};
use crate::cache::curve::CurvePart;
use crate::cache::entry::{Entry, Resolution};
use crate::cache::key::PathKey;
use crate::cache::ranked::{Room, Slot};
use crate::cache::stats::{EvictionCause, MissReason};

/// The most that paths that lead to no file may take of the room: one part in so many.
const NEGATIVE_SHARE: usize = 8;

/// Paths that may be remembered however short memory is, and how many more at least when it is no longer.
const COUNT_MIN: usize = 64;

impl PathCache {
    /// Caches the entry of a path, in place of an earlier one. A path longer than
    /// `PATH_LENGTH_MAX` is not remembered, nor one that has to make way for those that are asked
    /// for more often. Replaced and evicted entries are passed to `gone`.
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
            Resolution::Moved(_)
            | Resolution::Refused(_)
            | Resolution::Fallback
            | Resolution::Listed => {
                self.insert_negative(key, entry, gone);
            }
        }
    }

    /// Remembers the file that a path leads to, which nobody has asked for, where it takes no room from
    /// others. Gives whether there was room.
    pub(crate) fn fill(&mut self, key: PathKey<'_>, entry: Rc<Entry>) -> bool {
        let is_file = matches!(entry.resolution, Resolution::File { .. });
        if !is_file || key.path.len() > PATH_LENGTH_MAX || self.holds(key) {
            return true;
        }
        let left = self.count_max_now - negative_count_max(self.count_max_now);
        self.files.set_room(room(left));
        let hash = self.hash(key);
        let now_s = self.meter.now_s();
        entry.add_spelling();
        let filled = self.files.fill(key.into(), hash, 1, entry, now_s);
        let is_in = filled.is_ok();
        if let Err(entry) = filled {
            entry.drop_spelling();
        }
        if is_in {
            self.meter.note_insertion();
        }
        is_in
    }

    /// Forgets the path that is worth least, if there is one, because memory is short, and remembers no more
    /// than are left until [`grow`](PathCache::grow) allows it. Gives whether there was one; what it has led to
    /// is given to `gone` if no other spelling of it is remembered.
    pub(crate) fn give_way(&mut self, gone: &mut dyn FnMut(Rc<Entry>, PathRemoval)) -> bool {
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
                let entry = self.leave(path.as_key(), negative, MissReason::Evicted);
                (entry, since_s)
            }
        };
        self.meter.note_eviction(EvictionCause::Budget, since_s);
        self.count_max_now = self.entry_count().max(COUNT_MIN).min(self.entry_count_max);
        forget(entry, gone);
        true
    }

    /// Remembers a little more again, up to the bound.
    pub(crate) fn grow(&mut self) {
        let count = self.count_max_now;
        self.count_max_now = (count + count / 8 + COUNT_MIN).min(self.entry_count_max);
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
                self.meter.note_change();
            }
            replace(previous, &entry, gone);
            return;
        }
        self.meter.note_insertion();
        if let Some((_, negative)) = self.negatives.remove(&key, table_hash(hash)) {
            self.meter.note_dropped(1);
            replace(negative.into_entry(&self.resting), &entry, gone);
        } else {
            entry.add_spelling();
        }
        let (bytes, holding) = (content_length(&entry), self.holding());
        let sampled = curve_key(hash, CurvePart::Main, bytes);
        self.meter.sample_missed(sampled, holding);
        let left = self.count_max_now.saturating_sub(self.negatives.len());
        self.files.set_room(room(left));
        let meter = &mut self.meter;
        let now_s = meter.now_s();
        let mut pushed_out = |_, slot: Slot<_>, outcome| {
            meter.note_outcome(outcome, slot.since_s);
            forget(slot.value, gone);
        };
        self.files
            .insert(key.into(), hash, 1, entry, now_s, &mut pushed_out);
    }

    fn insert_negative(
        &mut self,
        key: PathKey<'_>,
        entry: Rc<Entry>,
        gone: &mut dyn FnMut(Rc<Entry>, PathRemoval),
    ) {
        let hash = self.hash(key);
        let now_s = self.meter.now_s();
        let holding = self.holding();
        let previous = match self.files.remove(&key, hash, MissReason::Changed) {
            Some(slot) => Some(slot.value),
            None => {
                let negative = self.negatives.remove(&key, table_hash(hash));
                negative.map(|(_, negative)| negative.into_entry(&self.resting))
            }
        };
        let sampled = curve_key(hash, CurvePart::Apart, 0);
        let due = match &previous {
            None => self.meter.sample_missed(sampled, holding),
            Some(_) => 0,
        };
        let negative = Negative::new(Rc::clone(&entry), hash, due, now_s);
        self.negatives.insert(key.into(), negative);
        match previous {
            None => {
                self.meter.note_insertion();
                entry.add_spelling();
            }
            Some(previous) => {
                if leads_elsewhere(&entry, &previous) {
                    self.meter.note_change();
                }
                replace(previous, &entry, gone);
            }
        }
        self.make_room_for_negatives(gone);
    }

    /// Paths that lead to no file leave by their own share first, then files by the bound of all.
    fn make_room_for_negatives(&mut self, gone: &mut dyn FnMut(Rc<Entry>, PathRemoval)) {
        while self.negatives.len() > negative_count_max(self.count_max_now)
            && let Some((path, negative)) = self.negatives.remove_oldest(0)
        {
            let since_s = negative.since_s;
            self.leave(path.as_key(), negative, MissReason::Evicted);
            self.meter.note_eviction(EvictionCause::Share, since_s);
        }
        while self.entry_count() > self.count_max_now
            && let Some((_, slot)) = self.files.evict()
        {
            self.meter.note_eviction(EvictionCause::Count, slot.since_s);
            forget(slot.value, gone);
        }
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

/// One path of an entry was evicted; the entry itself is evicted with its last path.
fn forget(entry: Rc<Entry>, gone: &mut dyn FnMut(Rc<Entry>, PathRemoval)) {
    if entry.drop_spelling() {
        gone(entry, PathRemoval::Forgotten);
    }
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
        (Resolution::Fallback, Resolution::Fallback) => false,
        _ => true,
    }
}

/// Paths that lead to no file, at most, in a cache of so many.
pub(super) fn negative_count_max(entry_count_max: usize) -> usize {
    match entry_count_max {
        0 | 1 => 0,
        2..NEGATIVE_SHARE => 1,
        more => more / NEGATIVE_SHARE,
    }
}

/// Room for so many entries, whatever their bytes.
pub(super) fn room(entry_count_max: usize) -> Room {
    Room {
        weight_max: u64::MAX,
        count_max: entry_count_max,
    }
}
