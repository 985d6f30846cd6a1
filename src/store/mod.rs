//! What a request leads to: the caches, and the disk behind them.
//!
//! `Store::find` answers from the caches or submits a job; `Store::complete` takes a job's
//! result in. Neither touches a socket.

mod ask;
mod asked;
mod complete;
mod content;
pub(crate) mod deliveries;
mod departures;
mod descriptors;
mod entry_cost;
pub(crate) mod event_sync;
mod freshness;
mod jobs;
#[cfg(test)]
mod leftovers;
mod listings;
mod lookups;
mod memory;
mod mounts;
pub(crate) mod numbers;
mod outdated;
pub(crate) mod probe;
pub(crate) mod queue;
mod recheck;
pub(crate) mod request;
pub(crate) mod residency;
mod sending;
mod stale;
mod status;
mod waiters;
mod warm_up;
pub(crate) mod warming;
pub(crate) mod watch;

use std::cell::Cell;
use std::num::{NonZeroU64, NonZeroUsize};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use lru::LruCache;

use content::Counted;
pub(crate) use content::{RequestOwner, Requester};
pub(crate) use sending::Ready;

use crate::cache::content::{Budget, ContentCache};
use crate::cache::curve::TakenIn;
use crate::cache::entry::Entry;
use crate::cache::past::PastDates;
use crate::cache::path::PathCache;
use crate::cache::top::Top;
use crate::clock::Now;
use crate::conn::RequestId;
use crate::conn::outbox::Source;
use crate::conn::{CacheResult, Document};
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::job::{Done, Job, Locking, Opened};
use crate::job::{JobId, ResidencyPolicy};
use crate::settings::Settings;
use crate::site::mounts::Table;
use crate::site::response::{Fixed, Selected};
use crate::site::sites::Site;
use crate::store::probe::Probe;
use crate::store::queue::JobQueue;
use crate::store::residency::Residency;
use crate::store::warming::{Origin, Warming};
use crate::store::watch::{Change, Watch};
use crate::sys::beneath::Root;
use crate::sys::file::{FileVersion, OpenFile};
use crate::sys::memory::Memory;
use crate::sys::watches::Watches;
use deliveries::{Deliveries, Delivery};
pub(crate) use freshness::FoundRoot;
use freshness::ServedRoot;
use jobs::{Jobs, Purpose};
use listings::Pages;
use outdated::Outdated;
use recheck::Rechecks;
use stale::Staleness;
use warm_up::State;

/// Versions remembered that are no more.
const REWRITTEN_COUNT_MAX: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

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

/// A mapping, and when it was last sent: after a while its pages may have gone.
#[derive(Debug)]
pub(crate) struct CachedFile {
    memory: Rc<Memory>,
    used: Cell<Instant>,
    /// The generation in which it was last known to be watched without a gap.
    generation: Cell<u32>,
    /// The digest of its content, where that is compared.
    digest: Option<NonZeroU64>,
    /// When it was last compared.
    compared: Cell<Instant>,
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

/// Caches and disk of all sites.
#[derive(Debug)]
pub(crate) struct Store {
    // The caches, the disk and each part of freshness, once.
    /// What the disk was asked.
    jobs: Jobs,
    engine: EngineProfile,
    /// What jobs found out that nobody was told yet.
    deliveries: Deliveries,
    /// What paths lead to.
    pub paths: PathCache,
    /// Mapped files.
    pub maps: ContentCache<CachedFile>,
    /// Open files.
    pub descriptors: ContentCache<Arc<OpenFile>>,
    /// What paths have led to that lead to no file now.
    past: PastDates,
    /// What most bytes and most waiting go to.
    pub top: Top,
    /// Versions that were mapped and then written to: entries that still lead to them are out of date.
    rewritten: LruCache<FileVersion, (), RandomState>,
    /// Changes.
    pub watch: Watch,
    /// Times that the kernel lost events.
    pub overflows: u64,
    /// What the caches were asked for the request that is being looked up.
    cache_report: CacheReport,
    /// Times that another directory became the root.
    pub roots_served: u64,
    /// Lines for standard error, taken by the loop in each iteration. A result of a job leads to one at most.
    notices: Vec<String>,
    changes: Vec<Change>,
    served_root: ServedRoot,
    /// Answers from what the disk does not confirm in time.
    pub staleness: Staleness,
    rechecks: Rechecks,
    /// Pages of directories.
    pages: Pages,
    /// Precompressed files that are older than their files.
    pub outdated: Outdated,
    /// Windows of long files.
    pub residency: Residency,
    /// Mappings dropped because their pages had been taken away.
    pub mappings_gone: u64,
    /// What the caches are filled with before anybody asks.
    pub warming: Warming,
    /// Jobs of that under way at once.
    warming_depth_max: usize,
    state: State,
    probe: Box<dyn Probe>,
    locking: Locking,
    map_file_length_max: u64,
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
    /// Whose root it is.
    pub site: Rc<Site>,
    /// The directory that is served.
    pub root: Arc<Root>,
    /// What is mounted where. `None`: that is not known, so any change may concern the site.
    pub mounts: Option<Table>,
    /// What jobs add watches through; `None`: the kernel gives no events.
    pub watches: Option<Arc<Watches>>,
    /// What can be asked at once.
    pub probe: Box<dyn Probe>,
}

fn rewritten() -> LruCache<FileVersion, (), RandomState> {
    LruCache::with_hasher(REWRITTEN_COUNT_MAX, RandomState::default())
}

impl Store {
    /// A store with empty caches, at most `descriptor_count_max` files kept open. The root that was opened is that
    /// of `site`.
    pub(crate) fn new(
        settings: &Settings,
        descriptor_count_max: usize,
        engine: EngineProfile,
        surroundings: Surroundings,
        origins: Vec<Origin>,
    ) -> Store {
        let Surroundings {
            root,
            site,
            mounts,
            watches,
            probe,
        } = surroundings;
        let naming = &site.policy.naming;
        let warming = Warming::new(origins, naming.index.clone(), naming.dot_files);
        let cache = &settings.cache;
        let path_count_max = NonZeroUsize::new(cache.path_count_max).unwrap_or(NonZeroUsize::MIN);
        let maps = Budget {
            bytes_max: cache.map_bytes_max,
            count_max: cache.map_count_max,
        };
        let descriptors = Budget {
            bytes_max: u64::MAX,
            count_max: descriptor_count_max,
        };
        let watch = Watch::new(cache.watched_directory_count_max, watches);
        let warming_depth_max = match engine.residency_policy {
            ResidencyPolicy::ResidentOnly => (settings.disk_depth / warm_up::PLACE_SHARE).max(1),
            ResidencyPolicy::Any => 1,
        };
        Store {
            jobs: Jobs::new(JobQueue::new(engine.depth_max, settings.disk_queue)),
            engine,
            deliveries: Deliveries::default(),
            paths: PathCache::new(path_count_max),
            maps: ContentCache::new(maps).with_curve(TakenIn::Second),
            descriptors: ContentCache::new(descriptors),
            past: PastDates::default(),
            top: Top::default(),
            rewritten: rewritten(),
            watch,
            overflows: 0,
            cache_report: CacheReport::default(),
            roots_served: 0,
            notices: Vec::new(),
            changes: Vec::new(),
            served_root: ServedRoot::new(root, site, mounts),
            staleness: Staleness::new(settings),
            rechecks: Rechecks::new(settings.recheck),
            pages: Pages::default(),
            outdated: Outdated::default(),
            residency: Residency::new(),
            mappings_gone: 0,
            warming,
            warming_depth_max,
            state: State::of(settings.cache_state.clone()),
            probe,
            locking: Store::locking_of(settings.map_lock),
            map_file_length_max: cache.map_file_length_max,
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
        !self.deliveries.is_empty()
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
        self.paths.tick(now.monotonic);
        self.maps.tick(now.monotonic);
        self.descriptors.tick(now.monotonic);
    }
}
