//! What a request leads to: the caches, and the disk behind them.
//!
//! ```text
//!   ask ──► freshness: has something changed? ──► paths ──► contents, residency ──► an answer
//!                                                   │              │
//!                                                   └─── jobs ◄────┘   else a job, which the request waits for
//!   complete ──► jobs: what it was for ──► paths, contents, residency, freshness ──► deliveries
//! ```
//!
//! Each part has its own state and can be used without the others. Touches no socket and no file: what is asked of the
//! kernel at once is passed in as a [`Probe`], everything else is a job.

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
use contents::Contents;
use deliveries::{Deliveries, Delivery};
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

/// What a request leads to.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A file; the entry holds its facts.
    Selected {
        /// The variants.
        entry: Rc<Entry>,
        /// Which of them.
        coding: Coding,
        /// What of it.
        selected: Selected,
        /// Its bytes, if they are needed.
        source: Option<Source>,
    },
    /// An answer without a file.
    Fixed(Fixed),
    /// The path leads to nothing, and the fallback of its site answers. Only within the store.
    Fallback,
    /// A page made for this answer.
    Document(Rc<Document>),
    /// The disk was asked; the answer comes with the completion of this job.
    Waiting(JobId),
}

/// What a look-up came to.
#[derive(Clone, Debug)]
pub(crate) enum LookupResult {
    /// Facts to answer from.
    Entry(Rc<Entry>),
    /// A page.
    Document(Rc<Document>),
    /// Nothing; the status to say it with.
    Failed(Status),
    /// Nothing yet: the request is to be looked up once more.
    Again,
}

/// How a path is looked up at the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LookupMode {
    /// Its files are opened.
    Full,
    /// What was seen is compared with what is there; only where it differs, files are opened.
    Revalidate,
}

/// Where bytes come from.
#[derive(Debug)]
enum ContentSource {
    /// From here, at once.
    Source(Source),
    /// They are being made resident by a job.
    Later(JobId),
    /// They have to be, and there is no room for the job.
    Never,
    /// Nothing holds them: the file has to be opened.
    Nothing,
}

/// A finished job, for those who waited for it. Some may have left, or wait for something else by now.
#[derive(Debug)]
pub(crate) struct CompletedJob {
    /// The job that they waited for.
    pub job: JobId,
    /// What they get.
    pub result: LookupResult,
    /// The files that were opened, for those who wait: the caches may have no room for them.
    pub opened: Vec<Opened>,
}

impl CompletedJob {
    /// Whoever waited for this job is to ask once more.
    fn again(job: JobId) -> CompletedJob {
        CompletedJob {
            job,
            result: LookupResult::Again,
            opened: Vec::new(),
        }
    }
}

/// What the caches were asked for a request.
#[derive(Clone, Copy, Debug, Default)]
struct CacheReport {
    /// What the path cache said, if it was asked.
    pub path: Option<CacheResult>,
    /// Whether a mapping was looked for.
    pub mapping: bool,
    /// What the cache of descriptors said, if it was asked first now.
    pub descriptor: Option<CacheResult>,
    /// How long ago the answer was confirmed, where that is longer than it may be without a look at the disk.
    pub stale: Option<Duration>,
}

/// Caches and disk of all sites, each part with its own state.
#[derive(Debug)]
pub(crate) struct Store {
    /// What the disk was asked, and who waits.
    jobs: Jobs,
    /// What jobs found out that nobody was told yet.
    deliveries: Deliveries,
    engine: EngineProfile,
    /// What paths lead to.
    paths: Paths,
    /// The files that are held.
    contents: Contents,
    /// Which windows of long files are in memory.
    residency: Residency,
    /// Files that are opened again.
    reopening: Reopening,
    /// What is known of changes at the disk.
    freshness: Freshness,
    /// What the caches are filled with before anybody asks.
    prefetch: Prefetch,
    /// What the kernel is asked at once.
    probe: Box<dyn Probe>,
    /// What the caches were asked for the request that is being looked up.
    cache_report: CacheReport,
    /// Lines for standard error, taken by the loop in each iteration. A result of a job leads to one at most.
    notices: Vec<String>,
}

/// What is known of the engine that carries the jobs out.
#[derive(Clone, Debug)]
pub(crate) struct EngineProfile {
    /// Its name.
    pub name: &'static str,
    /// Why it is this one.
    pub reason: String,
    /// Jobs that it carries out at once, of those that requests wait for.
    pub depth_max: usize,
    /// What may be handed to a socket.
    pub residency_policy: ResidencyPolicy,
}

/// What the store works on.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// The sites and their roots. The caches are filled for the first one.
    pub sites: Vec<(Rc<Site>, Arc<Root>)>,
    /// Closes what is opened beneath the roots.
    pub deferred_drops: DeferredDrops,
    /// What is mounted where. `None`: that is not known, so any change may concern the site.
    pub mounts: Option<Table>,
    /// What jobs add watches through; `None`: the kernel gives no events.
    pub watches: Option<Arc<Watches>>,
    /// What can be asked at once.
    pub probe: Box<dyn Probe>,
}

impl Store {
    /// A store with empty caches, at most `descriptor_count_max` files kept open.
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
            paths: Paths::new(settings),
            contents: Contents::new(&settings.cache, settings.map_lock, descriptor_count_max),
            residency: Residency::new(),
            reopening: Reopening::default(),
            freshness: Freshness::new(settings, watches, roots),
            prefetch,
            probe,
            cache_report: CacheReport::default(),
            notices: Vec::new(),
        }
    }

    /// The next job to hand to the engine, which has room for it. [`Store::complete`] is told what came of it.
    pub(crate) fn next_job(&mut self, now: &Now) -> Option<(JobId, Job)> {
        self.jobs.next(now.monotonic)
    }

    /// Takes note of jobs that the engine has carried out, so that others get their places, and appends those that
    /// are given up.
    pub(crate) fn ended(&mut self, done: &mut Vec<(JobId, Done)>, now: &Now) {
        self.jobs.ended(done, now.monotonic);
    }

    /// Whether results of jobs that were given up wait for [`Store::ended`].
    pub(crate) fn has_given_up(&self) -> bool {
        self.jobs.has_given_up()
    }

    /// Submits a job of the loop's own. [`Store::complete`] gives its result back.
    pub(crate) fn submit_for_loop(&mut self, job: Job) {
        self.jobs.submit_own(job, Purpose::Loop);
    }

    /// One who waited, and what became of it. The caller tells a few in each iteration, so that hits that came
    /// meanwhile go first.
    pub(crate) fn next_delivery(&mut self) -> Option<Delivery> {
        self.deliveries.pop()
    }

    /// Whether somebody is to be told.
    pub(crate) fn has_deliveries(&self) -> bool {
        self.delivery_count() > 0
    }

    /// How many are to be told.
    pub(crate) fn delivery_count(&self) -> usize {
        self.deliveries.count()
    }

    /// A request no longer waits for a job: its time is over, or its connection.
    pub(crate) fn leave(&mut self, job: JobId, id: RequestId) {
        self.jobs.leave(job, id);
    }

    /// What is to be said on standard error.
    pub(crate) fn notices(&mut self) -> std::vec::Drain<'_, String> {
        self.notices.drain(..)
    }

    /// Remembers no more windows of long files than fit into so many bytes.
    pub(crate) fn set_window_bytes_max(&mut self, bytes_max: u64) {
        self.residency.set_bytes_max(bytes_max);
    }

    /// Tells the caches that time has passed.
    pub(crate) fn tick(&mut self, now: &Now) {
        self.paths.cache.tick(now.monotonic);
        self.contents.tick(now.monotonic);
    }
}
