//! Look-ups that are at the disk, and who waits for them.
//!
//! The first request for a path submits the job, later ones join it: a thousand clients that ask
//! for one cold file cost one open. A look-up from before a change may not have seen it: where it
//! turns out to rest on what has changed, those who came after the change look once more.

use std::rc::Rc;
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::cache::entry::Entry;
use crate::cache::key::{PathKey, PathKeyBuf};
use crate::conn::RequestId;
use crate::job::JobId;
use crate::site::sites::Site;
use crate::store::waiters::Waiters;
use crate::store::watch::directories::{EventSequence, WatchedPath};

/// What a look-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Somebody asked for what is not known, or has to be opened.
    Asked,
    /// An entry is compared with the disk, whether or not anybody waits for that.
    Check,
    /// Nobody has asked yet: the caches are being filled.
    Ahead,
}

/// A look-up under way.
#[derive(Debug)]
pub(crate) struct PendingLookup {
    /// The site that it is made for.
    pub site: Rc<Site>,
    /// The raw path.
    pub raw_path: Box<[u8]>,
    /// The entry that is being checked, if there was one.
    pub entry: Option<Rc<Entry>>,
    /// Who waits, and when each began to.
    pub waiters: Waiters<EventSequence>,
    /// What held when it was submitted.
    pub since: Epoch,
    /// The way to its directory, if that was watched already.
    pub watched_path: Option<Rc<WatchedPath>>,
    /// What it is for.
    pub purpose: Purpose,
    /// When it was submitted.
    pub begun: Instant,
}

impl PendingLookup {
    /// What it looks up.
    pub(crate) fn key(&self) -> PathKey<'_> {
        PathKey::new(self.site.id, &self.raw_path)
    }

    /// Whether it was submitted beneath the same root and in the same generation.
    pub(crate) fn is_as_of(&self, since: Epoch) -> bool {
        self.since.root == since.root && self.since.generation == since.generation
    }
}

/// What held when a look-up was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    /// Which events had been taken in.
    pub sequence: EventSequence,
    /// The generation of entries.
    pub generation: u32,
    /// How many roots there had been.
    pub root: u32,
}

/// All look-ups under way.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    by_path: HashMap<PathKeyBuf, JobId, RandomState>,
    by_job: HashMap<JobId, PendingLookup, RandomState>,
}

impl Lookups {
    /// Joins the look-up of a path, if one is under way beneath the same root and in the same
    /// generation.
    pub(crate) fn join(&mut self, key: PathKey<'_>, id: RequestId, since: Epoch) -> Option<JobId> {
        let job = *self.by_path.get(&key)?;
        let pending = self.by_job.get_mut(&job);
        let pending = pending.filter(|pending| pending.is_as_of(since))?;
        pending.waiters.join(id, since.sequence);
        Some(job)
    }

    /// Notes a look-up that was submitted.
    pub(crate) fn begin(&mut self, job: JobId, pending: PendingLookup) {
        self.by_path.insert(pending.key().to_buf(), job);
        self.by_job.insert(job, pending);
    }

    /// Somebody no longer waits.
    pub(crate) fn leave(&mut self, job: JobId, id: RequestId) {
        if let Some(pending) = self.by_job.get_mut(&job) {
            pending.waiters.leave(id);
        }
    }

    /// Whether a look-up is to be made: somebody waits for it, or an entry needs it to stay usable.
    pub(crate) fn is_wanted(&self, job: JobId) -> bool {
        self.by_job
            .get(&job)
            .is_some_and(|pending| pending.purpose == Purpose::Check || !pending.waiters.is_empty())
    }

    /// The latest look-up of a path.
    pub(crate) fn of_path(&self, key: PathKey<'_>) -> Option<&PendingLookup> {
        self.by_job.get(self.by_path.get(&key)?)
    }

    /// A look-up.
    pub(crate) fn find(&mut self, job: JobId) -> Option<&mut PendingLookup> {
        self.by_job.get_mut(&job)
    }

    /// Takes a look-up out that is done, and whether it is the latest of its path.
    pub(crate) fn finish(&mut self, job: JobId) -> Option<(PendingLookup, bool)> {
        let pending = self.by_job.remove(&job)?;
        let is_latest = self.by_path.get(&pending.key()) == Some(&job);
        if is_latest {
            self.by_path.remove(&pending.key());
        }
        Some((pending, is_latest))
    }

    /// Whether a path is being looked up.
    pub(crate) fn is_pending(&self, key: PathKey<'_>) -> bool {
        self.by_path.contains_key(&key)
    }

    /// Look-ups under way.
    pub(crate) fn count(&self) -> usize {
        self.by_job.len()
    }
}
