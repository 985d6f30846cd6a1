//! Look-ups that are at the disk, and who waits for them.
//!
//! The first request for a path submits the job, later ones join it: a thousand clients that ask
//! for one cold file cost one open.

use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::RandomState;

use super::connections::ConnectionId;
use crate::cache::entry::Entry;
use crate::disk::JobId;

/// A look-up under way.
#[derive(Debug)]
pub(super) struct Pending {
    /// The raw path.
    pub raw_path: Box<[u8]>,
    /// The entry that is being checked, if there was one.
    pub entry: Option<Rc<Entry>>,
    /// Who waits, in the order of asking. Some may have left.
    pub waiters: Vec<ConnectionId>,
}

/// All look-ups under way.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    by_path: HashMap<Box<[u8]>, JobId, RandomState>,
    by_job: HashMap<JobId, Pending, RandomState>,
    next: u64,
}

impl Fetches {
    /// A name for a new job.
    pub(super) fn name_job(&mut self) -> JobId {
        self.next += 1;
        JobId(self.next)
    }

    /// Joins the look-up of a path, if one is under way.
    pub(super) fn join(&mut self, raw_path: &[u8], id: ConnectionId) -> bool {
        let pending = self
            .by_path
            .get(raw_path)
            .and_then(|job| self.by_job.get_mut(job));
        match pending {
            Some(pending) => {
                pending.waiters.push(id);
                true
            }
            None => false,
        }
    }

    /// Notes a look-up that was submitted.
    pub(super) fn begin(&mut self, job: JobId, pending: Pending) {
        self.by_path.insert(pending.raw_path.clone(), job);
        self.by_job.insert(job, pending);
    }

    /// Takes a look-up out that is done.
    pub(super) fn finish(&mut self, job: JobId) -> Option<Pending> {
        let pending = self.by_job.remove(&job)?;
        self.by_path.remove(&pending.raw_path);
        Some(pending)
    }

    /// Look-ups under way.
    pub(super) fn count(&self) -> usize {
        self.by_job.len()
    }
}
