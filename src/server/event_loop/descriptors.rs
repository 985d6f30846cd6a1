//! Some descriptors are always free, for connections and for files that are looked up: files that are only kept are
//! closed for that, and no more jobs begin than descriptors are left for.

use super::EventLoop;
use crate::observe::iterations::Work;
use crate::observe::status::ShareNumbers;

/// Files closed for connections that could not be taken.
const FREED_FOR_CONNECTION: usize = 16;

impl EventLoop {
    /// Has files closed if there are fewer free descriptors than there should be, and as many jobs begin as there
    /// are descriptors for.
    pub(super) fn keep_descriptors_free(&mut self) {
        let connections = self.connections.count();
        let used = self.store.used_file_count();
        let excess = self.descriptors.excess(connections, used);
        if excess > 0 {
            self.store.shed_descriptors(excess);
            self.iterations.mark(Work::Evicting);
        }
        let open = self.store.open_file_count();
        let jobs = self.descriptors.job_count_max(connections, open);
        self.store.allow_jobs(jobs);
    }

    /// A connection waits, and there is no descriptor for it.
    pub(super) fn lack_descriptor(&mut self) {
        let freed = self.store.shed_descriptors(FREED_FOR_CONNECTION);
        let closing = self.store.open_file_count() - self.store.used_file_count();
        if freed > 0 || closing >= FREED_FOR_CONNECTION {
            self.acceptor.pause_for_closing(&self.now);
        } else {
            self.acceptor.pause(&self.now);
            self.make_room();
        }
    }

    /// The numbers for /status.
    pub(super) fn descriptor_numbers(&self) -> ShareNumbers {
        let (connections, files) = (self.connections.count(), self.store.open_file_count());
        self.descriptors.numbers(connections, files)
    }
}
