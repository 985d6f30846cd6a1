//! What is counted of an entry: requests, bytes, and spellings of its path.

use std::cell::Cell;

use super::Entry;

/// Counters of one entry.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Spellings of its path that are remembered.
    spellings: Cell<u32>,
    requests: Cell<u32>,
    /// Bytes of content that were answered with.
    bytes: Cell<u64>,
}

impl Entry {
    /// Counts a request and gives how many there have been.
    pub fn count_request(&self) -> u32 {
        let requests = self.counts.requests.get().saturating_add(1);
        self.counts.requests.set(requests);
        requests
    }

    /// Requests so far.
    pub(crate) fn request_count(&self) -> u32 {
        self.counts.requests.get()
    }

    /// Counts bytes of content that were answered with, and gives how many there have been.
    pub(crate) fn count_bytes(&self, bytes: u64) -> u64 {
        let bytes = self.counts.bytes.get().saturating_add(bytes);
        self.counts.bytes.set(bytes);
        bytes
    }

    /// Bytes of content so far.
    pub(crate) fn byte_count(&self) -> u64 {
        self.counts.bytes.get()
    }

    /// Another spelling of its path is remembered.
    pub(in crate::cache) fn add_spelling(&self) {
        self.counts
            .spellings
            .set(self.counts.spellings.get().saturating_add(1));
    }

    /// A spelling is remembered no more. Gives whether that was the last one.
    pub(in crate::cache) fn drop_spelling(&self) -> bool {
        self.counts
            .spellings
            .set(self.counts.spellings.get().saturating_sub(1));
        self.counts.spellings.get() == 0
    }

    /// Whether some spelling of its path is remembered.
    pub(in crate::cache) fn is_remembered(&self) -> bool {
        self.counts.spellings.get() > 0
    }

    /// Has it count on from so many.
    pub(in crate::cache) fn take_bytes(&self, bytes: u64) {
        self.counts.bytes.set(bytes);
    }

    /// Takes over the counts of the entry that this one replaces.
    pub(crate) fn inherit_requests(&self, predecessor: &Entry) {
        self.counts.requests.set(predecessor.counts.requests.get());
        self.counts.bytes.set(predecessor.counts.bytes.get());
    }
}
