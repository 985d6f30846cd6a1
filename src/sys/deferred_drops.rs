//! Files, mappings and watches to be closed later, by a thread that may wait.
//!
//! `close(2)` flushes on network file systems, `munmap(2)` may be the last user of a file, and
//! `inotify_rm_watch(2)` waits for whoever is adding a watch. So an open file or a mapping that is
//! dropped goes into a bin, as does a watch that is no longer needed, and an engine empties the bin.
//!
//! Descriptors of files are counted until they are closed, so that it is known how many the process has left.

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::SegQueue;
use inotify::WatchDescriptor;
use memmap2::MmapRaw;

use super::mapping::change_address_space;

/// A dropped resource.
#[derive(Debug)]
pub enum Discarded {
    /// A descriptor to close.
    Descriptor(Descriptor),
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

#[cfg(test)]
impl Unwatching {
    /// The number of the watch.
    pub(crate) fn number(&self) -> i32 {
        self.watch.get_watch_descriptor_id()
    }
}

impl Drop for Unwatching {
    fn drop(&mut self) {
        // EINVAL when the inode is gone and the kernel has removed the watch itself.
        let _ = self.watches.remove(self.watch.clone());
    }
}

/// How many descriptors of files there are.
#[derive(Debug, Default)]
struct Counts {
    /// Those that are not closed.
    open: AtomicUsize,
    /// Those of them that are in use: the others are on their way to be closed.
    used: AtomicUsize,
}

/// The part of one descriptor in the counts; counted out when it is dropped.
#[derive(Debug)]
struct Counted {
    counts: Arc<Counts>,
    is_used: bool,
}

impl Counted {
    fn new(counts: &Arc<Counts>) -> Counted {
        counts.open.fetch_add(1, Ordering::Relaxed);
        counts.used.fetch_add(1, Ordering::Relaxed);
        Counted {
            counts: Arc::clone(counts),
            is_used: true,
        }
    }

    fn discard(&mut self) {
        if self.is_used {
            self.is_used = false;
            self.counts.used.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.discard();
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A descriptor that is counted until it is closed. Dropping it closes it, which may wait for the disk.
#[derive(Debug)]
pub struct Descriptor {
    // Dropped in this order: what is counted out is closed.
    descriptor: OwnedFd,
    counted: Counted,
}

impl Descriptor {
    /// One that is no file of the site, to be closed by an engine.
    pub(crate) fn apart(descriptor: OwnedFd) -> Descriptor {
        Descriptor {
            descriptor,
            counted: Counted::new(&Arc::default()),
        }
    }

    /// Notes that the kernel has closed it.
    pub(super) fn closed(self) {
        let _ = self.descriptor.into_raw_fd();
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// A bin; clones are the same bin. Putting in takes no lock and never waits.
#[derive(Clone, Debug, Default)]
pub struct DeferredDrops {
    queue: Arc<SegQueue<Discarded>>,
    counts: Arc<Counts>,
}

impl DeferredDrops {
    /// Counts a descriptor that is put in here some day.
    pub(super) fn count_in(&self, descriptor: OwnedFd) -> Descriptor {
        Descriptor {
            descriptor,
            counted: Counted::new(&self.counts),
        }
    }

    /// Puts something in.
    pub(super) fn put(&self, mut discarded: Discarded) {
        if let Discarded::Descriptor(descriptor) = &mut discarded {
            descriptor.counted.discard();
        }
        self.queue.push(discarded);
    }

    /// Removes the oldest; the caller may wait when it drops that.
    pub fn take(&self) -> Option<Discarded> {
        self.queue.pop()
    }

    /// How much is in it.
    pub fn count(&self) -> usize {
        self.queue.len()
    }

    /// Files that were opened and are not closed, those in the bin and those that are being closed included.
    pub(crate) fn open_count(&self) -> usize {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// Those of them that are in use.
    pub(crate) fn used_count(&self) -> usize {
        self.counts.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_counts_until_it_is_closed() {
        let bin = DeferredDrops::default();
        let open = || OwnedFd::from(std::fs::File::open("/dev/null").expect("there is one"));
        let (one, other) = (bin.count_in(open()), bin.count_in(open()));
        assert_eq!((bin.open_count(), bin.used_count()), (2, 2));
        bin.put(Discarded::Descriptor(one));
        assert_eq!((bin.open_count(), bin.used_count()), (2, 1));
        let taken = bin.take();
        assert_eq!((bin.open_count(), bin.used_count()), (2, 1));
        drop(taken);
        assert_eq!((bin.open_count(), bin.used_count()), (1, 1));
        drop(other);
        assert_eq!((bin.open_count(), bin.used_count()), (0, 0));
    }
}
