//! What a request leads to: the caches, and the disk behind them.
//!
//! `Store::find` answers from the caches or submits a job; `Store::complete` takes a job's
//! result in. Neither touches a socket.

mod complete;
mod content;
pub(crate) mod deliveries;
mod departures;
pub(crate) mod disk_queue;
#[cfg(test)]
mod entry_cost;
mod freshness;
mod listings;
pub(crate) mod lookups;
mod memory;
mod mounts;
pub(crate) mod numbers;
mod outdated;
mod recheck;
pub(crate) mod request;
pub(crate) mod residency;
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

use foldhash::HashMap;
use foldhash::fast::RandomState;
use lru::LruCache;

use content::Counted;
pub(crate) use content::{Ready, Requester};

use crate::cache::content::{Budget, ContentCache};
use crate::cache::curve::TakenIn;
use crate::cache::entry::{Entry, Resolution};
use crate::cache::past::PastDates;
use crate::cache::path::{Known, PathCache};
use crate::cache::top::Top;
use crate::clock::Now;
use crate::conn::RequestId;
use crate::conn::outbox::Source;
use crate::conn::{CacheResult, Document};
use crate::disk::{Disk, Saturated};
use crate::http::content_coding::{self, Coding};
use crate::http::range::RangeLimits;
use crate::http::request::{Field, Request};
use crate::http::status::Status;
use crate::job::{Job, Locking, Opened, Resolve};
use crate::job::{JobId, ResidencyPolicy};
use crate::settings::Settings;
use crate::site::resolve::{self, Naming};
use crate::site::response::{self, Content, Fixed, Selected};
use crate::site::validators::EntityTags;
use crate::store::disk_queue::DiskQueue;
use crate::store::residency::Residency;
use crate::store::waiters::Waiters;
use crate::store::warming::{Origin, Warming};
use crate::store::watch::directories::{EventSequence, WatchedPath};
use crate::store::watch::{Change, Watch};
use crate::sys::beneath::Root;
use crate::sys::file::{FileVersion, OpenFile};
use crate::sys::memory::Memory;
use crate::sys::pagemap::Pagemap;
use freshness::ServedRoot;
use listings::Pages;
use lookups::{Lookups, PendingLookup, Purpose};
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

/// A file that is being mapped.
#[derive(Debug)]
struct PendingMapping {
    /// When its job was submitted.
    since: EventSequence,
    /// Whether nobody has asked for it.
    is_prefetch: bool,
}

/// Caches, disk and policy of one site.
#[derive(Debug)]
pub(crate) struct Store {
    // The caches, the disk and each part of freshness, once.
    /// The disk engine and the queue before it.
    pub disk: DiskQueue,
    /// Why it is this engine.
    pub engine_reason: String,
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
    /// Look-ups at the disk.
    pub lookups: Lookups,
    /// Pages of directories.
    pages: Pages,
    /// Precompressed files that are older than their files.
    pub outdated: Outdated,
    /// Files that are being mapped.
    pending_mappings: HashMap<FileVersion, PendingMapping>,
    /// Windows of long files.
    pub residency: Residency,
    /// Mappings dropped because their pages had been taken away.
    pub mappings_gone: u64,
    /// The requests that wait for mapped bytes to become resident.
    populating: HashMap<JobId, RequestId>,
    /// What the caches are filled with before anybody asks.
    pub warming: Warming,
    /// Jobs of that under way at once.
    warming_depth_max: usize,
    state: State,
    pagemap: Option<Pagemap>,
    locking: Locking,
    naming: Naming,
    tags: EntityTags,
    ranges: RangeLimits,
    map_file_length_max: u64,
    revalidate: Duration,
}

/// An engine, and why it is this one.
pub(crate) struct Backend {
    pub(crate) disk: Box<dyn Disk>,
    pub(crate) reason: String,
    pub(crate) root: Arc<Root>,
}

fn rewritten() -> LruCache<FileVersion, (), RandomState> {
    LruCache::with_hasher(REWRITTEN_COUNT_MAX, RandomState::default())
}

impl Store {
    /// A service with empty caches, at most `descriptor_count_max` files kept open.
    pub(crate) fn new(
        settings: &Settings,
        descriptor_count_max: usize,
        chosen: Backend,
        origins: Vec<Origin>,
    ) -> Store {
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
        let deferred_drops = chosen.root.deferred_drops().clone();
        let watch = Watch::new(cache.watched_directory_count_max, deferred_drops);
        let queue = DiskQueue::new(chosen.disk, settings.disk_queue);
        let warming_depth_max = match queue.engine.sending() {
            ResidencyPolicy::ResidentOnly => (settings.disk_depth / warm_up::PLACE_SHARE).max(1),
            ResidencyPolicy::Any => 1,
        };
        let pagemap = match queue.engine.sending() {
            ResidencyPolicy::ResidentOnly => Pagemap::open().ok(),
            ResidencyPolicy::Any => None,
        };
        Store {
            disk: queue,
            engine_reason: chosen.reason,
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
            served_root: ServedRoot::new(chosen.root),
            staleness: Staleness::new(settings),
            rechecks: Rechecks::new(settings.recheck),
            lookups: Lookups::default(),
            pages: Pages::default(),
            outdated: Outdated::default(),
            pending_mappings: HashMap::default(),
            residency: Residency::new(),
            mappings_gone: 0,
            populating: HashMap::default(),
            warming: Warming::new(origins, settings.index.clone(), settings.dot_files),
            warming_depth_max,
            state: State::of(settings.cache_state.clone()),
            pagemap,
            locking: Store::locking_of(settings.map_lock),
            naming: Naming {
                index: settings.index.clone(),
                dot_files: settings.dot_files,
                directories: settings.directories,
                media_types: settings.media_types.clone(),
            },
            tags: settings.entity_tags,
            ranges: RangeLimits {
                count_max: settings.limits.range_count_max,
            },
            map_file_length_max: cache.map_file_length_max,
            revalidate: cache.revalidate,
        }
    }

    /// What a request leads to, by the caches first.
    fn find(&mut self, request: &Request<'_>, requester: Requester, now: &Now) -> Asked {
        let raw_path = request.path();
        let looked = requester.looked;
        if let Some(waiting) = self.wait_for_root(requester, now) {
            return waiting;
        }
        let known = match looked.path {
            true => self.paths.look_up_again(raw_path, now),
            false => self.paths.look_up(raw_path, now),
        };
        let (said, entry) = match &known {
            Known::Fresh(entry) | Known::Due(entry) => (CacheResult::Hit, Some(entry)),
            Known::Expired(entry) => (CacheResult::Expired, Some(entry)),
            Known::Unknown => (CacheResult::Miss, None),
        };
        if !looked.path {
            self.cache_report.path = Some(said);
            if let Some(entry) = entry {
                entry.count_request();
            }
        }
        match known {
            Known::Fresh(entry) => self.answer_from(&entry, request, &[], requester, now),
            Known::Due(entry) => {
                self.check_ahead(raw_path, &entry, now);
                self.answer_from(&entry, request, &[], requester, now)
            }
            Known::Expired(entry) => self.answer_expired(raw_path, &entry, request, requester, now),
            Known::Unknown => self.find_unknown(request, requester, now),
        }
    }

    /// Answers from an entry, or asks the disk for its bytes.
    fn answer_from(
        &mut self,
        entry: &Rc<Entry>,
        request: &Request<'_>,
        opened: &[Opened],
        requester: Requester,
        now: &Now,
    ) -> Asked {
        let variants = match &entry.resolution {
            Resolution::File { variants, .. } => variants,
            Resolution::Moved(path) => return Asked::Fixed(Fixed::Moved(path.clone())),
            Resolution::Refused(status) => return Asked::Fixed(Fixed::Error(*status)),
            Resolution::Listed => return self.answer_checked(request, requester, now),
        };
        let coding = match variants.coded.is_empty() {
            true => Coding::Identity,
            false => {
                content_coding::choose(request.lines(Field::AcceptEncoding), variants.codings())
            }
        };
        let representation = variants.in_coding(coding);
        if self.rechecks.is_outdated(representation) {
            return self.fetch_again(entry, request, requester, now);
        }
        let selected = response::select(request, representation, self.ranges, now);
        let content = Content::of(request.head().method);
        let source = match selected.first_byte(content, representation.version.length) {
            None if self.is_rewritten(&representation.version, opened) => {
                return self.fetch_again(entry, request, requester, now);
            }
            None => None,
            Some(first) => {
                match self.supply(entry, representation, first, opened, requester, now) {
                    ContentSource::Source(source) => Some(source),
                    ContentSource::Later(job) => return Asked::Waiting(job),
                    ContentSource::Never => {
                        return Asked::Fixed(Fixed::Error(Status::ServiceUnavailable));
                    }
                    ContentSource::Nothing => {
                        return self.fetch_again(entry, request, requester, now);
                    }
                }
            }
        };
        let bytes = selected.length(content, representation.version.length);
        self.top.answered(request.path(), entry, bytes);
        Asked::Selected {
            entry: Rc::clone(entry),
            coding,
            selected,
            source,
        }
    }

    /// Looks a path up at the disk though its entry is trusted: its file has to be opened.
    fn fetch_again(
        &mut self,
        entry: &Rc<Entry>,
        request: &Request<'_>,
        requester: Requester,
        now: &Now,
    ) -> Asked {
        self.fetch(
            request.path(),
            Some(entry),
            LookupMode::Full,
            requester,
            now,
        )
    }

    /// The job of a look-up, and the way to its directory if that is watched already.
    fn resolve(
        &mut self,
        raw_path: &[u8],
        entry: Option<&Rc<Entry>>,
        resolving: LookupMode,
        now: &Now,
    ) -> Result<(Resolve, Option<Rc<WatchedPath>>), Status> {
        let lookup = resolve::plan(raw_path, &self.naming)?;
        let expected = match (resolving, entry.map(|entry| &entry.resolution)) {
            (LookupMode::Revalidate, Some(Resolution::File { variants, seen }))
                if variants.is_settled() =>
            {
                seen.expectations(&lookup, variants)
            }
            _ => Vec::new(),
        };
        let (site, watched_path) = self.site(&lookup, now);
        let is_listed = |entry: &&Rc<Entry>| matches!(entry.resolution, Resolution::Listed);
        let listed = entry.filter(is_listed).and(Some(lookup.directory()));
        let page = listed.and_then(|directory| self.pages.digest(directory));
        let resolve = Resolve::checking(lookup, expected, site).expecting_page(page);
        Ok((resolve, watched_path))
    }

    fn fetch(
        &mut self,
        raw_path: &[u8],
        entry: Option<&Rc<Entry>>,
        resolving: LookupMode,
        requester: Requester,
        now: &Now,
    ) -> Asked {
        let since = self.since();
        if let Some(job) = self.lookups.join(raw_path, requester.id, since) {
            return Asked::Waiting(job);
        }
        let (resolve, watched_path) = match self.resolve(raw_path, entry, resolving, now) {
            Ok(resolve) => resolve,
            Err(status) => return Asked::Fixed(Fixed::Error(status)),
        };
        let purpose = match resolving {
            LookupMode::Revalidate => Purpose::Check,
            LookupMode::Full => Purpose::Asked,
        };
        let submitted = self.disk.submit(
            requester.owner,
            Job::Resolve(Box::new(resolve)),
            now.monotonic,
        );
        match submitted {
            Ok(job) => {
                let pending = PendingLookup {
                    raw_path: raw_path.into(),
                    entry: entry.map(Rc::clone),
                    waiters: Waiters::of(requester.id, since.sequence),
                    since,
                    watched_path,
                    purpose,
                    begun: now.monotonic,
                };
                if purpose == Purpose::Check {
                    self.staleness.check_began(job, now);
                }
                self.lookups.begin(job, pending);
                Asked::Waiting(job)
            }
            Err(Saturated(_)) => Asked::Fixed(Fixed::Error(Status::ServiceUnavailable)),
        }
    }

    /// A request no longer waits for a job: its time is over, or its connection.
    pub(crate) fn leave(&mut self, job: JobId, id: RequestId) {
        self.lookups.leave(job, id);
        self.residency.leave(job, id);
        self.populating.remove(&job);
        self.leave_following(job, id);
        self.leave_recheck(job, id);
    }

    /// What is to be said on standard error.
    pub(crate) fn notices(&mut self) -> std::vec::Drain<'_, String> {
        self.notices.drain(..)
    }

    /// Tells the caches that time has passed.
    pub(crate) fn tick(&mut self, now: &Now) {
        self.paths.tick(now.monotonic);
        self.maps.tick(now.monotonic);
        self.descriptors.tick(now.monotonic);
    }

    /// Closes some kept descriptors, because a connection needs one. Gives how many.
    pub(crate) fn shed_descriptors(&mut self, count: usize) -> usize {
        (0..count)
            .take_while(|_| self.descriptors.shed().is_some())
            .count()
    }
}
