//! The AMPED of the Flash paper: helper threads make blocking calls, and wake the loop.
//!
//! They share with the loop a queue of jobs and a queue of results, both lock-free, and two eventfds: the
//! helpers sleep on one, the loop on the other. So the loop neither sleeps nor spawns threads: a helper that
//! takes a job ensures that another is idle for the next. Hits bypass both queues. A helper that hangs on a
//! dead disk keeps its job and blocks nobody; process exit does not wait for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crossbeam_queue::SegQueue;
use rustix::event::EventfdFlags;

use super::run::run;
use super::slots::{Kind, Slots};
use super::{Disk, JobId, ResidencyPolicy};
use crate::job::{Done, Job};
use crate::sys::deferred_drops::DeferredDrops;
use crate::sys::mapping::change_address_space;

/// Stack of a helper in bytes: it does little but system calls.
const STACK_LENGTH: usize = 128 * 1024;

/// The engine.
#[derive(Debug)]
pub(crate) struct Threads {
    shared: Arc<Shared>,
    /// In use by jobs that were submitted and not reaped.
    slots: Slots,
}

/// State shared by the loop and its helpers.
#[derive(Debug)]
struct Shared {
    deferred_drops: DeferredDrops,
    jobs: SegQueue<(JobId, Job)>,
    results: SegQueue<(JobId, Done)>,
    /// Semaphore of queued jobs; idle helpers wait for it.
    jobs_queued: OwnedFd,
    /// Readable when there are results; the loop waits for it.
    results_queued: OwnedFd,
    helper_count_max: usize,
    helper_count: AtomicUsize,
    /// Number of idle helpers.
    idle_count: AtomicUsize,
    is_over: AtomicBool,
}

impl Threads {
    /// An engine of at most `depth_max` helpers, starting with one, that closes these deferred drops.
    ///
    /// # Errors
    /// When the kernel gives no eventfd or no thread.
    pub(crate) fn new(deferred_drops: DeferredDrops, depth_max: usize) -> io::Result<Threads> {
        let slots = Slots::new(depth_max);
        let cloexec = EventfdFlags::CLOEXEC;
        let jobs_queued = rustix::event::eventfd(0, cloexec | EventfdFlags::SEMAPHORE)?;
        let results_queued = rustix::event::eventfd(0, cloexec | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared {
            deferred_drops,
            jobs: SegQueue::new(),
            results: SegQueue::new(),
            jobs_queued,
            results_queued,
            helper_count_max: slots.count(),
            helper_count: AtomicUsize::new(0),
            idle_count: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        add_helper(&shared)?;
        Ok(Threads { shared, slots })
    }
}

impl Threads {
    /// Slots in use.
    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }
}

/// Spawns a helper, up to the maximum.
fn add_helper(shared: &Arc<Shared>) -> io::Result<()> {
    let raise = |count: usize| (count < shared.helper_count_max).then_some(count + 1);
    let counted = shared
        .helper_count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, raise);
    if counted.is_err() {
        return Ok(());
    }
    shared.idle_count.fetch_add(1, Ordering::Relaxed);
    let own = Arc::clone(shared);
    // Thread creation maps its stack.
    let changing = change_address_space();
    let made = thread::Builder::new()
        .name("spede-disk".into())
        .stack_size(STACK_LENGTH)
        .spawn(move || help(&own));
    drop(changing);
    if let Err(error) = made {
        shared.idle_count.fetch_sub(1, Ordering::Relaxed);
        shared.helper_count.fetch_sub(1, Ordering::Relaxed);
        return Err(error);
    }
    Ok(())
}

/// Runs jobs until the engine is dropped.
fn help(shared: &Arc<Shared>) {
    loop {
        let mut count = [0; 8];
        match rustix::io::read(&shared.jobs_queued, &mut count) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        }
        if shared.is_over.load(Ordering::Acquire) {
            return;
        }
        let Some((id, job)) = shared.jobs.pop() else {
            continue;
        };
        if shared.idle_count.fetch_sub(1, Ordering::Relaxed) == 1 {
            // If no thread can be created, the existing helpers do the work.
            let _ = add_helper(shared);
        }
        let done = run(job);
        shared.results.push((id, done));
        shared.idle_count.fetch_add(1, Ordering::Relaxed);
        signal(&shared.results_queued);
    }
}

/// Increments an eventfd. Its counter would have to reach 2^64 for this to fail or block.
fn signal(eventfd: &OwnedFd) {
    let _ = rustix::io::write(eventfd, &1_u64.to_ne_bytes());
}

impl Disk for Threads {
    fn submit(&mut self, id: JobId, job: Job) {
        let kind = Kind::of(id, &job);
        assert!(self.slots.has_room(kind), "too many jobs: {kind:?}");
        self.slots.take(kind);
        self.shared.jobs.push((id, job));
        signal(&self.shared.jobs_queued);
    }

    fn flush(&mut self) -> io::Result<usize> {
        while self.slots.has_room(Kind::Discard)
            && let Some(discarded) = self.shared.deferred_drops.take()
        {
            self.submit(JobId::OWN, Job::Discard(Some(discarded)));
        }
        Ok(0)
    }

    fn reap(&mut self, done: &mut Vec<(JobId, Done)>) {
        while let Some((id, result)) = self.shared.results.pop() {
            let kind = Kind::of_done(id, &result);
            self.slots.give_back(kind);
            if kind != Kind::Discard {
                done.push((id, result));
            }
        }
    }

    /// Edge-triggered: every result makes an edge, so the counter is never read.
    fn wake_sources(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.shared.results_queued.as_fd()]
    }

    fn has_results(&self) -> bool {
        false
    }

    fn depth_max(&self) -> usize {
        self.slots.depth_max()
    }

    fn residency_policy(&self) -> ResidencyPolicy {
        ResidencyPolicy::ResidentOnly
    }

    fn name(&self) -> &'static str {
        "threads"
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        for _ in 0..self.shared.helper_count.load(Ordering::Relaxed) {
            signal(&self.shared.jobs_queued);
        }
    }
}
