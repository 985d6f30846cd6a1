//! How many files the store has open, and closing some of them where descriptors are short.

use std::sync::Arc;

use super::Store;
use crate::sys::file::OpenFile;

impl Store {
    /// Files of the sites that are not closed, besides the roots.
    pub(crate) fn open_file_count(&self) -> usize {
        let roots = &self.freshness.roots;
        roots
            .deferred_drops()
            .open_count()
            .saturating_sub(roots.count())
    }

    /// Those of them that are kept or in use: the others are about to be closed.
    pub(crate) fn used_file_count(&self) -> usize {
        let roots = &self.freshness.roots;
        roots
            .deferred_drops()
            .used_count()
            .saturating_sub(roots.count())
    }

    /// Whether jobs or answers wait for descriptors.
    pub(crate) fn awaits_descriptors(&self) -> bool {
        self.reopening.is_waiting() || self.jobs.queue().lacks_descriptors()
    }

    /// Jobs in flight, and those that wait.
    pub(crate) fn job_count(&self) -> usize {
        let queue = self.jobs.queue();
        queue.depth() + queue.waiting_count()
    }

    /// Lets no more jobs that open files be in flight than so many.
    pub(crate) fn set_opening_max(&mut self, count: usize) {
        self.jobs.queue_mut().set_opening_max(count);
    }

    /// Closes up to `count` kept files that nobody uses, those that are worth least first. Gives how many.
    pub(crate) fn shed_descriptors(&mut self, count: usize) -> usize {
        let is_unused = |file: &Arc<OpenFile>| Arc::strong_count(file) == 1;
        self.contents.held.descriptors.shed(count, is_unused)
    }
}
