//! Decides which bytes of a response may be sent now. A job makes bytes resident that are not.

use std::io;

use super::Store;
use super::inquiry::RequestOwner;
use super::jobs::{NewJob, Promise, Purpose};
use super::request::SendState;
use super::residency::{WINDOWS_UNDER_WAY_MAX, Window, WindowUse};
use crate::clock::Now;
use crate::conn::outbox::FileSegment;
use crate::job::{Job, JobId, OneShot, ResidencyPolicy};
use crate::sys::mapping::Addresses;
use crate::sys::pagemap::Presence;

/// Maximum number of bytes of a file that may be sent at once.
const READY_LENGTH_MAX: u64 = 1 << 20;

/// Which bytes of a response may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// This number of bytes from the current offset.
    Bytes(u64),
    /// None until a job is completed; the request is informed.
    Later,
    /// None any more: the file cannot be examined, or no longer has the announced version.
    Never(io::ErrorKind),
}

impl Store {
    /// Notes that bytes of a file were sent.
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

    /// Whether these pieces of mappings may be sent now, which have waited long for their peer since they were last known
    /// to be resident: see [`SendState::was_held_long`]. If they are not, a job makes them resident first.
    #[cold]
    pub(crate) fn prepare_mapped(
        &mut self,
        pieces: impl Iterator<Item = Addresses>,
        sending: &mut SendState,
        owner: RequestOwner,
        now: &Now,
    ) -> Ready {
        if let Some(job) = self.populate(pieces, owner) {
            sending.waits_for(job, now);
            return Ready::Later;
        }
        Ready::Bytes(u64::MAX)
    }

    /// Submits a job that makes pieces of mappings resident, if they are not.
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
        Some(self.jobs.submit_unbounded(NewJob {
            job: Job::OneShot(OneShot::Populate(absent), None),
            owner: owner.owner,
            purpose: Purpose::Populate,
            waiter: Some((owner.id, Promise::Content)),
        }))
    }

    /// Which bytes of a file may be sent now. A job reads a window that is not known to be resident, and the next
    /// window as well. The last part of a response is sent only if the file was not overwritten since the head was
    /// made, which may have been long ago: a response of two versions is not completed. That check costs 0.2 µs.
    pub(crate) fn prepare(
        &mut self,
        segment: &FileSegment,
        sending: &mut SendState,
        owner: RequestOwner,
        now: &Now,
    ) -> Ready {
        if segment.file.is_closed() {
            return self.reopen(segment, sending, owner, now);
        }
        let ready = self.resident(segment, sending, owner, now);
        let Ready::Bytes(count) = ready else {
            return ready;
        };
        let (bytes, count) = (&segment.bytes, count.min(READY_LENGTH_MAX));
        if bytes.start + count == bytes.end {
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

    /// Which bytes of a file are resident.
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
            sending.waits_for(job, now);
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

    /// Has a window read that a response needs to continue. The queue admits it even if it is full.
    fn wait_for(&mut self, window: Window, segment: &FileSegment, owner: RequestOwner) -> JobId {
        let waiter = (owner.id, Promise::Content);
        if let Some(job) = self.jobs.read_of(window) {
            self.jobs.join(job, waiter);
            return job;
        }
        let new = Store::new_read(&segment.file, window, Some(waiter), owner.owner);
        let job = self.jobs.submit_unbounded(new);
        self.residency.read_began(window);
        job
    }

    /// Has the next window read, unless it is resident, in flight, or beyond the end.
    fn read_ahead(
        &mut self,
        window: Window,
        segment: &FileSegment,
        owner: RequestOwner,
        now: &Now,
    ) {
        if let Some(next) = window.next_before(segment.bytes.end)
            && self.jobs.read_count() < WINDOWS_UNDER_WAY_MAX
            && self.jobs.read_of(next).is_none()
            && !self.residency.is_resident(
                next,
                &segment.file,
                WindowUse::Ahead,
                &*self.probe,
                now.monotonic,
            )
        {
            let new = Store::new_read(&segment.file, next, None, owner.owner);
            if self.jobs.submit(new).is_ok() {
                self.residency.read_began(next);
            }
        }
    }
}
