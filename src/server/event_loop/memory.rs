//! What the loop knows of its memory: the parts of the budget are those of all that it owns.

use super::EventLoop;
use crate::memory::Parts;
use crate::server::disk_queue::Owner;
use crate::server::memory::{Holders, gather};
use crate::server::status::MemoryNumbers;
use crate::sys::memory::set_page_bytes_max;

/// The share of the budget that pages may take: one in so many.
const PAGE_SHARE: u64 = 4;

impl EventLoop {
    /// Bytes by part, without what belongs to the program.
    fn parts(&self) -> Parts {
        gather(&Holders {
            service: &self.service,
            driver: &self.driver,
            connections: &self.connections,
            deadlines: &self.deadlines,
            log: &self.log,
        })
    }

    /// What is allocated by now belongs to the program.
    pub(super) fn begin_accounting(&mut self) {
        let parts = self.parts();
        self.memory.begin(&parts);
    }

    /// Has limits and residence looked at, once in a while.
    pub(super) fn measure_memory(&mut self) {
        let now = self.now.monotonic;
        if let Some(job) = self.memory.measure(now) {
            set_page_bytes_max(self.memory.budget() / PAGE_SHARE);
            self.service.disk.insist(Owner::Server, job, now);
        }
    }

    /// The numbers for /status. O(connections).
    pub(super) fn memory_numbers(&self) -> MemoryNumbers {
        MemoryNumbers::take(&self.memory, self.parts())
    }
}
