//! What a path leads to.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dependents::Ticket;
use crate::clock::Now;
use crate::http::status::Status;
use crate::site::representation::Variants;
use crate::site::resolve::Lookup;
use crate::sys::file::FileVersion;

/// What one path of a look-up led to when it was last looked at: a version, or nothing that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Relative to the root.
    pub path: std::ffi::CString,
    /// `None`: there was no regular file.
    pub version: Option<FileVersion>,
}

/// What was found for a path.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most entries are files, and a box would cost each hit a cache line; the others are an eighth at most"
)]
pub enum Resolution {
    /// A file, with what must still hold for it to be the right one.
    File {
        /// The file and its twins.
        variants: Variants,
        /// All paths that were looked at, in order: if each still leads to the same, so does the
        /// look-up.
        expectations: Arc<[Expectation]>,
    },
    /// A directory asked for without its slash; the path to send the client to.
    Moved(String),
    /// Nothing, or nothing that is served: 404 or 403.
    Refused(Status),
}

/// One entry of the path cache.
#[derive(Debug)]
pub struct Entry {
    /// What was found.
    pub resolution: Resolution,
    /// How it is looked for again.
    pub lookup: Lookup,
    expires: Cell<Instant>,
    generation: Cell<u32>,
    /// Its place among those that are told of changes.
    ticket: RefCell<Option<Ticket>>,
    requests: Cell<u32>,
    bytes: Cell<u64>,
    /// Whether it is in the list of those with most bytes.
    is_listed: Cell<bool>,
}

/// How long an entry is trusted.
#[derive(Clone, Copy, Debug)]
pub struct Trust {
    /// Without a look at the disk.
    pub lifetime: Duration,
    /// In no later generation than this, which is the one in which the disk was asked.
    pub generation: u32,
}

impl Trust {
    /// How long an entry is trusted whose directories are watched: a century.
    pub const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
}

impl Entry {
    /// An entry that nobody trusts yet.
    pub fn new(resolution: Resolution, lookup: Lookup, now: &Now) -> Entry {
        Entry {
            resolution,
            lookup,
            expires: Cell::new(now.monotonic),
            generation: Cell::new(0),
            ticket: RefCell::new(None),
            requests: Cell::new(0),
            bytes: Cell::new(0),
            is_listed: Cell::new(false),
        }
    }

    /// One that is trusted for `lifetime` in the first generation.
    #[cfg(test)]
    pub(super) fn trusted(
        resolution: Resolution,
        lookup: Lookup,
        now: &Now,
        lifetime: Duration,
    ) -> Entry {
        let entry = Entry::new(resolution, lookup, now);
        let generation = 0;
        let trust = Trust {
            lifetime,
            generation,
        };
        entry.trust(trust, None, now);
        entry
    }

    /// Whether it is too old to be trusted without a look at the disk.
    pub fn is_expired(&self, now: &Now, generation: u32) -> bool {
        self.expires.get() <= now.monotonic || self.generation.get() != generation
    }

    /// Whether the disk was asked in this generation.
    pub fn is_of(&self, generation: u32) -> bool {
        self.generation.get() == generation
    }

    /// Trusts the entry: the disk was asked. For less time while its entity tags are weak, so that
    /// they become strong when they may.
    pub fn trust(&self, trust: Trust, ticket: Option<Ticket>, now: &Now) {
        let settles_in_ms = match &self.resolution {
            Resolution::File { variants, .. } => variants.settles_in_ms(now),
            Resolution::Moved(_) | Resolution::Refused(_) => None,
        };
        let lifetime = match settles_in_ms {
            Some(ms) => trust.lifetime.min(Duration::from_millis(ms)),
            None => trust.lifetime,
        };
        self.expires.set(now.monotonic + lifetime);
        self.generation.set(trust.generation);
        self.ticket.replace(ticket);
    }

    /// Trusts the entry no longer: something that it depends on has changed.
    pub fn distrust(&self, now: &Now) {
        self.expires.set(now.monotonic);
    }

    /// Counts a request and gives how many there have been.
    pub fn count_request(&self) -> u32 {
        let requests = self.requests.get().saturating_add(1);
        self.requests.set(requests);
        requests
    }

    /// Requests so far.
    pub fn request_count(&self) -> u32 {
        self.requests.get()
    }

    /// Counts bytes of content that were answered with, and gives how many there have been.
    pub fn count_bytes(&self, bytes: u64) -> u64 {
        let bytes = self.bytes.get().saturating_add(bytes);
        self.bytes.set(bytes);
        bytes
    }

    /// Bytes of content so far.
    pub fn byte_count(&self) -> u64 {
        self.bytes.get()
    }

    /// Whether it is in the list of those with most bytes.
    pub(super) fn is_listed(&self) -> bool {
        self.is_listed.get()
    }

    /// It is from now on.
    pub(super) fn enlist(&self) {
        self.is_listed.set(true);
    }

    /// It is no longer.
    pub(super) fn strike(&self) {
        self.is_listed.set(false);
    }

    /// Has it count on from so many.
    pub(super) fn take_bytes(&self, bytes: u64) {
        self.bytes.set(bytes);
    }

    /// Takes over the counts of the entry that this one replaces.
    pub fn inherit_requests(&self, predecessor: &Entry) {
        self.requests.set(predecessor.requests.get());
        self.bytes.set(predecessor.bytes.get());
    }
}
