//! Answers requests from the caches, and submits jobs to the disk for what they lack.
//!
//! ```text
//!   ask ──► freshness: has something changed? ──► paths ──► contents, residency ──► an answer
//!                                                   │              │
//!                                                   └─── jobs ◄────┘   else a job, which the request waits for
//!   complete ──► jobs: what it was for ──► paths, contents, residency, freshness ──► deliveries
//! ```
//!
//! Each part has its own state and can be used without the others. The store touches no socket and no file: calls that
//! never wait are passed in as a [`Probe`], everything else is a job.

mod admissions;
mod ask;
mod asked;
pub(crate) mod caches;
mod complete;
mod contents;
pub(crate) mod deliveries;
mod departures;
mod descriptors;
mod entry_cost;
pub(crate) mod event_sync;
mod freshness;
pub(crate) mod holdings;
mod inquiry;
mod jobs;
#[cfg(test)]
mod leftovers;
mod listings;
mod lookups;
mod memory;
mod mounts;
pub(crate) mod numbers;
mod outdated;
mod paths;
pub(crate) mod probe;
pub(crate) mod queue;
mod recheck;
pub(crate) mod reopen;
pub(crate) mod request;
mod residency;
mod root;
mod roots;
mod sending;
mod source_path;
mod stale;
mod status;
mod supply;
mod waiters;
mod warm_up;
pub(crate) mod warming;
mod watch;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::entry::Entry;
use crate::clock::Now;
use crate::conn::RequestId;
use crate::conn::outbox::Source;
use crate::conn::{CacheResult, Document};
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::job::{Done, Job, JobId, Opened, ResidencyPolicy};
use crate::settings::Settings;
use crate::site::mounts::Table;
use crate::site::response::{Fixed, Selected};
use crate::site::sites::Site;
use crate::sys::beneath::Root;
use crate::sys::deferred_drops::DeferredDrops;
use crate::sys::watches::Watches;
use admissions::Admissions;
use contents::Contents;
use deliveries::{Deliveries, Delivery, DeliveryKind};
use freshness::Freshness;
use inquiry::Counted;
pub(crate) use inquiry::{RequestOwner, Requester};
use jobs::{Jobs, Purpose};
use mounts::Mounts;
use paths::Paths;
use probe::Probe;
use queue::JobQueue;
use reopen::Reopening;
use residency::Residency;
pub(crate) use root::FoundRoot;
use roots::Roots;
pub(crate) use sending::Ready;
use warm_up::Prefetch;
use warming::Origin;

/// The result of a request.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A file, described by its entry.
    Selected {
        /// The entry, with all variants.
        entry: Rc<Entry>,
        /// The coding of the selected variant.
        coding: Coding,
        /// The selected status and range.
        selected: Selected,
        /// The source of the content, if any is sent.
        source: Option<Source>,
    },
    /// A response that sends the client elsewhere, as the entry says.
    Moved(Rc<Entry>),
    /// A response without a file.
    Fixed(Fixed),
    /// The path leads to nothing, and the fallback of its site answers. Only within the store.
    Fallback,
    /// A generated page.
    Document(Rc<Document>),
    /// The request waits for this job.
    Waiting(JobId),
}

/// The result of a lookup.
#[derive(Clone, Debug)]
pub(crate) enum LookupResult {
    /// An entry to answer from.
    Entry(Rc<Entry>),
    /// A directory page.
    Document(Rc<Document>),
    /// The lookup failed; the response has this status.
    Failed(Status),
    /// The request has to be asked again.
    Again,
}

/// How a path is looked up at the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LookupMode {
    /// The files are opened.
    Full,
    /// The versions of the files are compared with those of the entry. Files are opened only if they differ.
    Revalidate,
}

/// The source of the content of a response.
#[derive(Debug)]
enum ContentSource {
    /// Available now.
    Source(Source),
    /// A job makes the bytes resident.
    Later(JobId),
    /// The bytes are not resident, and the queue has no room for the job that would read them.
    Never,
    /// No cache holds the file: it has to be opened.
    Nothing,
}

/// The result of a job, for the requests that waited for it. Some of them may have ended, or wait for another job by
/// now.
#[derive(Debug)]
pub(crate) struct CompletedJob {
    /// The job.
    pub job: JobId,
    /// Its result.
    pub result: LookupResult,
    /// The files that it opened. The caches may have no room for them, so they travel with the result.
    pub opened: Vec<Opened>,
}

impl CompletedJob {
    /// A result that has all waiting requests ask again.
    fn again(job: JobId) -> CompletedJob {
        CompletedJob {
            job,
            result: LookupResult::Again,
            opened: Vec::new(),
        }
    }
}

/// The results of the caches for one request.
#[derive(Clone, Copy, Debug, Default)]
struct CacheReport {
    /// The result of the path cache, if it was asked.
    pub path: Option<CacheResult>,
    /// Whether the file cache was asked.
    pub mapping: bool,
    /// The result of the open-file cache, if it was asked for the first time.
    pub descriptor: Option<CacheResult>,
    /// The age of the entry, if it had expired and was used without revalidation.
    pub stale: Option<Duration>,
}

/// The caches and jobs of all sites, each part with its own state.
#[derive(Debug)]
pub(crate) struct Store {
    // Each part once, with its own state; what they share passes through the methods of the store.
    /// Jobs, and the requests that wait for them.
    jobs: Jobs,
    /// Results that were not yet delivered to their requests.
    deliveries: Deliveries,
    engine: EngineProfile,
    /// The data of paths.
    paths: Paths,
    /// The cached files.
    contents: Contents,
    /// Which windows of long files are resident.
    residency: Residency,
    /// Files that are being reopened.
    reopening: Reopening,
    /// Changes at the disk, and trust in entries.
    freshness: Freshness,
    /// Prefetching.
    prefetch: Prefetch,
    /// Who is admitted to guarded paths.
    admissions: Admissions,
    /// Calls to the kernel that never wait.
    probe: Box<dyn Probe>,
    /// The results of the caches for the current request.
    cache_report: CacheReport,
    /// Lines for standard error, taken by the loop in each iteration. The result of a job adds one at most.
    notices: Vec<String>,
}

/// Properties of the engine that runs the jobs.
#[derive(Clone, Debug)]
pub(crate) struct EngineProfile {
    /// The name of the engine.
    pub name: &'static str,
    /// Why it was selected.
    pub reason: String,
    /// Maximum number of jobs in flight for which requests wait.
    pub depth_max: usize,
    /// Which content may be passed to a socket.
    pub residency_policy: ResidencyPolicy,
}

/// The environment of a store.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// The sites and their roots. The caches are filled for the first one.
    pub sites: Vec<(Rc<Site>, Arc<Root>)>,
    /// Closes what is opened beneath the roots.
    pub deferred_drops: DeferredDrops,
    /// The mount table. `None`: unknown, so any change of mounts may concern the site.
    pub mounts: Option<Table>,
    /// The inotify instance to which jobs add watches. `None`: the kernel reports no events.
    pub watches: Option<Arc<Watches>>,
    /// Calls to the kernel that never wait.
    pub probe: Box<dyn Probe>,
}

impl Store {
    /// A store with empty caches that keeps at most `descriptor_count_max` files open.
    pub(crate) fn new(
        settings: &Settings,
        descriptor_count_max: usize,
        engine: EngineProfile,
        surroundings: Surroundings,
        origins: Vec<Origin>,
    ) -> Store {
        let Surroundings {
            sites,
            deferred_drops,
            mounts,
            watches,
            probe,
        } = surroundings;
        let policy = engine.residency_policy;
        let Some((first, _)) = sites.first() else {
            unreachable!("there is a site");
        };
        let prefetch = Prefetch::new(settings, origins, Rc::clone(first), policy);
        let mut roots = Roots::new(Mounts::new(mounts), deferred_drops);
        for (site, root) in sites {
            roots.add(site, root);
        }
        Store {
            jobs: Jobs::new(JobQueue::new(engine.depth_max, settings.disk_queue)),
            deliveries: Deliveries::default(),
            engine,
            paths: Paths::new(&settings.cache),
            contents: Contents::new(&settings.cache, settings.map_lock, descriptor_count_max),
            residency: Residency::new(),
            reopening: Reopening::default(),
            freshness: Freshness::new(settings, watches, roots),
            prefetch,
            admissions: Admissions::default(),
            probe,
            cache_report: CacheReport::default(),
            notices: Vec::new(),
        }
    }

    /// The next job for the engine, if the engine has room for one. Its result goes to [`Store::complete`].
    #[inline]
    pub(crate) fn next_job(&mut self, now: &Now) -> Option<(JobId, Job)> {
        match self.jobs.queue().has_jobs() {
            true => self.jobs.next(now.monotonic),
            false => None,
        }
    }

    /// Frees the slots of jobs that the engine has completed, and appends the jobs that are given up.
    pub(crate) fn ended(&mut self, done: &mut Vec<(JobId, Done)>, now: &Now) {
        self.jobs.ended(done, now.monotonic);
    }

    /// Whether [`Store::ended`] has jobs to append that were given up.
    pub(crate) fn has_given_up(&self) -> bool {
        self.jobs.has_given_up()
    }

    /// Submits a job for the loop itself. [`Store::complete`] returns its result.
    pub(crate) fn submit_for_loop(&mut self, job: Job) {
        self.jobs.submit_own(job, Purpose::Loop);
    }

    /// The next result of this kind, with its request. The caller delivers a limited number of each in an iteration, so that
    /// hits that arrive meanwhile are answered first.
    pub(crate) fn next_delivery(&mut self, kind: DeliveryKind) -> Option<Delivery> {
        self.deliveries.pop(kind)
    }

    /// Whether results are to be delivered.
    pub(crate) fn has_deliveries(&self) -> bool {
        !self.deliveries.is_empty()
    }

    /// Number of results of this kind to be delivered.
    pub(crate) fn delivery_count(&mut self, kind: DeliveryKind) -> usize {
        self.deliveries.count(kind)
    }

    /// Removes a request from a job: it timed out, or its connection was closed.
    pub(crate) fn leave(&mut self, job: JobId, id: RequestId) {
        self.jobs.leave(job, id);
    }

    /// Whether something is to be said on standard error.
    pub(crate) fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// Takes the lines for standard error.
    pub(crate) fn notices(&mut self) -> std::vec::Drain<'_, String> {
        self.notices.drain(..)
    }

    /// Limits the memory for the windows of long files, in bytes.
    pub(crate) fn set_window_bytes_max(&mut self, bytes_max: u64) {
        self.residency.set_bytes_max(bytes_max);
    }

    /// Advances the clocks of the caches.
    pub(crate) fn tick(&mut self, now: &Now) {
        self.paths.cache.tick(now.monotonic);
        self.contents.tick(now.monotonic);
    }
}
