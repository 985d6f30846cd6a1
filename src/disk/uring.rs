//! io_uring: the kernel's workers make blocking calls, and the ring wakes the loop.
//!
//! The calls pushed in an iteration are submitted by one system call before the wait. Calls that io_uring
//! lacks (`mmap`, `munmap`, `getdents`, watches, opening a log) are made by helper threads. A call in flight
//! cannot be cancelled: its requests may leave, its result is dropped when it arrives, and the memory it
//! points to stays valid until then (`sys/ring.rs`).

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use slab::Slab;

use super::run::{located, opened};
use super::slots::{Kind, Slots};
use super::threads::Threads;
use super::{Disk, JobId, ResidencyPolicy};
use crate::job::{Done, Job, Syscall, SyscallResult};
use crate::sys::beneath::Root;
use crate::sys::deferred_drops::{DeferredDrops, Discarded};
use crate::sys::ring::{Call, Returned, Ring, RingError};

/// The engine.
#[derive(Debug)]
pub(crate) struct Uring {
    deferred_drops: DeferredDrops,
    ring: Ring,
    jobs: Slab<(JobId, Job)>,
    /// Jobs that finished without a call.
    finished: Vec<(JobId, Done)>,
    helpers: Threads,
    /// In use by jobs on the ring.
    slots: Slots,
    /// Number of deferred drops that were there an iteration ago.
    due: usize,
}

impl Uring {
    /// A ring for at most `depth_max` concurrent jobs, for use on the calling thread only.
    ///
    /// # Errors
    /// When there is no ring, or it cannot make the calls; see [`RingError`].
    ///
    /// # Blocking
    /// One `statx` of the root.
    pub(crate) fn ring(root: &Arc<Root>, depth_max: usize) -> Result<Ring, RingError> {
        let depth = Slots::new(depth_max).count();
        let mut ring = Ring::new(u32::try_from(depth).unwrap_or(u32::MAX))?;
        ring.try_out(root)?;
        Ok(ring)
    }

    /// An engine with this ring, and helpers for calls that io_uring lacks, both for `depth_max` jobs. It
    /// closes the deferred drops.
    pub(crate) fn new(
        ring: Ring,
        helpers: Threads,
        deferred_drops: DeferredDrops,
        depth_max: usize,
    ) -> Uring {
        Uring {
            deferred_drops,
            ring,
            jobs: Slab::new(),
            finished: Vec::new(),
            helpers,
            slots: Slots::new(depth_max),
            due: 0,
        }
    }

    /// Advances a job to its next call, or to its end.
    fn go_on(&mut self, slot: usize) {
        let Some((_, job)) = self.jobs.get_mut(slot) else {
            return;
        };
        let call = match job.step() {
            Syscall::Look(root, path, links) => {
                Call::Look(Arc::clone(root), path.to_owned(), links)
            }
            Syscall::Open(root, path, links) => {
                let (root, path) = (Arc::clone(root), path.to_owned());
                match job.lend_located() {
                    Some(located) => Call::Open(root, located, path, links),
                    None => return self.hand_to_helpers(slot),
                }
            }
            Syscall::Describe(root, path, links) => {
                Call::Describe(Arc::clone(root), path.to_owned(), links)
            }
            Syscall::Read(file, bytes) => Call::Read(Arc::clone(file), bytes),
            Syscall::Write(log) => {
                let log = Arc::clone(log);
                let (buffer, from) = job.lend_buffer();
                Call::Write(log, buffer, from)
            }
            Syscall::Discard => match job.take_discarded() {
                Some(Discarded::Descriptor(descriptor)) => Call::Close(descriptor),
                Some(mapping) => {
                    *job = Job::Discard(Some(mapping));
                    return self.hand_to_helpers(slot);
                }
                None => return self.finish(slot),
            },
            Syscall::Walk(_) | Syscall::FindRoot(..) => return self.hand_to_helpers(slot),
            Syscall::Map(_) | Syscall::List(..) | Syscall::Examine(_) | Syscall::OneShot(_) => {
                return self.hand_to_helpers(slot);
            }
            Syscall::Finished => return self.finish(slot),
        };
        if let Err(call) = self.ring.push(slot as u64, call) {
            self.give_back(slot, call);
        }
    }

    /// Puts back a call that was not submitted, since the kernel's queue is full and could not be flushed.
    fn give_back(&mut self, slot: usize, call: Call) {
        let refused = || io::Error::from(rustix::io::Errno::BUSY);
        let answer = match call {
            Call::Look(..) => SyscallResult::Located(Err(rustix::io::Errno::BUSY)),
            Call::Open(..) => SyscallResult::Opened(Err(rustix::io::Errno::BUSY)),
            Call::Describe(..) => SyscallResult::Described(Err(rustix::io::Errno::BUSY)),
            Call::Read(..) => SyscallResult::Read(Err(refused())),
            Call::Write(_, buffer, _) => SyscallResult::Written(buffer, Err(refused())),
            Call::Close(_) => SyscallResult::Discarded,
        };
        self.answer(slot, answer);
    }

    fn answer(&mut self, slot: usize, answer: SyscallResult) {
        if let Some((_, job)) = self.jobs.get_mut(slot) {
            job.answer(answer);
            self.go_on(slot);
        }
    }

    fn finish(&mut self, slot: usize) {
        let Some((id, job)) = self.jobs.try_remove(slot) else {
            return;
        };
        let kind = Kind::of(id, &job);
        self.slots.give_back(kind);
        if kind != Kind::Discard {
            self.finished.push((id, job.finish()));
        }
    }

    /// Whether there is a free slot, with the jobs of the helpers counted.
    fn has_room_for(&self, kind: Kind) -> bool {
        self.slots.with(self.helpers.slots()).has_room(kind)
    }

    /// Handles a call that was not made: a helper makes it, and all that follow.
    fn not_made(&mut self, slot: usize, call: Call) {
        if let Some((_, job)) = self.jobs.get_mut(slot) {
            match call {
                Call::Write(_, buffer, _) => {
                    job.answer(SyscallResult::Written(
                        buffer,
                        Err(io::ErrorKind::Interrupted.into()),
                    ));
                }
                Call::Close(descriptor) => {
                    *job = Job::Discard(Some(Discarded::Descriptor(descriptor)));
                }
                // The descriptor lent for it is gone: repeat the lookup.
                Call::Open(..) => job.answer(SyscallResult::Opened(Err(rustix::io::Errno::INTR))),
                Call::Look(..) | Call::Describe(..) | Call::Read(..) => {}
            }
            self.hand_to_helpers(slot);
        }
    }

    /// Hands a job to the helpers in its current state. They have as many slots as the ring.
    fn hand_to_helpers(&mut self, slot: usize) {
        let Some((id, job)) = self.jobs.try_remove(slot) else {
            return;
        };
        let kind = Kind::of(id, &job);
        self.slots.give_back(kind);
        // There is a free slot, since they have as many of each kind as there are in all.
        self.helpers.submit(id, job);
    }
}

impl Disk for Uring {
    fn submit(&mut self, id: JobId, job: Job) {
        let kind = Kind::of(id, &job);
        assert!(self.has_room_for(kind), "too many jobs: {kind:?}");
        self.slots.take(kind);
        let slot = self.jobs.insert((id, job));
        self.go_on(slot);
    }

    fn flush(&mut self) -> io::Result<usize> {
        // The kernel releases the file of a call shortly after the call has returned, on this thread. If the
        // file were closed by then, this thread would hold its last reference, and wait for the disk if the
        // file was deleted. So drops are deferred by an iteration.
        while self.due > 0
            && self.has_room_for(Kind::Discard)
            && let Some(discarded) = self.deferred_drops.take()
        {
            self.due -= 1;
            self.slots.take(Kind::Discard);
            let discard = Job::Discard(Some(discarded));
            let slot = self.jobs.insert((JobId::OWN, discard));
            self.go_on(slot);
        }
        self.due = self.deferred_drops.count();
        self.ring.submit()
    }

    fn reap(&mut self, done: &mut Vec<(JobId, Done)>) {
        while let Some((token, returned)) = self.ring.reap() {
            let slot = usize::try_from(token).unwrap_or(usize::MAX);
            let answer = match returned {
                Returned::NotMade(call) => {
                    self.not_made(slot, call);
                    continue;
                }
                Returned::Located(found) => SyscallResult::Located(found.and_then(located)),
                Returned::Opened(file) => SyscallResult::Opened(file.and_then(opened)),
                Returned::Described(described) => SyscallResult::Described(described),
                Returned::Read(count) => SyscallResult::Read(count),
                Returned::Written(buffer, count) => SyscallResult::Written(buffer, count),
                Returned::Closed => SyscallResult::Discarded,
            };
            self.answer(slot, answer);
        }
        self.helpers.reap(done);
        done.append(&mut self.finished);
    }

    fn wake_sources(&self) -> Vec<BorrowedFd<'_>> {
        let mut sources = self.helpers.wake_sources();
        sources.push(self.ring.descriptor());
        sources
    }

    fn has_results(&self) -> bool {
        !self.finished.is_empty()
            || self.ring.is_ready()
            || (self.due > 0 && self.has_room_for(Kind::Discard))
    }

    fn depth_max(&self) -> usize {
        self.slots.depth_max()
    }

    fn residency_policy(&self) -> ResidencyPolicy {
        ResidencyPolicy::ResidentOnly
    }

    fn name(&self) -> &'static str {
        "uring"
    }
}
