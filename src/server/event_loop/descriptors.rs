//! Some descriptors are always free, for connections and for files that are looked up: files that are only kept are
//! closed for that, then those of answers whose peers take nothing, which are opened again when these go on. No more
//! jobs that open files begin than descriptors are left for.

use std::time::Duration;

use super::EventLoop;
use crate::observe::iterations::Work;
use crate::observe::status::DescriptorNumbers;
use crate::server::descriptors::Descriptors;
use crate::server::stalled::Stalled;

/// How long a peer has taken nothing before its answer gives its file up for connections and look-ups.
const STALL_MIN: Duration = Duration::from_millis(20);
/// The same for another answer that goes on.
const LONG_STALL_MIN: Duration = Duration::from_secs(5);
/// How long an answer that goes on waits for its file before any answer that its peer makes wait gives up its own:
/// where more answers get on than there are descriptors they take turns, and each has its file for a while.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// Files closed for connections that could not be taken.
const FREED_FOR_CONNECTION: usize = 16;
/// When descriptors are looked at again while somebody waits for one: nothing tells of a file that was closed.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How descriptors are shared out, and what is done where they are short.
#[derive(Debug)]
pub(super) struct DescriptorControl {
    plan: Descriptors,
    stalled: Stalled,
}

impl DescriptorControl {
    /// With nobody who waits.
    pub(super) fn new(plan: Descriptors) -> DescriptorControl {
        DescriptorControl {
            plan,
            stalled: Stalled::default(),
        }
    }

    /// Whether another connection may be taken.
    pub(super) fn has_room(&self, connections: usize, files: usize, jobs: usize) -> bool {
        self.plan.has_room(connections, files, jobs)
    }
}

impl EventLoop {
    /// Has files closed if there are fewer free descriptors than there should be, files opened again that answers
    /// wait for, and as many jobs begin that open files as there are descriptors for.
    pub(super) fn keep_descriptors_free(&mut self) {
        let connections = self.connections.count();
        let plan = self.descriptors.plan;
        let excess = plan.excess(connections, self.store.used_file_count());
        if excess > 0 {
            self.free_descriptors(excess, STALL_MIN);
            self.iterations.mark(Work::Evicting);
        }
        if self.store.reopening().is_waiting() {
            self.reopen_files();
        }
        let jobs = plan.opening_count_max(connections, self.store.open_file_count());
        self.store.set_opening_max(jobs);
    }

    /// Has files opened again as far as there are descriptors beside the reserve. Where there are not, other answers
    /// give theirs up: at once those whose peers have long taken nothing, after a while any.
    #[cold]
    fn reopen_files(&mut self) {
        let connections = self.connections.count();
        let plan = self.descriptors.plan;
        let promised = self.store.reopening().in_flight();
        let reopening = self.store.reopening();
        let before = self.now.monotonic.checked_sub(WAIT_MAX);
        let overdue = before.map_or(0, |before| reopening.waiting_count_since(before));
        for (wanted, stall) in [
            (reopening.waiting_count(), LONG_STALL_MIN),
            (overdue, Duration::ZERO),
        ] {
            let left = plan.surplus(connections, self.store.used_file_count() + promised);
            if left < wanted {
                self.free_descriptors(wanted - left, stall);
            }
        }
        let left = plan.surplus(connections, self.store.open_file_count() + promised);
        self.store.begin_reopening(left, &self.now);
        self.iterations.mark(Work::Evicting);
    }

    /// Has up to `count` files closed that are kept, then those of answers whose peers have taken nothing for
    /// `stall`. Gives how many.
    #[cold]
    fn free_descriptors(&mut self, count: usize, stall: Duration) -> usize {
        let before = self.store.used_file_count();
        let freed = |it: &EventLoop| before.saturating_sub(it.store.used_file_count());
        self.store.shed_descriptors(count);
        let now = self.now.monotonic;
        while let Some(before) = now.checked_sub(stall)
            && freed(self) < count
        {
            let EventLoop {
                descriptors,
                connections,
                store,
                ..
            } = self;
            let Some(id) = descriptors.stalled.next(connections, before, now) else {
                break;
            };
            if let Some(connected) = connections.find(id) {
                store.parked(&connected.connection.park());
            }
        }
        freed(self)
    }

    /// A connection waits, and there is no descriptor for it.
    pub(super) fn lack_descriptor(&mut self) {
        let freed = self.free_descriptors(FREED_FOR_CONNECTION, STALL_MIN);
        let (open, used) = (self.store.open_file_count(), self.store.used_file_count());
        if freed > 0 || open.saturating_sub(used) >= FREED_FOR_CONNECTION {
            self.acceptor.pause_for_closing(&self.now);
        } else {
            self.acceptor.pause(&self.now);
            self.make_room();
        }
    }

    /// The numbers for /status. O(connections).
    pub(super) fn descriptor_numbers(&self) -> DescriptorNumbers {
        let (connections, files) = (self.connections.count(), self.store.open_file_count());
        DescriptorNumbers {
            shares: self.descriptors.plan.numbers(connections, files),
            parked: self.connections.parked_count(),
            reopening: self.store.reopening().numbers(),
        }
    }
}
