//! The caches of the server, asked for the requests of a trace; no other file here knows them.
//!
//! What is looked up, kept and released is decided by `store::holdings` and `store::paths`, as in the server. The disk
//! answers at once. Not replayed: changes of files, files
//! too young for an entity tag, page reclaim, requests that share one look-up.

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use super::row::Row;
use crate::cache::entry::{Entry, Resolution, Seen, Trust};
use crate::cache::key::PathKey;
use crate::cache::path::{Known, PathCache};
use crate::clock::Now;
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::settings::CacheBudget;
use crate::site::rendered::RenderedHead;
use crate::site::representation::{Representation, Variants, Vary};
use crate::site::sites::SiteId;
use crate::site::validators::Sighting;
use crate::store::holdings::{self, Demand, Holdings, Look, Opened};
use crate::store::paths;
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
    /// Whether it has had enough requests to be mapped.
    is_asked_again: bool,
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

    /// Finds the bytes as `Store::supply` does. Returns whether the file had to be opened.
    fn supply(&mut self, version: &FileVersion, bytes: u64, decision: PathDecision) -> Opened {
        if version.length == 0 {
            return Opened::No;
        }
        let is_mappable = self.held.is_mappable(version);
        if is_mappable {
            self.counts.requests += 1;
            self.counts.bytes += bytes;
            if Look::First.at(&mut self.held.maps, version).is_some() {
                self.counts.hits += 1;
                self.counts.hit_bytes += bytes;
                return Opened::No;
            }
        }
        let kept = self.held.descriptor(version, decision.opened, Look::First);
        let reopened = match (decision.opened, kept) {
            (Opened::No, None) => {
                self.keep_open(version);
                Opened::Yes
            }
            _ => Opened::No,
        };
        if is_mappable && decision.is_asked_again && self.held.may_be_mapped(version) {
            self.held.keep_mapped(*version, (), Demand::Requested);
        }
        reopened
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

    /// One request, as `Store::find` handles it.
    pub(super) fn request(&mut self, raw_path: &[u8], outcome: Outcome, now: &Now) -> PathDecision {
        let content = match outcome {
            Outcome::File(_, Some(bytes)) => bytes,
            _ => 0,
        };
        self.counts.requests += 1;
        self.counts.bytes += content;
        let (known, is_fresh) = match paths::look_up(&mut self.paths, key(raw_path), now) {
            Known::Fresh(entry) => (Some(entry), true),
            // The server revalidates it in the background.
            Known::Due(entry) => {
                entry.trust(self.trust(), None, now);
                (Some(entry), true)
            }
            Known::Expired(entry) => {
                self.counts.checks += 1;
                (Some(entry), false)
            }
            Known::Unknown => (None, false),
        };
        if known.is_some() {
            self.counts.hits += 1;
            self.counts.hit_bytes += content;
        }
        let (entry, opened) = match known {
            Some(entry) if is_of(&entry, outcome) && (is_fresh || paths::is_comparable(&entry)) => {
                if !is_fresh {
                    entry.trust(self.trust(), None, now);
                }
                (Some(entry), Opened::No)
            }
            _ => {
                if let (Outcome::File(version, _), Some(store)) = (outcome, &mut self.store) {
                    store.keep_open(&version);
                }
                (self.remember(raw_path, outcome, now), Opened::Yes)
            }
        };
        let requests = entry.map_or(0, |entry| entry.request_count());
        let decision = PathDecision {
            opened,
            is_asked_again: holdings::is_asked_again(requests),
        };
        if let Outcome::File(version, Some(bytes)) = outcome
            && let Some(store) = &mut self.store
            && store.supply(&version, bytes, decision) == Opened::Yes
        {
            self.remember(raw_path, outcome, now);
        }
        decision
    }

    fn trust(&self) -> Trust {
        Trust {
            lifetime: self.lifetime,
            generation: self.paths.generation(),
        }
    }

    /// Inserts the result of a look-up as `Store::remember` does.
    fn remember(&mut self, raw_path: &[u8], outcome: Outcome, now: &Now) -> Option<Rc<Entry>> {
        let resolution = match outcome {
            Outcome::Invalid => return None,
            Outcome::NotFound => Resolution::Refused(Status::NotFound),
            Outcome::Redirect => Resolution::Moved(String::new()),
            Outcome::File(version, _) => Resolution::File {
                variants: Variants {
                    identity: Representation {
                        version,
                        ..self.blank.clone()
                    },
                    coded: Box::default(),
                },
                seen: Seen::default(),
            },
        };
        let entry = Rc::new(Entry::new(resolution));
        entry.trust(self.trust(), None, now);
        entry.count_request();
        let store = &mut self.store;
        let mut gone = |gone: Rc<Entry>, why| {
            if let Some(store) = &mut *store {
                store.held.departed(&gone, why, &entry);
            }
        };
        self.paths
            .insert(key(raw_path), Rc::clone(&entry), &mut gone);
        Some(entry)
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

/// A path of the one site: logs do not name another.
fn key(raw_path: &[u8]) -> PathKey<'_> {
    PathKey::new(SiteId::FIRST, raw_path)
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
