//! Everything that is cached by path: entries, past dates, directory pages, outdated variants, top lists.

use std::num::NonZeroUsize;
use std::rc::Rc;

use super::caches;
use super::listings::Pages;
use super::outdated::Outdated;
use crate::cache::entry::Entry;
use crate::cache::key::PathKey;
use crate::cache::past::PastDates;
use crate::cache::path::{PathCache, PathRemoval};
use crate::cache::top::Top;
use crate::settings::CacheBudget;
use crate::site::sites::SiteId;

/// The data of all paths.
#[derive(Debug)]
pub(super) struct Paths {
    /// The path cache.
    pub(super) cache: PathCache,
    /// Dates of files that paths had before, for paths without a file.
    pub(super) past: PastDates,
    /// Directory pages.
    pub(super) pages: Pages,
    /// Precompressed variants that are older than their files.
    pub(super) outdated: Outdated,
    /// The files with the most bytes and the most waiting requests.
    pub(super) top: Top,
}

impl Paths {
    /// Empty caches.
    pub(super) fn new(cache: &CacheBudget) -> Paths {
        let count_max = NonZeroUsize::new(cache.path_count_max);
        Paths {
            cache: PathCache::new(count_max.unwrap_or(NonZeroUsize::MIN)),
            past: PastDates::default(),
            pages: Pages::default(),
            outdated: Outdated::default(),
            top: Top::default(),
        }
    }

    /// Caches the entry that a look-up found for a request. Returns the replaced and evicted entries.
    pub(super) fn put(
        &mut self,
        key: PathKey<'_>,
        entry: &Rc<Entry>,
    ) -> Vec<(Rc<Entry>, PathRemoval)> {
        let mut gone = Vec::new();
        let mut note = |previous, why| gone.push((previous, why));
        caches::remember(&mut self.cache, key, entry, &mut note);
        for (previous, why) in &gone {
            self.top.left(previous);
            if *why == PathRemoval::Replaced && entry.variants().is_none() {
                self.note_past(key, previous);
            }
        }
        gone
    }

    /// Removes a path. Returns its entry if no other spelling of the path is cached.
    pub(super) fn remove(&mut self, key: PathKey<'_>) -> Option<Rc<Entry>> {
        let previous = self.cache.remove(key)?;
        self.note_past(key, &previous);
        self.top.left(&previous);
        Some(previous)
    }

    /// Evicts the least valuable entry. Returns whether there was one, and the entry if no other spelling of its path
    /// is cached.
    pub(super) fn give_way(&mut self) -> (bool, Option<Rc<Entry>>) {
        let mut gone = None;
        let is_one = self.cache.give_way(&mut |entry, _| gone = Some(entry));
        if let Some(entry) = &gone {
            self.top.left(entry);
        }
        (is_one, gone)
    }

    /// Notes the date of a path that has no file now: its next file may have the same date.
    fn note_past(&mut self, key: PathKey<'_>, entry: &Entry) {
        if let Some(variants) = entry.variants() {
            self.past.note(key, &variants.identity.as_predecessor());
        }
    }

    /// Forgets all but the dates of some sites. Gives the entries of their paths.
    pub(super) fn clear_sites(&mut self, is_meant: &dyn Fn(SiteId) -> bool) -> Vec<Rc<Entry>> {
        let own = self.cache.keys_of(is_meant);
        let gone = own.iter().filter_map(|key| self.remove(key.as_key()));
        let gone = gone.collect();
        self.pages.clear_sites(is_meant);
        self.outdated.clear_sites(is_meant);
        gone
    }

    /// Forgets all but the dates: another directory is served.
    pub(super) fn clear(&mut self) {
        let Paths { cache, past, .. } = self;
        for (key, entry) in cache.files() {
            let Some(variants) = entry.variants().filter(|_| past.has_room()) else {
                break;
            };
            past.note(key, &variants.identity.as_predecessor());
        }
        self.cache.clear();
        self.pages.clear();
        self.outdated.clear();
        self.top.all_left();
    }
}

#[cfg(test)]
mod tests;
