//! How many files the store has open, and closing some of them where descriptors are short.

use std::sync::Arc;

use super::Store;
use crate::sys::file::OpenFile;

impl Store {
    /// Files of the site that are not closed.
    pub(crate) fn open_file_count(&self) -> usize {
        self.freshness
            .served_root
            .root
            .deferred_drops()
            .open_count()
    }

    /// Those of them that are kept or in use: the others are about to be closed.
    pub(crate) fn used_file_count(&self) -> usize {
        self.freshness
            .served_root
            .root
            .deferred_drops()
            .used_count()
    }

    /// Closes up to `count` kept files that nobody uses, those that are worth least first. Gives how many.
    pub(crate) fn shed_descriptors(&mut self, count: usize) -> usize {
        let is_unused = |file: &Arc<OpenFile>| Arc::strong_count(file) == 1;
        self.contents.held.descriptors.shed(count, is_unused)
    }

    /// Lets no more jobs begin than so many, nor more than the engine takes.
    pub(crate) fn allow_jobs(&mut self, count: usize) {
        let count = count.min(self.engine.depth_max);
        self.jobs.allow(count);
    }

    /// Jobs in flight.
    pub(crate) fn jobs_in_flight(&self) -> usize {
        self.jobs.queue().depth()
    }
}
