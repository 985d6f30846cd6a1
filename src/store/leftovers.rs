//! What is left of requests and jobs once there are none.

use super::Store;

impl Store {
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
