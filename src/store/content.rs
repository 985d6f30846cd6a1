//! Where the bytes of an answer come from, and that they are there before they are sent.

use std::rc::Rc;
use std::sync::Arc;

use super::jobs::{Demand, Mapping, NewJob, Promise, Purpose, Waiter, WindowRead};
use super::{ContentSource, Store};
use crate::cache::MAP_AFTER_REQUEST_COUNT;
use crate::cache::entry::Entry;
use crate::cache::key::PathKey;
use crate::cache::stats::{EvictionCause, MissReason};
use crate::clock::Now;
use crate::conn::CacheResult;
use crate::conn::outbox::Source;
use crate::conn::{Peer, RequestId};
use crate::job::{Job, Locking, Map, Opened, Warm};
use crate::job::{JobId, ResidencyPolicy};
use crate::site::representation::Representation;
use crate::site::sites::Site;
use crate::site::validators::Identity;
use crate::store::queue::Owner;
use crate::store::residency::{self, Residency, Window, WindowUse};
use crate::sys::file::{FileVersion, OpenFile};
use crate::sys::memory::Memory;
use crate::sys::pagemap::Presence;

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestOwner {
    /// The request.
    pub(super) id: RequestId,
    /// Who has to wait in line for the disk.
    pub(super) owner: Owner,
}

impl RequestOwner {
    /// A request of `peer`.
    pub(crate) fn new(id: RequestId, peer: Peer) -> RequestOwner {
        RequestOwner {
            id,
            owner: Owner::from(peer),
        }
    }
}

/// For which request bytes are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requester<'a> {
    /// Whose it is.
    pub(super) by: RequestOwner,
    /// The site that it is for.
    pub(super) site: &'a Rc<Site>,
    /// What was looked for before, for the same request: that was counted.
    pub(super) looked: Counted,
}

impl Requester<'_> {
    /// The key of a path of its site.
    pub(super) fn key<'p>(&self, path: &'p [u8]) -> PathKey<'p> {
        PathKey::new(self.site.id, path)
    }

    /// A request of `peer` to a site.
    pub(crate) fn new(id: RequestId, peer: Peer, site: &Rc<Site>) -> Requester<'_> {
        Requester {
            by: RequestOwner::new(id, peer),
            site,
            looked: Counted::default(),
        }
    }
}

/// Which caches were asked for a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    /// An entry of the path cache.
    pub path: bool,
    /// A mapping.
    pub mapping: bool,
    /// A descriptor.
    pub descriptor: bool,
}

impl Store {
    /// The bytes of a representation from byte `first` on: a mapping, a descriptor just opened, or a
    /// kept one that is still of that version. `statx` of a descriptor costs 0.2 µs and never waits.
    pub(super) fn supply(
        &mut self,
        entry: &Rc<Entry>,
        representation: &Representation,
        first: u64,
        opened: &[Opened],
        requester: Requester<'_>,
        now: &Now,
    ) -> ContentSource {
        let version = representation.version;
        if let Identity::Copy(_) = representation.identity {
            let read = opened.iter().find(|opened| opened.version == version);
            return match read.and_then(|opened| opened.content.as_ref()) {
                Some(content) => {
                    let memory = Memory::Copied(Box::<[u8]>::from(&**content).into());
                    ContentSource::Source(Source::Mapped(Rc::new(memory)))
                }
                None => ContentSource::Nothing,
            };
        }
        let mappable = version.length <= self.map_file_length_max;
        if mappable && let Some(mapping) = self.mapping(entry, &version, requester, now) {
            return ContentSource::Source(Source::Mapped(mapping));
        }
        let Some(file) = self.open_file(version, opened, requester) else {
            return ContentSource::Nothing;
        };
        let window = Window::at(version, first);
        if self.engine.residency_policy == ResidencyPolicy::ResidentOnly
            && !self.residency.is_resident(
                window,
                &file,
                WindowUse::Start,
                &*self.probe,
                now.monotonic,
            )
        {
            let waiter = (requester.by.id, Promise::Answer(Rc::clone(entry)));
            return match self.read(&file, window, waiter, requester.by.owner) {
                Some(job) => ContentSource::Later(job),
                None => ContentSource::Never,
            };
        }
        if mappable && self.is_to_be_mapped(entry, &file) {
            self.map(&file, version, Demand::Requested, now);
        }
        ContentSource::Source(Source::File(file))
    }

    /// Whether a short file is to be mapped for those who come after: once it was asked for again. At
    /// once where the kernel does not tell what of it is in memory, or its second request would wait for a
    /// job that reads it anew.
    fn is_to_be_mapped(&self, entry: &Entry, file: &OpenFile) -> bool {
        entry.request_count() >= MAP_AFTER_REQUEST_COUNT
            || (self.engine.residency_policy == ResidencyPolicy::ResidentOnly
                && !Residency::is_told_of(file, &*self.probe))
    }

    /// A descriptor of a version: one just opened, or a kept one that is still of that version.
    fn open_file(
        &mut self,
        version: FileVersion,
        opened: &[Opened],
        requester: Requester<'_>,
    ) -> Option<Arc<OpenFile>> {
        let is_first = !requester.looked.descriptor;
        if is_first {
            self.cache_report.descriptor = Some(CacheResult::Miss);
        }
        if let Some(fresh) = opened.iter().find(|opened| opened.version == version) {
            if is_first {
                self.descriptors.note_opened(&version);
            }
            // It may have been opened long ago: its job waited for others, and its bytes for the disk.
            return (!self.was_written_to(fresh)).then(|| Arc::clone(&fresh.file));
        }
        let held = match is_first {
            true => self.descriptors.look_up(&version),
            false => self.descriptors.get(&version),
        };
        let file = Arc::clone(held?);
        if !self.is_still(&file, &version) {
            if is_first {
                self.descriptors
                    .take_back_hit(&version, MissReason::Changed);
            }
            return None;
        }
        if is_first {
            self.cache_report.descriptor = Some(CacheResult::Hit);
        }
        Some(file)
    }

    /// The mapping of a version, if there is one whose pages are surely there. One whose pages were
    /// taken away goes the way of a cold file: it is dropped, read again, and mapped again.
    ///
    /// After events were lost, a mapping is used again once its version was compared anew, as it was
    /// for an entry of this generation.
    fn mapping(
        &mut self,
        entry: &Entry,
        version: &FileVersion,
        requester: Requester<'_>,
        now: &Now,
    ) -> Option<Rc<Memory>> {
        let is_first = !requester.looked.mapping;
        let held = match is_first {
            true => {
                self.cache_report.mapping = true;
                self.maps.look_up(version)?
            }
            false => self.maps.get(version)?,
        };
        let generation = self.paths.generation();
        if held.generation.get() != generation {
            if !entry.is_of(generation) {
                if is_first {
                    self.maps.take_back_hit(version, MissReason::Changed);
                }
                self.maps.remove(version);
                self.watch.remove(version);
                return None;
            }
            held.generation.set(generation);
        }
        let used = held.used.replace(now.monotonic);
        let idle = now.monotonic.saturating_duration_since(used);
        if idle <= residency::TRUST_MAPPED
            || held.memory.is_kept()
            || self.engine.residency_policy == ResidencyPolicy::Any
        {
            return Some(Rc::clone(&held.memory));
        }
        let presence = match self.probe.presence(&held.memory.addresses()) {
            Some(presence) => presence,
            None if idle <= residency::TRUST => Presence::Present,
            None => Presence::Absent,
        };
        match presence {
            Presence::Present => return Some(Rc::clone(&held.memory)),
            // Opening the file again may take longer than its pages stay, and storage may not answer.
            Presence::Unknown if idle <= residency::TRUST && !self.descriptors.holds(version) => {
                return Some(Rc::clone(&held.memory));
            }
            // The file is sent like one that is not mapped, this once.
            Presence::Unknown => {
                held.used.set(used);
                return None;
            }
            Presence::Absent => {}
        }
        if is_first {
            self.maps.take_back_hit(version, MissReason::Evicted);
        }
        self.maps.push_out(version, EvictionCause::Memory);
        self.watch.remove(version);
        self.residency.forget(version);
        self.mappings_gone += 1;
        None
    }

    /// Has a window read, or joins those who wait for it. `None`: there is no room for the job.
    fn read(
        &mut self,
        file: &Arc<OpenFile>,
        window: Window,
        waiter: Waiter,
        owner: Owner,
    ) -> Option<JobId> {
        if let Some(job) = self.jobs.read_of(window) {
            self.jobs.join(job, waiter);
            return Some(job);
        }
        let new = Store::new_read(file, window, Some(waiter), owner);
        let job = self.jobs.submit(new).ok()?;
        self.residency.read_began(window);
        Some(job)
    }

    pub(super) fn new_read(
        file: &Arc<OpenFile>,
        window: Window,
        waiter: Option<Waiter>,
        owner: Owner,
    ) -> NewJob {
        let read = WindowRead {
            window,
            file: Arc::clone(file),
            demand: match waiter {
                Some(_) => Demand::Requested,
                None => Demand::Prefetch,
            },
        };
        NewJob {
            job: Job::Warm(Warm::new(Arc::clone(file), window.bytes())),
            owner,
            purpose: Purpose::Read(read),
            waiter,
        }
    }

    /// Has a file mapped for those who come after. It is watched from before the moment that its version is compared,
    /// so that no change goes unnoticed.
    pub(super) fn map(
        &mut self,
        file: &Arc<OpenFile>,
        version: FileVersion,
        demand: Demand,
        now: &Now,
    ) {
        let is_mapped = self.maps.holds(&version) || self.jobs.is_mapped(&version);
        if is_mapped || !self.maps.has_room_for(version.length) {
            return;
        }
        let Some(watches) = self.watch.for_file(now) else {
            return;
        };
        let map = Map::new(Arc::clone(file), version, watches, self.locking);
        let mapping = Mapping {
            version,
            since: self.watch.directories.sequence(),
            demand,
        };
        self.jobs.submit_own(Job::Map(map), Purpose::Map(mapping));
    }

    /// Whether mappings are to be kept in memory.
    pub(super) fn locking_of(lock: crate::settings::MapLock) -> Locking {
        match lock {
            crate::settings::MapLock::On => Locking::Locked,
            crate::settings::MapLock::Off => Locking::Unlocked,
        }
    }
}
