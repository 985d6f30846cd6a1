//! Counts the open files of the store, and closes some of them when descriptors are short.

use std::sync::Arc;

use super::Store;
use crate::sys::file::OpenFile;

impl Store {
    /// Number of open files of the sites, without the roots.
    pub(crate) fn open_file_count(&self) -> usize {
        let roots = &self.freshness.roots;
        roots
            .deferred_drops()
            .open_count()
            .saturating_sub(roots.count())
    }

    /// Number of open files that are cached or in use. The others are about to be closed.
    pub(crate) fn used_file_count(&self) -> usize {
        let roots = &self.freshness.roots;
        roots
            .deferred_drops()
            .used_count()
            .saturating_sub(roots.count())
    }

    /// Whether jobs or responses wait for descriptors.
    pub(crate) fn awaits_descriptors(&self) -> bool {
        self.reopening.is_waiting() || self.jobs.queue().lacks_descriptors()
    }

    /// Number of jobs in flight, and of queued jobs.
    pub(crate) fn job_count(&self) -> usize {
        let queue = self.jobs.queue();
        queue.depth() + queue.waiting_count()
    }

    /// Limits the number of jobs in flight that open files.
    pub(crate) fn set_opening_max(&mut self, count: usize) {
        self.jobs.queue_mut().set_opening_max(count);
    }

    /// Closes up to `count` cached files that are not in use, the least valuable first. Returns how many.
    pub(crate) fn shed_descriptors(&mut self, count: usize) -> usize {
        let is_unused = |file: &Arc<OpenFile>| Arc::strong_count(file) == 1;
        self.contents.held.descriptors.shed(count, is_unused)
    }
}
