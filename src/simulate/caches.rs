//! The real caches, asked as the server asks them; the one place here that knows how.
//!
//! Follows `server/service` step by step, with a disk that answers at once. What is not replayed:
//! changes of files, weak entity tags, pages that the kernel takes away, requests that wait for one
//! look-up together.

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;

use crate::cache::MAP_AFTER_REQUEST_COUNT;
use crate::cache::entry::{Entry, Resolution};
use crate::cache::held::{Budget, HeldCache};
use crate::cache::path::{Known, PathCache};
use crate::cache::stats::CacheStats;
use crate::clock::Now;
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::server::settings::CacheBudget;
use crate::site::representation::{RenderedHead, Representation, Variants, Vary};
use crate::site::resolve::{Lookup, OnDirectory};
use crate::sys::file::{FileTime, FileVersion};

/// What a request leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum LeadsTo {
    /// The path can name no file: refused without being remembered.
    NoName,
    /// Nothing is there.
    Nothing,
    /// A redirect.
    Redirect,
    /// A file, and so many bytes of it, if any of its content is sent. `u64::MAX` is the length of
    /// one whose length is not known: it cannot be mapped.
    File(FileVersion, Option<u64>),
}

/// What the caches gave to the requests that were asked of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    /// Requests that could be answered from the cache.
    pub requests: u64,
    /// Those that were.
    pub hits: u64,
    /// Those of the hits that needed a check with the disk first.
    pub checks: u64,
    /// Bytes of content of the requests, and of the hits.
    pub bytes: u64,
    pub hit_bytes: u64,
}

/// The caches of one server.
#[derive(Debug)]
pub(super) struct Caches {
    paths: PathCache,
    maps: HeldCache<()>,
    descriptors: HeldCache<()>,
    budget: CacheBudget,
    /// A file's facts, without the heads that nobody will be sent.
    blank: Representation,
    /// By path and by map cache.
    pub by_path: Given,
    pub by_map: Given,
}

impl Caches {
    /// Empty ones. `descriptor_count_max` bounds the files that are kept open.
    pub(super) fn new(budget: CacheBudget, descriptor_count_max: usize, now: &Now) -> Caches {
        let held = |bytes_max, count_max| {
            HeldCache::new(Budget {
                bytes_max,
                count_max,
            })
        };
        Caches {
            paths: PathCache::new(
                NonZeroUsize::new(budget.path_count_max).unwrap_or(NonZeroUsize::MIN),
            ),
            maps: held(budget.map_bytes_max, budget.map_count_max),
            descriptors: held(u64::MAX, descriptor_count_max),
            budget,
            blank: blank(now),
            by_path: Given::default(),
            by_map: Given::default(),
        }
    }

    /// One request, as `Service::find` handles it.
    pub(super) fn request(&mut self, raw_path: &[u8], leads_to: LeadsTo, now: &Now) {
        let content = match leads_to {
            LeadsTo::File(_, Some(bytes)) => bytes,
            _ => 0,
        };
        self.by_path.requests += 1;
        self.by_path.bytes += content;
        let (entry, is_known) = match self.paths.look_up(raw_path, now) {
            Known::Fresh(entry) => (Some(entry), true),
            Known::Expired(entry) => {
                self.by_path.checks += 1;
                (Some(entry), false)
            }
            Known::Unknown => (None, false),
        };
        if let Some(entry) = &entry {
            entry.count_request();
            self.by_path.hits += 1;
            self.by_path.hit_bytes += content;
        }
        match entry {
            // A check only compares; what is no file is looked for anew.
            Some(entry) if is_of(&entry, leads_to) && (is_known || has_file(&entry)) => {
                if !is_known {
                    entry.renew(now, self.budget.revalidate);
                }
                self.answer(raw_path, &entry, leads_to, Opened::No, now);
            }
            _ => {
                if let Some(entry) = self.resolve(raw_path, leads_to, now) {
                    self.answer(raw_path, &entry, leads_to, Opened::Yes, now);
                }
            }
        }
    }

    /// A look-up at the disk, as `Service::resolved` takes its result in.
    fn resolve(&mut self, raw_path: &[u8], leads_to: LeadsTo, now: &Now) -> Option<Rc<Entry>> {
        let resolution = match leads_to {
            LeadsTo::NoName => return None,
            LeadsTo::Nothing => Resolution::Refused(Status::NotFound),
            LeadsTo::Redirect => Resolution::Moved(String::new()),
            LeadsTo::File(version, _) => {
                if version.length > 0 && !self.maps.holds(&version) {
                    self.descriptors.insert(version, ());
                }
                Resolution::File {
                    variants: Variants {
                        identity: Representation {
                            version,
                            ..self.blank.clone()
                        },
                        coded: Vec::new(),
                    },
                    expectations: Arc::default(),
                }
            }
        };
        let lookup = Lookup {
            candidates: Vec::new(),
            on_directory: OnDirectory::Missing,
            listing: None,
        };
        let lifetime = self.budget.revalidate;
        let entry = Rc::new(Entry::new(resolution, lookup, now, lifetime));
        entry.count_request();
        self.paths.insert(raw_path, Rc::clone(&entry));
        Some(entry)
    }

    /// Where the bytes come from, as `Service::supply` finds them.
    fn answer(
        &mut self,
        raw_path: &[u8],
        entry: &Rc<Entry>,
        leads_to: LeadsTo,
        opened: Opened,
        now: &Now,
    ) {
        let LeadsTo::File(version, Some(bytes)) = leads_to else {
            return;
        };
        if version.length == 0 {
            return;
        }
        let is_mappable = version.length <= self.budget.map_file_length_max;
        if is_mappable {
            self.by_map.requests += 1;
            self.by_map.bytes += bytes;
            if self.maps.look_up(&version).is_some() {
                self.by_map.hits += 1;
                self.by_map.hit_bytes += bytes;
                return;
            }
        }
        let mut entry = Rc::clone(entry);
        if opened == Opened::No && self.descriptors.look_up(&version).is_none() {
            // Nothing holds its bytes: it is opened, and both caches are asked once more.
            if let Some(again) = self.resolve(raw_path, leads_to, now) {
                entry = again;
            }
            if is_mappable {
                self.maps.look_up(&version);
            }
        }
        if is_mappable
            && entry.request_count() >= MAP_AFTER_REQUEST_COUNT
            && self.maps.has_room_for(version.length)
        {
            self.maps.insert(version, ());
            self.descriptors.release(&version);
        }
    }

    /// Paths, mappings, and bytes of mappings now.
    pub(super) fn fill(&self) -> (usize, usize, u64) {
        (
            self.paths.entry_count(),
            self.maps.entry_count(),
            self.maps.bytes(),
        )
    }

    /// The counters that a server would show, of paths and of mappings.
    pub(super) fn stats(&self) -> (CacheStats, CacheStats) {
        (self.paths.stats(), self.maps.stats())
    }
}

/// Whether the file has just been opened for this answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opened {
    Yes,
    No,
}

fn has_file(entry: &Entry) -> bool {
    matches!(entry.resolution, Resolution::File { .. })
}

/// Whether the log still says what is remembered.
fn is_of(entry: &Entry, leads_to: LeadsTo) -> bool {
    matches!(
        (&entry.resolution, leads_to),
        (Resolution::File { .. }, LeadsTo::File(..))
            | (Resolution::Moved(_), LeadsTo::Redirect)
            | (Resolution::Refused(_), LeadsTo::Nothing | LeadsTo::NoName)
    )
}

/// The facts of a file of no length that never changed, its rendered heads left out.
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
    let mut blank = Representation::new("", version, coding, Vary::Nothing, now);
    blank.ok = RenderedHead::default();
    blank.not_modified = RenderedHead::default();
    blank
}
