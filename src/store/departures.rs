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
use crate::cache::path::PathRemoval;
use crate::clock::Now;
use crate::site::representation::Variants;
use crate::sys::file::FileVersion;

/// After so many looks without use, a minute, a file is closed: long enough to serve what is asked for now and then
/// from it, short enough for who waits to unmount what it is on.
const IDLE_SWEEP_COUNT: u8 = 4;
/// How often what nobody uses is looked for.
const IDLE_SWEEP: Duration = Duration::from_secs(15);

impl Store {
    /// Puts an entry into the path cache, and lets go of what the others held that went for it.
    pub(super) fn put(&mut self, key: PathKey<'_>, entry: &Rc<Entry>) {
        let mut gone = Vec::new();
        let mut note = |previous, departure| gone.push((previous, departure));
        self.paths.insert(key, Rc::clone(entry), &mut note);
        for (previous, departure) in gone {
            match departure {
                PathRemoval::Forgotten => self.forgotten(&previous),
                PathRemoval::Replaced => {
                    if entry.variants().is_none() {
                        self.note_past(key, &previous);
                    }
                    self.replaced(&previous, entry);
                }
            }
        }
    }

    /// Forgets a path: what it leads to is not known now.
    pub(super) fn drop_path(&mut self, key: PathKey<'_>) {
        if let Some(previous) = self.paths.remove(key) {
            self.note_past(key, &previous);
            self.forgotten(&previous);
        }
    }

    /// A path leads to no file for now. What is found there later may have the date of what was.
    fn note_past(&mut self, key: PathKey<'_>, entry: &Entry) {
        if let Some(variants) = entry.variants() {
            self.past.note(key, &variants.identity.as_predecessor());
        }
    }

    /// An entry is remembered no more. Whoever asks for its path again has its file opened again, so nobody will
    /// ask for its descriptor.
    pub(super) fn forgotten(&mut self, entry: &Rc<Entry>) {
        self.top.left(entry);
        for version in entry.variants().into_iter().flat_map(Variants::versions) {
            self.descriptors.release(&version);
        }
    }

    /// A path leads elsewhere now. Nobody will ask for the version that it led to.
    fn replaced(&mut self, previous: &Rc<Entry>, by: &Rc<Entry>) {
        self.top.left(previous);
        let news = by.variants();
        let Some(variants) = previous.variants() else {
            return;
        };
        for old in variants.all() {
            let version = old.version;
            let new = news.map(|news| news.in_coding(old.coding).version);
            if new == Some(version) {
                continue;
            }
            if let Some(new) = new {
                self.maps.succeed(&version, &new);
            }
            self.let_go(&version);
        }
    }

    /// Names were taken from files, or given to others: what holds them without being told of it is let go of
    /// before anybody asks, so that the blocks of a deleted file are free.
    pub(super) fn drop_renamed(&mut self) {
        for entry in self.watch.directories.take_renamed() {
            for version in entry.variants().into_iter().flat_map(Variants::versions) {
                self.descriptors.remove(&version);
            }
        }
    }

    /// Drops whatever holds a version that is no more.
    fn let_go(&mut self, version: &FileVersion) {
        self.maps.remove(version);
        self.watch.remove(version);
        self.descriptors.remove(version);
        self.residency.forget(version);
    }

    /// Closes and unmaps all files that nobody is being sent now, so that nothing keeps a file system mounted.
    pub(crate) fn drop_held(&mut self) {
        self.maps.clear();
        self.descriptors.clear();
        self.jobs.withdraw_mappings();
        self.watch.clear();
    }

    /// When the next look for what nobody uses is due.
    pub(crate) fn idle_timeout(&self, now: Instant) -> Option<Duration> {
        let is_any = self.descriptors.entry_count() + self.maps.entry_count() > 0;
        let at = self.served_root.idle_sweep_at.filter(|_| is_any)?;
        Some(at.saturating_duration_since(now))
    }

    /// Closes files that nobody has asked for in a while, and unmaps those of other file systems than the root's:
    /// that one cannot be unmounted anyway while it is served.
    pub(crate) fn drop_idle(&mut self, now: &Now) {
        let at = *self
            .served_root
            .idle_sweep_at
            .get_or_insert(now.monotonic + IDLE_SWEEP);
        if now.monotonic < at {
            return;
        }
        self.served_root.idle_sweep_at = Some(now.monotonic + IDLE_SWEEP);
        for version in self.descriptors.idle_for(IDLE_SWEEP_COUNT) {
            self.descriptors.release(&version);
        }
        let device = self.served_root.root.device();
        for version in self.maps.idle_for(IDLE_SWEEP_COUNT) {
            if version.device != device {
                self.maps.release(&version);
                self.watch.remove(&version);
            }
        }
    }

    /// Drops all of a root that is served no more.
    pub(super) fn drop_all(&mut self) {
        let mut past = std::mem::take(&mut self.past);
        for (key, entry) in self.paths.files() {
            let Some(variants) = entry.variants().filter(|_| past.has_room()) else {
                break;
            };
            past.note(key, &variants.identity.as_predecessor());
        }
        self.past = past;
        self.paths.clear();
        self.pages.clear();
        self.outdated.clear();
        self.top.all_left();
        self.maps.clear();
        self.descriptors.clear();
        self.jobs.withdraw_mappings();
        self.watch.clear();
    }
}
