//! What the loop knows of its memory: the parts of the budget are those of all that it owns.

use std::io;

use super::EventLoop;
use crate::conn::Input;
use crate::memory::measured::Measured;
use crate::memory::plan::{Kept, connection_count_fitting};
use crate::memory::{Part, Parts};
use crate::observe::iterations::Work;
use crate::observe::status::MemoryNumbers;
use crate::server::memory::{Holders, MemoryControl, gather};
use crate::server::places::Oldest;
use crate::sys::allocator;
use crate::sys::memory::{copied_bytes, set_page_bytes_max};

/// The share of the budget that pages may take: one in so many.
const PAGE_SHARE: u64 = 4;
/// The share that may go to what is known of long files: one in so many.
const WINDOW_SHARE: u64 = 32;
/// Maximum number of entries evicted in one iteration: a fraction of a millisecond.
const GIVE_WAY_COUNT_MAX: usize = 256;

impl EventLoop {
    /// Bytes by part, without what belongs to the program.
    fn parts(&self) -> Parts {
        gather(&Holders {
            store: &self.store,
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
            ..self.store.kept()
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
        self.store.set_window_bytes_max(windows);
        let fitting = connection_count_fitting(self.memory.budget());
        self.acceptor.fit_to(fitting);
        if self.memory.has_room(kept) {
            self.store.grow();
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
            if !self.store.give_way() && !self.close_for_content() {
                break;
            }
            count += 1;
        }
        let buffer_bytes_max = self.memory.buffer_bytes_max();
        while self.connections.held_bytes() > buffer_bytes_max && count < GIVE_WAY_COUNT_MAX {
            if !self.close_oldest_holder() {
                break;
            }
            count += 1;
        }
        let is_done = count < GIVE_WAY_COUNT_MAX;
        self.memory.has_given_way(count, is_done);
        if count > 0 {
            self.iterations.mark(Work::Evicting);
        }
    }

    /// Closes the connection that holds buffers and has not got on for longest. Gives whether there was one.
    fn close_oldest_holder(&mut self) -> bool {
        let Oldest::Found(id) = self.connections.oldest_holder() else {
            return false;
        };
        if let Some(connected) = self.connections.find(id) {
            // Its answers end here, and are logged as far as they went.
            let cause = Input::Broken(io::ErrorKind::OutOfMemory);
            let connection = &mut connected.connection;
            self.driver.handle(connection, cause, &self.now);
        }
        self.connections.note_holder_given_up();
        self.close(id);
        true
    }

    /// The same where the caches have nothing more to give, if copies of files that are being sent take
    /// more than what connections may hold.
    fn close_for_content(&mut self) -> bool {
        let held = self.connections.held_bytes() + copied_bytes();
        held > self.memory.buffer_bytes_max() && self.close_oldest_holder()
    }

    /// Has limits and residence looked at, once in a while.
    pub(super) fn measure_memory(&mut self) {
        if let Some(job) = self.memory.measure(self.now.monotonic) {
            set_page_bytes_max(self.memory.budget() / PAGE_SHARE);
            self.store.submit_for_loop(job);
        }
    }

    /// The numbers for /status. O(connections).
    pub(super) fn memory_numbers(&self) -> MemoryNumbers {
        numbers(&self.memory, self.parts(), self.kept())
    }
}

/// Of the parts of the loop, which the control completes.
fn numbers(memory: &MemoryControl, parts: Parts, kept: Kept) -> MemoryNumbers {
    let parts = memory.complete(parts);
    let measured = memory.measured();
    MemoryNumbers {
        budget_bytes: memory.budget(),
        target_bytes: memory.target(),
        kernel_bytes: kept.bytes(),
        allocated_bytes: memory.used(),
        parts: Part::ALL.map(|part| (part.name(), parts.of(part))).into(),
        limit_bytes: measured.limit.bytes,
        limit_source: measured.limit.source.name(),
        resident_bytes: measured.resident.all,
        resident_own_bytes: measured.resident.own,
        unreturned_bytes: memory.slack().bytes(),
        given_back: memory.slack().count(),
        given_way: memory.given_way(),
        pressures: memory.pressures(),
        allocation_failures: allocator::failures(),
    }
}
