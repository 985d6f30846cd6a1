//! Look-ups that are at the disk, and who waits for them.
//!
//! The first request for a path submits the job, later ones join it: a thousand clients that ask
//! for one cold file cost one open. But whoever asks after a change was told of does not join a
//! look-up from before it, which may not have seen it.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use foldhash::fast::RandomState;

use super::connections::ConnectionId;
use super::watch::directories::{Moment, Way};
use crate::cache::entry::Entry;
use crate::disk::JobId;

/// A look-up under way.
#[derive(Debug)]
pub(super) struct Pending {
    /// The raw path.
    pub raw_path: Box<[u8]>,
    /// The entry that is being checked, if there was one.
    pub entry: Option<Rc<Entry>>,
    /// Who waits, in the order of asking.
    pub waiters: VecDeque<ConnectionId>,
    /// When it was submitted.
    pub since: Since,
    /// The way to its directory, if that was watched already.
    pub way: Option<Rc<Way>>,
}

/// What held when a look-up was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since {
    /// Which events had been taken in.
    pub moment: Moment,
    /// The generation of entries.
    pub generation: u32,
    /// How many roots there had been.
    pub root: u32,
}

/// All look-ups under way.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    by_path: HashMap<Box<[u8]>, JobId, RandomState>,
    by_job: HashMap<JobId, Pending, RandomState>,
}

impl Fetches {
    /// Joins the look-up of a path, if one is under way and nothing has happened since.
    pub(super) fn join(
        &mut self,
        raw_path: &[u8],
        id: ConnectionId,
        since: Since,
    ) -> Option<JobId> {
        let job = *self.by_path.get(raw_path)?;
        let pending = self
            .by_job
            .get_mut(&job)
            .filter(|pending| pending.since == since)?;
        pending.waiters.push_back(id);
        Some(job)
    }

    /// Notes a look-up that was submitted.
    pub(super) fn begin(&mut self, job: JobId, pending: Pending) {
        self.by_path.insert(pending.raw_path.clone(), job);
        self.by_job.insert(job, pending);
    }

    /// Somebody no longer waits. Whoever has waited longest is found first.
    pub(super) fn leave(&mut self, job: JobId, id: ConnectionId) {
        if let Some(pending) = self.by_job.get_mut(&job)
            && let Some(at) = pending.waiters.iter().position(|waiter| *waiter == id)
        {
            pending.waiters.remove(at);
        }
    }

    /// Whether anybody waits for a look-up.
    pub(super) fn is_wanted(&self, job: JobId) -> bool {
        self.by_job
            .get(&job)
            .is_some_and(|pending| !pending.waiters.is_empty())
    }

    /// Takes a look-up out that is done, and whether it is the latest of its path.
    pub(super) fn finish(&mut self, job: JobId) -> Option<(Pending, bool)> {
        let pending = self.by_job.remove(&job)?;
        let is_latest = self.by_path.get(&pending.raw_path) == Some(&job);
        if is_latest {
            self.by_path.remove(&pending.raw_path);
        }
        Some((pending, is_latest))
    }

    /// Look-ups under way.
    pub(super) fn count(&self) -> usize {
        self.by_job.len()
    }
}
