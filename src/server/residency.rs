//! Which windows of open files are known to be in the page cache, and which are being brought there.
//!
//! `sendfile` waits for the disk whatever flags its file has, and the kernel does not tell an
//! unprivileged process what is resident (`mincore` and `cachestat` lie or refuse). So windows are
//! read once by a job before they are sent, and a window that was sent or read a moment ago is
//! taken to be there still: the kernel lets go of what was used longest ago.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use lru::LruCache;

use super::connections::ConnectionId;
use crate::disk::JobId;
use crate::sys::file::FileVersion;

/// Length of a window in bytes: what one job reads, and what one connection has ready to be sent.
pub(super) const WINDOW_LENGTH: u64 = 512 * 1024;
/// How long after its last use a page is taken to be resident.
pub(super) const TRUST: Duration = Duration::from_secs(5);
/// Windows remembered: 32 GiB of files, in about 5 MiB of memory.
const WINDOW_COUNT_MAX: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// One window of one version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Window {
    version: FileVersion,
    index: u64,
}

impl Window {
    /// The window that a byte of a file lies in.
    pub(super) fn at(version: FileVersion, offset: u64) -> Window {
        Window {
            version,
            index: offset / WINDOW_LENGTH,
        }
    }

    /// The bytes of the file that it covers.
    pub(super) fn bytes(&self) -> Range<u64> {
        let start = self.index * WINDOW_LENGTH;
        start..(start + WINDOW_LENGTH).min(self.version.length)
    }

    /// The window after it, if the file goes on.
    pub(super) fn next(&self) -> Option<Window> {
        let next = Window {
            index: self.index + 1,
            ..*self
        };
        (!next.bytes().is_empty()).then_some(next)
    }
}

/// A window that a job is reading.
#[derive(Debug)]
struct Pending {
    job: JobId,
    waiters: Vec<ConnectionId>,
}

/// What is known of windows.
#[derive(Debug)]
pub(super) struct Residency {
    used: LruCache<Window, Instant, RandomState>,
    pending: HashMap<Window, Pending, RandomState>,
    by_job: HashMap<JobId, Window, RandomState>,
}

impl Residency {
    /// Nothing is known.
    pub(super) fn new() -> Residency {
        let mut used = LruCache::unbounded_with_hasher(RandomState::default());
        used.resize(WINDOW_COUNT_MAX);
        Residency {
            used,
            pending: HashMap::default(),
            by_job: HashMap::default(),
        }
    }

    /// Whether a window may be sent now; if so it counts as used.
    pub(super) fn is_resident(&mut self, window: Window, now: Instant) -> bool {
        match self.used.get_mut(&window) {
            Some(used) if now.saturating_duration_since(*used) <= TRUST => {
                *used = now;
                true
            }
            _ => false,
        }
    }

    /// Whether a job reads the window; `waiter`, if any, is told when it is done.
    pub(super) fn join(&mut self, window: Window, waiter: Option<ConnectionId>) -> bool {
        let Some(pending) = self.pending.get_mut(&window) else {
            return false;
        };
        let new = waiter.filter(|id| !pending.waiters.contains(id));
        pending.waiters.extend(new);
        true
    }

    /// Notes a job that reads a window.
    pub(super) fn begin(&mut self, window: Window, job: JobId, waiter: Option<ConnectionId>) {
        let waiters = waiter.into_iter().collect();
        self.pending.insert(window, Pending { job, waiters });
        self.by_job.insert(job, window);
    }

    /// A job is done, well or not: a window that cannot be read says so when it is sent. Gives
    /// those who waited.
    pub(super) fn finish(&mut self, job: JobId, now: Instant) -> Vec<ConnectionId> {
        let Some(window) = self.by_job.remove(&job) else {
            return Vec::new();
        };
        self.used.put(window, now);
        match self.pending.remove(&window) {
            Some(pending) if pending.job == job => pending.waiters,
            _ => Vec::new(),
        }
    }
}
