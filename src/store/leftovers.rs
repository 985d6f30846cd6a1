//! For tests: the sizes of the caches, and everything that is left when there are no requests and jobs.

use super::Store;

/// Sizes of the caches.
pub(crate) struct Held {
    /// Mapped files.
    pub map_count: usize,
    /// Their bytes.
    pub map_bytes: u64,
    /// Open files.
    pub descriptor_count: usize,
    /// Entries for paths.
    pub path_count: usize,
}

impl Store {
    /// Sizes of the caches.
    pub(crate) fn held(&self) -> Held {
        Held {
            map_count: self.contents.held.maps.entry_count(),
            map_bytes: self.contents.held.maps.bytes(),
            descriptor_count: self.contents.held.descriptors.entry_count(),
            path_count: self.paths.cache.entry_count(),
        }
    }

    /// The parts in which something is left, each with its count.
    pub(crate) fn leftovers(&self) -> Vec<(&'static str, usize)> {
        let queue = self.jobs.queue();
        let counts = [
            ("jobs", self.jobs.count()),
            ("jobs that others would join", self.jobs.index_count()),
            ("jobs in flight", queue.depth()),
            ("jobs in the queue", queue.waiting_count()),
            ("deliveries", usize::from(self.has_deliveries())),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}
