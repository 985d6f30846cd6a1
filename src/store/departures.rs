//! What goes with an entry of the path cache: descriptors that only its path leads to, and whatever holds
//! bytes of a version that has given way to another.
//!
//! A file that was replaced or deleted is let go of, so that its room goes to others and its blocks go back
//! to the file system.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Store;
use crate::cache::entry::Entry;
use crate::cache::key::PathKey;
use crate::clock::Now;
use crate::site::representation::Variants;
use crate::site::sites::SiteId;

impl Store {
    /// Caches the entry that a look-up found for a request, and releases the files of the entries that leave for it.
    pub(super) fn put(&mut self, key: PathKey<'_>, entry: &Rc<Entry>) {
        for (previous, why) in self.paths.put(key, entry) {
            for version in self.contents.held.departed(&previous, why, entry) {
                self.freshness.watch.remove(&version);
                self.residency.forget(&version);
            }
        }
    }

    /// Forgets a path: what it leads to is not known now.
    pub(super) fn drop_path(&mut self, key: PathKey<'_>) {
        if let Some(previous) = self.paths.remove(key) {
            self.contents.held.release_descriptors(&previous);
        }
    }

    /// Names were taken from files, or given to others: what holds them without being told of it is let go of
    /// before anybody asks, so that the blocks of a deleted file are free.
    pub(super) fn drop_renamed(&mut self) {
        for entry in self.freshness.watch.directories.take_renamed() {
            for version in entry.variants().into_iter().flat_map(Variants::versions) {
                self.contents.held.descriptors.remove(&version);
            }
        }
    }

    /// Closes and unmaps all files that nobody is being sent now, so that nothing keeps a file system mounted.
    pub(crate) fn drop_held(&mut self) {
        self.contents.held.clear();
        self.jobs.withdraw_mappings();
        self.freshness.watch.clear();
    }

    /// When the next look for what nobody uses is due.
    pub(crate) fn idle_timeout(&self, now: Instant) -> Option<Duration> {
        self.contents.idle_timeout(now)
    }

    /// Lets go of files that nobody has asked for in a while.
    pub(crate) fn drop_idle(&mut self, now: &Now) {
        let roots = &self.freshness.roots;
        for version in self.contents.drop_idle(|| roots.devices(), now.monotonic) {
            self.freshness.watch.remove(&version);
        }
    }

    /// Drops all that is known of a site: another root is served, or the site is removed. O(paths that are known).
    pub(super) fn drop_site(&mut self, site: SiteId) {
        if self.freshness.roots.is_single() {
            self.paths.clear();
            self.drop_held();
        } else {
            for entry in self.paths.clear_site(site) {
                self.contents.held.release_descriptors(&entry);
                for version in entry.variants().into_iter().flat_map(Variants::versions) {
                    self.contents.held.maps.remove(&version);
                    self.freshness.watch.remove(&version);
                    self.residency.forget(&version);
                }
            }
        }
        self.freshness.watch.directories.leave_root(site);
    }
}
