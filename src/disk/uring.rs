//! io_uring: the kernel's own workers make the calls that wait, and the ring wakes the loop.
//!
//! Calls that were pushed in a turn begin with one system call before the wait. What io_uring has no
//! call for, `mmap`, `munmap`, `getdents`, watches and the open of a log, is made by helper threads beside
//! the ring. A call under way cannot be recalled: whoever waited for it may go, its result is
//! dropped when it comes, and what it points to lives until then (`sys/ring.rs`).

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
    /// Jobs that came to an end without a call.
    finished: Vec<(JobId, Done)>,
    aside: Threads,
    /// Taken by jobs on the ring.
    places: Slots,
    /// How much of what is in the bin was there a turn ago.
    due: usize,
}

impl Uring {
    /// A ring for at most `depth_max` jobs at once, to be used on the thread that makes it.
    ///
    /// # Errors
    /// When there is no ring, or it makes no calls; see [`RingError`].
    ///
    /// # Blocking
    /// Looks at the root once more.
    pub(crate) fn ring(root: &Arc<Root>, depth_max: usize) -> Result<Ring, RingError> {
        let depth = Slots::new(depth_max).count();
        let mut ring = Ring::new(u32::try_from(depth).unwrap_or(u32::MAX))?;
        ring.try_out(root)?;
        Ok(ring)
    }

    /// An engine with this ring, and helpers for what no ring can do, both made for `depth_max` jobs. It empties
    /// the bin.
    pub(crate) fn new(
        ring: Ring,
        aside: Threads,
        deferred_drops: DeferredDrops,
        depth_max: usize,
    ) -> Uring {
        Uring {
            deferred_drops,
            ring,
            jobs: Slab::new(),
            finished: Vec::new(),
            aside,
            places: Slots::new(depth_max),
            due: 0,
        }
    }

    /// Goes on with a job: to its next call, or to its end.
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
                    None => return self.put_aside(slot),
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
                    return self.put_aside(slot);
                }
                None => return self.finish(slot),
            },
            Syscall::Walk(_) | Syscall::FindRoot(..) => return self.put_aside(slot),
            Syscall::Map(_) | Syscall::List(..) | Syscall::Examine(_) | Syscall::OneShot(_) => {
                return self.put_aside(slot);
            }
            Syscall::Finished => return self.finish(slot),
        };
        if let Err(call) = self.ring.push(slot as u64, call) {
            self.give_back(slot, call);
        }
    }

    /// The kernel's queue was full and could not be emptied: the call did not take place.
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
        self.places.give_back(kind);
        if kind != Kind::Discard {
            self.finished.push((id, job.finish()));
        }
    }

    /// Whether there is room on the ring, counting what the helpers do.
    fn has_room_for(&self, kind: Kind) -> bool {
        self.places.with(self.aside.places()).has_room(kind)
    }

    /// A call of a job was not made: a helper makes it, and all that follow.
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
                // What was lent for it is gone: it is looked for once more.
                Call::Open(..) => job.answer(SyscallResult::Opened(Err(rustix::io::Errno::INTR))),
                Call::Look(..) | Call::Describe(..) | Call::Read(..) => {}
            }
            self.put_aside(slot);
        }
    }

    /// Hands a job to the helpers, from where it stands. They take as many as the ring.
    fn put_aside(&mut self, slot: usize) {
        let Some((id, job)) = self.jobs.try_remove(slot) else {
            return;
        };
        let kind = Kind::of(id, &job);
        self.places.give_back(kind);
        // They take as many of each kind as there are in all, so there is room.
        self.aside.submit(id, job);
    }
}

impl Disk for Uring {
    fn submit(&mut self, id: JobId, job: Job) {
        let kind = Kind::of(id, &job);
        assert!(self.has_room_for(kind), "too many jobs: {kind:?}");
        self.places.take(kind);
        let slot = self.jobs.insert((id, job));
        self.go_on(slot);
    }

    fn flush(&mut self) -> io::Result<usize> {
        // The kernel lets go of the file of a call a moment after the call has returned, and it does
        // so on this thread. Were the file closed by then, this thread would have the last of it,
        // and wait for the disk where the file was deleted. So what is dropped lies for a turn.
        while self.due > 0
            && self.has_room_for(Kind::Discard)
            && let Some(discarded) = self.deferred_drops.take()
        {
            self.due -= 1;
            self.places.take(Kind::Discard);
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
        self.aside.reap(done);
        done.append(&mut self.finished);
    }

    fn wake_sources(&self) -> Vec<BorrowedFd<'_>> {
        let mut sources = self.aside.wake_sources();
        sources.push(self.ring.descriptor());
        sources
    }

    fn has_results(&self) -> bool {
        !self.finished.is_empty()
            || self.ring.is_ready()
            || (self.due > 0 && self.has_room_for(Kind::Discard))
    }

    fn depth_max(&self) -> usize {
        self.places.depth_max()
    }

    fn sending(&self) -> ResidencyPolicy {
        ResidencyPolicy::ResidentOnly
    }

    fn name(&self) -> &'static str {
        "uring"
    }
}
