//! The last events of watched directories, in order: a job's result is compared with those that came since it was
//! submitted.

use std::collections::VecDeque;

use crate::cache::dependents::DirectoryId;

/// Events that are remembered. Results of jobs that were submitted before the oldest are not trusted.
const RECENT_COUNT_MAX: usize = 4_096;

/// A place in the order of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventSequence(u64);

/// An event that was taken in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    /// The directory; or a file that is being mapped.
    pub(super) directory: DirectoryId,
    /// The hash of the name that it is about; `None`: the directory itself.
    pub(super) name: Option<u32>,
    /// Nothing comes after it: the watch was removed.
    pub(super) is_last: bool,
}

/// The last events.
#[derive(Debug, Default)]
pub(super) struct RecentEvents {
    events: VecDeque<Event>,
    /// Number of the next event.
    next: u64,
    /// The last loss of events.
    lost: EventSequence,
}

impl RecentEvents {
    /// Where the order of events stands now.
    pub(super) fn sequence(&self) -> EventSequence {
        EventSequence(self.next)
    }

    /// The sequence of the last loss of events.
    pub(super) fn lost(&self) -> EventSequence {
        self.lost
    }

    /// Remembers an event.
    pub(super) fn push(&mut self, event: Event) {
        self.next += 1;
        if self.events.len() == RECENT_COUNT_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Events were lost.
    pub(super) fn overflowed(&mut self) {
        self.events.clear();
        self.next += 1;
        self.lost = self.sequence();
    }

    /// The events since then; `None`: they are not all remembered.
    pub(super) fn since(&self, sequence: EventSequence) -> Option<impl Iterator<Item = &Event>> {
        let since = usize::try_from(self.next - sequence.0).unwrap_or(usize::MAX);
        let skipped = self.events.len().checked_sub(since)?;
        Some(self.events.range(skipped..))
    }

    /// Bytes that they take.
    pub(super) fn memory_bytes(&self) -> u64 {
        (self.events.capacity() * size_of::<Event>()) as u64
    }
}
