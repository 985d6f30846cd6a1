//! What the loop knows of its memory: the parts of the budget are those of all that it owns.

use super::EventLoop;
use crate::disk::measure::Measured;
use crate::memory::Parts;
use crate::memory::plan::Kept;
use crate::server::disk_queue::Owner;
use crate::server::memory::{Holders, gather};
use crate::server::status::MemoryNumbers;
use crate::server::turns::Cause;
use crate::sys::allocator;
use crate::sys::memory::set_page_bytes_max;

/// The share of the budget that pages may take: one in so many.
const PAGE_SHARE: u64 = 4;
/// The share that may go to what is known of long files: one in so many.
const WINDOW_SHARE: u64 = 32;
/// Entries that give way in one turn: a fraction of a millisecond.
const GIVE_WAY_COUNT_MAX: usize = 256;

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

    /// What the kernel keeps for all that is held.
    fn kept(&self) -> Kept {
        Kept {
            connections: self.connections.count(),
            ..self.service.kept()
        }
    }

    /// Takes in how much memory there is.
    pub(super) fn measured(&mut self, measured: Option<Measured>) {
        let kept = self.kept();
        self.memory.take_in(measured, kept);
        if !allocator::set_reserve_aside() {
            self.memory.has_no_reserve();
        }
        let windows = self.memory.target() / WINDOW_SHARE;
        self.service.residency.set_bytes_max(windows);
        if self.memory.has_room(kept) {
            self.service.grow();
        }
    }

    /// Has the caches give way, in small steps, as long as more is used than may be. Without shortness it
    /// costs some ten nanoseconds.
    pub(super) fn keep_within_budget(&mut self) {
        let was_refused = self.memory.was_refused();
        if was_refused {
            let kept = self.kept();
            self.memory.refused(kept);
        }
        let mut count = 0;
        while self.memory.excess(self.kept()) > 0 && count < GIVE_WAY_COUNT_MAX {
            if !self.service.give_way() {
                break;
            }
            count += 1;
        }
        let is_done = count < GIVE_WAY_COUNT_MAX;
        self.memory.has_given_way(count, is_done);
        if count > 0 {
            self.turns.mark(Cause::GivingWay);
        }
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
        MemoryNumbers::take(&self.memory, self.parts(), self.kept())
    }
}
