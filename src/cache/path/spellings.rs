//! Spellings of one path: `//a`, `/./a` and `/%61` lead to one entry.

use std::rc::{Rc, Weak};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::PathCache;
use crate::cache::entry::{Entry, Resolution};
use crate::cache::key::PathKey;
use crate::cache::weight::CountedKey;
use crate::memory::table_bytes;
use crate::site::resolve;

/// Files by other spellings than the usual one, before they are looked through the first time.
const SPELLING_COUNT_MIN: usize = 64;

/// Entries of files that are asked for by other spellings than the usual one, by that one.
#[derive(Debug, Default)]
pub(super) struct Spellings {
    entries: HashMap<CountedKey, Weak<Entry>, RandomState>,
    /// With so many, those whose paths are no longer remembered are taken out.
    count_max: usize,
}

impl Spellings {
    fn get(&self, usual: PathKey<'_>) -> Option<Rc<Entry>> {
        self.entries.get(&usual).and_then(Weak::upgrade)
    }

    fn insert(&mut self, usual: PathKey<'_>, entry: &Rc<Entry>) {
        if self.entries.len() >= self.count_max.max(SPELLING_COUNT_MIN) {
            let is_remembered = |entry: Rc<Entry>| entry.is_remembered();
            self.entries
                .retain(|_, entry| entry.upgrade().is_some_and(is_remembered));
            self.count_max = 2 * self.entries.len();
        }
        self.entries.insert(usual.into(), Rc::downgrade(entry));
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Bytes that are allocated for the table.
    pub(super) fn bytes(&self) -> u64 {
        let spelling = size_of::<(CountedKey, Weak<Entry>)>();
        table_bytes(self.entries.capacity(), spelling)
    }
}

impl PathCache {
    /// The entry for what was found for a path: one that says the same of the same file by another spelling of
    /// its path, or a new one. So `//a`, `/./a` and `/%61` cost a place in the table each, and no more.
    pub(crate) fn share(&mut self, key: PathKey<'_>, found: Resolution) -> Rc<Entry> {
        let usual = match &found {
            Resolution::File { .. } => resolve::usual_spelling(key.path),
            _ => None,
        };
        let Some(usual) = usual else {
            return Rc::new(Entry::new(found));
        };
        let usual = PathKey::new(key.site, &usual);
        let by_usual = self.files.get(&usual, self.hash(usual));
        let other = self.spellings.get(usual);
        let known = by_usual.map(Rc::clone).into_iter().chain(other);
        let mut same = known.filter(|entry| entry.is_remembered() && entry.is_same(&found));
        let entry = same.next().unwrap_or_else(|| Rc::new(Entry::new(found)));
        if usual != key {
            self.spellings.insert(usual, &entry);
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::curve::tests::{entries, now};
    use crate::site::sites::SiteId;

    #[test]
    fn spellings_that_are_not_remembered_are_taken_out() {
        let now = now();
        let file = &entries(&now)[10];
        file.add_spelling();
        let mut spellings = Spellings::default();
        let path = |number: usize| format!("/{number}").into_bytes();
        for number in 0..1_000 {
            let lost = Rc::new(Entry::new(file.resolution.clone()));
            let entry = if number < 40 { file } else { &lost };
            spellings.insert(PathKey::new(SiteId::FIRST, &path(number)), entry);
        }
        let count = spellings.entries.len();
        assert!(
            (40..=SPELLING_COUNT_MIN.max(80)).contains(&count),
            "{count}"
        );
        let is_known = |number| {
            spellings
                .get(PathKey::new(SiteId::FIRST, &path(number)))
                .is_some()
        };
        assert!((0..40).all(is_known));
        assert!(!is_known(500));
    }
}
