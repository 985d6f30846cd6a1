//! What a request leads to: the caches, and the disk behind them.
//!
//! [`Service::find`] answers from the caches or submits a job; [`Service::complete`] takes a job's
//! result in. Neither touches a socket.

mod bytes;
mod complete;
mod departures;
mod freshness;
mod memory;
mod mounts;
mod notices;
mod outdated;
mod pages;
mod recheck;
mod stale;
mod warm;

use std::cell::Cell;
use std::num::{NonZeroU64, NonZeroUsize};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use foldhash::fast::RandomState;
use lru::LruCache;

pub(super) use bytes::{Asker, Looked, Ready};

use super::connections::ConnectionId;
use super::disk_queue::{DiskQueue, Owner};
use super::fetch::{Fetches, Pending, Purpose};
use super::residency::Residency;
use super::settings::Settings;
use super::start::Chosen;
use super::waiters::Waiters;
use super::warming::{Origin, Warming};
use super::watch::directories::{Moment, Way};
use super::watch::{Change, Watch};
use crate::cache::curve::TakenIn;
use crate::cache::entry::{Entry, Resolution};
use crate::cache::held::{Budget, HeldCache};
use crate::cache::past::PastDates;
use crate::cache::path::{Known, PathCache};
use crate::cache::top::Top;
use crate::clock::Now;
use crate::conn::outbox::Source;
use crate::conn::{Document, LookUp, Peer};
use crate::disk::job::{Job, Locking, Opened, Resolve};
use crate::disk::{JobId, Saturated, Sending};
use crate::http::content_coding::{self, Coding};
use crate::http::range::RangeLimits;
use crate::http::request::{Field, Request};
use crate::http::status::Status;
use crate::site::resolve::{self, Naming};
use crate::site::response::{self, Content, Fixed, Selected};
use crate::site::validators::EntityTags;
use crate::sys::file::{FileVersion, OpenFile};
use crate::sys::memory::Memory;
use crate::sys::pagemap::Pagemap;
use freshness::Serving;
use notices::Notices;
use outdated::Outdated;
pub(in crate::server) use outdated::OutdatedNumbers;
use pages::Pages;
use recheck::Rechecks;
pub(super) use stale::StaleNumbers;
use stale::Staleness;
use warm::State;

/// Versions remembered that are no more.
const REWRITTEN_COUNT_MAX: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// What a request leads to.
#[derive(Debug)]
pub(super) enum Answer {
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
pub(super) enum Resolved {
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
enum Resolving {
    /// Its files are opened.
    Anew,
    /// What was seen is compared with what is there; only where it differs, files are opened.
    Comparing,
}

/// Where bytes come from.
#[derive(Debug)]
enum Supply {
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
pub(super) struct Completed {
    /// The job that they waited for.
    pub job: JobId,
    /// What they get.
    pub result: Resolved,
    /// The files that were opened, for those who wait: the caches may have no room for them.
    pub opened: Vec<Opened>,
}

impl Completed {
    /// Whoever waited for this job is to ask once more.
    fn again(job: JobId) -> Completed {
        Completed {
            job,
            result: Resolved::Again,
            opened: Vec::new(),
        }
    }
}

/// A mapping, and when it was last sent: after a while its pages may have gone.
#[derive(Debug)]
pub(super) struct MappedFile {
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
pub(super) struct LookedUp {
    /// What the path cache said, if it was asked.
    pub path: Option<LookUp>,
    /// Whether a mapping was looked for.
    pub mapping: bool,
    /// What the cache of descriptors said, if it was asked first now.
    pub descriptor: Option<LookUp>,
    /// How long ago the answer was confirmed, where that is longer than it may be without a look at the disk.
    pub stale: Option<Duration>,
}

/// A file that is being mapped.
#[derive(Debug)]
struct BeingMapped {
    /// When its job was submitted.
    since: Moment,
    /// Whether nobody has asked for it.
    is_ahead: bool,
}

/// Caches, disk and policy of one site.
#[derive(Debug)]
pub(super) struct Service {
    /// The disk engine and the queue before it.
    pub disk: DiskQueue,
    /// Why it is this engine.
    pub engine_reason: String,
    /// What paths lead to.
    pub paths: PathCache,
    /// Mapped files.
    pub maps: HeldCache<MappedFile>,
    /// Open files.
    pub descriptors: HeldCache<Arc<OpenFile>>,
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
    /// What the caches were asked since this was taken.
    pub looked_up: LookedUp,
    /// Times that another directory became the root.
    pub roots_served: u64,
    /// Lines for standard error.
    notices: Notices,
    changes: Vec<Change>,
    serving: Serving,
    /// Answers from what the disk does not confirm in time.
    pub staleness: Staleness,
    rechecks: Rechecks,
    /// Look-ups at the disk.
    pub fetches: Fetches,
    /// Pages of directories.
    pages: Pages,
    /// Precompressed files that are older than their files.
    pub outdated: Outdated,
    /// Files that are being mapped.
    being_mapped: HashMap<FileVersion, BeingMapped>,
    /// Windows of long files.
    pub residency: Residency,
    /// Mappings dropped because their pages had been taken away.
    pub mappings_gone: u64,
    /// Who waits for mapped bytes to become resident.
    populating: HashMap<JobId, ConnectionId>,
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

fn rewritten() -> LruCache<FileVersion, (), RandomState> {
    LruCache::with_hasher(REWRITTEN_COUNT_MAX, RandomState::default())
}

impl Service {
    /// A service with empty caches, at most `descriptor_count_max` files kept open.
    pub(super) fn new(
        settings: &Settings,
        descriptor_count_max: usize,
        chosen: Chosen,
        origins: Vec<Origin>,
    ) -> Service {
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
        let bin = chosen.root.bin().clone();
        let watch = Watch::new(cache.watched_directory_count_max, bin);
        let queue = DiskQueue::new(chosen.disk, settings.disk_queue);
        let warming_depth_max = match queue.engine.sending() {
            Sending::WhatIsResident => (settings.disk_depth / warm::PLACE_SHARE).max(1),
            Sending::AsItComes => 1,
        };
        let pagemap = match queue.engine.sending() {
            Sending::WhatIsResident => Pagemap::open().ok(),
            Sending::AsItComes => None,
        };
        Service {
            disk: queue,
            engine_reason: chosen.reason,
            paths: PathCache::new(path_count_max),
            maps: HeldCache::new(maps).with_curve(TakenIn::Second),
            descriptors: HeldCache::new(descriptors),
            past: PastDates::default(),
            top: Top::default(),
            rewritten: rewritten(),
            watch,
            overflows: 0,
            looked_up: LookedUp::default(),
            roots_served: 0,
            notices: Notices::new(),
            changes: Vec::new(),
            serving: Serving::new(chosen.root),
            staleness: Staleness::new(settings),
            rechecks: Rechecks::new(settings.recheck),
            fetches: Fetches::default(),
            pages: Pages::default(),
            outdated: Outdated::default(),
            being_mapped: HashMap::default(),
            residency: Residency::new(),
            mappings_gone: 0,
            populating: HashMap::default(),
            warming: Warming::new(origins, settings.index.clone(), settings.dot_files),
            warming_depth_max,
            state: State::of(settings.cache_state.clone()),
            pagemap,
            locking: Service::locking_of(settings.map_lock),
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

    /// What a request leads to. With [`Answer::Waiting`] the connection is among those who wait.
    pub(super) fn find(
        &mut self,
        request: &Request<'_>,
        id: ConnectionId,
        peer: Peer,
        looked: Looked,
        now: &Now,
    ) -> Answer {
        let raw_path = request.path();
        let asker = Asker {
            id,
            owner: Owner::from(peer),
            looked,
        };
        if let Some(waiting) = self.wait_for_root(asker, now) {
            return waiting;
        }
        let known = match looked.path {
            true => self.paths.look_up_again(raw_path, now),
            false => self.paths.look_up(raw_path, now),
        };
        let (said, entry) = match &known {
            Known::Fresh(entry) | Known::Due(entry) => (LookUp::Hit, Some(entry)),
            Known::Expired(entry) => (LookUp::Expired, Some(entry)),
            Known::Unknown => (LookUp::Miss, None),
        };
        if !looked.path {
            self.looked_up.path = Some(said);
            if let Some(entry) = entry {
                entry.count_request();
            }
        }
        match known {
            Known::Fresh(entry) => self.answer_from(&entry, request, &[], asker, now),
            Known::Due(entry) => {
                self.check_ahead(raw_path, &entry, now);
                self.answer_from(&entry, request, &[], asker, now)
            }
            Known::Expired(entry) => self.answer_expired(raw_path, &entry, request, asker, now),
            Known::Unknown => self.find_unknown(request, asker, now),
        }
    }

    /// Answers from an entry, or asks the disk for its bytes.
    pub(super) fn answer_from(
        &mut self,
        entry: &Rc<Entry>,
        request: &Request<'_>,
        opened: &[Opened],
        asker: Asker,
        now: &Now,
    ) -> Answer {
        let variants = match &entry.resolution {
            Resolution::File { variants, .. } => variants,
            Resolution::Moved(path) => return Answer::Fixed(Fixed::Moved(path.clone())),
            Resolution::Refused(status) => return Answer::Fixed(Fixed::Error(*status)),
            Resolution::Listed => return self.answer_checked(request, asker, now),
        };
        let coding = match variants.coded.is_empty() {
            true => Coding::Identity,
            false => {
                content_coding::choose(request.lines(Field::AcceptEncoding), variants.codings())
            }
        };
        let representation = variants.in_coding(coding);
        if self.rechecks.is_outdated(representation) {
            return self.fetch_again(entry, request, asker, now);
        }
        let selected = response::select(request, representation, self.ranges, now);
        let content = Content::of(request.head().method);
        let source = match selected.first_byte(content, representation.version.length) {
            None if self.is_rewritten(&representation.version, opened) => {
                return self.fetch_again(entry, request, asker, now);
            }
            None => None,
            Some(first) => match self.supply(entry, representation, first, opened, asker, now) {
                Supply::Source(source) => Some(source),
                Supply::Later(job) => return Answer::Waiting(job),
                Supply::Never => return Answer::Fixed(Fixed::Error(Status::ServiceUnavailable)),
                Supply::Nothing => return self.fetch_again(entry, request, asker, now),
            },
        };
        let bytes = selected.length(content, representation.version.length);
        self.top.answered(request.path(), entry, bytes);
        Answer::Selected {
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
        asker: Asker,
        now: &Now,
    ) -> Answer {
        self.fetch(request.path(), Some(entry), Resolving::Anew, asker, now)
    }

    /// The job of a look-up, and the way to its directory if that is watched already.
    fn resolve(
        &mut self,
        raw_path: &[u8],
        entry: Option<&Rc<Entry>>,
        resolving: Resolving,
        now: &Now,
    ) -> Result<(Resolve, Option<Rc<Way>>), Status> {
        let lookup = resolve::plan(raw_path, &self.naming)?;
        let expected = match (resolving, entry.map(|entry| &entry.resolution)) {
            (Resolving::Comparing, Some(Resolution::File { variants, seen }))
                if variants.is_settled() =>
            {
                seen.expectations(&lookup, variants)
            }
            _ => Vec::new(),
        };
        let (site, way) = self.site(&lookup, now);
        let is_listed = |entry: &&Rc<Entry>| matches!(entry.resolution, Resolution::Listed);
        let listed = entry.filter(is_listed).and(Some(lookup.directory()));
        let page = listed.and_then(|directory| self.pages.digest(directory));
        let resolve = Resolve::checking(lookup, expected, site).expecting_page(page);
        Ok((resolve, way))
    }

    fn fetch(
        &mut self,
        raw_path: &[u8],
        entry: Option<&Rc<Entry>>,
        resolving: Resolving,
        asker: Asker,
        now: &Now,
    ) -> Answer {
        let since = self.since();
        if let Some(job) = self.fetches.join(raw_path, asker.id, since) {
            return Answer::Waiting(job);
        }
        let (resolve, way) = match self.resolve(raw_path, entry, resolving, now) {
            Ok(resolve) => resolve,
            Err(status) => return Answer::Fixed(Fixed::Error(status)),
        };
        let purpose = match resolving {
            Resolving::Comparing => Purpose::Check,
            Resolving::Anew => Purpose::Asked,
        };
        let submitted =
            self.disk
                .submit(asker.owner, Job::Resolve(Box::new(resolve)), now.monotonic);
        match submitted {
            Ok(job) => {
                let pending = Pending {
                    raw_path: raw_path.into(),
                    entry: entry.map(Rc::clone),
                    waiters: Waiters::of(asker.id, since.moment),
                    since,
                    way,
                    purpose,
                    begun: now.monotonic,
                };
                if purpose == Purpose::Check {
                    self.staleness.check_began(job, now);
                }
                self.fetches.begin(job, pending);
                Answer::Waiting(job)
            }
            Err(Saturated(_)) => Answer::Fixed(Fixed::Error(Status::ServiceUnavailable)),
        }
    }

    /// Somebody no longer waits for a job: the time is over, or the connection.
    pub(super) fn leave(&mut self, job: JobId, id: ConnectionId) {
        self.fetches.leave(job, id);
        self.residency.leave(job, id);
        self.populating.remove(&job);
        self.leave_following(job, id);
        self.leave_recheck(job, id);
    }

    /// Tells the caches that time has passed.
    pub(super) fn tick(&mut self, now: &Now) {
        self.paths.tick(now.monotonic);
        self.maps.tick(now.monotonic);
        self.descriptors.tick(now.monotonic);
    }

    /// Closes some kept descriptors, because a connection needs one. Gives how many.
    pub(super) fn shed_descriptors(&mut self, count: usize) -> usize {
        (0..count)
            .take_while(|_| self.descriptors.shed().is_some())
            .count()
    }
}
