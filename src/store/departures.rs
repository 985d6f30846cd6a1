//! Releases the files of entries that leave the path cache: descriptors that only their path needs, and everything
//! that holds bytes of a replaced version.
//!
//! A replaced or deleted file is released, so that its memory serves others and the file system gets its blocks back.

use std::rc::Rc;
use std::time::Instant;

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

    /// Removes the entry of a path.
    pub(super) fn drop_path(&mut self, key: PathKey<'_>) {
        if let Some(previous) = self.paths.remove(key) {
            self.contents.held.release_descriptors(&previous);
        }
    }

    /// Releases files whose names were removed or given to other files. Their descriptors get no event, and would keep
    /// the blocks of deleted files in use.
    pub(super) fn drop_renamed(&mut self) {
        for entry in self.freshness.watch.directories.take_renamed() {
            for version in entry.variants().into_iter().flat_map(Variants::versions) {
                self.contents.held.descriptors.remove(&version);
            }
        }
    }

    /// Closes and unmaps all files that are not being sent, so that they keep no file system mounted.
    pub(crate) fn drop_held(&mut self) {
        self.contents.held.clear();
        self.jobs.withdraw_mappings();
        self.freshness.watch.clear();
    }

    /// When the next sweep for unused files is due.
    pub(crate) fn idle_sweep_at(&self) -> Option<Instant> {
        let idle = self.contents.idle_sweep_at();
        let retired = self.freshness.roots.sweep_at();
        idle.into_iter().chain(retired).min()
    }

    /// Releases files that were not requested for a while.
    pub(crate) fn drop_idle(&mut self, now: &Now) {
        if self.freshness.roots.is_sweep_due(now.monotonic) {
            self.drop_retired();
        }
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
            self.drop_paths(&|one| one == site);
        }
        self.freshness.watch.directories.leave(&|one| one == site);
    }

    /// Drops all that is known of the paths of some sites.
    fn drop_paths(&mut self, is_meant: &dyn Fn(SiteId) -> bool) {
        for entry in self.paths.clear_sites(is_meant) {
            self.contents.held.release_descriptors(&entry);
            for version in entry.variants().into_iter().flat_map(Variants::versions) {
                self.contents.held.maps.remove(&version);
                self.freshness.watch.remove(&version);
                self.residency.forget(&version);
            }
        }
    }

    /// Drops the roots of removed sites that no request uses, and all that is known of their paths.
    fn drop_retired(&mut self) {
        let removed = self.freshness.roots.remove_unused();
        if !removed.is_empty() {
            let is_meant = |site| removed.contains(&site);
            self.drop_paths(&is_meant);
            self.freshness.watch.directories.leave(&is_meant);
        }
    }
}
