//! The real caches, asked as the server asks them; the one place here that knows how.
//!
//! Follows `server/service` step by step, with a disk that answers at once. What is not replayed:
//! changes of files, files that are too young for an entity tag, pages that the kernel takes away, requests that wait for one
//! look-up together.

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use super::replay::Row;
use crate::cache::MAP_AFTER_REQUEST_COUNT;
use crate::cache::content::{Budget, ContentCache};
use crate::cache::entry::{Entry, Resolution, Seen, Trust};
use crate::cache::key::PathKey;
use crate::cache::path::{Known, PathCache};
use crate::clock::Now;
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::settings::CacheBudget;
use crate::site::representation::{RenderedHead, Representation, Variants, Vary};
use crate::site::sites::SiteId;
use crate::site::validators::Sighting;
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
struct Given {
    /// Requests that could be answered from the cache.
    requests: u64,
    /// Those that were.
    hits: u64,
    /// Those of the hits that needed a check with the disk first.
    checks: u64,
    /// Bytes of content of the requests, and of the hits.
    bytes: u64,
    hit_bytes: u64,
}

/// What the path cache decided about one request, for map caches of other sizes: nothing of it
/// depends on them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Whether the file was opened, because its path was not known.
    opened: Opened,
    /// Whether it has been asked for often enough to be mapped.
    may_map: bool,
}

/// Whether the file has just been opened for this answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opened {
    Yes,
    No,
}

/// What holds the bytes of files: mappings and descriptors.
#[derive(Debug)]
pub(super) struct Store {
    maps: ContentCache<()>,
    descriptors: ContentCache<()>,
    map_file_length_max: u64,
    given: Given,
}

impl Store {
    /// An empty one. `descriptor_count_max` bounds the files that are kept open.
    pub(super) fn new(budget: &CacheBudget, descriptor_count_max: usize) -> Store {
        let held = |bytes_max, count_max| {
            ContentCache::new(Budget {
                bytes_max,
                count_max,
            })
        };
        Store {
            maps: held(budget.map_bytes_max, budget.map_count_max),
            descriptors: held(u64::MAX, descriptor_count_max),
            map_file_length_max: budget.map_file_length_max,
            given: Given::default(),
        }
    }

    /// One request of which the path cache has decided.
    pub(super) fn request(&mut self, leads_to: LeadsTo, step: Step) {
        if let LeadsTo::File(version, content) = leads_to {
            if step.opened == Opened::Yes {
                self.keep_open(&version);
            }
            if let Some(bytes) = content {
                self.supply(&version, bytes, step);
            }
        }
    }

    /// Where the bytes come from, as `Store::supply` finds them. Whether nothing held them, so that
    /// the file had to be opened.
    fn supply(&mut self, version: &FileVersion, bytes: u64, step: Step) -> Opened {
        let mut reopened = Opened::No;
        if version.length == 0 {
            return reopened;
        }
        let is_mappable = version.length <= self.map_file_length_max;
        if is_mappable {
            self.given.requests += 1;
            self.given.bytes += bytes;
            if self.maps.look_up(version).is_some() {
                self.given.hits += 1;
                self.given.hit_bytes += bytes;
                return reopened;
            }
        }
        match step.opened {
            Opened::Yes => self.descriptors.note_opened(version),
            Opened::No if self.descriptors.look_up(version).is_some() => {}
            Opened::No => {
                reopened = Opened::Yes;
                self.keep_open(version);
            }
        }
        if is_mappable && step.may_map && self.maps.has_room_for(version.length) {
            self.maps.insert(*version, ());
            if self.maps.has_room_for_all() {
                self.descriptors.release(version);
            }
        }
        reopened
    }

    fn keep_open(&mut self, version: &FileVersion) {
        if version.length > 0 && !self.maps.holds(version) {
            self.descriptors.insert(*version, ());
        }
    }

    /// What the map cache of this size gave.
    pub(super) fn row(&self, size: u64) -> Row {
        let given = &self.given;
        Row {
            size,
            entry_count: self.maps.entry_count() as u64,
            bytes_used: self.maps.bytes(),
            requests: given.requests,
            hits: given.hits,
            checks: given.checks,
            bytes: given.bytes,
            hit_bytes: given.hit_bytes,
            stats: self.maps.stats(),
        }
    }
}

/// The caches of one server.
#[derive(Debug)]
pub(super) struct Caches {
    paths: PathCache,
    /// What holds the bytes; `None` where only paths are of interest. Without it an entry is not
    /// renewed when its file has to be opened again, which moves checks by next to nothing.
    pub store: Option<Store>,
    /// How long an entry is trusted: for ever where changes are told.
    lifetime: Duration,
    /// A file's facts, without the heads that nobody will be sent.
    blank: Representation,
    given: Given,
}

impl Caches {
    /// Empty ones.
    pub(super) fn new(budget: &CacheBudget, store: Option<Store>, now: &Now) -> Caches {
        let count_max = NonZeroUsize::new(budget.path_count_max).unwrap_or(NonZeroUsize::MIN);
        Caches {
            paths: PathCache::new(count_max).without_curve(),
            store,
            lifetime: match budget.watched_directory_count_max {
                0 => budget.revalidate,
                _ => Trust::FOR_EVER,
            },
            blank: blank(now),
            given: Given::default(),
        }
    }

    /// One request, as `Store::find` handles it.
    pub(super) fn request(&mut self, raw_path: &[u8], leads_to: LeadsTo, now: &Now) -> Step {
        let content = match leads_to {
            LeadsTo::File(_, Some(bytes)) => bytes,
            _ => 0,
        };
        self.given.requests += 1;
        self.given.bytes += content;
        let (known, is_fresh) = match self.paths.look_up(key(raw_path), now) {
            Known::Fresh(entry) => (Some(entry), true),
            // The server has it checked beside the requests, which do not wait for that.
            Known::Due(entry) => {
                entry.trust(self.trust(), None, now);
                (Some(entry), true)
            }
            Known::Expired(entry) => {
                self.given.checks += 1;
                (Some(entry), false)
            }
            Known::Unknown => (None, false),
        };
        if let Some(entry) = &known {
            entry.count_request();
            self.given.hits += 1;
            self.given.hit_bytes += content;
        }
        let (entry, opened) = match known {
            // A check only compares; what is no file is looked for anew.
            Some(entry) if is_of(&entry, leads_to) && (is_fresh || has_file(&entry)) => {
                if !is_fresh {
                    entry.trust(self.trust(), None, now);
                }
                (Some(entry), Opened::No)
            }
            _ => {
                if let (LeadsTo::File(version, _), Some(store)) = (leads_to, &mut self.store) {
                    store.keep_open(&version);
                }
                (self.remember(raw_path, leads_to, now), Opened::Yes)
            }
        };
        let requests = entry.map_or(0, |entry| entry.request_count());
        let step = Step {
            opened,
            may_map: requests >= MAP_AFTER_REQUEST_COUNT,
        };
        if let LeadsTo::File(version, Some(bytes)) = leads_to
            && let Some(store) = &mut self.store
            && store.supply(&version, bytes, step) == Opened::Yes
        {
            self.remember(raw_path, leads_to, now);
        }
        step
    }

    fn trust(&self) -> Trust {
        Trust {
            lifetime: self.lifetime,
            generation: self.paths.generation(),
        }
    }

    /// What a look-up at the disk came to, as `Store::remember` takes it in.
    fn remember(&mut self, raw_path: &[u8], leads_to: LeadsTo, now: &Now) -> Option<Rc<Entry>> {
        let resolution = match leads_to {
            LeadsTo::NoName => return None,
            LeadsTo::Nothing => Resolution::Refused(Status::NotFound),
            LeadsTo::Redirect => Resolution::Moved(String::new()),
            LeadsTo::File(version, _) => Resolution::File {
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
        // Descriptors of paths that are forgotten are let go.
        let store = &mut self.store;
        let mut gone = |gone: Rc<Entry>, _| {
            if let (Some(store), Resolution::File { variants, .. }) =
                (&mut *store, &gone.resolution)
            {
                let version = variants.identity.version;
                let is_same = matches!(leads_to, LeadsTo::File(new, _) if new == version);
                if !is_same {
                    store.descriptors.release(&version);
                }
            }
        };
        self.paths
            .insert(key(raw_path), Rc::clone(&entry), &mut gone);
        Some(entry)
    }

    /// What the path cache of this size gave.
    pub(super) fn row(&self, size: u64) -> Row {
        let given = &self.given;
        Row {
            size,
            entry_count: self.paths.entry_count() as u64,
            bytes_used: 0,
            requests: given.requests,
            hits: given.hits,
            checks: given.checks,
            bytes: given.bytes,
            hit_bytes: given.hit_bytes,
            stats: self.paths.stats(),
        }
    }
}

/// A path of the one site: logs do not name another.
fn key(raw_path: &[u8]) -> PathKey<'_> {
    PathKey::new(SiteId::FIRST, raw_path)
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
    let mut blank = Representation::new("", Sighting::of(version), coding, Vary::Nothing, now);
    blank.head = RenderedHead::default();
    blank
}
