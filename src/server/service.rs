//! What a request leads to: the caches, and the disk behind them.
//!
//! [`Service::find`] answers from the caches or submits a job; [`Service::complete`] takes a job's
//! result in. Neither touches a socket.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::HashSet;

use super::connections::{ConnectionId, Role};
use super::fetch::{Fetches, Pending};
use super::residency::{self, Residency, Window};
use super::settings::{Settings, StatusAccess};
use super::watch::{Change, Watch};
use crate::cache::entry::{Entry, Resolution};
use crate::cache::held::{Budget, HeldCache};
use crate::cache::path::{Known, PathCache};
use crate::clock::Now;
use crate::conn::Peer;
use crate::conn::outbox::{FileSegment, Source};
use crate::disk::job::{Done, FoundFile, Job, Map, Opened, Outcome, Resolve, Warm};
use crate::disk::{Disk, JobId, Saturated, Sending};
use crate::http::content_coding::{self, Coding};
use crate::http::range::RangeLimits;
use crate::http::request::{Field, Provenance, Request};
use crate::http::status::Status;
use crate::site::media_type::media_type;
use crate::site::representation::{Representation, Variants, Vary};
use crate::site::resolve::{self, Lookup, Naming};
use crate::site::response::{self, Content, Fixed, Selected};
use crate::sys::file::{FileVersion, OpenFile};
use crate::sys::mapping::Mapping;

/// Requests for a path after which its file is mapped: a file asked for once never enters the map.
const MAP_AFTER_REQUEST_COUNT: u32 = 2;

/// The path of the status page.
pub(super) const STATUS_PATH: &[u8] = b"/status";

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
    /// The status page: the caller knows what to show.
    Status,
    /// The disk was asked; the answer comes with the completion of a job.
    Waiting,
}

/// A finished look-up and those who waited for it.
#[derive(Debug)]
pub(super) struct Completed {
    /// Who waited.
    pub waiters: Vec<ConnectionId>,
    /// What they get.
    pub result: Result<Rc<Entry>, Status>,
    /// The files that were opened, for those who wait: the caches may have no room for them.
    pub opened: Vec<Opened>,
}

/// A mapping, and when it was last sent: after a while its pages may have gone.
#[derive(Debug)]
pub(super) struct MappedFile {
    mapping: Rc<Mapping>,
    used: Cell<Instant>,
}

/// Caches, disk and policy of one site.
#[derive(Debug)]
pub(super) struct Service {
    /// The disk engine.
    pub disk: Box<dyn Disk>,
    /// What paths lead to.
    pub paths: PathCache,
    /// Mapped files.
    pub maps: HeldCache<MappedFile>,
    /// Open files.
    pub descriptors: HeldCache<Arc<OpenFile>>,
    /// Changes of mapped files.
    pub watch: Watch,
    /// Look-ups at the disk.
    pub fetches: Fetches,
    being_mapped: HashSet<FileVersion>,
    residency: Residency,
    naming: Naming,
    ranges: RangeLimits,
    map_file_length_max: u64,
    revalidate: Duration,
    status: StatusAccess,
}

impl Service {
    /// A service with empty caches, at most `descriptor_count_max` files kept open.
    pub(super) fn new(
        settings: &Settings,
        descriptor_count_max: usize,
        disk: Box<dyn Disk>,
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
        Service {
            disk,
            paths: PathCache::new(path_count_max),
            maps: HeldCache::new(maps),
            descriptors: HeldCache::new(descriptors),
            watch: Watch::new(),
            fetches: Fetches::default(),
            being_mapped: HashSet::default(),
            residency: Residency::new(),
            naming: Naming {
                index: settings.index.clone(),
                dot_files: settings.dot_files,
            },
            ranges: RangeLimits {
                count_max: settings.limits.range_count_max,
            },
            map_file_length_max: cache.map_file_length_max,
            revalidate: cache.revalidate,
            status: settings.status,
        }
    }

    /// What a request leads to. With [`Answer::Waiting`] the connection is among those who wait.
    pub(super) fn find(
        &mut self,
        request: &Request<'_>,
        id: ConnectionId,
        peer: Peer,
        role: Role,
        now: &Now,
    ) -> Answer {
        let raw_path = request.path();
        if (raw_path == STATUS_PATH || role == Role::Status)
            && let Some(answer) = self.status_page(request, peer, role)
        {
            return answer;
        }
        match self.paths.look_up(raw_path, now) {
            Known::Fresh(entry) => {
                entry.count_request();
                match self.answer_from(&entry, request, &[], now) {
                    Some(answer) => answer,
                    None => {
                        let job = Resolve::new(entry.lookup.clone());
                        self.fetch(raw_path, Some(entry), job, id)
                    }
                }
            }
            Known::Expired(entry) => {
                entry.count_request();
                let job = match &entry.resolution {
                    Resolution::File { expectations, .. } => {
                        Resolve::checking(entry.lookup.clone(), Arc::clone(expectations))
                    }
                    Resolution::Moved(_) | Resolution::Refused(_) => {
                        Resolve::new(entry.lookup.clone())
                    }
                };
                self.fetch(raw_path, Some(entry), job, id)
            }
            Known::Unknown => match resolve::plan(raw_path, &self.naming) {
                Ok(lookup) => self.fetch(raw_path, None, Resolve::new(lookup), id),
                Err(status) => Answer::Fixed(Fixed::Error(status)),
            },
        }
    }

    /// Who may see the status page sees it, others get 404; `None` where there is none.
    fn status_page(&self, request: &Request<'_>, peer: Peer, role: Role) -> Option<Answer> {
        let allowed = match (self.status, role) {
            (_, Role::Status) => request.path() == STATUS_PATH || request.path() == b"/",
            (StatusAccess::All, Role::Site) => true,
            (StatusAccess::Loopback, Role::Site) => {
                let loopback = match peer {
                    Peer::Address(address) => address.to_canonical().is_loopback(),
                    Peer::Local => false,
                };
                loopback && request.head().provenance == Provenance::Direct
            }
            (StatusAccess::Off | StatusAccess::Listener(_), Role::Site) => return None,
        };
        Some(if allowed {
            Answer::Status
        } else {
            Answer::Fixed(Fixed::Error(Status::NotFound))
        })
    }

    /// Answers from an entry. `None`: bytes are needed and nothing holds them.
    pub(super) fn answer_from(
        &mut self,
        entry: &Rc<Entry>,
        request: &Request<'_>,
        opened: &[Opened],
        now: &Now,
    ) -> Option<Answer> {
        let variants = match &entry.resolution {
            Resolution::File { variants, .. } => variants,
            Resolution::Moved(path) => return Some(Answer::Fixed(Fixed::Moved(path.clone()))),
            Resolution::Refused(status) => return Some(Answer::Fixed(Fixed::Error(*status))),
        };
        let coding = match variants.coded.is_empty() {
            true => Coding::Identity,
            false => {
                content_coding::choose(request.lines(Field::AcceptEncoding), variants.codings())
            }
        };
        let representation = variants.in_coding(coding);
        let selected = response::select(request, representation, self.ranges, now);
        let content = Content::of(request.head().method);
        let source = match selected.needs_file(content, representation.version.length) {
            false => None,
            true => Some(self.source(entry, representation, opened, now)?),
        };
        Some(Answer::Selected {
            entry: Rc::clone(entry),
            coding,
            selected,
            source,
        })
    }

    /// The bytes of a representation: a mapping, a descriptor just opened, or a kept one that is
    /// still of that version. `statx` of a descriptor costs 0.2 µs and never waits.
    fn source(
        &mut self,
        entry: &Entry,
        representation: &Representation,
        opened: &[Opened],
        now: &Now,
    ) -> Option<Source> {
        let version = representation.version;
        let mappable = version.length <= self.map_file_length_max;
        if mappable && let Some(mapping) = self.mapping(&version, now) {
            return Some(Source::Mapped(mapping));
        }
        let fresh = opened.iter().find(|opened| opened.version == version);
        let file = match fresh {
            Some(opened) => Arc::clone(&opened.file),
            None => {
                let file = Arc::clone(self.descriptors.look_up(&version)?);
                if file.describe().ok()?.version != version {
                    self.descriptors.remove(&version);
                    return None;
                }
                file
            }
        };
        if mappable && entry.request_count() >= MAP_AFTER_REQUEST_COUNT {
            self.map(&file, version);
        }
        Some(Source::File(file))
    }

    /// The mapping of a version, if there is one whose pages are surely there. One that was not
    /// sent for a while goes the way of a cold file: it is dropped, read again, and mapped again.
    fn mapping(&mut self, version: &FileVersion, now: &Now) -> Option<Rc<Mapping>> {
        let held = self.maps.look_up(version)?;
        let used = held.used.replace(now.monotonic);
        let idle = now.monotonic.saturating_duration_since(used);
        if idle <= residency::TRUST || self.disk.sending() == Sending::AsItComes {
            return Some(Rc::clone(&held.mapping));
        }
        self.maps.release(version);
        self.watch.remove(version);
        None
    }

    /// What of a file may be sent now: how many bytes from where it stands, or nothing yet. What is
    /// not known to be resident is made so by a job, and the window after it as well.
    pub(super) fn prepare(
        &mut self,
        segment: &FileSegment,
        id: ConnectionId,
        now: &Now,
    ) -> Option<u64> {
        let left = segment.bytes.end - segment.bytes.start;
        if self.disk.sending() == Sending::AsItComes {
            return Some(left);
        }
        let window = Window::at(segment.version, segment.bytes.start);
        if !self.residency.is_resident(window, now.monotonic) {
            return match self.warm(&segment.file, window, Some(id)) {
                true => None,
                // No room for the job: better to wait here than not to answer.
                false => Some(left.min(residency::WINDOW_LENGTH)),
            };
        }
        let end = window.bytes().end.min(segment.bytes.end);
        if let Some(next) = window
            .next()
            .filter(|next| next.bytes().start < segment.bytes.end)
            && !self.residency.is_resident(next, now.monotonic)
        {
            self.warm(&segment.file, next, None);
        }
        Some(end - segment.bytes.start)
    }

    /// Has a window read, unless it is being read already. False: there is no room for the job.
    fn warm(&mut self, file: &Arc<OpenFile>, window: Window, waiter: Option<ConnectionId>) -> bool {
        if self.residency.join(window, waiter) {
            return true;
        }
        let id = self.fetches.name_job();
        let bytes = window.bytes();
        let file = Arc::clone(file);
        let submitted = self.disk.submit(id, Job::Warm(Warm { file, bytes }));
        if submitted.is_ok() {
            self.residency.begin(window, id, waiter);
        }
        submitted.is_ok()
    }

    /// A window was read: those who waited for it.
    pub(super) fn warmed(&mut self, job: JobId, now: &Now) -> Vec<ConnectionId> {
        self.residency.finish(job, now.monotonic)
    }

    /// Has a file mapped for those who come after. It is watched from before the moment that its
    /// version is compared, so that no change goes unnoticed.
    fn map(&mut self, file: &Arc<OpenFile>, version: FileVersion) {
        if !self.maps.has_room_for(version.length) || !self.being_mapped.insert(version) {
            return;
        }
        let previous = match self.watch.add(file, version) {
            Ok(previous) => previous,
            Err(_) => {
                self.being_mapped.remove(&version);
                return;
            }
        };
        if let Some(previous) = previous {
            self.maps.remove(&previous);
        }
        let id = self.fetches.name_job();
        let job = Job::Map(Map {
            file: Arc::clone(file),
            version,
        });
        if self.disk.submit(id, job).is_err() {
            self.being_mapped.remove(&version);
            self.watch.remove(&version);
        }
    }

    fn fetch(
        &mut self,
        raw_path: &[u8],
        entry: Option<Rc<Entry>>,
        resolve: Resolve,
        id: ConnectionId,
    ) -> Answer {
        if self.fetches.join(raw_path, id) {
            return Answer::Waiting;
        }
        let job = self.fetches.name_job();
        match self.disk.submit(job, Job::Resolve(resolve)) {
            Ok(()) => {
                let pending = Pending {
                    raw_path: raw_path.into(),
                    entry,
                    waiters: vec![id],
                };
                self.fetches.begin(job, pending);
                Answer::Waiting
            }
            Err(Saturated(_)) => Answer::Fixed(Fixed::Error(Status::ServiceUnavailable)),
        }
    }

    /// Asks the disk anew for someone whose entry turned out to be without bytes.
    pub(super) fn fetch_again(
        &mut self,
        raw_path: &[u8],
        entry: &Rc<Entry>,
        id: ConnectionId,
    ) -> Answer {
        let resolve = Resolve::new(entry.lookup.clone());
        self.fetch(raw_path, Some(Rc::clone(entry)), resolve, id)
    }

    /// Takes the result of a job in. `None` for jobs that nobody waits for.
    pub(super) fn complete(&mut self, job: JobId, done: Done, now: &Now) -> Option<Completed> {
        match done {
            Done::Resolved(outcome) => {
                let pending = self.fetches.finish(job)?;
                Some(self.resolved(pending, outcome, now))
            }
            Done::Mapped { version, mapping } => {
                self.mapped(version, mapping.ok(), now);
                None
            }
            Done::Warmed(_) | Done::Appended { .. } => None,
        }
    }

    fn mapped(&mut self, version: FileVersion, mapping: Option<Mapping>, now: &Now) {
        // A change that came while the job ran has taken the version out of `being_mapped`.
        let wanted = self.being_mapped.remove(&version);
        match mapping.filter(|_| wanted) {
            Some(mapping) => {
                let mapped = MappedFile {
                    mapping: Rc::new(mapping),
                    used: Cell::new(now.monotonic),
                };
                for (evicted, _) in self.maps.insert(version, mapped) {
                    self.watch.remove(&evicted);
                }
                self.descriptors.release(&version);
            }
            None => self.watch.remove(&version),
        }
    }

    fn resolved(&mut self, pending: Pending, outcome: Outcome, now: &Now) -> Completed {
        let Pending {
            raw_path,
            entry: previous,
            waiters,
        } = pending;
        let mut opened = Vec::new();
        let resolution = match (outcome, &previous) {
            (Outcome::Unchanged, Some(entry)) => match settled(&entry.resolution, now) {
                Some(resolution) => resolution,
                None => {
                    entry.renew(now, self.revalidate);
                    let result = Ok(Rc::clone(entry));
                    return Completed {
                        waiters,
                        result,
                        opened,
                    };
                }
            },
            // Nothing is compared where nothing was known.
            (Outcome::Unchanged, None) => {
                let result = Err(Status::InternalServerError);
                return Completed {
                    waiters,
                    result,
                    opened,
                };
            }
            (Outcome::Failed(status), _) => {
                self.paths.remove(&raw_path);
                return Completed {
                    waiters,
                    result: Err(status),
                    opened,
                };
            }
            (Outcome::File(found), _) => {
                let (resolution, files) = self.found(*found, now);
                opened = files;
                resolution
            }
            (Outcome::Moved(path), _) => Resolution::Moved(path),
            (Outcome::Refused(status), _) => Resolution::Refused(status),
        };
        let lookup = match &previous {
            Some(entry) => Ok(entry.lookup.clone()),
            None => resolve::plan(&raw_path, &self.naming),
        };
        let result = lookup.map(|lookup| self.remember(&raw_path, resolution, lookup, now));
        Completed {
            waiters,
            result,
            opened,
        }
    }

    fn remember(
        &mut self,
        raw_path: &[u8],
        resolution: Resolution,
        lookup: Lookup,
        now: &Now,
    ) -> Rc<Entry> {
        let entry = Rc::new(Entry::new(resolution, lookup, now, self.revalidate));
        entry.count_request();
        self.paths.insert(raw_path, Rc::clone(&entry));
        entry
    }

    /// Describes a file that was found, and keeps its descriptors.
    fn found(&mut self, found: FoundFile, now: &Now) -> (Resolution, Vec<Opened>) {
        let FoundFile {
            path,
            identity,
            twins,
            expectations,
        } = found;
        let vary = if twins.is_empty() {
            Vary::Nothing
        } else {
            Vary::AcceptEncoding
        };
        let media_type = media_type(path.as_bytes()).field;
        let describe = |opened: &Opened, coding| {
            Representation::new(media_type, opened.version, coding, vary, now)
        };
        let variants = Variants {
            identity: describe(&identity, Coding::Identity),
            coded: twins
                .iter()
                .map(|(coding, twin)| describe(twin, *coding))
                .collect(),
        };
        let opened: Vec<_> = std::iter::once(identity)
            .chain(twins.into_iter().map(|(_, twin)| twin))
            .collect();
        for Opened { file, version } in &opened {
            if version.length > 0 && !self.maps.holds(version) {
                self.descriptors.insert(*version, Arc::clone(file));
            }
        }
        (
            Resolution::File {
                variants,
                expectations: expectations.into(),
            },
            opened,
        )
    }

    /// Drops the mappings whose files were written to. Called before requests are answered.
    pub(super) fn drop_changed(&mut self, changes: &mut Vec<Change>) {
        self.watch.drain(changes);
        for change in changes.drain(..) {
            match change {
                Change::Of(version) => {
                    self.maps.remove(&version);
                    self.being_mapped.remove(&version);
                    self.watch.remove(&version);
                }
                Change::OfAnything => {
                    self.maps.clear();
                    self.being_mapped.clear();
                    self.watch.clear();
                }
            }
        }
    }

    /// The bound on staleness, in milliseconds.
    pub(super) fn revalidate_ms(&self) -> u64 {
        u64::try_from(self.revalidate.as_millis()).unwrap_or(u64::MAX)
    }

    /// Closes some kept descriptors, because a connection needs one. Gives how many.
    pub(super) fn shed_descriptors(&mut self, count: usize) -> usize {
        (0..count)
            .take_while(|_| self.descriptors.evict().is_some())
            .count()
    }
}

/// What is known of a file, with the entity tags strong that may be so by now.
fn settled(resolution: &Resolution, now: &Now) -> Option<Resolution> {
    let Resolution::File {
        variants,
        expectations,
    } = resolution
    else {
        return None;
    };
    Some(Resolution::File {
        variants: variants.settled(now)?,
        expectations: Arc::clone(expectations),
    })
}
