//! Watches on the inodes of mapped files.
//!
//! A watch is added by the job that maps a file, and removed by the bin. So an event may come before
//! the job is done, which is found among the last events as for look-ups; and the watch that a job
//! has added may be one that is being removed, because an inode has only one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use inotify::WatchDescriptor;

use crate::memory::table_bytes;
use crate::sys::file::FileVersion;
use crate::sys::watches::Watches;

/// Names a watch of this instance.
type WatchId = i32;

/// Watched files, by version.
#[derive(Debug)]
pub(super) struct Files {
    /// What jobs add watches through; `None` where the kernel gives no events.
    pub(super) watches: Option<Arc<Watches>>,
    versions: HashMap<WatchId, FileVersion, RandomState>,
    descriptors: HashMap<FileVersion, WatchDescriptor, RandomState>,
    /// Watches that are being removed, until the kernel has confirmed that.
    closing: HashSet<WatchId, RandomState>,
}

impl Files {
    pub(super) fn new(watches: Option<Arc<Watches>>) -> Files {
        Files {
            watches,
            versions: HashMap::default(),
            descriptors: HashMap::default(),
            closing: HashSet::default(),
        }
    }

    /// The version that a watch is for.
    pub(super) fn version_of(&self, watch: WatchId) -> Option<FileVersion> {
        self.versions.get(&watch).copied()
    }

    /// Whether a watch is being removed.
    pub(super) fn is_closing(&self, watch: WatchId) -> bool {
        self.closing.contains(&watch)
    }

    /// A version is watched from now on. Gives another of the same inode that was and is over.
    pub(super) fn keep(
        &mut self,
        version: FileVersion,
        watch: WatchDescriptor,
    ) -> Option<FileVersion> {
        let id = watch.get_watch_descriptor_id();
        self.descriptors.insert(version, watch);
        let previous = self.versions.insert(id, version);
        let previous = previous.filter(|other| *other != version)?;
        self.descriptors.remove(&previous);
        Some(previous)
    }

    /// Stops watching a version.
    pub(super) fn remove(&mut self, version: &FileVersion) {
        if let Some(watch) = self.descriptors.remove(version) {
            self.versions.remove(&watch.get_watch_descriptor_id());
            self.close(watch);
        }
    }

    /// Stops watching any version.
    pub(super) fn clear(&mut self) {
        self.versions.clear();
        for (_, watch) in std::mem::take(&mut self.descriptors) {
            self.close(watch);
        }
    }

    /// Has a watch removed that a job has added in vain, unless another needs it.
    pub(super) fn release(&mut self, watch: WatchDescriptor) {
        let id = watch.get_watch_descriptor_id();
        if !self.versions.contains_key(&id) && !self.closing.contains(&id) {
            self.close(watch);
        }
    }

    fn close(&mut self, watch: WatchDescriptor) {
        if let Some(watches) = &self.watches {
            self.closing.insert(watch.get_watch_descriptor_id());
            watches.remove(watch);
        }
    }

    /// The kernel has removed a watch.
    pub(super) fn removed(&mut self, watch: WatchId) {
        self.closing.remove(&watch);
        if let Some(version) = self.versions.remove(&watch) {
            self.descriptors.remove(&version);
        }
    }

    /// Events were lost, those of removals perhaps among them.
    pub(super) fn overflowed(&mut self) {
        self.closing.clear();
    }

    /// Bytes of its tables.
    pub(super) fn memory_bytes(&self) -> u64 {
        let version = size_of::<FileVersion>();
        table_bytes(self.versions.capacity(), version + size_of::<WatchId>())
            + table_bytes(
                self.descriptors.capacity(),
                version + size_of::<WatchDescriptor>(),
            )
            + table_bytes(self.closing.capacity(), size_of::<WatchId>())
    }

    /// Inodes watched now.
    pub(super) fn count(&self) -> usize {
        self.versions.len()
    }
}
