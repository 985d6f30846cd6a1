//! What is let go of, until somebody who may wait does it.
//!
//! `close(2)` flushes on network file systems, `munmap(2)` may be the last user of a file, and
//! `inotify_rm_watch(2)` waits for whoever is adding a watch. So an open file or a mapping that is
//! dropped goes into a bin, as does a watch that is no longer needed, and an engine empties the bin.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crossbeam_queue::SegQueue;
use inotify::WatchDescriptor;
use memmap2::MmapRaw;

use super::mapping::change_address_space;

/// What was dropped.
#[derive(Debug)]
pub enum Discarded {
    /// A descriptor to close.
    Descriptor(OwnedFd),
    /// A mapping to unmap.
    Mapping(Unmapping),
    /// A watch to remove.
    Watch(Unwatching),
}

/// A mapping that nobody uses any more; `munmap(2)` when it is dropped.
#[derive(Debug)]
pub struct Unmapping(Option<MmapRaw>);

impl Unmapping {
    pub(super) fn of(mapping: MmapRaw) -> Unmapping {
        Unmapping(Some(mapping))
    }
}

impl Drop for Unmapping {
    fn drop(&mut self) {
        let _changing = change_address_space();
        drop(self.0.take());
    }
}

/// A watch that nobody needs any more.
#[derive(Debug)]
pub struct Unwatching {
    pub(super) watches: inotify::Watches,
    pub(super) watch: WatchDescriptor,
}

impl Drop for Unwatching {
    fn drop(&mut self) {
        // EINVAL when the inode is gone and the kernel has removed the watch itself.
        let _ = self.watches.remove(self.watch.clone());
    }
}

/// A bin; clones are the same bin. Putting in takes no lock and never waits.
#[derive(Clone, Debug, Default)]
pub struct DeferredDrops(Arc<SegQueue<Discarded>>);

impl DeferredDrops {
    /// Puts something in.
    pub(super) fn put(&self, discarded: Discarded) {
        self.0.push(discarded);
    }

    /// Takes what has been in it for longest out; whoever has it waits for it.
    pub fn take(&self) -> Option<Discarded> {
        self.0.pop()
    }

    /// How much is in it.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}
