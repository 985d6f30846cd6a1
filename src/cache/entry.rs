//! What a path leads to.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    requests: Cell<u32>,
}

impl Entry {
    /// An entry that was true at `now` and is trusted for `lifetime`; shorter while its entity
    /// tags are weak, so that they become strong when they may.
    pub fn new(resolution: Resolution, lookup: Lookup, now: &Now, lifetime: Duration) -> Entry {
        let settles_in_ms = match &resolution {
            Resolution::File { variants, .. } => variants.settles_in_ms(now),
            Resolution::Moved(_) | Resolution::Refused(_) => None,
        };
        let lifetime = match settles_in_ms {
            Some(ms) => lifetime.min(Duration::from_millis(ms)),
            None => lifetime,
        };
        let expires = Cell::new(now.monotonic + lifetime);
        Entry {
            resolution,
            lookup,
            expires,
            requests: Cell::new(0),
        }
    }

    /// Whether it is too old to be trusted without a look at the disk.
    pub fn is_expired(&self, now: &Now) -> bool {
        self.expires.get() <= now.monotonic
    }

    /// Trusts the entry for another `lifetime`: the disk was asked and nothing had changed.
    pub fn renew(&self, now: &Now, lifetime: Duration) {
        self.expires.set(now.monotonic + lifetime);
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

    /// Takes over the count of the entry that this one replaces.
    pub fn inherit_requests(&self, predecessor: &Entry) {
        self.requests.set(predecessor.requests.get());
    }
}
