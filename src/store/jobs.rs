//! The registry of jobs: one record for each, from its submission until its result is processed.
//!
//! A record owns the purpose of its job, the requests that wait for it, and the consequence when the last of them
//! leaves. Later requests join a job by its subject: a thousand clients that request one cold file cost one open.
//!
//! ```text
//!              submit                 take
//!   (nothing) ────────► current ─────────────────► result is taken in, waiters are told
//!                          │                 ▲
//!                          │ superseded,     │
//!                          ▼ or given up     │ take
//!                      withdrawn ────────────┘ nobody joins it meanwhile; nothing is remembered of it
//! ```

mod purpose;
#[cfg(test)]
pub(super) mod tests;

use std::mem;
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::lookups::{Epoch, LookUp};
use super::queue::{JobQueue, Owner, QueueFull};
use super::residency::Window;
use super::waiters::Waiters;
use crate::cache::key::{PathKey, PathKeyBuf};
use crate::conn::RequestId;
use crate::job::{Done, Job, JobId};
use crate::memory::table_bytes;
use crate::site::sites::SiteId;
use crate::sys::allocator::block_length;
use crate::sys::file::FileVersion;
use purpose::IfLeft;
pub(super) use purpose::{Comparison, Mapping, Promise, Purpose, RootCheck, WindowRead};

/// Whether new requests join a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// They do.
    Current,
    /// Another job has replaced it, it was given up, or its subject is obsolete.
    Withdrawn,
}

/// A job that was submitted.
#[derive(Debug)]
pub(super) struct Record {
    pub purpose: Purpose,
    pub waiters: Waiters<Promise>,
    pub standing: Standing,
}

impl Record {
    /// What happens when its last waiting request leaves.
    fn is_wanted(&self) -> bool {
        !self.waiters.is_empty() || self.purpose.if_left() == IfLeft::Keep
    }
}

/// A waiting request, and what it gets.
pub(super) type Waiter = (RequestId, Promise);

/// A job to submit.
#[derive(Debug)]
pub(super) struct NewJob {
    pub job: Job,
    /// Its owner, for fair scheduling.
    pub owner: Owner,
    pub purpose: Purpose,
    /// The request that waits for it, if there is one.
    pub waiter: Option<Waiter>,
}

/// The current jobs, by subject.
#[derive(Debug, Default)]
struct Index {
    look_ups: HashMap<PathKeyBuf, JobId, RandomState>,
    comparisons: HashMap<PathKeyBuf, JobId, RandomState>,
    reads: HashMap<Window, JobId, RandomState>,
    mappings: HashMap<FileVersion, JobId, RandomState>,
    reopens: HashMap<FileVersion, JobId, RandomState>,
    root_checks: HashMap<SiteId, JobId, RandomState>,
}

impl Index {
    /// Makes this job the current one of its subject. Returns the previous one.
    fn insert(&mut self, purpose: &Purpose, job: JobId) -> Option<JobId> {
        match purpose {
            Purpose::LookUp(look_up) => self.look_ups.insert(look_up.key().to_buf(), job),
            Purpose::Compare(comparison) => self.comparisons.insert(comparison.key.clone(), job),
            Purpose::Read(read) => self.reads.insert(read.window, job),
            Purpose::Map(mapping) => self.mappings.insert(mapping.version, job),
            Purpose::Reopen(reopen) => self.reopens.insert(reopen.version, job),
            Purpose::FollowRoot(check) => self.root_checks.insert(check.site, job),
            _ => None,
        }
    }

    /// Removes the current job of a subject.
    fn remove(&mut self, purpose: &Purpose) {
        match purpose {
            Purpose::LookUp(look_up) => drop(self.look_ups.remove(&look_up.key())),
            Purpose::Compare(comparison) => drop(self.comparisons.remove(&comparison.key)),
            Purpose::Read(read) => drop(self.reads.remove(&read.window)),
            Purpose::Map(mapping) => drop(self.mappings.remove(&mapping.version)),
            Purpose::Reopen(reopen) => drop(self.reopens.remove(&reopen.version)),
            Purpose::FollowRoot(check) => drop(self.root_checks.remove(&check.site)),
            _ => {}
        }
    }

    fn memory_bytes(&self) -> u64 {
        table_bytes(self.look_ups.capacity(), size_of::<(PathKeyBuf, JobId)>())
            + table_bytes(
                self.comparisons.capacity(),
                size_of::<(PathKeyBuf, JobId)>(),
            )
            + table_bytes(self.reads.capacity(), size_of::<(Window, JobId)>())
            + table_bytes(self.mappings.capacity(), size_of::<(FileVersion, JobId)>())
            + table_bytes(self.reopens.capacity(), size_of::<(FileVersion, JobId)>())
            + table_bytes(self.root_checks.capacity(), size_of::<(SiteId, JobId)>())
    }
}

/// All jobs that were submitted and whose results were not processed yet.
#[derive(Debug)]
pub(super) struct Jobs {
    queue: JobQueue,
    records: HashMap<JobId, Record, RandomState>,
    index: Index,
    /// Results of jobs that were given up, until they are processed like all others.
    given_up: Vec<(JobId, Done)>,
    look_up_count: usize,
}

impl Jobs {
    /// An empty registry with this queue.
    pub(super) fn new(queue: JobQueue) -> Jobs {
        Jobs {
            queue,
            records: HashMap::default(),
            index: Index::default(),
            given_up: Vec::new(),
            look_up_count: 0,
        }
    }

    /// Submits a job.
    ///
    /// # Errors
    /// When the queue has no room for another job of this owner.
    pub(super) fn submit(&mut self, new: NewJob) -> Result<JobId, QueueFull> {
        let id = self.queue.submit(new.owner, new.job)?;
        // It may have replaced another one.
        self.withdraw_given_up();
        Ok(self.register(id, new.purpose, new.waiter))
    }

    /// Submits a job without a limit: a response that has begun needs it, or the server does.
    pub(super) fn submit_unbounded(&mut self, new: NewJob) -> JobId {
        let id = self.queue.submit_unbounded(new.owner, new.job);
        self.register(id, new.purpose, new.waiter)
    }

    /// Submits a job of the server for which no request waits.
    pub(super) fn submit_own(&mut self, job: Job, purpose: Purpose) -> JobId {
        self.submit_unbounded(NewJob {
            job,
            owner: Owner::Server,
            purpose,
            waiter: None,
        })
    }

    /// Registers a job that is submitted to the queue later.
    pub(super) fn hold(&mut self, id: JobId, purpose: Purpose, waiters: Waiters<Promise>) {
        self.register(id, purpose, None);
        if let Some(record) = self.records.get_mut(&id) {
            record.waiters = waiters;
        }
    }

    /// The job that reopens a version, if there is one.
    pub(super) fn reopen_of(&self, version: &FileVersion) -> Option<JobId> {
        self.index.reopens.get(version).copied()
    }

    fn register(&mut self, id: JobId, purpose: Purpose, waiter: Option<Waiter>) -> JobId {
        let earlier = self.index.insert(&purpose, id);
        if let Some(earlier) = earlier.and_then(|earlier| self.records.get_mut(&earlier)) {
            earlier.standing = Standing::Withdrawn;
        }
        self.look_up_count += usize::from(matches!(purpose, Purpose::LookUp(_)));
        let record = Record {
            purpose,
            waiters: waiter.map_or_else(Waiters::default, |(id, promise)| Waiters::of(id, promise)),
            standing: Standing::Current,
        };
        self.records.insert(id, record);
        id
    }

    /// Has no more requests join a job.
    fn withdraw(&mut self, job: JobId) {
        if let Some(record) = self.records.get_mut(&job)
            && record.standing == Standing::Current
        {
            record.standing = Standing::Withdrawn;
            self.index.remove(&record.purpose);
        }
    }

    /// A job that was given up answers no later request: the disk was not asked.
    fn withdraw_given_up(&mut self) {
        let begin = self.given_up.len();
        self.queue.take_given_up(&mut self.given_up);
        for index in begin..self.given_up.len() {
            self.withdraw(self.given_up[index].0);
        }
    }

    /// The next job for the engine, if the engine has room for one.
    pub(super) fn next(&mut self, now: Instant) -> Option<(JobId, Job)> {
        let records = &self.records;
        let is_wanted = |job| records.get(&job).is_some_and(Record::is_wanted);
        let next = self.queue.next(now, is_wanted);
        if self.queue.has_given_up() {
            self.withdraw_given_up();
        }
        next
    }

    /// Frees the slots of jobs that the engine has completed, and appends the results of jobs that were given up.
    pub(super) fn ended(&mut self, done: &mut Vec<(JobId, Done)>, now: Instant) {
        for (job, done) in &*done {
            self.queue.ended(*job, done, now);
        }
        done.append(&mut self.given_up);
    }

    /// Whether results of jobs that were given up are to be processed.
    pub(super) fn has_given_up(&self) -> bool {
        !self.given_up.is_empty()
    }

    /// Removes a completed job from the registry. `None`: it is a job of the engine itself.
    pub(super) fn take(&mut self, job: JobId) -> Option<Record> {
        let record = self.records.remove(&job)?;
        if record.standing == Standing::Current {
            self.index.remove(&record.purpose);
        }
        self.look_up_count -= usize::from(matches!(record.purpose, Purpose::LookUp(_)));
        Some(record)
    }

    /// Removes a request from a job.
    pub(super) fn leave(&mut self, job: JobId, id: RequestId) {
        if let Some(record) = self.records.get_mut(&job) {
            record.waiters.leave(id);
        }
    }

    /// Removes all requests from a job, which continues without them.
    pub(super) fn take_waiters(&mut self, job: JobId) -> Waiters<Promise> {
        let record = self.records.get_mut(&job);
        record.map_or_else(Waiters::default, |record| mem::take(&mut record.waiters))
    }

    /// The purpose of a job whose result was not processed yet.
    pub(super) fn purpose(&self, job: JobId) -> Option<&Purpose> {
        Some(&self.records.get(&job)?.purpose)
    }

    /// Joins the lookup of a path, if one is in flight for the same root and generation.
    pub(super) fn join_look_up(
        &mut self,
        key: PathKey<'_>,
        id: RequestId,
        since: Epoch,
    ) -> Option<JobId> {
        let job = *self.index.look_ups.get(&key)?;
        let record = self.records.get_mut(&job)?;
        match &record.purpose {
            Purpose::LookUp(look_up) if look_up.is_as_of(since) => {}
            _ => return None,
        }
        record.waiters.join(id, Promise::Result(since.sequence));
        Some(job)
    }

    /// The current lookup of a path.
    pub(super) fn look_up(&self, key: PathKey<'_>) -> Option<&LookUp> {
        match self.purpose(*self.index.look_ups.get(&key)?) {
            Some(Purpose::LookUp(look_up)) => Some(look_up),
            _ => None,
        }
    }

    /// Whether a lookup of a path is in flight.
    pub(super) fn is_looked_up(&self, key: PathKey<'_>) -> bool {
        self.index.look_ups.contains_key(&key)
    }

    /// The comparison of an entry for which requests wait.
    pub(super) fn comparison(&self, key: PathKey<'_>) -> Option<(JobId, &Comparison)> {
        let job = *self.index.comparisons.get(&key)?;
        match self.purpose(job)? {
            Purpose::Compare(comparison) => Some((job, comparison)),
            _ => None,
        }
    }

    /// Adds a request to a job.
    pub(super) fn join(&mut self, job: JobId, (id, promise): Waiter) {
        if let Some(record) = self.records.get_mut(&job) {
            record.waiters.join(id, promise);
        }
    }

    /// The job that reads a window, if there is one.
    pub(super) fn read_of(&self, window: Window) -> Option<JobId> {
        self.index.reads.get(&window).copied()
    }

    /// Windows that are being read.
    pub(super) fn read_count(&self) -> usize {
        self.index.reads.len()
    }

    /// Whether a version is being mapped.
    pub(super) fn is_mapped(&self, version: &FileVersion) -> bool {
        self.index.mappings.contains_key(version)
    }

    /// Withdraws all mappings in flight.
    pub(super) fn withdraw_mappings(&mut self) {
        for (_, job) in self.index.mappings.drain() {
            if let Some(record) = self.records.get_mut(&job) {
                record.standing = Standing::Withdrawn;
            }
        }
    }

    /// The check of the path of a root by this job, and whether a request waits for it.
    pub(super) fn root_check(&self, job: JobId) -> Option<(RootCheck, bool)> {
        let record = self.records.get(&job)?;
        match record.purpose {
            Purpose::FollowRoot(check) => Some((check, !record.waiters.is_empty())),
            _ => None,
        }
    }

    /// All jobs that check the path of a root.
    pub(super) fn root_checks(&self) -> impl Iterator<Item = (JobId, RootCheck, bool)> {
        self.index.root_checks.values().filter_map(|job| {
            let (check, is_awaited) = self.root_check(*job)?;
            Some((*job, check, is_awaited))
        })
    }

    /// Number of lookups in flight.
    pub(super) fn look_up_count(&self) -> usize {
        self.look_up_count
    }

    /// The queue in which jobs wait for the engine.
    pub(super) fn queue(&self) -> &JobQueue {
        &self.queue
    }

    /// The queue, to set its limits.
    pub(super) fn queue_mut(&mut self) -> &mut JobQueue {
        &mut self.queue
    }

    /// Memory of the jobs in the queue and at the engine, and of their records, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        let count = self.queue.waiting_count() + self.queue.depth();
        count as u64 * block_length(size_of::<Job>())
            + table_bytes(self.records.capacity(), size_of::<(JobId, Record)>())
            + self.index.memory_bytes()
    }
}
