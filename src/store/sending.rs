//! What of an answer that is under way may be sent now: what is not resident is made so by a job first.

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

/// Bytes of a file that are given free to be sent at once.
const READY_LENGTH_MAX: u64 = 1 << 20;

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
            sending.waits_for(job, now);
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
        Some(self.jobs.submit_unbounded(NewJob {
            job: Job::OneShot(OneShot::Populate(absent), None),
            owner: owner.owner,
            purpose: Purpose::Populate,
            waiter: Some((owner.id, Promise::Content)),
        }))
    }

    /// What of a file may be sent now. What is not known to be resident is made so by a job, and the
    /// window after it as well. The last part of an answer goes only if the file was not written over since its head
    /// was made, which may have been long ago: an answer made of two versions is not completed. That costs 0.2 µs.
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

    /// Has a window read that an answer cannot go on without. Where the queue is full this one is
    /// let in.
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

    /// Has the window after this one read, unless it is there, being read, or past the end.
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
