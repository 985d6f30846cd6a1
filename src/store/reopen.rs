//! Files that are reopened for responses that continue.
//!
//! When descriptors are short, a response whose peer accepts nothing gives up its file. It keeps the path and version
//! of the file, and its own offset. When the peer accepts bytes again, a job reopens the file as soon as a descriptor
//! is free. The response continues only with the same version.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::jobs::{Promise, Purpose};
use super::waiters::Waiters;
use super::{Ready, RequestOwner, Store};
use crate::cache::stats::EvictionCause;
use crate::clock::Now;
use crate::conn::outbox::FileSegment;
use crate::job::{Job, JobError, JobId, OneShot};
use crate::store::queue::Owner;
use crate::store::request::SendState;
use crate::sys::file::{FileVersion, OpenFile};
use crate::sys::file_place::FilePlace;

/// Pause before the next attempt if the kernel still had no descriptor or memory: other processes may use them.
const PAUSE: Duration = Duration::from_millis(20);

/// A file to reopen, once for all responses that wait for it.
#[derive(Debug)]
pub(super) struct Reopen {
    pub version: FileVersion,
    place: Arc<FilePlace>,
    owner: Owner,
}

/// Files to reopen.
#[derive(Debug, Default)]
pub(crate) struct Reopening {
    /// Jobs that wait for a descriptor, with the start of their wait, the oldest first.
    held: VecDeque<(Instant, JobId)>,
    /// Jobs in flight.
    in_flight: usize,
    paused_until: Option<Instant>,
    numbers: ReopenNumbers,
}

/// Statistics since the start.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct ReopenNumbers {
    /// Number of times that a response gave up its files.
    pub parked_total: u64,
    /// Reopened files.
    pub reopened: u64,
    /// Responses that ended early because their file no longer had the same version.
    pub broken_off: u64,
}

impl Reopening {
    /// The statistics.
    pub(crate) fn numbers(&self) -> ReopenNumbers {
        self.numbers
    }

    /// Whether files wait for descriptors.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.held.is_empty()
    }

    /// Number of files that wait for descriptors.
    pub(crate) fn waiting_count(&self) -> usize {
        self.held.len()
    }

    /// Number of files that have waited since `before`.
    pub(crate) fn waiting_count_since(&self, before: Instant) -> usize {
        self.held.partition_point(|(since, _)| *since <= before)
    }

    /// Number of files that are being reopened.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }
}

impl Store {
    /// Has the file of a response reopened; the request is informed. If the file is cached, that happens at once.
    #[cold]
    pub(super) fn reopen(
        &mut self,
        segment: &FileSegment,
        sending: &mut SendState,
        owner: RequestOwner,
        now: &Now,
    ) -> Ready {
        let (version, waiter) = (segment.version, (owner.id, Promise::Content));
        let Some(place) = segment.file.place() else {
            return Ready::Never(io::ErrorKind::NotFound);
        };
        if let Some(job) = self.jobs.reopen_of(&version) {
            self.jobs.join(job, waiter);
            sending.waits_for(job, now);
            return Ready::Later;
        }
        let job = self.jobs.queue_mut().name();
        sending.waits_for(job, now);
        let kept = self.contents.held.descriptors.get(&version).map(Arc::clone);
        if let Some(file) = kept
            && self.contents.is_still(&file, &version, &*self.probe)
        {
            self.deliveries.reopened(owner.id, job, version, Ok(file));
            return Ready::Later;
        }
        let reopen = Reopen {
            version,
            place: Arc::clone(place),
            owner: owner.owner,
        };
        let (id, promise) = waiter;
        let waiters = Waiters::of(id, promise);
        self.jobs.hold(job, Purpose::Reopen(reopen), waiters);
        self.reopening.held.push_back((now.monotonic, job));
        Ready::Later
    }

    /// Submits up to `count` jobs that wait for descriptors.
    pub(crate) fn begin_reopening(&mut self, count: usize, now: &Now) {
        let paused_until = self.reopening.paused_until;
        if paused_until.is_some_and(|until| now.monotonic < until) {
            return;
        }
        self.reopening.paused_until = None;
        for _ in 0..count {
            let Some((_, id)) = self.reopening.held.pop_front() else {
                break;
            };
            let Some(Purpose::Reopen(reopen)) = self.jobs.purpose(id) else {
                continue;
            };
            let owner = reopen.owner;
            let open = OneShot::OpenAgain(Arc::clone(&reopen.place), reopen.version);
            self.reopening.in_flight += 1;
            let job = Job::OneShot(open, None);
            self.jobs.queue_mut().submit_named(id, owner, job);
        }
    }

    /// Informs the requests that waited for a file. If a descriptor or memory was missing, the job is repeated within
    /// the time that a response may wait for the disk.
    pub(super) fn opened_again(
        &mut self,
        job: JobId,
        reopen: Reopen,
        waiters: Waiters<Promise>,
        opened: Result<Arc<OpenFile>, JobError>,
        now: &Now,
    ) {
        self.reopening.in_flight -= 1;
        if waiters.is_empty() {
            return;
        }
        if let Err(JobError::Busy | JobError::TimedOut) = opened {
            self.jobs.hold(job, Purpose::Reopen(reopen), waiters);
            self.reopening.held.push_back((now.monotonic, job));
            self.reopening.paused_until = Some(now.monotonic + PAUSE);
            return;
        }
        let version = reopen.version;
        if let Ok(file) = &opened {
            self.reopening.numbers.reopened += 1;
            // Other responses that gave up the same file share this descriptor.
            self.contents
                .held
                .descriptors
                .insert(version, Arc::clone(file));
        }
        for id in waiters.ids() {
            self.reopening.numbers.broken_off += u64::from(opened.is_err());
            self.deliveries.reopened(id, job, version, opened.clone());
        }
    }

    /// A response has given up its files of these versions. Those without another user are removed from the cache.
    pub(crate) fn parked(&mut self, versions: &[FileVersion]) {
        self.reopening.numbers.parked_total += 1;
        let kept = &mut self.contents.held.descriptors;
        for version in versions {
            let held = kept.get(version);
            if held.is_some_and(|file| Arc::strong_count(file) == 1) {
                kept.push_out(version, EvictionCause::Shed);
            }
        }
    }

    /// Files that are being reopened.
    pub(crate) fn reopening(&self) -> &Reopening {
        &self.reopening
    }
}
