//! Finds the source of the content of a response, and has bytes read that are not resident.

use std::rc::Rc;
use std::sync::Arc;

use super::caches::{self, ContentSteps, Supplied};
use super::contents::{Conditions, DescriptorState, MappingState};
use super::holdings::{Demand, Look};
use super::inquiry::{Inquiry, Requester};
use super::jobs::{Mapping, NewJob, Promise, Purpose, Waiter, WindowRead};
use super::{ContentSource, Store};
use crate::cache::entry::Entry;
use crate::clock::Now;
use crate::conn::CacheResult;
use crate::conn::outbox::Source;
use crate::job::{Job, Map, Opened, Warm};
use crate::job::{JobId, ResidencyPolicy};
use crate::site::representation::Representation;
use crate::site::validators::Identity;
use crate::store::queue::Owner;
use crate::store::residency::{Residency, Window, WindowUse};
use crate::sys::file::{FileVersion, OpenFile};
use crate::sys::memory::Memory;

/// A request of the server for the bytes of a file from byte `first` on.
struct Supplying<'s, 'i, 'f> {
    store: &'s mut Store,
    entry: &'i Rc<Entry>,
    first: u64,
    opened: &'i [Opened],
    inquiry: &'i Inquiry<'f>,
}

impl ContentSteps for Supplying<'_, '_, '_> {
    type Mapping = Rc<Memory>;
    type File = Arc<OpenFile>;
    type Wait = ContentSource;

    fn is_mappable(&self, version: &FileVersion) -> bool {
        self.store.contents.held.is_mappable(version)
    }

    fn mapping(&mut self, version: &FileVersion) -> Option<Rc<Memory>> {
        let Inquiry { requester, now, .. } = *self.inquiry;
        self.store.mapping(self.entry, version, requester, now)
    }

    fn descriptor(&mut self, version: &FileVersion) -> Option<Arc<OpenFile>> {
        let requester = self.inquiry.requester;
        self.store.descriptor(version, self.opened, requester)
    }

    fn wait(&mut self, version: &FileVersion, file: &Arc<OpenFile>) -> Option<ContentSource> {
        let Inquiry { requester, now, .. } = *self.inquiry;
        let store = &mut *self.store;
        let window = Window::at(*version, self.first);
        if store.engine.residency_policy == ResidencyPolicy::Any
            || store.residency.is_resident(
                window,
                file,
                WindowUse::Start,
                &*store.probe,
                now.monotonic,
            )
        {
            return None;
        }
        let waiter = (requester.by.id, Promise::Answer(Rc::clone(self.entry)));
        let job = store.read(file, window, waiter, requester.by.owner);
        Some(job.map_or(ContentSource::Never, ContentSource::Later))
    }

    fn request_count(&self) -> u32 {
        self.entry.request_count()
    }

    /// True if the kernel does not tell which of its pages are resident: the second request would wait for a job that
    /// reads it again.
    fn is_mapped_at_once(&self, file: &Arc<OpenFile>) -> bool {
        self.store.engine.residency_policy == ResidencyPolicy::ResidentOnly
            && !Residency::is_told_of(file, &*self.store.probe)
    }

    fn map(&mut self, version: &FileVersion, file: &Arc<OpenFile>) {
        let now = self.inquiry.now;
        self.store.map(file, *version, Demand::Requested, now);
    }
}

impl Store {
    /// The source of a representation from byte `first` on: a mapping, a descriptor that was just opened, or a cached
    /// one whose file still has that version. `statx` of a descriptor costs 0.2 µs and never waits.
    pub(super) fn supply(
        &mut self,
        entry: &Rc<Entry>,
        representation: &Representation,
        first: u64,
        opened: &[Opened],
        inquiry: &Inquiry<'_>,
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
        let mut supplying = Supplying {
            store: self,
            entry,
            first,
            opened,
            inquiry,
        };
        match caches::supply(&mut supplying, &version) {
            Supplied::Mapping(memory) => ContentSource::Source(Source::Mapped(memory)),
            Supplied::File(file) => ContentSource::Source(Source::File(file)),
            Supplied::Waiting(source) => source,
            Supplied::Missing => ContentSource::Nothing,
        }
    }

    /// A descriptor of a version.
    fn descriptor(
        &mut self,
        version: &FileVersion,
        opened: &[Opened],
        requester: Requester<'_>,
    ) -> Option<Arc<OpenFile>> {
        let look = requester.looked.descriptor;
        let state = self
            .contents
            .descriptor(version, opened, look, &*self.probe);
        let (said, file) = match state {
            DescriptorState::Kept(file) => (CacheResult::Hit, Some(file)),
            DescriptorState::Opened(file) => (CacheResult::Miss, Some(file)),
            DescriptorState::Missing => (CacheResult::Miss, None),
        };
        if look == Look::First {
            self.cache_report.descriptor = Some(said);
        }
        file
    }

    /// The mapping of a version, if its pages are resident.
    fn mapping(
        &mut self,
        entry: &Entry,
        version: &FileVersion,
        requester: Requester<'_>,
        now: &Now,
    ) -> Option<Rc<Memory>> {
        let look = requester.looked.mapping;
        self.cache_report.mapping |= look == Look::First;
        let conditions = Conditions {
            probe: &*self.probe,
            policy: self.engine.residency_policy,
            generation: self.paths.cache.generation(),
            now,
        };
        match self.contents.mapping(version, entry, look, conditions) {
            MappingState::Usable(memory) => return Some(memory),
            MappingState::Missing => return None,
            MappingState::Outdated => {}
            MappingState::Reclaimed => self.residency.forget(version),
        }
        self.freshness.watch.remove(version);
        None
    }

    /// Has a window read, or joins the job that reads it. `None`: the queue is full.
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

    /// Has a file mapped for later requests. The watch is added before its version is compared, so that no change is
    /// missed.
    pub(super) fn map(
        &mut self,
        file: &Arc<OpenFile>,
        version: FileVersion,
        demand: Demand,
        now: &Now,
    ) {
        if !self.contents.held.may_be_mapped(&version) || self.jobs.is_mapped(&version) {
            return;
        }
        let Some(watches) = self.freshness.watch.for_file(now) else {
            return;
        };
        let map = Map::new(Arc::clone(file), version, watches, self.contents.locking);
        let mapping = Mapping {
            version,
            since: self.freshness.watch.directories.sequence(),
            demand,
        };
        self.jobs.submit_own(Job::Map(map), Purpose::Map(mapping));
    }
}
