//! Where the bytes of an answer come from, and that they are there before they are sent.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use super::{ContentSource, PendingMapping, Store};
use crate::cache::MAP_AFTER_REQUEST_COUNT;
use crate::cache::entry::Entry;
use crate::cache::key::PathKey;
use crate::cache::stats::{EvictionCause, MissReason};
use crate::clock::Now;
use crate::conn::CacheResult;
use crate::conn::outbox::{FileSegment, Source};
use crate::conn::{Peer, RequestId};
use crate::job::{Job, Locking, Map, OneShot, Opened, Warm};
use crate::job::{JobId, ResidencyPolicy};
use crate::site::representation::Representation;
use crate::site::sites::Site;
use crate::site::validators::Identity;
use crate::store::queue::Owner;
use crate::store::request::SendState;
use crate::store::residency::{self, Residency, Waiter, Window, WindowUse};
use crate::sys::file::{FileVersion, OpenFile};
use crate::sys::mapping::Addresses;
use crate::sys::memory::Memory;
use crate::sys::pagemap::Presence;

/// Bytes of a file that are given free to be sent at once.
const READY_LENGTH_MAX: u64 = 1 << 20;

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

/// What of a file may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// So many bytes from where it stands.
    Bytes(u64),
    /// Nothing before a job is done; the request is told.
    Later,
    /// Nothing any more: the file cannot be looked at, or is no longer of the version that was announced.
    Never(io::ErrorKind),
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
            let waiter = Waiter {
                id: requester.by.id,
                entry: Some(Rc::clone(entry)),
            };
            return match self.warm(&file, window, Some(waiter), requester.by.owner) {
                Some(job) => ContentSource::Later(job),
                None => ContentSource::Never,
            };
        }
        if mappable && self.is_to_be_mapped(entry, &file) {
            self.map(&file, version, false, now);
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

    /// So many bytes of a file were sent.
    pub(crate) fn note_sent(&mut self, segment: &FileSegment, count: u64, now: &Now) {
        if self.engine.residency_policy == ResidencyPolicy::Any || count == 0 {
            return;
        }
        let end = segment.bytes.start + count;
        let mut window = Some(Window::at(segment.version, segment.bytes.start));
        while let Some(sent) = window {
            self.residency.note_sent(sent, now.monotonic);
            window = sent.next_before(end);
        }
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

    /// What of these pieces of mappings may be sent now. Those that have waited long for their peer since they
    /// were last seen to be resident are made so by a job, where they are not.
    pub(crate) fn prepare_mapped(
        &mut self,
        pieces: impl Iterator<Item = Addresses>,
        sending: &mut SendState,
        owner: RequestOwner,
        now: &Now,
    ) -> Ready {
        if sending.was_held_long(now)
            && let Some(job) = self.populate(pieces, owner)
        {
            sending.waits_for(job);
            return Ready::Later;
        }
        Ready::Bytes(u64::MAX)
    }

    /// Makes pieces of mappings resident by a job, if they are not.
    fn populate(
        &mut self,
        pieces: impl Iterator<Item = Addresses>,
        owner: RequestOwner,
    ) -> Option<JobId> {
        if self.engine.residency_policy == ResidencyPolicy::Any {
            return None;
        }
        let probe = &*self.probe;
        let is_absent = |piece: &Addresses| probe.presence(piece) != Some(Presence::Present);
        let absent: Vec<Addresses> = pieces.filter(is_absent).collect();
        if absent.is_empty() {
            return None;
        }
        let job = Job::OneShot(OneShot::Populate(absent), None);
        let job = self.queue.submit_unbounded(owner.owner, job);
        self.populating.insert(job, owner.id);
        Some(job)
    }

    /// What of a file may be sent now. What is not known to be resident is made so by a job, and the
    /// window after it as well. The last part of a long answer goes only if the file was not written over since the
    /// first: an answer made of two versions is not completed.
    pub(crate) fn prepare(
        &mut self,
        segment: &FileSegment,
        sending: &mut SendState,
        owner: RequestOwner,
        now: &Now,
    ) -> Ready {
        let ready = self.resident(segment, sending, owner, now);
        let Ready::Bytes(count) = ready else {
            return ready;
        };
        let (bytes, count) = (&segment.bytes, count.min(READY_LENGTH_MAX));
        if bytes.start > segment.start && bytes.start + count == bytes.end {
            match self.probe.describe(&segment.file) {
                Ok(now) if segment.version.was_rewritten(&now.version) => {
                    return Ready::Never(io::ErrorKind::InvalidData);
                }
                Ok(_) => {}
                Err(error) => return Ready::Never(error.kind()),
            }
        }
        Ready::Bytes(count)
    }

    /// What of a file is resident.
    fn resident(
        &mut self,
        segment: &FileSegment,
        sending: &mut SendState,
        owner: RequestOwner,
        now: &Now,
    ) -> Ready {
        let left = segment.bytes.end - segment.bytes.start;
        if self.engine.residency_policy == ResidencyPolicy::Any {
            return Ready::Bytes(left);
        }
        let mut window = Window::at(segment.version, segment.bytes.start);
        let file = &segment.file;
        let place = match segment.bytes.start > segment.start.max(window.bytes().start) {
            true => WindowUse::Midst,
            false => WindowUse::Start,
        };
        if !self
            .residency
            .is_resident(window, file, place, &*self.probe, now.monotonic)
        {
            let job = self.wait_for(window, segment, owner);
            self.read_ahead(window, segment, owner, now);
            sending.waits_for(job);
            sending.held(now);
            return Ready::Later;
        }
        loop {
            let ready = window.bytes().end.min(segment.bytes.end) - segment.bytes.start;
            match window.next_before(segment.bytes.end) {
                None => return Ready::Bytes(ready),
                Some(next)
                    if ready < READY_LENGTH_MAX
                        && self.residency.is_resident(
                            next,
                            file,
                            WindowUse::Start,
                            &*self.probe,
                            now.monotonic,
                        ) =>
                {
                    window = next;
                }
                Some(_) => {
                    self.read_ahead(window, segment, owner, now);
                    return Ready::Bytes(ready);
                }
            }
        }
    }

    /// Has a window read that an answer cannot go on without. Where the queue is full this one is
    /// let in.
    fn wait_for(&mut self, window: Window, segment: &FileSegment, owner: RequestOwner) -> JobId {
        let waiter = || Waiter {
            id: owner.id,
            entry: None,
        };
        if let Some(job) = self.residency.join(window, Some(waiter())) {
            return job;
        }
        let file = Arc::clone(&segment.file);
        let job = Job::Warm(Warm::new(Arc::clone(&file), window.bytes()));
        let job = self.queue.submit_unbounded(owner.owner, job);
        self.residency.begin(window, job, file, Some(waiter()));
        job
    }

    /// Has the window after this one read, unless it is there, being read, or past the end.
    fn read_ahead(
        &mut self,
        window: Window,
        segment: &FileSegment,
        owner: RequestOwner,
        now: &Now,
    ) {
        if let Some(next) = window.next_before(segment.bytes.end)
            && self.residency.may_read_ahead()
            && !self.residency.is_pending(next)
            && !self.residency.is_resident(
                next,
                &segment.file,
                WindowUse::Ahead,
                &*self.probe,
                now.monotonic,
            )
        {
            self.warm(&segment.file, next, None, owner.owner);
        }
    }

    /// Has a window read, or joins those who wait for it. `None`: there is no room for the job.
    fn warm(
        &mut self,
        file: &Arc<OpenFile>,
        window: Window,
        waiter: Option<Waiter>,
        owner: Owner,
    ) -> Option<JobId> {
        if self.residency.is_pending(window) {
            return self.residency.join(window, waiter);
        }
        let job = Job::Warm(Warm::new(Arc::clone(file), window.bytes()));
        let submitted = self.queue.submit(owner, job);
        let job = submitted.ok()?;
        self.residency.begin(window, job, Arc::clone(file), waiter);
        Some(job)
    }

    /// Has a file mapped for those who come after, or who may (`is_prefetch`). It is watched from before the moment that its
    /// version is compared, so that no change goes unnoticed.
    pub(super) fn map(
        &mut self,
        file: &Arc<OpenFile>,
        version: FileVersion,
        is_prefetch: bool,
        now: &Now,
    ) {
        let is_mapped = self.maps.holds(&version) || self.pending_mappings.contains_key(&version);
        if is_mapped || !self.maps.has_room_for(version.length) {
            return;
        }
        let Some(watches) = self.watch.for_file(now) else {
            return;
        };
        let map = Map::new(Arc::clone(file), version, watches, self.locking);
        let submitted = self.queue.submit(Owner::Server, Job::Map(map));
        if submitted.is_ok() {
            let sequence = self.watch.directories.sequence();
            let pending_mappings = PendingMapping {
                since: sequence,
                is_prefetch,
            };
            self.pending_mappings.insert(version, pending_mappings);
        }
    }

    /// Whether mappings are to be kept in memory.
    pub(super) fn locking_of(lock: crate::settings::MapLock) -> Locking {
        match lock {
            crate::settings::MapLock::On => Locking::Locked,
            crate::settings::MapLock::Off => Locking::Unlocked,
        }
    }
}
