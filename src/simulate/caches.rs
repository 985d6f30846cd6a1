//! The caches of the server, asked for the requests of a trace; no other file here knows them.
//!
//! `store::caches` decides in which order they are asked, and `store::holdings` what is kept and released, as in the
//! server. The steps beside the caches are here: a disk that answers at once with what the log says. Not replayed:
//! changes of files, files too young for an entity tag, page reclaim, requests that share one look-up.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use super::row::Row;
use crate::cache::entry::{Entry, Resolution, Seen, Trust};
use crate::cache::key::PathKey;
use crate::cache::path::PathCache;
use crate::clock::Now;
use crate::conn::CacheResult;
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::settings::CacheBudget;
use crate::site::redirect::Moved;
use crate::site::rendered::RenderedHead;
use crate::site::representation::{Representation, Variants, Vary};
use crate::site::sites::SiteId;
use crate::site::validators::Sighting;
use crate::store::caches::{self, ContentSteps, PathSteps, Supplied};
use crate::store::holdings::{Demand, Holdings, Look, Opened};
use crate::sys::file::{FileTime, FileVersion};

/// What a request is answered from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// The path is invalid: refused without an entry.
    Invalid,
    /// No file: a negative entry.
    NotFound,
    /// A redirect.
    Redirect,
    /// A file, and the bytes of its content that are sent, if any. A file of unknown length has length `u64::MAX`
    /// and cannot be mapped.
    File(FileVersion, Option<u64>),
}

/// Requests and hits of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct HitCounts {
    /// Requests that the cache may hold an entry for.
    requests: u64,
    /// Hits.
    hits: u64,
    /// Hits that were revalidated first.
    checks: u64,
    /// Bytes of content of all requests, and of the hits.
    bytes: u64,
    hit_bytes: u64,
}

/// The result of the path cache for one request. It does not depend on the size of the map cache, so one run
/// serves all of these.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathDecision {
    /// Whether the file was opened after a miss of the path cache.
    opened: Opened,
    /// Requests for its entry so far, at most 255.
    request_count: u8,
}

/// The caches of content: mapped files and open files.
#[derive(Debug)]
pub(super) struct ContentCaches {
    held: Holdings<(), ()>,
    counts: HitCounts,
}

impl ContentCaches {
    /// Empty caches; at most `descriptor_count_max` open files.
    pub(super) fn new(budget: &CacheBudget, descriptor_count_max: usize) -> ContentCaches {
        ContentCaches {
            held: Holdings::new(budget, descriptor_count_max),
            counts: HitCounts::default(),
        }
    }

    /// One request, after the path cache.
    pub(super) fn request(&mut self, outcome: Outcome, decision: PathDecision) {
        if let Outcome::File(version, content) = outcome {
            if decision.opened == Opened::Yes {
                self.keep_open(&version);
            }
            if let Some(bytes) = content {
                self.supply(&version, bytes, decision);
            }
        }
    }

    /// Finds the bytes of a file. Returns whether it had to be opened for them.
    fn supply(&mut self, version: &FileVersion, bytes: u64, decision: PathDecision) -> Opened {
        if version.length == 0 {
            return Opened::No;
        }
        let mut supplying = Supplying {
            caches: self,
            bytes,
            decision,
            look: Look::First,
        };
        match caches::supply(&mut supplying, version) {
            Supplied::Mapping(()) | Supplied::File(()) => Opened::No,
            Supplied::Waiting(never) => match never {},
            Supplied::Missing => {
                supplying.caches.keep_open(version);
                supplying.decision.opened = Opened::Yes;
                supplying.look = Look::Again;
                caches::supply(&mut supplying, version);
                Opened::Yes
            }
        }
    }

    fn keep_open(&mut self, version: &FileVersion) {
        self.held.keep_open(*version, (), Demand::Requested);
    }

    /// The row of a map cache of this size.
    pub(super) fn row(&self, size: u64) -> Row {
        let counts = &self.counts;
        Row {
            size,
            entry_count: self.held.maps.entry_count() as u64,
            bytes_used: self.held.maps.bytes(),
            requests: counts.requests,
            hits: counts.hits,
            checks: counts.checks,
            bytes: counts.bytes,
            hit_bytes: counts.hit_bytes,
            stats: self.held.maps.stats(),
        }
    }
}

/// A request of the trace for the bytes of a file. All files are resident.
struct Supplying<'a> {
    caches: &'a mut ContentCaches,
    bytes: u64,
    decision: PathDecision,
    look: Look,
}

impl ContentSteps for Supplying<'_> {
    type Mapping = ();
    type File = ();
    type Wait = Infallible;

    fn is_mappable(&self, version: &FileVersion) -> bool {
        self.caches.held.is_mappable(version)
    }

    fn mapping(&mut self, version: &FileVersion) -> Option<()> {
        let is_hit = self.look.at(&mut self.caches.held.maps, version).is_some();
        if self.look == Look::First {
            let counts = &mut self.caches.counts;
            counts.requests += 1;
            counts.bytes += self.bytes;
            if is_hit {
                counts.hits += 1;
                counts.hit_bytes += self.bytes;
            }
        }
        is_hit.then_some(())
    }

    fn descriptor(&mut self, version: &FileVersion) -> Option<()> {
        let opened = self.decision.opened;
        let kept = self.caches.held.descriptor(version, opened, self.look);
        (kept.is_some() || opened == Opened::Yes).then_some(())
    }

    fn wait(&mut self, _: &FileVersion, (): &()) -> Option<Infallible> {
        None
    }

    fn request_count(&self) -> u32 {
        self.decision.request_count.into()
    }

    fn is_mapped_at_once(&self, (): &()) -> bool {
        false
    }

    fn map(&mut self, version: &FileVersion, (): &()) {
        let held = &mut self.caches.held;
        if held.may_be_mapped(version) {
            held.keep_mapped(*version, (), Demand::Requested);
        }
    }
}

/// The caches of one server.
#[derive(Debug)]
pub(super) struct Caches {
    paths: PathCache,
    /// The caches of content; `None` where only the path cache is measured. Without them an entry is not
    /// renewed when its file is opened again, which hardly changes the number of revalidations.
    pub store: Option<ContentCaches>,
    /// How long an entry is trusted: for ever where inotify reports changes.
    lifetime: Duration,
    /// A representation without rendered heads, which nothing sends here.
    blank: Representation,
    counts: HitCounts,
}

impl Caches {
    /// Empty ones.
    pub(super) fn new(budget: &CacheBudget, store: Option<ContentCaches>, now: &Now) -> Caches {
        let count_max = NonZeroUsize::new(budget.path_count_max).unwrap_or(NonZeroUsize::MIN);
        Caches {
            paths: PathCache::new(count_max).without_curve(),
            store,
            lifetime: match budget.watched_directory_count_max {
                0 => budget.revalidate,
                _ => Trust::FOR_EVER,
            },
            blank: blank(now),
            counts: HitCounts::default(),
        }
    }

    /// One request.
    pub(super) fn request(&mut self, raw_path: &[u8], outcome: Outcome, now: &Now) -> PathDecision {
        let key = PathKey::new(SiteId::FIRST, raw_path);
        let mut resolving = Resolving {
            caches: self,
            key,
            outcome,
            now,
        };
        caches::find(&mut resolving, key, Look::First, now)
    }

    fn trust(&self) -> Trust {
        Trust {
            lifetime: self.lifetime,
            generation: self.paths.generation(),
        }
    }

    /// The row of a path cache of this size.
    pub(super) fn row(&self, size: u64) -> Row {
        let counts = &self.counts;
        Row {
            size,
            entry_count: self.paths.entry_count() as u64,
            bytes_used: 0,
            requests: counts.requests,
            hits: counts.hits,
            checks: counts.checks,
            bytes: counts.bytes,
            hit_bytes: counts.hit_bytes,
            stats: self.paths.stats(),
        }
    }
}

/// A request of the trace at the path cache. Its path is one of the first site: logs name no other.
struct Resolving<'a> {
    caches: &'a mut Caches,
    key: PathKey<'a>,
    outcome: Outcome,
    now: &'a Now,
}

impl PathSteps for Resolving<'_> {
    type Answer = PathDecision;

    fn cache(&mut self) -> &mut PathCache {
        &mut self.caches.paths
    }

    fn note(&mut self, result: CacheResult) {
        let bytes = match self.outcome {
            Outcome::File(_, Some(bytes)) => bytes,
            _ => 0,
        };
        let counts = &mut self.caches.counts;
        counts.requests += 1;
        counts.bytes += bytes;
        if result != CacheResult::Miss {
            counts.hits += 1;
            counts.hit_bytes += bytes;
        }
        if result == CacheResult::Expired {
            counts.checks += 1;
        }
    }

    fn answer(&mut self, entry: &Rc<Entry>) -> PathDecision {
        match is_of(entry, self.outcome) {
            true => self.supply(entry, Opened::No),
            false => self.look_up(),
        }
    }

    fn revalidate_ahead(&mut self, entry: &Rc<Entry>) {
        self.trust(entry);
    }

    fn revalidate(&mut self, entry: &Rc<Entry>) -> PathDecision {
        if !is_of(entry, self.outcome) || !caches::is_comparable(entry) {
            return self.look_up();
        }
        self.trust(entry);
        self.supply(entry, Opened::No)
    }

    fn look_up(&mut self) -> PathDecision {
        if let (Outcome::File(version, _), Some(store)) = (self.outcome, &mut self.caches.store) {
            store.keep_open(&version);
        }
        match self.remember() {
            Some(entry) => self.supply(&entry, Opened::Yes),
            None => PathDecision {
                opened: Opened::Yes,
                request_count: 0,
            },
        }
    }
}

impl Resolving<'_> {
    fn supply(&mut self, entry: &Entry, opened: Opened) -> PathDecision {
        let decision = PathDecision {
            opened,
            request_count: u8::try_from(entry.request_count()).unwrap_or(u8::MAX),
        };
        if let Outcome::File(version, Some(bytes)) = self.outcome
            && let Some(store) = &mut self.caches.store
            && store.supply(&version, bytes, decision) == Opened::Yes
        {
            self.remember();
        }
        decision
    }

    /// Caches the result that the log has for the path; `None`: it has no entry.
    fn remember(&mut self) -> Option<Rc<Entry>> {
        let resolution = match self.outcome {
            Outcome::Invalid => return None,
            Outcome::NotFound => Resolution::Refused(Status::NotFound),
            Outcome::Redirect => Resolution::Moved(Moved::directory(String::new())),
            Outcome::File(version, _) => Resolution::File {
                variants: Variants {
                    identity: Representation {
                        version,
                        ..self.caches.blank.clone()
                    },
                    coded: Box::default(),
                },
                seen: Seen::default(),
            },
        };
        let entry = Rc::new(Entry::new(resolution));
        self.trust(&entry);
        let Caches { paths, store, .. } = &mut *self.caches;
        let mut gone = |gone: Rc<Entry>, why| {
            if let Some(store) = &mut *store {
                store.held.departed(&gone, why, &entry);
            }
        };
        caches::remember(paths, self.key, &entry, &mut gone);
        Some(entry)
    }

    fn trust(&self, entry: &Entry) {
        entry.trust(self.caches.trust(), None, self.now);
    }
}

/// Whether the entry agrees with the log.
fn is_of(entry: &Entry, outcome: Outcome) -> bool {
    matches!(
        (&entry.resolution, outcome),
        (Resolution::File { .. }, Outcome::File(..))
            | (Resolution::Moved(_), Outcome::Redirect)
            | (Resolution::Refused(_), Outcome::NotFound | Outcome::Invalid)
    )
}

/// The representation of an empty file that never changed, without rendered heads.
fn blank(now: &Now) -> Representation {
    let never = FileTime {
        seconds: 0,
        nanoseconds: 0,
    };
    let version = FileVersion {
        device: 0,
        inode: 0,
        length: 0,
        modified: never,
        changed: never,
    };
    let coding = Coding::Identity;
    let mut blank = Representation::new("", Sighting::of(version), coding, Vary::Nothing, now);
    blank.head = RenderedHead::default();
    blank
}
