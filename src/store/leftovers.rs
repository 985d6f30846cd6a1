//! What the caches hold, and what is left of requests and jobs once there are none.

use super::Store;

/// How much the caches hold.
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
    /// How much the caches hold.
    pub(crate) fn held(&self) -> Held {
        Held {
            map_count: self.contents.held.maps.entry_count(),
            map_bytes: self.contents.held.maps.bytes(),
            descriptor_count: self.contents.held.descriptors.entry_count(),
            path_count: self.paths.cache.entry_count(),
        }
    }

    /// The parts in which something is left, each with how much.
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
