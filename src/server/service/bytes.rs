//! Where the bytes of an answer come from, and that they are there before they are sent.

use std::rc::Rc;
use std::sync::Arc;

use super::{BeingMapped, Service, Supply};
use crate::cache::MAP_AFTER_REQUEST_COUNT;
use crate::cache::entry::Entry;
use crate::cache::stats::{Cause, Fate};
use crate::clock::Now;
use crate::conn::LookUp;
use crate::conn::outbox::{FileSegment, Source};
use crate::disk::job::{Job, Locking, Map, Once, Opened, Warm};
use crate::disk::{JobId, Sending};
use crate::server::connections::ConnectionId;
use crate::server::disk_queue::Owner;
use crate::server::residency::{self, Place, Residency, Waiter, Window};
use crate::site::representation::Representation;
use crate::site::validators::Identity;
use crate::sys::file::{FileVersion, OpenFile};
use crate::sys::mapping::Addresses;
use crate::sys::memory::Memory;
use crate::sys::pagemap::Presence;

/// Bytes that may be handed to one `sendfile` call.
const READY_LENGTH_MAX: u64 = 1 << 20;

/// For whom bytes are looked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Asker {
    /// The connection.
    pub id: ConnectionId,
    /// Who has to wait in line for the disk.
    pub owner: Owner,
    /// What was looked for before, for the same request: that was counted.
    pub looked: Looked,
}

/// Which caches were asked for a request.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::server) struct Looked {
    /// An entry of the path cache.
    pub path: bool,
    /// A mapping.
    pub mapping: bool,
    /// A descriptor.
    pub descriptor: bool,
}

/// What of a file may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Ready {
    /// So many bytes from where it stands.
    Bytes(u64),
    /// Nothing before a job is done; the connection is told.
    Later(JobId),
}

impl Service {
    /// The bytes of a representation from byte `first` on: a mapping, a descriptor just opened, or a
    /// kept one that is still of that version. `statx` of a descriptor costs 0.2 µs and never waits.
    pub(super) fn supply(
        &mut self,
        entry: &Rc<Entry>,
        representation: &Representation,
        first: u64,
        opened: &[Opened],
        asker: Asker,
        now: &Now,
    ) -> Supply {
        let version = representation.version;
        if let Identity::Copy(_) = representation.identity {
            let read = opened.iter().find(|opened| opened.version == version);
            return match read.and_then(|opened| opened.content.as_ref()) {
                Some(content) => {
                    let memory = Memory::Copied(Box::<[u8]>::from(&**content).into());
                    Supply::Source(Source::Mapped(Rc::new(memory)))
                }
                None => Supply::Nothing,
            };
        }
        let mappable = version.length <= self.map_file_length_max;
        if mappable && let Some(mapping) = self.mapping(entry, &version, asker, now) {
            return Supply::Source(Source::Mapped(mapping));
        }
        let Some(file) = self.open_file(version, opened, asker) else {
            return Supply::Nothing;
        };
        let window = Window::at(version, first);
        if self.disk.engine.sending() == Sending::WhatIsResident
            && !self
                .residency
                .is_resident(window, &file, Place::Start, now.monotonic)
        {
            let waiter = Waiter {
                id: asker.id,
                entry: Some(Rc::clone(entry)),
            };
            return match self.warm(&file, window, Some(waiter), asker.owner, now) {
                Some(job) => Supply::Later(job),
                None => Supply::Never,
            };
        }
        if mappable && self.is_to_be_mapped(entry, &file) {
            self.map(&file, version, false, now);
        }
        Supply::Source(Source::File(file))
    }

    /// Whether a short file is to be mapped for those who come after: once it was asked for again. At
    /// once where the kernel does not tell what of it is in memory, or its second request would wait for a
    /// job that reads it anew.
    fn is_to_be_mapped(&self, entry: &Entry, file: &OpenFile) -> bool {
        entry.request_count() >= MAP_AFTER_REQUEST_COUNT
            || (self.disk.engine.sending() == Sending::WhatIsResident
                && !Residency::is_told_of(file))
    }

    /// So many bytes of a file were sent.
    pub(in crate::server) fn note_sent(&mut self, segment: &FileSegment, count: u64, now: &Now) {
        if self.disk.engine.sending() == Sending::AsItComes || count == 0 {
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
        asker: Asker,
    ) -> Option<Arc<OpenFile>> {
        let is_first = !asker.looked.descriptor;
        if is_first {
            self.looked_up.descriptor = Some(LookUp::Miss);
        }
        if let Some(fresh) = opened.iter().find(|opened| opened.version == version) {
            if is_first {
                self.descriptors.note_opened(&version);
            }
            // It may have been opened long ago: its job waited for others, and its bytes for the disk.
            return (!fresh.is_rewritten()).then(|| Arc::clone(&fresh.file));
        }
        let held = match is_first {
            true => self.descriptors.look_up(&version),
            false => self.descriptors.get(&version),
        };
        let file = Arc::clone(held?);
        if !self.is_still(&file, &version) {
            if is_first {
                self.descriptors.take_back_hit(&version, Fate::Changed);
            }
            return None;
        }
        if is_first {
            self.looked_up.descriptor = Some(LookUp::Hit);
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
        asker: Asker,
        now: &Now,
    ) -> Option<Rc<Memory>> {
        let is_first = !asker.looked.mapping;
        let held = match is_first {
            true => {
                self.looked_up.mapping = true;
                self.maps.look_up(version)?
            }
            false => self.maps.get(version)?,
        };
        let generation = self.paths.generation();
        if held.generation.get() != generation {
            if !entry.is_of(generation) {
                if is_first {
                    self.maps.take_back_hit(version, Fate::Changed);
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
            || self.disk.engine.sending() == Sending::AsItComes
        {
            return Some(Rc::clone(&held.memory));
        }
        let presence = match &self.pagemap {
            Some(pagemap) => pagemap.presence(&held.memory.addresses()),
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
            self.maps.take_back_hit(version, Fate::PushedOut);
        }
        self.maps.push_out(version, Cause::Memory);
        self.watch.remove(version);
        self.residency.forget(version);
        self.mappings_gone += 1;
        None
    }

    /// Makes pieces of mappings resident that have waited long since it was seen that they are, because their
    /// peer takes its time. Gives the job that does it, if it has to be done.
    pub(in crate::server) fn populate(
        &mut self,
        pieces: impl Iterator<Item = Addresses>,
        id: ConnectionId,
        owner: Owner,
        now: &Now,
    ) -> Option<JobId> {
        if self.disk.engine.sending() == Sending::AsItComes {
            return None;
        }
        let is_absent = |piece: &Addresses| match &self.pagemap {
            Some(pagemap) => pagemap.presence(piece) != Presence::Present,
            None => true,
        };
        let absent: Vec<Addresses> = pieces.filter(is_absent).collect();
        if absent.is_empty() {
            return None;
        }
        let job = Job::Once(Once::Populate(absent), None);
        let job = self.disk.insist(owner, job, now.monotonic);
        self.populating.insert(job, id);
        Some(job)
    }

    /// What of a file may be sent now. What is not known to be resident is made so by a job, and the
    /// window after it as well.
    pub(in crate::server) fn prepare(
        &mut self,
        segment: &FileSegment,
        asker: Asker,
        now: &Now,
    ) -> Ready {
        let left = segment.bytes.end - segment.bytes.start;
        if self.disk.engine.sending() == Sending::AsItComes {
            return Ready::Bytes(left);
        }
        let mut window = Window::at(segment.version, segment.bytes.start);
        let file = &segment.file;
        let place = match segment.bytes.start > segment.start.max(window.bytes().start) {
            true => Place::Midst,
            false => Place::Start,
        };
        if !self
            .residency
            .is_resident(window, file, place, now.monotonic)
        {
            let job = self.wait_for(window, segment, asker, now);
            self.read_ahead(window, segment, asker, now);
            return Ready::Later(job);
        }
        loop {
            let ready = window.bytes().end.min(segment.bytes.end) - segment.bytes.start;
            match window.next_before(segment.bytes.end) {
                None => return Ready::Bytes(ready),
                Some(next)
                    if ready < READY_LENGTH_MAX
                        && self
                            .residency
                            .is_resident(next, file, Place::Start, now.monotonic) =>
                {
                    window = next;
                }
                Some(_) => {
                    self.read_ahead(window, segment, asker, now);
                    return Ready::Bytes(ready);
                }
            }
        }
    }

    /// Has a window read that an answer cannot go on without. Where the queue is full this one is
    /// let in.
    fn wait_for(
        &mut self,
        window: Window,
        segment: &FileSegment,
        asker: Asker,
        now: &Now,
    ) -> JobId {
        let waiter = || Waiter {
            id: asker.id,
            entry: None,
        };
        if let Some(job) = self.residency.join(window, Some(waiter())) {
            return job;
        }
        let file = Arc::clone(&segment.file);
        let job = Job::Warm(Warm::new(Arc::clone(&file), window.bytes()));
        let job = self.disk.insist(asker.owner, job, now.monotonic);
        self.residency.begin(window, job, file, Some(waiter()));
        job
    }

    /// Has the window after this one read, unless it is there, being read, or past the end.
    fn read_ahead(&mut self, window: Window, segment: &FileSegment, asker: Asker, now: &Now) {
        if let Some(next) = window.next_before(segment.bytes.end)
            && self.residency.may_read_ahead()
            && !self.residency.is_pending(next)
            && !self
                .residency
                .is_resident(next, &segment.file, Place::Ahead, now.monotonic)
        {
            self.warm(&segment.file, next, None, asker.owner, now);
        }
    }

    /// Has a window read, or joins those who wait for it. `None`: there is no room for the job.
    fn warm(
        &mut self,
        file: &Arc<OpenFile>,
        window: Window,
        waiter: Option<Waiter>,
        owner: Owner,
        now: &Now,
    ) -> Option<JobId> {
        if self.residency.is_pending(window) {
            return self.residency.join(window, waiter);
        }
        let job = Job::Warm(Warm::new(Arc::clone(file), window.bytes()));
        let submitted = self.disk.submit(owner, job, now.monotonic);
        let job = submitted.ok()?;
        self.residency.begin(window, job, Arc::clone(file), waiter);
        Some(job)
    }

    /// Has a file mapped for those who come after, or who may (`is_ahead`). It is watched from before the moment that its
    /// version is compared, so that no change goes unnoticed.
    pub(super) fn map(
        &mut self,
        file: &Arc<OpenFile>,
        version: FileVersion,
        is_ahead: bool,
        now: &Now,
    ) {
        let is_mapped = self.maps.holds(&version) || self.being_mapped.contains_key(&version);
        if is_mapped || !self.maps.has_room_for(version.length) {
            return;
        }
        let Some(watches) = self.watch.for_file(now) else {
            return;
        };
        let map = Map::new(Arc::clone(file), version, watches, self.locking);
        let submitted = self
            .disk
            .submit(Owner::Server, Job::Map(map), now.monotonic);
        if submitted.is_ok() {
            let moment = self.watch.directories.moment();
            let being_mapped = BeingMapped {
                since: moment,
                is_ahead,
            };
            self.being_mapped.insert(version, being_mapped);
        }
    }

    /// Whether mappings are to be kept in memory.
    pub(super) fn locking_of(lock: crate::server::settings::MapLock) -> Locking {
        match lock {
            crate::server::settings::MapLock::On => Locking::Locked,
            crate::server::settings::MapLock::Off => Locking::Unlocked,
        }
    }
}
